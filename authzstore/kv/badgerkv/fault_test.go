package badgerkv

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// faultFS is the real file system, with faults in synchronous writes and in the
// free space.
type faultFS struct {
	disk.OS
	mu       sync.Mutex
	stalled  chan struct{}                                             // writes wait until it is closed
	onWrite  func(name string, b []byte, off int64) (n int, err error) // n bytes are written before err
	onCreate func(name string) error
	onRename func(from string) error // after it was done
	onRemove func(name string) error
	free     atomic.Int64 // 0: what the disk says

	doNotSync bool // a write returns before it is on the disk
}

type faultFile struct {
	disk.File
	fs   *faultFS
	name string
}

func (fs *faultFS) OpenSync(name string) (disk.File, error) {
	if fs.doNotSync {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		return faultFile{unsyncedFile{f}, fs, name}, err
	}
	f, err := fs.OS.OpenSync(name)
	return faultFile{f, fs, name}, err
}

type unsyncedFile struct{ *os.File }

func (unsyncedFile) Allocate(int64) error { return nil }

func (fs *faultFS) Create(name string) (disk.File, error) {
	fs.mu.Lock()
	hook := fs.onCreate
	fs.mu.Unlock()
	if hook != nil {
		if err := hook(name); err != nil {
			return nil, err
		}
	}
	return fs.OS.Create(name)
}

func (fs *faultFS) Rename(from, to string) error {
	err := fs.OS.Rename(from, to)
	if err == nil && fs.onRename != nil {
		err = fs.onRename(from)
	}
	return err
}

func (fs *faultFS) Remove(name string) error {
	if fs.onRemove != nil {
		if err := fs.onRemove(name); err != nil {
			return err
		}
	}
	return fs.OS.Remove(name)
}

func (fs *faultFS) FreeBytes(dir string) (int64, error) {
	if n := fs.free.Load(); n != 0 {
		return n, nil
	}
	return fs.OS.FreeBytes(dir)
}

func (f faultFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	stalled, hook := f.fs.stalled, f.fs.onWrite
	f.fs.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	if hook != nil {
		if n, err := hook(f.name, b, off); err != nil {
			f.File.WriteAt(b[:n], off)
			return n, err
		}
	}
	return f.File.WriteAt(b, off)
}

// stall makes synchronous writes wait.
func (fs *faultFS) stall() (resume func()) {
	c := make(chan struct{})
	fs.mu.Lock()
	fs.stalled = c
	fs.mu.Unlock()
	return sync.OnceFunc(func() {
		fs.mu.Lock()
		fs.stalled = nil
		fs.mu.Unlock()
		close(c)
	})
}

func (fs *faultFS) failWrites(hook func(name string, b []byte, off int64) (int, error)) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.onWrite = hook
}

var errIO = errors.New("input/output error (test)")

// fillUp makes new files fail as on a full disk.
func (fs *faultFS) fillUp(full bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.onCreate = nil
	if full {
		fs.onCreate = func(name string) error {
			if strings.HasSuffix(name, tmpName) {
				return syscall.ENOSPC
			}
			return nil
		}
	}
}

// testOptions keep a test's directory small.
func testOptions(dir string, fs disk.FileSystem) Options {
	return Options{Dir: dir, segmentBytes: 4 << 20, MinFreeBytes: -1, VerifyEvery: -1, fs: fs}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func excl(keys ...string) (refs []kv.Ref) {
	for _, k := range keys {
		refs = append(refs, kv.Ref{Key: k, Mode: kv.Exclusive})
	}
	return refs
}
