package badgerkv

import (
	"errors"
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
// that holds no record yet, not even a torn one. A zero header that is used is
// torn or damaged.
func (j *journal) readHeader(seg uint64) (h segHeader, used bool, err error) {
	name := segPath(j.dir, seg)
	f, err := j.fs.Open(name)
	if errors.Is(err, os.ErrNotExist) && seg < j.firstKept() {
		return h, false, fmt.Errorf("%w: journal segment %d", kv.ErrPruned, seg)
	}
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
	b := make([]byte, pageBytes)
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, false, fmt.Errorf("read %s: %w", name, err)
	}
	if h, ok := decodeSegHeader(b); ok {
		return h, true, checkHeader(name, h, seg, size)
	}
	// One write starts a segment: its header page and its first record. If it
	// was torn, any part of it may be there.
	b = make([]byte, min(size, pageBytes+recordExtent(maxBodyBytes)))
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, false, fmt.Errorf("read %s: %w", name, err)
	}
	return segHeader{}, !isAll(b, 0), nil
}

// header reads the header of a segment that has one.
func (j *journal) header(seg uint64) (segHeader, error) {
	h, _, err := j.readHeader(seg)
	if err == nil && h.seg == 0 {
		err = &kv.DamageError{File: segPath(j.dir, seg), Offset: 0, What: "segment header is damaged", Do: doRestoreJournal}
	}
	return h, err
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
