package clock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// accept leaves word as the command does.
func (m *machine) accept(dir string, back bool) error {
	_, err := Accept(dir, By{UID: 1000, User: "olga", Reason: "checked"}, back, m.config())
	return err
}

// A recorder is what a sidecar does about acceptances.
type recorder struct {
	seen []Acceptance
	fail error
}

func (r *recorder) record(_ context.Context, a Acceptance, _ *JumpError) error {
	if r.fail != nil {
		return r.fail
	}
	r.seen = append(r.seen, a)
	return nil
}

func pending(t *testing.T, dir string) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, acceptName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestAccept(t *testing.T) {
	const day = 24 * time.Hour
	m, dir := newMachine(), t.TempDir()
	if err := m.accept(dir, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where no sidecar has been: %v", err)
	}
	c := m.open(t, dir, time.Time{})
	tells(t, c, noon, false)
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if err := m.accept(dir, true); !errors.Is(err, ErrNothingToAccept) || pending(t, dir) {
		t.Errorf("without a jump: %v", err)
	}

	m.wrong = 30 * day
	tells(t, c, time.Time{}, true)
	if err := m.accept(dir, false); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, acceptName))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	status, err := Look(dir, m.config())
	if err != nil || status.Jump == nil || status.Accepted == nil || status.Accepted.By.User != "olga" || !status.Expected.Equal(noon) || !status.Wall.Equal(m.wall()) {
		t.Errorf("Look: %+v, %v", status, err)
	}
	tells(t, c, time.Time{}, true) // not yet

	// It counts only once it is recorded, and waits for that.
	r := &recorder{fail: errors.New("disk full")}
	c.look(t.Context(), r.record)
	tells(t, c, time.Time{}, true)
	r.fail = nil
	m.pass(time.Minute)
	c.look(t.Context(), r.record)
	tells(t, c, m.wall(), false)
	if len(r.seen) != 1 || r.seen[0].By.Reason != "checked" || pending(t, dir) {
		t.Errorf("recorded %+v, still there %v", r.seen, pending(t, dir))
	}

	// It is durable, and counts once.
	tells(t, m.open(t, dir, time.Time{}), m.wall(), false)
	c.look(t.Context(), r.record)
	if len(r.seen) != 1 {
		t.Errorf("recorded again: %+v", r.seen)
	}

	// Back again, which must be said.
	m.wrong = 0
	tells(t, c, time.Time{}, true)
	if err := m.accept(dir, false); !errors.Is(err, ErrBack) || pending(t, dir) {
		t.Errorf("back, not said: %v", err)
	}
	if err := m.accept(dir, true); err != nil {
		t.Fatal(err)
	}
	c.look(t.Context(), r.record)
	tells(t, c, m.truth, false)
}

// An acceptance that waits for a start is taken up by it.
func TestAcceptWhileStopped(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	tells(t, m.open(t, dir, noon), noon, false) // the file holds what it knew at its start
	m.reboot(30 * 24 * time.Hour)
	if err := m.accept(dir, false); err != nil {
		t.Fatal(err)
	}
	m.pass(time.Hour)
	c, r := m.open(t, dir, time.Time{}), &recorder{}
	tells(t, c, time.Time{}, true)
	c.look(t.Context(), r.record)
	tells(t, c, m.truth, false)
	if len(r.seen) != 1 {
		t.Errorf("recorded %+v", r.seen)
	}
}

// An acceptance of anything but the jump at hand counts for nothing, and does not
// wait for its time.
func TestAcceptanceOfSomethingElse(t *testing.T) {
	for name, bend := range map[string]func(*testing.T, *machine, string){
		"the clock went on":   func(_ *testing.T, m *machine, _ string) { m.wrong += MaxDifference + 1 },
		"another boot":        func(_ *testing.T, m *machine, _ string) { m.bootID = "second" },
		"before the boot":     func(_ *testing.T, m *machine, _ string) { m.boot -= time.Minute },
		"the clock came back": func(_ *testing.T, m *machine, _ string) { m.wrong = 0 },
		"the other way":       func(_ *testing.T, m *machine, _ string) { m.wrong = -m.wrong },
		"back, not said": func(t *testing.T, m *machine, dir string) {
			m.wrong = -time.Hour
			a := Acceptance{Version: fileVersion, WallNanos: m.wall().UnixNano(), BootNanos: int64(m.boot), BootID: m.bootID}
			if err := writeSealed(dir, acceptName, a); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, _ *machine, dir string) {
			overwrite(t, dir, func(s string) string { return s + " " })
		},
		"other user": func(t *testing.T, _ *machine, dir string) {
			overwrite(t, dir, func(s string) string { return strings.Replace(s, "olga", "otto", 1) })
		},
		"a newer version": func(t *testing.T, _ *machine, dir string) {
			_ = writeSealed(dir, acceptName, map[string]int{"version": 2})
		},
		"a field more": func(t *testing.T, _ *machine, dir string) {
			_ = writeSealed(dir, acceptName, map[string]int{"version": 1, "x": 2})
		},
		"a link": func(t *testing.T, _ *machine, dir string) { link(t, dir) },
		"longer than any file": func(t *testing.T, _ *machine, dir string) {
			overwrite(t, dir, func(s string) string { return strings.Repeat(" ", 1<<20) + s })
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := newMachine(), t.TempDir()
			c := m.open(t, dir, time.Time{})
			tells(t, c, noon, false)
			if err := c.save(); err != nil {
				t.Fatal(err)
			}
			m.wrong = 30 * 24 * time.Hour
			if err := m.accept(dir, false); err != nil {
				t.Fatal(err)
			}
			bend(t, m, dir)
			if m.bootID != c.cfg.BootID {
				c = m.open(t, dir, time.Time{})
			}
			_, before := c.Now()
			r := &recorder{}
			c.look(t.Context(), r.record)
			if _, after := c.Now(); (after == nil) != (before == nil) || len(r.seen) != 0 || pending(t, dir) {
				t.Errorf("before %v, after %v, recorded %+v, still there %v", before, after, r.seen, pending(t, dir))
			}
		})
	}
}

func overwrite(t *testing.T, dir string, bend func(string) string) {
	t.Helper()
	name := filepath.Join(dir, acceptName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(bend(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(dir, acceptName)
	if err := errors.Join(os.Rename(name, name+"2"), os.Symlink(name+"2", name)); err != nil {
		t.Fatal(err)
	}
}

func TestReasonTooLong(t *testing.T) {
	m := newMachine()
	_, err := Accept(t.TempDir(), By{Reason: strings.Repeat("x", maxReason+1)}, false, m.config())
	if err == nil || !strings.Contains(err.Error(), "1025 bytes") {
		t.Errorf("%v", err)
	}
}
