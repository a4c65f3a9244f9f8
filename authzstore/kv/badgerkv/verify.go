package badgerkv

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// Verify implements kv.Store: the whole journal, chain, checksums and digests,
// then state backups, then Badger's tables.
func (s *Store) Verify(ctx context.Context, progress func(done, total int64)) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.verify(ctx, progress)
}

func (s *Store) verify(ctx context.Context, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	s.mu.Lock()
	end, last := s.durableTo, s.durable.Seq
	s.mu.Unlock()
	c, err := s.journal.cursorAt(s.journal.first.Load())
	if err != nil {
		return err
	}
	total := s.journal.bytesTo(end.seg-1) + end.off
	for _, t := range s.state.db.Tables() {
		total += int64(t.OnDiskSize)
	}
	for c.h.Seq < last {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.nextBatch(); err != nil {
			return err
		}
		progress(c.read, total)
	}
	if err := s.verifyBackups(ctx); err != nil {
		return err
	}
	if err := s.state.verify(); err != nil {
		return err
	}
	progress(total, total)
	return nil
}

func (s *Store) verifyBackups(ctx context.Context) error {
	s.pruning.Lock() // which replaces them
	defer s.pruning.Unlock()
	seqs, err := listSegments(s.backups.dir)
	for _, seq := range seqs {
		err = errors.Join(err, s.backups.checkBackup(ctx, seq))
	}
	return err
}

// verifyLoop checks everything now and then: damage is better found before it
// is needed. A damaged state answers wrongly, so it stops the store, and the
// next Open rebuilds it. A damaged journal or backup loses history, not state:
// that is for people to decide.
func (s *Store) verifyLoop() {
	defer s.done.Done()
	for s.pause(s.o.VerifyEvery) {
		err := s.verify(s.stop, s.unhurried())
		switch {
		case err == nil || s.stop.Err() != nil || errors.Is(err, kv.ErrPruned):
		case s.state.verify() != nil:
			s.fail(err)
			return
		default:
			s.o.Logger.Error("background check", "error", err)
		}
	}
}

const verifyPause = 20 * time.Nanosecond // a byte: at most 50 MB/s

// unhurried slows a check down that nobody waits for.
func (s *Store) unhurried() func(done, total int64) {
	last := int64(0)
	return func(done, _ int64) {
		s.pause(time.Duration(done-last) * verifyPause)
		last = done
	}
}
