package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse: another process owns the directory.
var ErrInUse = errors.New("kv: directory in use")

const lockName = "countersign.lock"

// Lock is a directory that this process owns. The kernel drops it when the
// process ends.
type Lock struct{ f *os.File }

// Own takes the lock file of a directory, or returns ErrInUse. A backend does so
// before anything in the directory is read, and keeps it for life.
func Own(dir string) (*Lock, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK)); err != nil {
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
	return &Lock{f}, nil
}

// Release gives the directory up. Closing the file alone would leave it to a
// process that was just forked and has not yet dropped its copy of the
// descriptor.
func (l *Lock) Release() error {
	return errors.Join(unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_UNLCK)), l.f.Close())
}

// InUse tells whether a process owns the directory. It only asks: a lock taken
// to find out could be in the way of one that starts.
func InUse(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := wholeFile(unix.F_WRLCK)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// wholeFile is a lock of the open file, not of the process (F_OFD_…, Linux 3.15):
// it also holds against a second Own in the same process, and closing another
// descriptor of the file does not drop it.
func wholeFile(kind int16) *unix.Flock_t { return &unix.Flock_t{Type: kind} }
