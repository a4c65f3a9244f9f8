package badgerkv

import (
	"context"
	"errors"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestOffline: a directory is read beside the process that has it open, one
// batch behind, and wholly once it is closed.
func TestOffline(t *testing.T) {
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	spendMany(t, s, "x", 20)
	var live, read []kv.Pos
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
	collect := func(b kv.Batch) error { read = append(read, b.Pos); return nil }
	pos, err := ReadBatches(context.Background(), dir, live[9], false, collect)
	if err != nil || pos != live[last-2] || len(read) != int(last)-11 || read[0] != live[10] {
		t.Fatalf("beside a process: %d batches up to %d of %d, %v", len(read), pos.Seq, last, err)
	}
	info, err := ReadInfo(dir)
	if err != nil || info.Format != formatVersion || len(info.Segments) < 5 || info.Segments[0].FirstSeq != 1 {
		t.Fatalf("%+v %v", info, err)
	}
	s.Close()
	if pos, err = ReadBatches(context.Background(), dir, pos, true, collect); err != nil || pos != live[last-1] {
		t.Fatalf("closed: up to %d of %d, %v", pos.Seq, last, err)
	}
	if _, err = ReadBatches(context.Background(), dir, kv.Pos{Seq: 3, Hash: hash{1}}, true, collect); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("a position that the journal never had: %v", err)
	}
}
