package badgerkv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
)

const (
	doRestoreJournal = "keep the directory as it is, put the journal files back from a copy of this volume, or restore a backup; nothing was changed"
	doUpgrade        = "start a newer program"
)

func segPath(dir string, seg uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.seg", seg))
}

// listSegments returns the numbers of the segment files, which must be in one run.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, &kv.DamageError{File: filepath.Join(dir, e.Name()), Offset: -1, What: "not a segment's name", Do: "move the file away"}
		}
		segs = append(segs, n)
	}
	slices.Sort(segs)
	for i := 1; i < len(segs); i++ {
		if segs[i] != segs[i-1]+1 {
			return nil, &kv.DamageError{
				File: segPath(dir, segs[i-1]+1), Offset: -1, Do: doRestoreJournal,
				What: fmt.Sprintf("segment is missing between %d and %d", segs[i-1], segs[i]),
			}
		}
	}
	return segs, nil
}

// readHeader reads a segment's page 0. used is false for a spare: a segment
// that holds no record yet, not even a torn one.
func readHeader(fs fileSystem, dir string, seg uint64) (h segHeader, used bool, err error) {
	name := segPath(dir, seg)
	f, err := fs.Open(name)
	if err != nil {
		return h, false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return h, false, err
	}
	if size < pageBytes {
		return h, false, &kv.DamageError{File: name, Offset: size, What: "truncated", Do: doRestoreJournal}
	}
	// One write starts a segment: its header page and its first record. If it
	// was torn, any part of it may be there.
	b := make([]byte, min(size, pageBytes+recordExtent(maxBodyBytes)))
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, false, fmt.Errorf("read %s: %w", name, err)
	}
	if isAll(b, 0) {
		return h, false, nil
	}
	h, ok := decodeSegHeader(b)
	if !ok {
		return segHeader{}, true, nil // torn or damaged: the scan tells which
	}
	return h, true, checkHeader(name, h, seg, size)
}

func checkHeader(name string, h segHeader, seg uint64, size int64) error {
	bad := func(off int64, do, format string, args ...any) error {
		return &kv.DamageError{File: name, Offset: off, Seq: h.first - 1, What: fmt.Sprintf(format, args...), Do: do}
	}
	switch {
	case h.minReader > formatVersion || h.format == 0:
		return bad(0, doUpgrade, "format %d needs a reader of format %d or newer, this program reads up to %d", h.format, h.minReader, formatVersion)
	case h.minWriter > formatVersion:
		return bad(0, doUpgrade, "format %d needs a writer of format %d or newer, this program writes %d", h.format, h.minWriter, formatVersion)
	case h.seg != seg:
		return bad(0, doRestoreJournal, "the file holds segment %d", h.seg)
	case size < h.size:
		return bad(size, doRestoreJournal, "truncated: %d of %d bytes", size, h.size)
	}
	return nil
}

// segment is one segment in memory, to be scanned.
type segment struct {
	num   uint64
	name  string
	size  int64 // of the file
	bytes []byte
	last  bool // no later segment holds data
}

// scanned is where a scan ended.
type scanned struct {
	head head
	end  int64
	torn int64 // bytes from end on that a torn write left behind
}

// scan walks the records of a segment from off, which follows h, and decides
// what the first unreadable place is: the end, a torn write, or damage.
func (s segment) scan(off int64, h head, fn func(record) error) (scanned, error) {
	if off == 0 {
		sh, ok := decodeSegHeader(s.bytes)
		if !ok {
			return s.classify(0, h)
		}
		if err := checkHeader(s.name, sh, s.num, s.size); err != nil {
			return scanned{head: h}, err
		}
		if sh.first != h.seq+1 || sh.prev != h.hash {
			return scanned{head: h}, s.damage(0, h, "the segment starts at sequence number %d and does not continue the chain", sh.first)
		}
		off = pageBytes
	}
	for off < int64(len(s.bytes)) {
		r, extent, ok := decodeRecord(s.bytes[off:])
		if !ok {
			return s.classify(off, h)
		}
		if r.seq != h.seq+1 || r.prev != h.hash {
			return scanned{head: h, end: off}, s.damage(off, h, "record %d does not continue the chain", r.seq)
		}
		r.at, r.next = place{s.num, off}, place{s.num, off + extent}
		if fn != nil {
			if err := fn(r); err != nil {
				return scanned{head: h, end: off}, err
			}
		}
		h, off = r.head, off+extent
	}
	return scanned{head: h, end: off}, nil
}

// classify judges the first place that is not a good record. One write is in
// flight at a time, so a torn write is the last one, nothing lies behind it, and
// at least one of its sectors still has the zeros that were there before: more
// zero sectors than its own header counts, or a header sector that is all
// zeros. Anything else was written completely and changed later.
func (s segment) classify(off int64, h head) (scanned, error) {
	rest := s.bytes[off:]
	clean := scanned{head: h, end: off}
	if isAll(rest, 0) {
		return clean, nil
	}
	if !s.last {
		return clean, s.damage(off, h, "unreadable record, and a later segment holds data")
	}
	for o := int64(pageBytes); o < int64(len(rest)); o += pageBytes {
		if r, extent, _ := decodeRecord(rest[o:]); extent > 0 && r.seq > h.seq+1 {
			return clean, s.damage(off, h, "unreadable record, but record %d follows at offset %d", r.seq, off+o)
		}
	}
	start := int64(0) // of the record within rest
	headerTorn := false
	if off == 0 {
		start = pageBytes
		headerTorn = zeroSectors(rest[:pageBytes]) > 0
		if _, ok := decodeSegHeader(rest); !ok && !headerTorn {
			return clean, s.damage(off, h, "segment header was written completely, its checksum is wrong")
		}
	}
	r, extent, _ := decodeRecord(rest[start:])
	if extent == 0 {
		if !isAll(rest[start:start+sectorBytes], 0) {
			return clean, s.damage(off+start, h, "record header was written, its checksum is wrong")
		}
		torn := roundUp(int64(len(bytes.TrimRight(rest, "\x00"))))
		if torn > start+recordExtent(maxBodyBytes) {
			return clean, s.damage(off, h, "more bytes than one write can leave behind")
		}
		return scanned{head: h, end: off, torn: torn}, nil
	}
	switch written := rest[start : start+extent]; {
	case !isAll(rest[start+extent:], 0):
		return clean, s.damage(off+start+extent, h, "data behind an unreadable last record")
	case r.seq != h.seq+1 || r.prev != h.hash:
		return clean, s.damage(off+start, h, "unreadable record %d does not continue the chain", r.seq)
	case zeroSectors(written) <= admittedZeroSectors(written) && !headerTorn:
		return clean, s.damage(off+start, h, "the last record (%d) was written completely, its checksum is wrong: damaged, not torn", r.seq)
	}
	return scanned{head: h, end: off, torn: start + extent}, nil
}

func (s segment) damage(off int64, h head, format string, args ...any) error {
	return &kv.DamageError{File: s.name, Offset: off, Seq: h.seq, What: fmt.Sprintf(format, args...), Do: doRestoreJournal}
}
