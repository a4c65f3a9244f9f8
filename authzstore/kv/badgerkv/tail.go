package badgerkv

import (
	"context"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// toBatch decodes a record and checks its digest. The batch aliases it.
func toBatch(rec record) (kv.Batch, error) {
	b := kv.Batch{Pos: rec.Head.Pos(), Prev: rec.Head.Prev, Digest: rec.Head.Digest}
	units, err := decodeUnits(rec)
	for _, u := range units {
		u.Leaf = chain.Leaf(u.Bytes)
		b.Units = append(b.Units, u.Unit)
	}
	if err == nil && chain.Digest(units) != rec.Head.Digest {
		err = fmt.Errorf("%w: digest of sequence number %d is wrong", kv.ErrDamaged, rec.Head.Seq)
	}
	return b, err
}

// Tail implements kv.Store. A write is visible in the page cache before it is
// durable, so Tail stops at the durable end, not at the end of what it can read.
func (s *Store) Tail(ctx context.Context, from kv.Pos, fn func(kv.Batch) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.moved.Broadcast()
	})()
	s.mu.Lock()
	last := s.durableTo.seg
	s.mu.Unlock()
	c, err := s.journal.cursorAfter(from, last)
	for err == nil {
		if err = s.waitDurable(ctx, c.h.Seq+1); err != nil {
			break
		}
		var b kv.Batch
		if b, err = c.nextBatch(); err == nil {
			err = fn(b)
		}
	}
	return err
}

// waitDurable waits until a batch is durable.
func (s *Store) waitDurable(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.durable.Seq >= seq:
			return nil
		case s.failure != nil:
			return s.failure
		case s.closing:
			return kv.ErrClosed
		}
		s.moved.Wait()
	}
}
