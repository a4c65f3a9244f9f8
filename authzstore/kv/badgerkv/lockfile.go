package badgerkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
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
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile()); err != nil {
		owner, _ := os.ReadFile(name)
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
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

// unlockDir gives the lock up. Closing alone would leave it to a process that was
// just forked and has not yet dropped its copy of the descriptor.
func unlockDir(f *os.File) error {
	lock := wholeFile()
	lock.Type = unix.F_UNLCK
	return errors.Join(unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, lock), f.Close())
}

// inUse tells whether a process owns the directory. It only asks: a lock taken
// to find out could be in the way of one that starts.
func inUse(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// wholeFile is a lock of the open file, not of the process (F_OFD_…, Linux 3.15):
// it also holds against a second Open in the same process, and closing another
// descriptor of the file does not drop it.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK} }
