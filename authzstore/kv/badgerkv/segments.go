package badgerkv

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

const tmpName = "unfinished.tmp"

const doRestoreJournal = "keep the directory as it is, put the journal files back from a copy of this volume, or restore a backup; nothing was changed"

// segments reads the segment files of a directory.
type segments struct {
	fs    disk.FileSystem
	dir   string
	do    string        // what an operator should do about a damaged one
	store [16]byte      // whose they are; zero: not known yet
	first atomic.Uint64 // those before it are pruned
}

func segPath(dir string, seg uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.seg", seg))
}

// damage is a kv.DamageError about a place, or about the directory.
func (d *segments) damage(at place, lastGood uint64, format string, args ...any) error {
	e := &kv.DamageError{File: d.dir, Offset: -1, Seq: lastGood, What: fmt.Sprintf(format, args...), Do: d.do}
	if at.seg > 0 {
		e.File, e.Offset = segPath(d.dir, at.seg), at.off
	}
	return e
}

// listSegments returns the numbers of the segment files in order.
func listSegments(dir string) (segs []uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, &kv.DamageError{File: filepath.Join(dir, e.Name()), Offset: -1, What: "not a segment's name", Do: "move the file away"}
		}
		segs = append(segs, n)
	}
	slices.Sort(segs)
	return segs, nil
}

// listRun is listSegments where none may be missing.
func (d *segments) listRun() ([]uint64, error) {
	segs, err := listSegments(d.dir)
	for i := 1; i < len(segs); i++ {
		if segs[i] != segs[i-1]+1 {
			return nil, d.damage(place{segs[i-1] + 1, -1}, 0, "segment is missing between %d and %d", segs[i-1], segs[i])
		}
	}
	return segs, err
}

// make makes a segment file, under its final name once it is durable.
func (d *segments) make(seg uint64, fill func(disk.File) error) error {
	tmp := filepath.Join(d.dir, tmpName)
	f, err := d.fs.Create(tmp)
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Sync(), f.Close())
	if err == nil {
		err = d.fs.Rename(tmp, segPath(d.dir, seg))
	}
	if err != nil {
		return errors.Join(err, d.fs.Remove(tmp))
	}
	return d.fs.SyncDir(d.dir)
}

// read fills b from a segment's file.
func (d *segments) read(seg uint64, b []byte, off int64) error {
	r := segmentReader{d: d}
	defer r.close()
	return r.read(seg, b, off)
}

// segmentReader reads many times, mostly from the same segment. To open the file
// for each entry of a stream took 4.0 µs an entry, this way it takes 1.9 µs.
type segmentReader struct {
	d   *segments
	seg uint64
	f   disk.File // of seg; nil: none is open
}

func (r *segmentReader) read(seg uint64, b []byte, off int64) (err error) {
	if r.f == nil || r.seg != seg {
		r.close()
		r.f, err = r.d.fs.Open(segPath(r.d.dir, seg))
		if errors.Is(err, os.ErrNotExist) {
			err = cmp.Or(r.d.missing(seg), err)
		}
		if err != nil {
			return err
		}
		r.seg = seg
	}
	_, err = r.f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		return r.d.damage(place{seg, off}, 0, "truncated")
	}
	if err != nil {
		return fmt.Errorf("segment %d offset %d: %w", seg, off, err)
	}
	return nil
}

// missing says what it means that there is no such segment: nil if it is yet to
// be made.
func (d *segments) missing(seg uint64) error {
	if seg >= d.first.Load() {
		segs, err := d.listRun() // others may be removed beside a reader that does not own them
		if err != nil || len(segs) == 0 || seg >= segs[0] {
			return err
		}
	}
	return fmt.Errorf("%w: journal segment %d", kv.ErrPruned, seg)
}

func (r *segmentReader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// header reads and checks a segment's page 0.
func (d *segments) header(seg uint64) (segHeader, error) {
	page := make([]byte, pageBytes)
	if err := d.read(seg, page, 0); err != nil {
		return segHeader{}, err
	}
	h, ok := decodeSegHeader(page)
	switch {
	case !ok:
		return h, d.damage(place{seg, 0}, 0, "segment header is damaged")
	case max(h.MinReader, h.MinWriter) > formatVersion || h.Format == 0:
		return h, &kv.DamageError{
			File: segPath(d.dir, seg), What: fmt.Sprintf("format %d needs a reader of format %d or newer and a writer of %d, this program has %d", h.Format, h.MinReader, h.MinWriter, formatVersion),
			Do: "start a newer program",
		}
	case h.Seg != seg:
		return h, d.damage(place{seg, 0}, 0, "the file holds segment %d", h.Seg)
	case d.store != [16]byte{} && h.Store != d.store:
		return h, d.damage(place{seg, 0}, 0, "the file is another store's, %x, not of %x", h.Store, d.store)
	}
	return h, d.read(seg, page, h.Bytes-pageBytes) // or it was truncated
}

// empty: no record was ever written to the segment, not even a part of one, or it
// is yet to be made.
func (d *segments) empty(seg uint64) (bool, error) {
	b := make([]byte, recordExtent(maxBodyBytes))
	err := d.read(seg, b, pageBytes)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return isAll(b, 0), err
}

// firstRecord reads the header of a segment's first record. It is not ok if there
// is none, or none that can be read.
func (d *segments) firstRecord(seg uint64) (h recordHeader, ok bool, err error) {
	b := make([]byte, recordHeaderBytes)
	err = d.read(seg, b, pageBytes)
	return h, err == nil && decodeHeader(b, recordMagic, &h), err
}

// before is the link of the record before a segment's first one.
func (d *segments) before(seg uint64) (chain.Link, error) {
	if seg == 1 {
		return chain.Link{}, nil
	}
	first, ok, err := d.firstRecord(seg)
	if err == nil && !ok {
		err = d.damage(place{seg, pageBytes}, 0, "the segment's first record is missing or damaged")
	}
	return chain.Link{Seq: first.Head.Seq - 1, Hash: first.Head.Prev}, err
}
