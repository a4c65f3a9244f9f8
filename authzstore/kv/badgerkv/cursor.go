package badgerkv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// cursor reads the records of a journal one after another and checks the chain.
// Everything that reads records does it with one.
type cursor struct {
	d    *segments
	at   place      // of the next record; offset 0: the segment's header is not read yet
	h    chain.Link // of the record before at
	last uint64     // segment that is known to hold a record, or to be the first to be read
	size int64      // of the segment
	read int64      // bytes of records so far
}

// errUnreadable comes with damage that may also be a torn write.
var errUnreadable = errors.New("badgerkv: unreadable")

// next returns the record at the cursor, in memory of its own. At the end of the
// journal, which may grow meanwhile, it returns one without a body. After an error
// it may be tried again.
func (c *cursor) next() (record, error) {
	for {
		rec, err := c.record()
		switch {
		case err != nil || rec.body != nil:
			return rec, err
		case c.at.seg < c.last:
			c.at = place{c.at.seg + 1, 0}
			continue
		}
		empty, err := c.d.empty(c.last + 1)
		if err != nil || empty {
			return record{}, err
		}
		c.last++ // a record may have come to the end of this segment before
	}
}

// record returns one without a body at the end of a segment.
func (c *cursor) record() (rec record, err error) {
	if c.at.off == 0 {
		h, err := c.d.header(c.at.seg)
		if err != nil {
			return rec, err
		}
		c.at.off, c.size = pageBytes, h.Bytes
	}
	if c.at.off+pageBytes > c.size {
		return rec, nil
	}
	b := make([]byte, pageBytes)
	if err := c.d.read(c.at.seg, b, c.at.off); err != nil || isAll(b, 0) {
		return rec, err
	}
	extent := recordExtent(int64(binary.BigEndian.Uint32(b[8:]))) // its header is not checked yet
	if extent > recordExtent(maxBodyBytes) || c.at.off+extent > c.size {
		return rec, fmt.Errorf("%w: %w", errUnreadable, c.damage("record header is damaged"))
	}
	if extent > pageBytes {
		b = append(make([]byte, 0, extent), b...)[:extent]
		if err := c.d.read(c.at.seg, b[pageBytes:], c.at.off+pageBytes); err != nil {
			return rec, err
		}
	}
	rec, _, ok := decodeRecord(b)
	if !ok {
		return record{}, fmt.Errorf("%w: %w", errUnreadable, c.damage("a record's checksum is wrong"))
	}
	if rec.Head.Seq != c.h.Seq+1 || rec.Head.Prev != c.h.Hash {
		return record{}, c.damage("record %d does not continue the chain", rec.Head.Seq)
	}
	rec.at, rec.next = c.at, place{c.at.seg, c.at.off + extent}
	c.at, c.h = rec.next, rec.Head
	c.read += extent
	return rec, nil
}

// nextBatch is next where a record is known to follow, decoded, its digest
// checked.
func (c *cursor) nextBatch() (kv.Batch, error) {
	rec, err := c.next()
	if err == nil && rec.body == nil {
		err = c.damage("record %d is missing", c.h.Seq+1)
	}
	if err != nil {
		return kv.Batch{}, err
	}
	return toBatch(rec)
}

// cursorAt puts a cursor at the start of a segment.
func (d *segments) cursorAt(seg uint64) (*cursor, error) {
	before, err := d.before(seg)
	return &cursor{d: d, at: place{seg, 0}, h: before, last: seg}, err
}

// cursorAfter puts a cursor behind a position that was seen before, and refuses
// if the journal, of which last is the last segment, does not contain it.
func (d *segments) cursorAfter(from kv.Pos, last uint64) (*cursor, error) {
	seg := last
	for first := d.first.Load(); seg > first; seg-- {
		firstIn, ok, err := d.firstRecord(seg)
		if err != nil {
			return nil, err
		}
		if ok && firstIn.Head.Seq-1 <= from.Seq {
			break
		}
	}
	c, err := d.cursorAt(seg)
	if err != nil {
		return nil, err
	}
	if c.h.Seq > from.Seq {
		return nil, fmt.Errorf("%w: the journal starts after sequence number %d", kv.ErrPruned, c.h.Seq)
	}
	for c.h.Seq < from.Seq {
		rec, err := c.next()
		if err == nil && rec.body == nil {
			err = c.damage("the journal ends at %d and once had %d: its end was lost, or it was rolled back", c.h.Seq, from.Seq)
		}
		if err != nil {
			return nil, err
		}
	}
	if from.Seq > 0 && from.Hash != (chain.Hash{}) && from.Hash != c.h.Hash {
		return nil, c.damage("the journal's hash of %d is %x, not %x: rolled back, or another store's", from.Seq, c.h.Hash[:4], from.Hash[:4])
	}
	return c, nil
}
