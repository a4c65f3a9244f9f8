package badgerkv

import "bytes"

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
		if r, extent, _ := decodeRecord(rest[o:]); extent > 0 && r.Head.Seq > c.h.Seq+1 {
			return 0, c.damage("unreadable record, but record %d follows at offset %d", r.Head.Seq, c.at.off+o)
		}
	}
	r, extent, _ := decodeRecord(rest)
	switch {
	case extent == 0 && !isAll(rest[:sectorBytes], 0):
		return 0, c.damage("record header was written, its checksum is wrong")
	case extent == 0:
		extent = roundUp(int64(len(bytes.TrimRight(rest, "\x00"))))
		if extent > recordExtent(maxBodyBytes) {
			return 0, c.damage("more bytes than one write can leave behind")
		}
	case !isAll(rest[extent:], 0):
		return 0, c.damage("data behind an unreadable last record")
	case r.Head.Seq != c.h.Seq+1 || r.Head.Prev != c.h.Hash:
		return 0, c.damage("unreadable record %d does not continue the chain", r.Head.Seq)
	case zeroSectors(rest[:extent]) <= r.ZeroSectors:
		return 0, c.damage("the last record (%d) was written completely, its checksum is wrong: damaged, not torn", r.Head.Seq)
	}
	return extent, nil
}

// rest reads the segment from the cursor on.
func (c *cursor) rest() ([]byte, error) {
	b := make([]byte, c.size-c.at.off)
	return b, c.d.read(c.at.seg, b, c.at.off)
}

func (c *cursor) damage(format string, args ...any) error {
	return c.d.damage(c.at, c.h.Seq, format, args...)
}
