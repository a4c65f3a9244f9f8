package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
)

const ballastName = "ballast"

// Guard keeps those from a disk that is nearly full whom a full one would kill:
// a write through a memory map is then a SIGBUS, again at every start until
// space is freed.
type Guard struct {
	FS           FileSystem
	Dir          string
	MinFreeBytes int64 // that stay free; negative: no guard
	// BallastBytes is the size of a file that is given up when the disk runs
	// full all the same, so that what is under way still finds room. Negative:
	// none.
	BallastBytes int64
	Logger       *slog.Logger

	paused atomic.Bool
}

// OK says whether there is room to write. When another writer eats what the
// guard holds free, it gives up the ballast.
func (g *Guard) OK() bool {
	if g.MinFreeBytes < 0 {
		return true
	}
	free, err := g.FS.FreeBytes(g.Dir)
	if err == nil && free < g.MinFreeBytes/2 && g.dropBallast() {
		g.Logger.Error("disk nearly full: ballast file given up", "free_bytes", free)
		free, err = g.FS.FreeBytes(g.Dir)
	}
	ok := err == nil && free >= g.MinFreeBytes
	if was := g.paused.Swap(!ok); was == ok {
		g.Logger.Warn("disk guard", "paused", !ok, "free_bytes", free, "min_free_bytes", g.MinFreeBytes, "error", err)
	}
	return ok
}

// Paused is what OK found last, negated.
func (g *Guard) Paused() bool { return g.paused.Load() }

// Check is OK for those who cannot wait.
func (g *Guard) Check() error {
	if g.OK() {
		return nil
	}
	return fmt.Errorf("kv: less than %d bytes free on the disk of %s: free some and try again; nothing is lost", g.MinFreeBytes, g.Dir)
}

// MakeBallast lays the file down, if it is not there and there is plenty of room.
func (g *Guard) MakeBallast() {
	name := filepath.Join(g.Dir, ballastName)
	if g.BallastBytes < 0 || g.MinFreeBytes < 0 {
		return
	}
	if info, err := os.Stat(name); err == nil && info.Size() == g.BallastBytes {
		return
	}
	if free, err := g.FS.FreeBytes(g.Dir); err != nil || free < 2*g.MinFreeBytes+g.BallastBytes {
		return
	}
	f, err := g.FS.Create(name)
	if err == nil {
		err = errors.Join(f.Allocate(g.BallastBytes), f.Sync(), f.Close())
	}
	if err != nil {
		g.Logger.Warn("no ballast file", "error", err)
	}
}

func (g *Guard) dropBallast() bool {
	return g.FS.Remove(filepath.Join(g.Dir, ballastName)) == nil
}
