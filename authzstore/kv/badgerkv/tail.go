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
	var c *cursor
	for seq := from.Seq + 1; ; seq++ {
		last, err := s.waitDurable(ctx, seq)
		if err != nil {
			return err
		}
		if c == nil {
			if c, err = s.journal.cursorAfter(from, last); err != nil {
				return err
			}
		}
		b, err := c.nextBatch()
		if err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
	}
}

// waitDurable waits until a batch is durable and returns the last segment then.
func (s *Store) waitDurable(ctx context.Context, seq uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.durable.Seq+1 {
		return 0, s.journal.damage(place{}, s.durable.Seq,
			"the journal ends at %d and once had %d: its end was lost, or it was rolled back", s.durable.Seq, seq-1)
	}
	for {
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case s.durable.Seq >= seq:
			return s.durableTo.seg, nil
		case s.failure != nil:
			return 0, s.failure
		case s.closing:
			return 0, kv.ErrClosed
		}
		s.moved.Wait()
	}
}
