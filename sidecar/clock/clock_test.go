package clock

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A machine has both clocks, and a truth that they should show.
type machine struct {
	truth  time.Time
	wrong  time.Duration // wall clock − truth
	boot   time.Duration
	bootID string
}

func newMachine() *machine { return &machine{truth: noon, boot: time.Hour, bootID: "first"} }

func (m *machine) wall() time.Time { return m.truth.Add(m.wrong) }

func (m *machine) config() Config {
	return Config{
		Wall:     m.wall,
		Boottime: func() time.Duration { return m.boot },
		BootID:   m.bootID,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func (m *machine) pass(d time.Duration) { m.truth, m.boot = m.truth.Add(d), m.boot+d }

// reboot has the machine off for so long.
func (m *machine) reboot(off time.Duration) {
	m.truth, m.boot, m.bootID = m.truth.Add(off), time.Minute, m.bootID+"+"
}

func (m *machine) open(t *testing.T, dir string, notBefore time.Time) *Clock {
	t.Helper()
	c, err := Open(dir, func() (time.Time, error) { return notBefore, nil }, m.config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tells fails the test unless the clock tells this time, or with jumped none.
func tells(t *testing.T, c *Clock, want time.Time, jumped bool) {
	t.Helper()
	got, err := c.Now()
	if errors.Is(err, ErrJumped) != jumped || err == nil && !got.Equal(want) {
		t.Fatalf("Now is %v, %v; want %v, jumped %v", got, err, want, jumped)
	}
}

// Steps of a running clock up to the bound are followed ahead and bridged behind;
// one more nanosecond is refused, and set back it recovers by itself.
func TestBound(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir(), time.Time{})
	tells(t, c, noon, false)
	m.wrong = MaxDifference
	tells(t, c, noon.Add(MaxDifference), false)
	m.wrong = -MaxDifference
	tells(t, c, noon.Add(MaxDifference), false)
	for _, beyond := range []time.Duration{MaxDifference + 1, -MaxDifference - 1, -time.Hour, 24 * time.Hour, 10 * 365 * 24 * time.Hour, -56 * 365 * 24 * time.Hour} {
		m.wrong = beyond
		tells(t, c, time.Time{}, true)
		m.wrong = 0
		tells(t, c, noon.Add(MaxDifference), false)
	}
}

// After a step back, time goes on, neither standing still nor going back, until the
// wall clock has caught up.
func TestCatchesUp(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir(), time.Time{})
	m.wrong = 10 * time.Second
	last, err := c.Now()
	if err != nil {
		t.Fatal(err)
	}
	m.wrong = 0 // NTP has set it right
	for range 3 * 60 * 60 {
		m.pass(time.Second)
		now, err := c.Now()
		if err != nil {
			t.Fatal(err)
		}
		if step := now.Sub(last); step < 999*time.Millisecond || step > time.Second {
			t.Fatalf("a second took %v", step)
		}
		last = now
	}
	if !last.Equal(m.truth) {
		t.Errorf("after three hours it is %v, not %v", last, m.truth)
	}
}

// A wall clock that runs 500 ppm faster or slower than the monotonic one is right
// for ever, whether it is asked often or seldom; one that is stepped ahead again and
// again is not.
func TestDrift(t *testing.T) {
	for _, every := range []time.Duration{time.Second, time.Hour, 3 * 24 * time.Hour} {
		for _, ppm := range []time.Duration{500, -500} {
			m := newMachine()
			c := m.open(t, t.TempDir(), time.Time{})
			for passed := time.Duration(0); passed < 180*24*time.Hour; passed += every {
				m.pass(every)
				m.wrong += every / 1e6 * ppm
				now, err := c.Now()
				if err != nil {
					t.Fatalf("every %v, %d ppm: %v after %v", every, ppm, err, passed)
				}
				if now.Before(m.wall()) || now.Sub(m.wall()) > time.Second {
					t.Fatalf("every %v, %d ppm: %v, the wall clock shows %v", every, ppm, now, m.wall())
				}
				if every == time.Second && passed > 7*24*time.Hour {
					break // as good as for ever, at this rate of steps
				}
			}
		}
	}
	m := newMachine()
	c := m.open(t, t.TempDir(), time.Time{})
	for steps := 0; ; steps++ {
		if _, err := c.Now(); err != nil {
			break
		}
		if steps > 2 {
			t.Fatalf("%d steps of 4 minutes are believed", steps)
		}
		m.pass(time.Minute)
		m.wrong += 4 * time.Minute
	}
}

// A machine that sleeps for a week has not jumped: the monotonic clock counts it.
func TestSuspend(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir(), time.Time{})
	m.pass(7 * 24 * time.Hour)
	tells(t, c, m.truth, false)
}

// What a start believes: within a boot, what it would without the start; after a
// reboot, from the newest time told until the bound.
func TestStart(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		between func(*machine)
		jumped  bool
	}{
		"at once":                        {func(*machine) {}, false},
		"a month later":                  {func(m *machine) { m.pass(30 * day) }, false},
		"stepped to the bound":           {func(m *machine) { m.wrong = MaxDifference }, false},
		"stepped over it":                {func(m *machine) { m.wrong = MaxDifference + 1 }, true},
		"stepped back to the bound":      {func(m *machine) { m.wrong = -MaxDifference }, false},
		"stepped back over it":           {func(m *machine) { m.wrong = -MaxDifference - 1 }, true},
		"rebooted":                       {func(m *machine) { m.reboot(0) }, false},
		"off for a week":                 {func(m *machine) { m.reboot(7 * day) }, false},
		"off for longer":                 {func(m *machine) { m.reboot(7*day + 1) }, true},
		"rebooted, two seconds back":     {func(m *machine) { m.reboot(0); m.wrong = -2 * time.Second }, false},
		"rebooted, more":                 {func(m *machine) { m.reboot(0); m.wrong = -2*time.Second - 1 }, true},
		"rebooted with a dead battery":   {func(m *machine) { m.reboot(0); m.wrong = -56 * 365 * day }, true},
		"another clock of the same name": {func(m *machine) { m.truth, m.boot = m.truth.Add(day), 0 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := newMachine(), t.TempDir()
			c := m.open(t, dir, time.Time{})
			tells(t, c, noon, false)
			if err := c.save(); err != nil {
				t.Fatal(err)
			}
			test.between(m)
			want := m.wall()
			if want.Before(noon) {
				want = noon // nothing earlier than what was told
			}
			c = m.open(t, dir, time.Time{})
			tells(t, c, want, test.jumped)
			// Whoever starts it again, or asks from outside, hears the same.
			status, err := Look(dir, m.config())
			if err != nil || (status.Jump != nil) != test.jumped {
				t.Errorf("Look says %v, %v", status.Jump, err)
			}
			tells(t, m.open(t, dir, time.Time{}), want, test.jumped)
			// Set right, it is believed, unless the machine was off for too long.
			if test.jumped && m.wrong != 0 {
				m.wrong = 0
				tells(t, c, m.truth, false)
			}
		})
	}
}

