package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// grown makes a store of several segments whose state is in tables.
func grown(t *testing.T, o Options) (*Store, []string) {
	t.Helper()
	s := mustOpen(t, o)
	var acked []string
	for i := 0; currentSegment(s) < 5; i++ {
		acked = append(acked, spendMany(t, s, fmt.Sprint("g", i), 200)...)
	}
	if err := s.Close(); err != nil { // flushes Badger: all of it is safe
		t.Fatal(err)
	}
	return mustOpen(t, o), acked
}

// state reads what must survive pruning.
func records(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	err := s.View(context.Background(), func(v kv.Snap) error {
		n, err := v.Counter("spent")
		fmt.Fprintf(&b, "%d ", n)
		return errors.Join(err, v.Scan("", "", func(k string, val []byte) error {
			_, err := fmt.Fprintf(&b, "%s=%x ", k, val[:min(8, len(val))])
			return err
		}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrune(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(dir, nil)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	s, acked := grown(t, o)
	before, ctx := records(t, s), context.Background()
	everything := kv.Retention{Now: now, MaxBytes: 1, Exported: math.MaxUint64}

	for what, r := range map[string]kv.Retention{
		"no limits":       {Now: now, Exported: math.MaxUint64},
		"nothing is old":  {Now: now, MaxAge: time.Hour, Exported: math.MaxUint64},
		"not exported":    {Now: now, MaxBytes: 1},
		"too young":       {Now: now.Add(time.Hour), MaxBytes: 1, MinAge: time.Hour, Exported: math.MaxUint64},
		"exported a part": {Now: now, MaxBytes: 1, Exported: 10},
	} {
		if first, err := s.Prune(ctx, r); err != nil || first != 1 {
			t.Fatalf("%s: pruned up to %d, %v", what, first, err)
		}
	}
	first, err := s.Prune(ctx, kv.Retention{Now: now, MaxBytes: 9 << 20, Exported: math.MaxUint64})
	if err != nil || first == 1 {
		t.Fatalf("by size: first kept %d, %v", first, err)
	}
	second, err := s.Prune(ctx, kv.Retention{Now: now.Add(2 * time.Hour), MaxAge: time.Hour, Exported: math.MaxUint64})
	if err != nil || second <= first {
		t.Fatalf("by age: first kept %d, then %d, %v", first, second, err)
	}
	if again, err := s.Prune(ctx, everything); err != nil || again != second {
		t.Fatalf("again: %d, want %d, %v", again, second, err)
	}
	if after := records(t, s); after != before {
		t.Fatal("pruning changed records or counters")
	}
	// Entries of pruned segments are gone, the others are there, numbers stay.
	total, kept, last := uint64(len(acked)), 0, uint64(0)
	err = s.View(ctx, func(v kv.Snap) error {
		return v.Stream("spends", 0, func(e kv.Entry) error { kept++; last = e.Num; return nil })
	})
	if err != nil || kept == 0 || uint64(kept) >= total || last != total {
		t.Fatalf("%d of %d entries kept, last number %d, %v", kept, total, last, err)
	}
	stop := errors.New("stop")
	if err := s.Tail(ctx, kv.Pos{}, func(kv.Batch) error { return stop }); !errors.Is(err, kv.ErrPruned) {
		t.Fatalf("Tail from the start: %v", err)
	}
	if err := s.Tail(ctx, kv.Pos{Seq: second - 1}, func(b kv.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("Tail from the first kept: %v", err)
	}
	if err := s.Verify(ctx, nil); err != nil {
		t.Fatal(err)
	}
	spendMany(t, s, "after", 50)
	want := records(t, s)
	crash := crashCopy(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A restart, a crash, and a rebuild from backup and journal show the same.
	for what, open := range map[string]func() (*Store, error){
		"restart":       func() (*Store, error) { return Open(ctx, o) },
		"crash":         func() (*Store, error) { return Open(ctx, testOptions(crashCopy(t, crash), nil)) },
		"table damaged": func() (*Store, error) { return Open(ctx, testOptions(withBadTable(t, crash), nil)) },
		"state deleted": func() (*Store, error) { return Open(ctx, testOptions(withoutState(t, crash), nil)) },
	} {
		s, err := open()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := records(t, s); got != want {
			t.Errorf("%s: records differ", what)
		}
		spendMany(t, s, what, 10)
		if err := errors.Join(s.Verify(ctx, nil), s.Close()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func withoutState(t *testing.T, dir string) string {
	dir = crashCopy(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPruneNeedsBackup: without its backup, or with a damaged one, a pruned
// store whose state is gone is refused and not opened half empty.
func TestPruneNeedsBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	if _, err := s.Prune(t.Context(), kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for what, damage := range map[string]func(name string) error{
		"missing": os.Remove,
		"flipped": func(name string) error {
			patch(t, name, 5000, func(b []byte) { b[0] ^= 4 }, 1)
			return nil
		},
		"truncated": func(name string) error { return os.Truncate(name, 5000) },
	} {
		d := withoutState(t, dir)
		backups, _ := filepath.Glob(filepath.Join(d, "backup", "*"))
		if len(backups) != 1 {
			t.Fatalf("backups: %v", backups)
		}
		if err := damage(backups[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), testOptions(d, nil)); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), "cannot be rebuilt") {
			t.Errorf("backup %s: %v", what, err)
		}
	}
	// Control: with the backup it opens.
	mustOpen(t, testOptions(withoutState(t, dir), nil))
}

// TestClockSteps: segments are stamped by the clock, and whatever it does, none is
// pruned early, the store works, and it opens again. Two hours after the last
// segment everything may go, unless the clock was ahead of that. What is too young
// to go stays, and a clock that was ahead makes nothing young for longer.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		at     [5]time.Duration // when each segment is made, as the clock says
		now    time.Duration    // of Prune
		pruned int              // segments
		minAge time.Duration    // 0: they go by age, else by size
	}{
		"steady":             {[5]time.Duration{0, day, 2 * day, 3 * day, 4 * day}, 4*day + time.Hour, 3, 0},
		"all old":            {[5]time.Duration{0, day, 2 * day, 3 * day, 4 * day}, 5 * day, 4, 0},
		"set back":           {[5]time.Duration{4 * day, 4 * day, -900 * day, -900 * day, 4 * day}, 4*day + time.Hour, 0, 0},
		"set back for good":  {[5]time.Duration{4 * day, 4 * day, -900 * day, -900 * day, -900 * day}, -900*day + time.Hour, 0, 0},
		"ahead for a while":  {[5]time.Duration{0, day, 900 * day, 3 * day, 4 * day}, 5 * day, 1, 0},
		"before 1970":        {[5]time.Duration{-30000 * day, -30000 * day, 2 * day, 3 * day, 4 * day}, 4*day + time.Hour, 3, 0},
		"young":              {[5]time.Duration{0, day, 2 * day, 3 * day, 4 * day}, 4*day + time.Hour, 2, 25 * time.Hour},
		"just not young":     {[5]time.Duration{0, day, 2 * day, 3 * day, 4 * day}, 4*day + time.Hour, 3, 25*time.Hour - time.Millisecond},
		"young and set back": {[5]time.Duration{4 * day, 4 * day, -900 * day, -900 * day, 4 * day}, 4*day + time.Hour, 0, 2 * time.Hour},
		"young as was ahead": {[5]time.Duration{0, day, 900 * day, 3 * day, 4 * day}, 5 * day, 4, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := testOptions(dir, nil)
			made := 0
			o.Now = func() time.Time { return start.Add(c.at[min(made, 4)]) }
			s := mustOpen(t, o)
			for made = 1; made < 5; made++ {
				for i := 0; currentSegment(s) == uint64(made); i++ {
					id := fmt.Sprintf("%d-%d", made, i)
					if err := s.Update(t.Context(), nil, func(tx kv.Tx) error { return tx.Append("spends", id, make([]byte, 200<<10)) }); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, o)
			r := kv.Retention{Now: start.Add(c.now), MaxAge: 2 * time.Hour, Exported: math.MaxUint64}
			if c.minAge > 0 {
				r.MinAge, r.MaxAge, r.MaxBytes = c.minAge, 0, 1
			}
			if _, err := s.Prune(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := int(s.journal.first.Load()) - 1; got != c.pruned {
				t.Fatalf("%d segments pruned, want %d", got, c.pruned)
			}
			if err := errors.Join(s.Verify(t.Context(), nil), s.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSafeSeq: what is not in Badger's tables is not safe to prune.
func TestSafeSeq(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, nil)
	s := mustOpen(t, o)
	spendMany(t, s, "a", 100)
	if got := s.SafeSeq(); got != 0 {
		t.Fatalf("SafeSeq is %d before any table was written", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	seq := s.Stats().Seq
	if got := s.SafeSeq(); got != seq {
		t.Fatalf("SafeSeq is %d after a clean restart, want %d", got, seq)
	}
	spendMany(t, s, "b", 100)
	if got := s.SafeSeq(); got != seq {
		t.Fatalf("SafeSeq is %d, want still %d", got, seq)
	}
}

// withBadTable is a copy of a directory in which one of Badger's tables is damaged.
func withBadTable(t *testing.T, dir string) string {
	dir = crashCopy(t, dir)
	damageTable(t, dir)
	return dir
}

func damageTable(t *testing.T, dir string) {
	tables, _ := filepath.Glob(filepath.Join(dir, "state", "*.sst"))
	patch(t, tables[0], 100, func(b []byte) { b[0] ^= 1 }, 1)
}

// TestRebuild: state/ can be thrown away at any time, and is when a table of it
// is damaged.
func TestRebuild(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	for _, dir := range []string{withBadTable(t, src), withoutState(t, src)} {
		s, err := Open(t.Context(), testOptions(dir, nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, p := checkSpends(s, acked); !p.none() {
			t.Error(p)
		}
		if err := errors.Join(s.Verify(t.Context(), nil), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestPruneToTheState: the tables end exactly where the kept journal begins. The
// state is good and is not rebuilt.
func TestPruneToTheState(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	room := func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return 4<<20 - s.durableTo.off
	}
	spendUpTo := func(prefix string, done func() bool) (ids []string) {
		for i := 0; !done(); i++ {
			ids = append(ids, spendMany(t, s, fmt.Sprint(prefix, i), 1)...)
		}
		return ids
	}
	spendUpTo("a", func() bool { return room() < 64<<10 })
	s.Close()
	s = mustOpen(t, testOptions(dir, nil))
	flushed := s.Stats().Seq
	for i := 0; currentSegment(s) == 1; i++ { // one batch that fills the rest of segment 1 and more
		err := s.Update(context.Background(), nil, func(tx kv.Tx) error {
			return tx.Append("big", fmt.Sprint("big", i), make([]byte, 200<<10))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seq := s.Stats().Seq; seq != flushed+1 {
		t.Fatalf("segment 2 starts with %d, want %d", seq, flushed+1)
	}
	before := records(t, s)
	if first, err := s.Prune(context.Background(), kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}); err != nil || first != flushed+1 {
		t.Fatalf("first kept %d, want %d, %v", first, flushed+1, err)
	}
	crash := crashCopy(t, dir)
	s.Close()
	s = mustOpen(t, testOptions(crash, nil))
	if r := s.recovery; r.Rebuilt != "" || r.Batches != 1 {
		t.Fatalf("%+v, want one batch replayed", r)
	}
	if after := records(t, s); after != before {
		t.Fatal("records differ")
	}
	if _, p := checkSpends(s, nil); len(p.lost) > 0 {
		t.Fatal(p)
	}
}

// TestPruneLooksAtTheTables: Badger reads on over a damaged table, and so would a
// state backup of it. Nothing is pruned for such a one: the store stops, and what
// comes of it is made again from the journal.
func TestPruneLooksAtTheTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(dir, nil)
	s, acked := grown(t, o)
	damageTable(t, dir)
	if first, err := s.Prune(t.Context(), kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("pruned up to %d, %v", first, err)
	}
	<-s.Failed()
	s.Close()
	if backups, _ := filepath.Glob(filepath.Join(dir, "backup", "*")); len(backups) > 0 {
		t.Errorf("a backup of a damaged state: %v", backups)
	}
	s = mustOpen(t, o)
	if s.recovery.Rebuilt == "" {
		t.Error("the state was not made again")
	}
	if _, p := checkSpends(s, acked); !p.none() {
		t.Error(p)
	}
	if first, err := s.Prune(t.Context(), kv.Retention{MaxBytes: 1}); err != nil || first != 1 { // exported: nothing
		t.Errorf("the first record kept is %d, %v", first, err)
	}
}

// TestPruneOnFullDisk: neither the backup nor Badger is written where there is no
// room, and then nothing goes.
func TestPruneOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := &faultFS{}
	o := testOptions(dir, fs)
	o.MinFreeBytes, o.BallastBytes = 1<<20, -1
	s, _ := grown(t, o)
	everything := kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}
	fs.free.Store(1 << 10)
	if first, err := s.Prune(t.Context(), everything); err == nil || !strings.Contains(err.Error(), "free some") {
		t.Fatalf("pruned up to %d, %v", first, err)
	}
	if backups, _ := filepath.Glob(filepath.Join(dir, "backup", "*")); len(backups) > 0 || s.journal.first.Load() != 1 {
		t.Fatalf("backups %v, first segment %d", backups, s.journal.first.Load())
	}
	fs.free.Store(0)
	if first, err := s.Prune(t.Context(), everything); err != nil || first == 1 {
		t.Fatalf("with room again: pruned up to %d, %v", first, err)
	}
}

// TestKilledInBackup: what a kill leaves of an unfinished backup does not stay.
func TestKilledInBackup(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, testOptions(dir, nil)).Close()
	unfinished := filepath.Join(dir, "backup", tmpName)
	if err := os.WriteFile(unfinished, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, testOptions(dir, nil))
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) {
		t.Errorf("it is there still: %v", err)
	}
}

// TestKilledInRebuild: a kill while a damaged state is thrown away leaves nothing
// that the next start takes for a state.
func TestKilledInRebuild(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	dir := withBadTable(t, src)
	fs := &faultFS{}
	killed := false
	fs.onRename = func(from string) error {
		if filepath.Base(from) != "state" {
			return nil
		}
		killed = true
		dirs, err := filepath.Glob(filepath.Join(dir, "state*"))
		if err != nil || len(dirs) != 1 || dirs[0] == from {
			t.Fatalf("%v, %v", dirs, err)
		}
		return errors.Join(os.Remove(filepath.Join(dirs[0], "MANIFEST")), errIO) // half of it is gone
	}
	if _, err := Open(t.Context(), testOptions(dir, fs)); !errors.Is(err, errIO) || !killed {
		t.Fatalf("the state is not moved away in one step: %v", err)
	}
	s := mustOpen(t, testOptions(dir, nil))
	if _, p := checkSpends(s, acked); !p.none() {
		t.Error(p)
	}
	if dirs, _ := filepath.Glob(filepath.Join(dir, "state*")); len(dirs) != 1 {
		t.Errorf("left: %v", dirs)
	}
}

// TestMarks: what SafeSeq is found by stays small, whether somebody asks or not,
// and says too little rather than too much.
func TestMarks(t *testing.T) {
	var c coverage
	const last = 10*maxMarks + 1
	for n := uint64(1); n <= last; n++ {
		c.add(mark{version: 1000 + n, seq: n})
		if len(c.marks) > maxMarks {
			t.Fatalf("%d marks after %d", len(c.marks), n)
		}
	}
	for i, m := range c.marks[1:] {
		if m.version != 1000+m.seq || m.seq <= c.marks[i].seq {
			t.Fatalf("mark %+v after %+v", m, c.marks[i])
		}
	}
	if m := c.marks[len(c.marks)-1]; m.seq != last {
		t.Fatalf("the newest mark is of %d, want %d", m.seq, last)
	}
}

// TestPruneAgain: a segment that could not be removed is the next one to go. With
// later ones removed and it still there, the journal would have a gap, and not open.
func TestPruneAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := &faultFS{}
	s, _ := grown(t, testOptions(dir, fs))
	before, failed := records(t, s), false
	fs.onRemove = func(name string) error {
		if failed || filepath.Base(name) != "00000001.seg" {
			return nil
		}
		failed = true
		return errIO
	}
	everything := kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}
	if first, err := s.Prune(t.Context(), everything); !errors.Is(err, errIO) {
		t.Fatalf("pruned up to %d, %v", first, err)
	}
	first, err := s.Prune(t.Context(), everything)
	if err != nil || first == 1 {
		t.Fatalf("again: pruned up to %d, %v", first, err)
	}
	s.Close()
	s = mustOpen(t, testOptions(dir, nil))
	if kept := s.journal.first.Load(); kept == 1 {
		t.Error("segment 1 is there still")
	}
	if records(t, s) != before {
		t.Error("pruning changed records or counters")
	}
}
