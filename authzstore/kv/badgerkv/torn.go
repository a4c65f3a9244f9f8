package badgerkv

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// torn judges the unreadable place at which a cursor stopped in the last segment
// that holds data. It returns how many bytes a torn write left there, 0 if there
// is nothing, and an error if it is damage.
//
// One write is in flight at a time, so a torn write is the last one, nothing
// lies behind it, and at least one of its sectors still has the zeros that were
// there before: more zero sectors than its own header counts, or a header sector
// that is all zeros. Anything else was written completely and changed later.
func (c *cursor) torn() (int64, error) {
	rest, err := c.rest()
	if err != nil || isAll(rest, 0) {
		return 0, err
	}
	for o := int64(pageBytes); o < int64(len(rest)); o += pageBytes {
		if r, extent, _ := decodeRecord(rest[o:]); extent > 0 && r.seq > c.h.seq+1 {
			return 0, c.damage("unreadable record, but record %d follows at offset %d", r.seq, c.at.off+o)
		}
	}
	start := int64(0) // of the record within rest
	headerTorn := false
	if c.at.off == 0 {
		start = pageBytes
		headerTorn = zeroSectors(rest[:pageBytes]) > 0
		if _, ok := decodeSegHeader(rest); !ok && !headerTorn {
			return 0, c.damage("segment header was written completely, its checksum is wrong")
		}
	}
	r, extent, _ := decodeRecord(rest[start:])
	if extent == 0 {
		if !isAll(rest[start:start+sectorBytes], 0) {
			return 0, c.damage("record header was written, its checksum is wrong")
		}
		torn := roundUp(int64(len(bytes.TrimRight(rest, "\x00"))))
		if torn > start+recordExtent(maxBodyBytes) {
			return 0, c.damage("more bytes than one write can leave behind")
		}
		return torn, nil
	}
	switch written := rest[start : start+extent]; {
	case !isAll(rest[start+extent:], 0):
		return 0, c.damage("data behind an unreadable last record")
	case r.seq != c.h.seq+1 || r.prev != c.h.hash:
		return 0, c.damage("unreadable record %d does not continue the chain", r.seq)
	case zeroSectors(written) <= admittedZeroSectors(written) && !headerTorn:
		return 0, c.damage("the last record (%d) was written completely, its checksum is wrong: damaged, not torn", r.seq)
	}
	return start + extent, nil
}

// rest reads the segment from the cursor on.
func (c *cursor) rest() (_ []byte, err error) {
	name := segPath(c.j.dir, c.at.seg)
	f, err := c.j.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size <= c.at.off {
		return nil, err
	}
	b := make([]byte, size-c.at.off)
	if _, err := f.ReadAt(b, c.at.off); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

func (c *cursor) damage(format string, args ...any) error {
	return &kv.DamageError{File: segPath(c.j.dir, c.at.seg), Offset: c.at.off, Seq: c.h.seq, What: fmt.Sprintf(format, args...), Do: doRestoreJournal}
}
