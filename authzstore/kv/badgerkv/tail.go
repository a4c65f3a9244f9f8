package badgerkv

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// cursor reads records of the live journal one after another, up to a limit.
type cursor struct {
	j   *journal
	at  place
	h   head // of the record before at
	buf []byte

	sizeOf uint64 // segment that size is of
	size   int64
}

// seek puts a cursor at the start of the segment that holds seq.
func (j *journal) seek(seq uint64, limit place) (*cursor, error) {
	first := j.firstKept()
	for seg := limit.seg; ; seg-- {
		if seg < first {
			return nil, fmt.Errorf("%w: the journal starts after sequence number %d", kv.ErrPruned, seq)
		}
		h, err := j.header(seg)
		if err != nil {
			return nil, err
		}
		if h.first <= seq {
			return &cursor{j: j, at: place{seg, pageBytes}, h: head{seq: h.first - 1, hash: h.prev}}, nil
		}
	}
}

func (j *journal) header(seg uint64) (segHeader, error) {
	page := make([]byte, pageBytes)
	if err := j.readAt(seg, page, 0); err != nil {
		return segHeader{}, err
	}
	h, ok := decodeSegHeader(page)
	if !ok || h.seg != seg {
		return h, &kv.DamageError{File: segPath(j.dir, seg), Offset: 0, What: "segment header is damaged", Do: doRestoreJournal}
	}
	return h, nil
}

// next returns the record at the cursor, which lies before limit. It aliases the
// cursor's buffer.
func (c *cursor) next(limit place) (record, error) {
	for {
		rec, err := c.read()
		if err != nil || rec.body != nil {
			return rec, err
		}
		if c.at.seg >= limit.seg { // zeros, but the journal goes on behind them
			return rec, c.damage("a record is missing")
		}
		h, err := c.j.header(c.at.seg + 1)
		if err != nil {
			return rec, err
		}
		if h.first != c.h.seq+1 || h.prev != c.h.hash {
			return rec, c.damage(fmt.Sprintf("the next segment starts at sequence number %d and does not continue the chain", h.first))
		}
		c.at = place{c.at.seg + 1, pageBytes}
	}
}

// read returns a record without a body at the end of a segment.
func (c *cursor) read() (rec record, err error) {
	size, err := c.segmentSize()
	if err != nil || c.at.off+pageBytes > size {
		return rec, err
	}
	c.buf = slices.Grow(c.buf[:0], pageBytes)[:pageBytes]
	if err := c.j.readAt(c.at.seg, c.buf, c.at.off); err != nil || isAll(c.buf, 0) {
		return rec, err
	}
	extent := recordExtent(int64(binary.BigEndian.Uint32(c.buf[8:])))
	if extent > recordExtent(maxBodyBytes) || c.at.off+extent > size {
		return rec, c.damage("record header is damaged")
	}
	c.buf = slices.Grow(c.buf, int(extent))[:extent]
	if extent > pageBytes {
		if err := c.j.readAt(c.at.seg, c.buf[pageBytes:], c.at.off+pageBytes); err != nil {
			return rec, err
		}
	}
	rec, _, ok := decodeRecord(c.buf)
	if !ok {
		return record{}, c.damage("a record's checksum is wrong")
	}
	if rec.seq != c.h.seq+1 || rec.prev != c.h.hash {
		return record{}, c.damage(fmt.Sprintf("record %d does not continue the chain", rec.seq))
	}
	rec.at, rec.next = c.at, place{c.at.seg, c.at.off + extent}
	c.at, c.h = rec.next, rec.head
	return rec, nil
}

// segmentSize reads the header once per segment.
func (c *cursor) segmentSize() (int64, error) {
	if c.sizeOf != c.at.seg {
		h, err := c.j.header(c.at.seg)
		if err != nil {
			return 0, err
		}
		c.sizeOf, c.size = c.at.seg, h.size
	}
	return c.size, nil
}

func (c *cursor) damage(what string) error {
	return &kv.DamageError{File: segPath(c.j.dir, c.at.seg), Offset: c.at.off, Seq: c.h.seq, What: what, Do: doRestoreJournal}
}

// toBatch decodes a record into memory of its own and checks its digest.
func toBatch(rec record) (kv.Batch, error) {
	rec.body = slices.Clone(rec.body)
	b := kv.Batch{Pos: rec.pos(), Prev: rec.prev, Digest: rec.digest}
	var leaves []hash
	var u *kv.Unit
	err := decodeBody(rec, unitSink{
		unit: func(raw []byte) {
			leaves = append(leaves, leafOf(raw))
			b.Units = append(b.Units, kv.Unit{Leaf: leaves[len(leaves)-1]})
			u = &b.Units[len(b.Units)-1]
		},
		write: func(kind byte, key string, val []byte) {
			switch kind {
			case kindCounter:
				u.Counters = append(u.Counters, kv.Sum{Counter: key, N: int64(binary.BigEndian.Uint64(val))})
			case kindDelete:
				u.Records = append(u.Records, kv.Write{Key: key})
			default:
				u.Records = append(u.Records, kv.Write{Key: key, Val: val})
			}
		},
		entry: func(e kv.Entry, at, size int) { u.Entries = append(u.Entries, e) },
	})
	if err == nil && merkleRoot(leaves) != rec.digest {
		err = fmt.Errorf("%w: digest of sequence number %d is wrong", kv.ErrDamaged, rec.seq)
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
		limit, err := s.waitDurable(ctx, seq)
		if err != nil {
			return err
		}
		if c == nil {
			if c, err = s.journal.seekAfter(from, limit); err != nil {
				return err
			}
		}
		rec, err := c.next(limit)
		if err != nil {
			return err
		}
		b, err := toBatch(rec)
		if err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
	}
}

// seekAfter puts a cursor behind a position that was seen before, and refuses
// if the journal does not contain it.
func (j *journal) seekAfter(from kv.Pos, limit place) (*cursor, error) {
	c, err := j.seek(from.Seq+1, limit)
	if err != nil {
		return nil, err
	}
	for c.h.seq < from.Seq {
		if _, err := c.next(limit); err != nil {
			return nil, err
		}
	}
	if from.Seq > 0 && from.Hash != (hash{}) && from.Hash != c.h.hash {
		return nil, c.damage(fmt.Sprintf("the journal's hash of %d is %x, not %x: rolled back, or another store's", from.Seq, c.h.hash[:4], from.Hash[:4]))
	}
	return c, nil
}

// waitDurable waits until a batch is durable.
func (s *Store) waitDurable(ctx context.Context, seq uint64) (place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.durable.Seq+1 {
		return place{}, &kv.DamageError{
			File: s.journal.dir, Offset: -1, Seq: s.durable.Seq, Do: doRestoreJournal,
			What: fmt.Sprintf("the journal ends at %d and once had %d: its end was lost, or it was rolled back", s.durable.Seq, seq-1),
		}
	}
	for s.durable.Seq < seq {
		switch {
		case ctx.Err() != nil:
			return place{}, ctx.Err()
		case s.failure != nil:
			return place{}, s.failure
		case s.closing:
			return place{}, kv.ErrClosed
		}
		s.moved.Wait()
	}
	if err := ctx.Err(); err != nil {
		return place{}, err
	}
	return s.durableTo, nil
}
