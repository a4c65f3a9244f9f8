// Package privatefile reads and writes files that nobody but their owner may have
// access to, so that what was written outlasts a loss of power: keys, the archive
// of policies, the clock's memory.
package privatefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// mode of every file. What others may not read, they may not write either.
const mode = 0o600

// Create writes a new file. It refuses one that exists, links included, and leaves
// none behind that is not whole.
func Create(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return SyncDir(filepath.Dir(name))
}

// Replace puts a file that fill writes in the place of another, or of none, whole:
// whoever looks, also after a loss of power, finds the old one or the new one.
func Replace(name string, fill func(*os.File) error) error {
	temp := name + ".tmp" // a process that died may have left one: it is written over
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if err != nil {
		return err
	}
	if err = fill(file); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes durable which files are in a directory, and by which names.
func SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Errors of Read.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLong    = errors.New("too long")
)

// A ModeError says that others have access to a file: its permissions.
type ModeError os.FileMode

func (e ModeError) Error() string { return "others have access: " + os.FileMode(e).String() }

// Read reads a whole file of at most maxBytes. Links are followed: a mounted secret
// is one. The error is ErrNotRegular, a ModeError, ErrTooLong, or the system's.
func Read(name string, maxBytes int) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, ModeError(perm)
	}
	content, err := io.ReadAll(io.LimitReader(file, int64(maxBytes)+1))
	if err == nil && len(content) > maxBytes {
		return nil, ErrTooLong
	}
	return content, err
}