// Without its file, the newest record stands for it; a damaged file is like none,
// and one of a newer program is not touched.
func TestFileLost(t *testing.T) {
	for name, bend := range map[string]func(text string) string{
		"missing":      nil,
		"empty":        func(string) string { return "" },
		"cut":          func(text string) string { return text[:len(text)/2] },
		"another time": func(text string) string { return strings.Replace(text, "17723664", "18723664", 1) },
		"no sum":       func(text string) string { return strings.SplitAfter(text, "\n")[0] },
		"more":         func(text string) string { return text + "x" },
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := newMachine(), t.TempDir()
			file := filepath.Join(dir, fileName)
			c := m.open(t, dir, time.Time{})
			tells(t, c, noon, false)
			if err := c.save(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lose := func() error { return os.Remove(file) }
			if bend != nil {
				bent := bend(string(text))
				if bent == string(text) {
					t.Fatalf("not bent: %s", text)
				}
				lose = func() error { return os.WriteFile(file, []byte(bent), 0o600) }
			}
			for _, newest := range []struct {
				at     time.Time
				jumped bool
			}{
				{noon.Add(-7 * 24 * time.Hour), false},
				{noon.Add(-7*24*time.Hour - 1), true},
				{noon.Add(2*time.Second + 1), true},
				{time.Time{}, false},
			} {
				if err := lose(); err != nil {
					t.Fatal(err)
				}
				tells(t, m.open(t, dir, newest.at), noon, newest.jumped)
			}
		})
	}
	t.Run("newer", func(t *testing.T) {
		m, dir := newMachine(), t.TempDir()
		if err := writeSealed(dir, fileName, map[string]int{"version": 2}); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, nil, m.config())
		if err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("Open: %v", err)
		}
	})
}

// A jump that went away leaves nothing in the file, and the file is private.
func TestFile(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	c := m.open(t, dir, time.Time{})
	tells(t, c, noon, false)
	m.wrong = 24 * time.Hour
	c.look(context.Background(), nil)
	m.pass(saveEvery)
	c.look(context.Background(), nil)
	m.wrong = 0
	tells(t, m.open(t, dir, time.Time{}), m.truth, false)
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// A step within the bound is on the disk at the next look: a crash does not
	// forget it.
	m.wrong = 4 * time.Minute
	c.look(context.Background(), nil)
	m.wrong = 0
	tells(t, m.open(t, dir, time.Time{}), m.truth.Add(4*time.Minute), false)
}

// Callers at once never see time go back.
func TestConcurrent(t *testing.T) {
	c, err := Open(t.TempDir(), func() (time.Time, error) { return time.Time{}, nil }, Config{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var newest time.Time
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				mu.Lock()
				before := newest
				mu.Unlock()
				now, err := c.Now()
				if err != nil || now.Before(before) {
					t.Errorf("%v, %v after %v", now, err, before)
					return
				}
				mu.Lock()
				if now.After(newest) {
					newest = now
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func BenchmarkNow(b *testing.B) {
	c, err := Open(b.TempDir(), func() (time.Time, error) { return time.Time{}, nil }, Config{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Now(); err != nil {
			b.Fatal(err)
		}
	}
}

// The log tells of a jump once, and that it is over.
func TestLog(t *testing.T) {
	m := newMachine()
	var log strings.Builder
	cfg := m.config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	c, err := Open(t.TempDir(), func() (time.Time, error) { return time.Time{}, nil }, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m.wrong = range []time.Duration{0, time.Hour, time.Hour, 0, 0} {
		c.look(t.Context(), nil)
	}
	for _, line := range []string{"shows 2026-03-01T13:00:00Z, by the monotonic clock it is 2026-03-01T12:00:00Z (+3600 s)", "believed again"} {
		if strings.Count(log.String(), line) != 1 {
			t.Errorf("%q is not in the log once: %s", line, log.String())
		}
	}
}
