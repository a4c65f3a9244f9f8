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
	first := s.journal.first.Load()
	end, err := s.prunable(first, r)
	if err != nil {
		return 0, err
	}
	before, err := s.journal.before(end)
	if err == nil && end > first {
		err = s.coverWithBackup(ctx, before.Seq)
	}
	if err != nil {
		return 0, err
	}
	for seg := first; seg < end; seg++ {
		last, err := s.journal.before(seg + 1)
		if err == nil {
			err = s.dropIndex(ctx, seg, last.Seq)
		}
		if err == nil {
			err = s.journal.forget(seg)
		}
		if err != nil {
			return 0, err
		}
		s.o.Logger.Info("pruned journal segment", "segment", seg, "last_seq", last.Seq)
	}
	return before.Seq + 1, nil
}

// prunable returns the first segment that has to stay: all from first to it may go.
func (s *Store) prunable(first uint64, r kv.Retention) (uint64, error) {
	bound := min(s.SafeSeq(), r.Exported)
	s.mu.Lock()
	active := s.durableTo.seg
	s.mu.Unlock()
	kept := s.journal.bytesTo(active)
	latestMs, certainMs := int64(0), int64(0)
	for ; first < active; first++ {
		next, ok, err := s.journal.firstRecord(first + 1) // it came after the last one of first
		if err != nil {
			return 0, err
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
		kept -= s.journal.sizeOf(first)
	}
	return first, nil
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
func (s *Store) dropIndex(ctx context.Context, seg, last uint64) error {
	c, err := s.journal.cursorAt(seg)
	if err != nil {
		return err
	}
	for c.h.Seq < last {
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
		if _, err := s.state.write(gone); err != nil {
			return err
		}
	}
	return nil
}
