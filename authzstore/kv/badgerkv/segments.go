package badgerkv

import (
	"errors"
	"fmt"
	"io"
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

// read fills b from a segment's file.
func (j *journal) read(seg uint64, b []byte, off int64) error {
	name := segPath(j.dir, seg)
	f, err := j.fs.Open(name)
	if errors.Is(err, os.ErrNotExist) && seg < j.firstKept() {
		return fmt.Errorf("%w: journal segment %d", kv.ErrPruned, seg)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(b, off); errors.Is(err, io.EOF) {
		return &kv.DamageError{File: name, Offset: off, What: "truncated", Do: doRestoreJournal}
	} else if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// header reads and checks a segment's page 0.
func (j *journal) header(seg uint64) (segHeader, error) {
	page := make([]byte, pageBytes)
	if err := j.read(seg, page, 0); err != nil {
		return segHeader{}, err
	}
	h, ok := decodeSegHeader(page)
	damage := func(do, format string, args ...any) error {
		return &kv.DamageError{File: segPath(j.dir, seg), What: fmt.Sprintf(format, args...), Do: do}
	}
	switch {
	case !ok:
		return h, damage(doRestoreJournal, "segment header is damaged")
	case h.MinReader > formatVersion || h.Format == 0:
		return h, damage(doUpgrade, "format %d needs a reader of format %d or newer, this program reads up to %d", h.Format, h.MinReader, formatVersion)
	case h.MinWriter > formatVersion:
		return h, damage(doUpgrade, "format %d needs a writer of format %d or newer, this program writes %d", h.Format, h.MinWriter, formatVersion)
	case h.Seg != seg:
		return h, damage(doRestoreJournal, "the file holds segment %d", h.Seg)
	}
	return h, j.read(seg, page, h.Bytes-pageBytes) // or it was truncated
}

// empty: no record was ever written to the segment, not even a part of one.
func (j *journal) empty(seg uint64) (bool, error) {
	b := make([]byte, recordExtent(maxBodyBytes))
	err := j.read(seg, b, pageBytes)
	return isAll(b, 0), err
}

// firstRecord reads the header of a segment's first record. It is not ok if there
// is none, or none that can be read.
func (j *journal) firstRecord(seg uint64) (h recordHeader, ok bool, err error) {
	b := make([]byte, recordHeaderBytes)
	err = j.read(seg, b, pageBytes)
	return h, err == nil && decodeHeader(b, recordMagic, &h), err
}

// before is the head of the record before a segment's first one.
func (j *journal) before(seg uint64) (h head, ok bool, err error) {
	if seg == 1 {
		return head{}, true, nil
	}
	first, ok, err := j.firstRecord(seg)
	return head{seq: first.Seq - 1, hash: first.Prev}, ok, err
}
