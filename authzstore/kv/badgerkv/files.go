package badgerkv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// fileSystem is the file system as the journal, the backups and the disk guard see it.
// Tests put one in Options that fails, stalls, tears a write or fills up.
// Badger's own files are memory maps and do not pass through here; nothing that
// is acknowledged depends on them.
type fileSystem interface {
	// Open opens a file for reading.
	Open(name string) (file, error)
	// Create makes an empty file for writing; it is durable after Sync.
	Create(name string) (file, error)
	// OpenSync opens a file in which every WriteAt is durable when it returns.
	OpenSync(name string) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes renames and removals in a directory durable.
	SyncDir(dir string) error
	FreeBytes(dir string) (int64, error)
}

// file is an open file of a fileSystem.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate reserves space, so that a full disk shows before it matters.
	Allocate(bytes int64) error
	Sync() error
}

// osFS is the real file system.
type osFS struct{}

type osFile struct{ *os.File }

func (osFS) Open(name string) (file, error) { return openFile(name, os.O_RDONLY) }
func (osFS) Create(name string) (file, error) {
	return openFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
}
func (osFS) OpenSync(name string) (file, error) {
	return openFile(name, os.O_RDWR|syscall.O_DSYNC)
}
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) FreeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func openFile(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Allocate(bytes int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, bytes)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil // then the writes that follow find a full disk
	}
	return err
}

// Sync is fdatasync: the size is part of what it makes durable.
func (f osFile) Sync() error { return syscall.Fdatasync(int(f.Fd())) }
