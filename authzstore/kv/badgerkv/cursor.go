package badgerkv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// cursor reads the records of a journal one after another and checks the chain.
// Everything that reads records does it with one: recovery, Verify, Tail, Follow
// and Prune.
type cursor struct {
	j    *journal
	at   place  // of the next record; offset 0: of the segment's header
	h    head   // of the record before at
	last uint64 // segment in which the journal ends
	size int64  // of the segment; 0: not known
}

// errUnreadable comes with damage that may also be a torn write.
var errUnreadable = errors.New("badgerkv: unreadable")

// next returns the record at the cursor, in memory of its own. At the end of the
// journal it returns one without a body. After an error it may be tried again.
func (c *cursor) next() (rec record, err error) {
	for {
		if c.at.off == 0 {
			if err := c.enter(); err != nil {
				return rec, err
			}
		}
		rec, err := c.read()
		if err != nil || rec.body != nil || c.at.seg >= c.last {
			return rec, err
		}
		c.at, c.size = place{c.at.seg + 1, 0}, 0
	}
}

// mustNext is next where a record is known to follow.
func (c *cursor) mustNext() (record, error) {
	rec, err := c.next()
	if err == nil && rec.body == nil {
		err = c.damage("record %d is missing", c.h.seq+1)
	}
	return rec, err
}

// enter goes from a segment's header to its first record.
func (c *cursor) enter() error {
	h, _, err := c.j.readHeader(c.at.seg)
	switch {
	case err != nil:
		return err
	case h.seg == 0:
		return fmt.Errorf("%w: %w", errUnreadable, c.damage("segment header is damaged"))
	case h.first != c.h.seq+1 || h.prev != c.h.hash:
		return c.damage("the segment starts at sequence number %d and does not continue the chain", h.first)
	}
	c.at.off, c.size = pageBytes, h.size
	return nil
}

// read returns a record without a body at the end of a segment.
func (c *cursor) read() (rec record, err error) {
	if c.size == 0 {
		h, err := c.j.header(c.at.seg)
		if err != nil {
			return rec, err
		}
		c.size = h.size
	}
	if c.at.off+pageBytes > c.size {
		return rec, nil
	}
	b := make([]byte, pageBytes)
	if err := c.j.readAt(c.at.seg, b, c.at.off); err != nil || isAll(b, 0) {
		return rec, err
	}
	extent := recordExtent(int64(binary.BigEndian.Uint32(b[8:])))
	if extent > recordExtent(maxBodyBytes) || c.at.off+extent > c.size {
		return rec, fmt.Errorf("%w: %w", errUnreadable, c.damage("record header is damaged"))
	}
	if extent > pageBytes {
		b = append(make([]byte, 0, extent), b...)[:extent]
		if err := c.j.readAt(c.at.seg, b[pageBytes:], c.at.off+pageBytes); err != nil {
			return rec, err
		}
	}
	rec, _, ok := decodeRecord(b)
	if !ok {
		return record{}, fmt.Errorf("%w: %w", errUnreadable, c.damage("a record's checksum is wrong"))
	}
	if rec.seq != c.h.seq+1 || rec.prev != c.h.hash {
		return record{}, c.damage("record %d does not continue the chain", rec.seq)
	}
	rec.at, rec.next = c.at, place{c.at.seg, c.at.off + extent}
	c.at, c.h = rec.next, rec.head
	return rec, nil
}

// cursorAt puts a cursor at the start of a segment.
func (j *journal) cursorAt(seg, last uint64) (*cursor, error) {
	h, err := j.header(seg)
	if err != nil {
		return nil, err
	}
	return &cursor{j: j, at: place{seg, 0}, h: h.before(), last: last}, nil
}

// cursorAfter puts a cursor behind a position that was seen before, and refuses
// if the journal does not contain it.
func (j *journal) cursorAfter(from kv.Pos, last uint64) (*cursor, error) {
	first := j.firstKept()
	var c *cursor
	for seg := last; c == nil; seg-- {
		if seg < first {
			return nil, fmt.Errorf("%w: the journal starts after sequence number %d", kv.ErrPruned, from.Seq+1)
		}
		h, _, err := j.readHeader(seg)
		if err != nil {
			return nil, err
		}
		if h.seg > 0 && h.first <= from.Seq+1 {
			c = &cursor{j: j, at: place{seg, 0}, h: h.before(), last: seg}
		}
	}
	for c.h.seq < from.Seq {
		rec, err := c.next()
		if err == nil && rec.body == nil {
			err = c.damage("the journal ends at %d and once had %d: its end was lost, or it was rolled back", c.h.seq, from.Seq)
		}
		if err != nil {
			return nil, err
		}
	}
	if from.Seq > 0 && from.Hash != (hash{}) && from.Hash != c.h.hash {
		return nil, c.damage("the journal's hash of %d is %x, not %x: rolled back, or another store's", from.Seq, c.h.hash[:4], from.Hash[:4])
	}
	return c, nil
}
