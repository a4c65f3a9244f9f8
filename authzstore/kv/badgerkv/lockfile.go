package badgerkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrInUse: another process has the directory open.
var ErrInUse = errors.New("badgerkv: directory in use")

const lockName = "countersign.lock"

// lockDir takes the directory's lock file, before anything in it is read:
// preparing state/ deletes files, and beside a live Badger that would unlink
// its write-ahead log. The kernel drops the lock when the process ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(name)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked by process %s; one process owns a store", ErrInUse, name, strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	// The number is for people only; failing to write it (a full disk) is no
	// reason not to start.
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
