package badgerkv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// TestOffline: a directory is read beside the process that has it open, and once
// it is closed.
func TestOffline(t *testing.T) {
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	spendMany(t, s, "x", 20)
	var live []kv.Pos
	stop := errors.New("stop")
	last := s.Stats().Seq
	err := s.Tail(context.Background(), kv.Pos{}, func(b kv.Batch) error {
		if live = append(live, b.Pos); b.Seq == last {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	follow := func(from kv.Pos) (read []kv.Pos, err error) {
		err = Follow(context.Background(), dir, from, false, func(b kv.Batch) error {
			read = append(read, b.Pos)
			return nil
		})
		return read, err
	}
	read, err := follow(live[9])
	if err != nil || !slices.Equal(read, live[10:]) {
		t.Fatalf("beside a process: %d batches of %d, %v", len(read), last-10, err)
	}
	s.Close()
	if read, err = follow(live[9]); err != nil || !slices.Equal(read, live[10:]) {
		t.Fatalf("closed: %d batches of %d, %v", len(read), last-10, err)
	}
	if _, err = follow(kv.Pos{Seq: 3, Hash: chain.Hash{1}}); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("a position that the journal never had: %v", err)
	}
}

// TestFollowWaits: a reader beside the process gets each batch, the newest too.
func TestFollowWaits(t *testing.T) {
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	from := kv.Pos{Seq: s.Stats().Seq - 1}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan uint64, 1000)
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, dir, from, true, func(b kv.Batch) error {
			seen <- b.Seq
			return nil
		})
	}()
	spendMany(t, s, "y", 20)
	last := s.Stats().Seq
	for <-seen < last {
	}
	s.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOldest: where a reader begins who wants what was written since a time, also
// after the first segments were pruned.
func TestOldest(t *testing.T) {
	dir := t.TempDir()
	begun := time.UnixMilli(1795532400000)
	now := begun
	o := testOptions(dir, nil)
	o.Now = func() time.Time { now = now.Add(time.Hour); return now }
	s, _ := grown(t, o)
	firstRecord := func(seg uint64) recordHeader {
		h, ok, err := s.journal.firstRecord(seg)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return h
	}
	first := func(seg uint64) uint64 { return firstRecord(seg).Head.Seq }
	oldest := func(since time.Time) uint64 {
		t.Helper()
		pos, err := Oldest(dir, since)
		if err != nil {
			t.Fatal(err)
		}
		read := uint64(0)
		err = Follow(t.Context(), dir, pos, false, func(b kv.Batch) error { read = b.Seq; return nil })
		if err != nil || read != s.Stats().Seq {
			t.Errorf("from %d on: up to %d, %v", pos.Seq, read, err)
		}
		return pos.Seq + 1
	}
	written := func(seg uint64) time.Time { return time.UnixMilli(firstRecord(seg).WrittenMs) }
	last := currentSegment(s)
	for _, c := range []struct {
		since time.Time
		seg   uint64
	}{
		{time.Time{}, 1}, {written(1), 1}, {written(2), 1}, {written(2).Add(time.Millisecond), 2}, {written(3), 2}, {now.Add(time.Hour), last},
	} {
		if got, want := oldest(c.since), first(c.seg); got != want {
			t.Errorf("since %v: from %d on, want %d", c.since, got, want)
		}
	}
	if _, err := s.Prune(t.Context(), kv.Retention{Now: now, MaxBytes: 1, Exported: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	if got, want := oldest(time.Time{}), first(s.journal.first.Load()); got != want || want == 1 {
		t.Errorf("after pruning: from %d on, want %d", got, want)
	}
}

// TestFollowPruned: a reader whose segments are removed beside it is told so, and
// does not take it for damage; if one is missing in the middle, that is damage.
func TestFollowPruned(t *testing.T) {
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	s.Close()
	for _, c := range []struct {
		removed []uint64
		want    error
	}{{[]uint64{3}, kv.ErrDamaged}, {[]uint64{1, 2, 3}, kv.ErrPruned}} {
		copied := crashCopy(t, dir)
		remove := sync.OnceFunc(func() {
			for _, seg := range c.removed {
				if err := os.Remove(segPath(filepath.Join(copied, "journal"), seg)); err != nil {
					t.Error(err)
				}
			}
		})
		err := Follow(t.Context(), copied, kv.Pos{}, false, func(kv.Batch) error { remove(); return nil })
		if !errors.Is(err, c.want) {
			t.Errorf("without %v: %v, want %v", c.removed, err, c.want)
		}
	}
}
