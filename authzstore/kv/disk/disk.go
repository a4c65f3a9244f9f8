// Package disk is what a backend that keeps files needs of a local disk: files
// whose writes are durable when they return, one owner for a directory, and to
// stop before the disk is full. All of it but the owner's lock goes through a
// FileSystem, so that tests can make it fail.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// FileSystem is a disk as a backend sees it.
type FileSystem interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create makes an empty file for writing; it is durable after Sync.
	Create(name string) (File, error)
	// OpenSync opens a file in which every WriteAt is durable when it returns.
	OpenSync(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes renames and removals in a directory durable.
	SyncDir(dir string) error
	FreeBytes(dir string) (int64, error)
}

// File is an open file of a FileSystem.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate reserves space, so that a full disk shows before it matters.
	Allocate(bytes int64) error
	Sync() error
}

// OS is the file system of the operating system.
type OS struct{}

type osFile struct{ *os.File }

func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }
func (OS) Create(name string) (File, error) {
	return open(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
}
func (OS) OpenSync(name string) (File, error) {
	return open(name, os.O_RDWR|syscall.O_DSYNC)
}
func (OS) Rename(from, to string) error { return os.Rename(from, to) }
func (OS) Remove(name string) error     { return os.Remove(name) }

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (OS) FreeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func open(name string, flag int) (File, error) {
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
