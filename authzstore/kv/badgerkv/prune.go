package badgerkv

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// Prune implements kv.Store. Whole segments go. Before the first does, a state
// backup that covers it was written and read back, and its batches lie in
// Badger's synced tables, which are good: so both ways to recover stay open.
func (s *Store) Prune(ctx context.Context, r kv.Retention) (uint64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	s.pruning.Lock()
	defer s.pruning.Unlock()
	segs, err := s.prunable(r)
	if err != nil {
		return 0, err
	}
	if len(segs) > 0 {
		if err := s.coverWithBackup(ctx, segs[len(segs)-1].last); err != nil {
			return 0, err
		}
	}
	for _, p := range segs {
		err := s.dropIndex(ctx, p)
		if err == nil {
			err = s.journal.forget(p.seg)
		}
		if err != nil {
			return 0, err
		}
		s.o.Logger.Info("pruned journal segment", "segment", p.seg, "last_seq", p.last)
	}
	before, err := s.journal.before(s.journal.first.Load())
	if err != nil {
		return 0, err
	}
	return before.Seq + 1, nil
}

type prunableSegment struct{ seg, last uint64 }

// prunable returns the oldest segments that may all go.
func (s *Store) prunable(r kv.Retention) ([]prunableSegment, error) {
	bound := min(s.SafeSeq(), r.Exported)
	s.mu.Lock()
	active := s.durableTo.seg
	s.mu.Unlock()
	first, kept := s.journal.first.Load(), s.journal.bytesTo(active)
	var segs []prunableSegment
	latestMs, certainMs := int64(0), int64(0)
	for seg := first; seg < active; seg++ {
		next, ok, err := s.journal.firstRecord(seg + 1) // it came after the last one of seg
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		// A clock that was set back makes nothing older than it is. One that was
		// ahead for a while makes segments stay longer, up to MaxBytes.
		latestMs = max(latestMs, next.WrittenMs)
		// For what stays in any case a time that is still to come says nothing: a
		// clock that was ahead must not fill the disk.
		if next.WrittenMs <= r.Now.UnixMilli() {
			certainMs = max(certainMs, next.WrittenMs)
		}
		young := r.MinAge > 0 && certainMs >= r.Now.Add(-r.MinAge).UnixMilli()
		old := r.MaxAge > 0 && latestMs < r.Now.Add(-r.MaxAge).UnixMilli()
		large := r.MaxBytes > 0 && kept > r.MaxBytes
		if young || !old && !large || next.Head.Seq-1 > bound {
			break
		}
		segs = append(segs, prunableSegment{seg, next.Head.Seq - 1})
		kept -= s.journal.sizeOf(seg)
	}
	return segs, nil
}

// coverWithBackup makes sure that a backup holds batches up to seq at least,
// and removes all but the newest.
func (s *Store) coverWithBackup(ctx context.Context, seq uint64) error {
	seqs, err := listSegments(s.backups.dir)
	if err != nil {
		return err
	}
	if n := len(seqs); n > 0 && seqs[n-1] >= seq && s.backups.checkBackup(ctx, seqs[n-1]) == nil {
		return nil
	}
	s.mu.Lock()
	p, at := s.snapshot, s.applied
	p.refs++
	s.mu.Unlock()
	defer s.release(p)
	if err := s.writeBackup(ctx, at, p); err != nil {
		return fmt.Errorf("state backup: %w", err)
	}
	for _, old := range seqs {
		if old != at {
			err = errors.Join(err, s.o.fs.Remove(segPath(s.backups.dir, old)))
		}
	}
	return err
}

// dropIndex removes a segment's entries from the index. If a crash brings some
// of them back, they lead to a pruned segment, and readers know that.
func (s *Store) dropIndex(ctx context.Context, p prunableSegment) error {
	c, err := s.journal.cursorAt(p.seg)
	if err != nil {
		return err
	}
	for c.h.Seq < p.last {
		if err := s.mayWrite(ctx); err != nil {
			return err
		}
		b, err := c.nextBatch()
		if err != nil {
			return err
		}
		gone := map[string][]byte{}
		for _, u := range b.Units {
			for _, e := range u.Entries {
				gone[nsID+e.ID], gone[entryKey(e.Stream, e.Num)] = nil, nil
			}
		}
		if len(gone) == 0 {
			continue
		}
		if _, err := s.state.write(gone); err != nil {
			return err
		}
	}
	return nil
}
