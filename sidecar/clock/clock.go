package clock

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

// Config of a Clock. The zero Config is the system's clocks.
type Config struct {
	// Wall is the wall clock. Nil means time.Now.
	Wall func() time.Time
	// Boottime is the monotonic clock. Nil means CLOCK_BOOTTIME.
	Boottime func() time.Duration
	// BootID names what Boottime counts from. Empty means the kernel's boot_id.
	BootID string
	// MaxGap is how far ahead of the newest time told the wall clock may be after
	// a reboot. Zero means DefaultMaxGap.
	MaxGap time.Duration
	// Log receives what an operator should know. Nil means slog.Default.
	Log *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.Boottime == nil {
		cfg.Boottime = systemBoottime
	}
	if cfg.BootID == "" {
		cfg.BootID = systemBootID()
	}
	if cfg.MaxGap == 0 {
		cfg.MaxGap = DefaultMaxGap
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return cfg
}

// read reads the wall clock first: whatever passes until the other one is read
// makes the wall clock look behind, which moves nothing forward.
func (cfg Config) read() reading {
	wall := cfg.Wall().UnixNano()
	return reading{wall, int64(cfg.Boottime()), cfg.BootID}
}

// A Clock tells the time. Its methods may be called concurrently, but Run once.
type Clock struct {
	cfg Config
	dir string

	mu    sync.Mutex
	state state

	// These are Run's.
	saved   state
	savedAt time.Duration // Boottime then
	jumped  bool          // as logged
	problem string        // as logged
}

// Open returns the clock of a store's directory, which the caller owns, and writes
// its file. notBefore is asked where the file says nothing; it returns a time that
// has certainly been, or the zero Time if nobody knows of any.
func Open(dir string, notBefore func() (time.Time, error), cfg Config) (*Clock, error) {
	c := &Clock{cfg: cfg.withDefaults(), dir: dir}
	f, err := readFile(dir)
	c.state = f.state
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		c.state, err = c.stateAfter(err, notBefore)
	}
	if err != nil {
		return nil, err
	}
	_, _ = c.Now() // a time that can be believed is kept from the start on
	if err := c.save(); err != nil {
		return nil, err
	}
	return c, nil
}

// stateAfter is what is known where the file is lost, or was never there.
func (c *Clock) stateAfter(lost error, notBefore func() (time.Time, error)) (state, error) {
	at, err := notBefore()
	if err != nil {
		return state{}, err
	}
	level := slog.LevelInfo
	if errors.Is(lost, ErrDamaged) {
		level = slog.LevelWarn
	}
	if at.IsZero() && level == slog.LevelInfo {
		return state{}, nil // a new store
	}
	c.cfg.Log.Log(context.Background(), level, "the newest record stands for the clock's file", "newest_record", at, "error", lost)
	if at.IsZero() {
		return state{}, nil
	}
	return state{ToldNanos: at.UnixNano()}, nil
}

// Now returns the time for decisions, which never goes backwards unless an
// operator set it back. The error is a *JumpError. It costs two readings of
// clocks and waits for nothing but other callers of Now.
func (c *Clock) Now() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, jump := c.state.next(c.cfg.read(), c.cfg.MaxGap)
	if jump != nil {
		return time.Time{}, jump
	}
	c.state = next
	return toTime(next.ToldNanos), nil
}
