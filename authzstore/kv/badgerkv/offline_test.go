package badgerkv

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestOffline: a directory is read beside the process that has it open, one
// batch behind, and wholly once it is closed.
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
	if err != nil || !slices.Equal(read, live[10:last-1]) {
		t.Fatalf("beside a process: %d batches of %d, %v", len(read), last-10, err)
	}
	s.Close()
	if read, err = follow(live[9]); err != nil || !slices.Equal(read, live[10:]) {
		t.Fatalf("closed: %d batches of %d, %v", len(read), last-10, err)
	}
	if _, err = follow(kv.Pos{Seq: 3, Hash: hash{1}}); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("a position that the journal never had: %v", err)
	}
}

// TestFollowWaits: a reader beside the process gets each batch once the next one
// is there, and the last one when the process ends.
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
	for <-seen < last-1 {
	}
	select {
	case early := <-seen:
		t.Errorf("batch %d was shown before the next one", early)
	default:
	}
	s.Close()
	if got := <-seen; got != last {
		t.Errorf("after the end: batch %d, want %d", got, last)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
