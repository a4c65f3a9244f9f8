package badgerkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
)

const ballastName = "ballast"

// diskGuard keeps Badger from writing on a disk that is nearly full: it writes
// through memory maps, and there a full disk kills the process (SIGBUS), again
// at every start until space is freed. The journal needs no guard: its next
// segment is written before it is used.
type diskGuard struct {
	o      Options
	paused atomic.Bool
}

// ok says whether Badger may write. When another writer eats what the guard
// holds free, it gives up the ballast, so that a flush that is under way still
// finds room.
func (g *diskGuard) ok() bool {
	if g.o.MinFreeBytes < 0 {
		return true
	}
	free, err := g.o.fs.FreeBytes(g.o.Dir)
	if err == nil && free < g.o.MinFreeBytes/2 && g.dropBallast() {
		g.o.Logger.Error("disk nearly full: ballast file given up", "free_bytes", free)
		free, err = g.o.fs.FreeBytes(g.o.Dir)
	}
	ok := err == nil && free >= g.o.MinFreeBytes
	if was := g.paused.Swap(!ok); was == ok {
		g.o.Logger.Warn("disk guard", "paused", !ok, "free_bytes", free, "min_free_bytes", g.o.MinFreeBytes, "error", err)
	}
	return ok
}

// check is ok for Open, which cannot wait.
func (g *diskGuard) check() error {
	if g.ok() {
		return nil
	}
	return fmt.Errorf("badgerkv: less than %d bytes free on the disk of %s: free some and start again; nothing is lost", g.o.MinFreeBytes, g.o.Dir)
}

// makeBallast lays the file down, if it is not there and there is plenty of room.
func (g *diskGuard) makeBallast() {
	name := filepath.Join(g.o.Dir, ballastName)
	if g.o.BallastBytes < 0 || g.o.MinFreeBytes < 0 {
		return
	}
	if info, err := os.Stat(name); err == nil && info.Size() == g.o.BallastBytes {
		return
	}
	if free, err := g.o.fs.FreeBytes(g.o.Dir); err != nil || free < 2*g.o.MinFreeBytes+g.o.BallastBytes {
		return
	}
	f, err := g.o.fs.Create(name)
	if err == nil {
		err = errors.Join(f.Allocate(g.o.BallastBytes), f.Sync(), f.Close())
	}
	if err != nil {
		g.o.Logger.Warn("no ballast file", "error", err)
	}
}

func (g *diskGuard) dropBallast() bool {
	return g.o.fs.Remove(filepath.Join(g.o.Dir, ballastName)) == nil
}
