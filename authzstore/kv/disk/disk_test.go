package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A directory has one owner, who gives it up also while a child that was forked
// meanwhile still has the descriptor.
func TestOwn(t *testing.T) {
	dir := t.TempDir()
	if used, err := InUse(dir); used || err != nil {
		t.Fatalf("before: %v, %v", used, err)
	}
	owner, err := Own(dir)
	if err != nil {
		t.Fatal(err)
	}
	if used, err := InUse(dir); !used || err != nil {
		t.Fatalf("owned: %v, %v", used, err)
	}
	if _, err := Own(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("a second owner: %v", err)
	}
	if used, err := InUse(dir); !used || err != nil { // who was refused took nothing away
		t.Fatalf("owned: %v, %v", used, err)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.ExtraFiles = []*os.File{owner.f}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := owner.Release(); err != nil {
		t.Fatal(err)
	}
	next, err := Own(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := errors.Join(in.Close(), child.Wait(), next.Release()); err != nil {
		t.Fatal(err)
	}
	if used, err := InUse(dir); used || err != nil {
		t.Fatalf("after: %v, %v", used, err)
	}
}

// freeFS says how much is free, with the ballast or without.
type freeFS struct {
	OS
	free int64
	err  error
}

func (fs *freeFS) FreeBytes(string) (int64, error) { return fs.free, fs.err }

func TestGuard(t *testing.T) {
	fs := &freeFS{free: 1 << 30}
	g := &Guard{FS: fs, Dir: t.TempDir(), MinFreeBytes: 1 << 20, BallastBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)}
	hasBallast := func() bool {
		_, err := os.Stat(filepath.Join(g.Dir, ballastName))
		return err == nil
	}
	g.MakeBallast()
	if !hasBallast() || !g.OK() || g.Check() != nil || g.Paused() {
		t.Fatalf("with plenty of room: ballast %v, paused %v, %v", hasBallast(), g.Paused(), g.Check())
	}
	fs.free = 1<<20 - 1
	if g.OK() || g.Check() == nil || !g.Paused() || !hasBallast() {
		t.Fatalf("just below: ballast %v, paused %v, %v", hasBallast(), g.Paused(), g.Check())
	}
	fs.free = 1 << 18
	if g.OK() || hasBallast() {
		t.Fatalf("far below: ballast %v", hasBallast())
	}
	fs.free = 2 << 20
	if g.MakeBallast(); !g.OK() || g.Paused() || hasBallast() {
		t.Fatalf("room again, but not for the ballast: ballast %v, paused %v", hasBallast(), g.Paused())
	}
	fs.free = 3 << 20
	if g.MakeBallast(); !hasBallast() {
		t.Fatal("room again: no ballast")
	}
	fs.err = errors.New("no such disk")
	if g.OK() || g.Check() == nil {
		t.Fatal("nobody knows what is free")
	}
	g.MinFreeBytes = -1
	if !g.OK() {
		t.Fatal("there is to be no guard")
	}
}
