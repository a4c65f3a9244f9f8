package badgerkv

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// Info describes the journal of a directory. Reading it takes no lock and
// changes nothing, so it works beside a running process.
type Info struct {
	StoreID                      [16]byte
	Format, MinReader, MinWriter uint16
	Segments                     []SegmentInfo
	Backups                      []uint64 // sequence numbers, newest first
}

// SegmentInfo is one journal segment; FirstSeq is 0 for a spare.
type SegmentInfo struct {
	Number   uint64
	Bytes    int64
	FirstSeq uint64
	Created  time.Time
}

// ReadInfo reads the headers of a directory's files.
func ReadInfo(dir string) (Info, error) {
	var info Info
	segs, err := listSegments(filepath.Join(dir, "journal"))
	if err != nil {
		return info, err
	}
	for _, n := range segs {
		h, used, err := readHeader(OSFS{}, filepath.Join(dir, "journal"), n)
		if err != nil {
			return info, err
		}
		s := SegmentInfo{Number: n, Bytes: h.size, FirstSeq: h.first}
		if used {
			s.Created = time.UnixMilli(h.createdMs).UTC()
			info.StoreID, info.Format, info.MinReader, info.MinWriter = h.store, h.format, h.minReader, h.minWriter
		}
		info.Segments = append(info.Segments, s)
	}
	info.Backups, err = listBackups(filepath.Join(dir, "backup"))
	return info, err
}

// ReadBatches calls fn for the batches after from that lie in a directory's
// journal, and returns the position of the last one. It takes no lock. Beside a
// running process it leaves the last batch out: its write may be visible and
// not yet durable. owned says that no process runs, or that the caller is it.
func ReadBatches(ctx context.Context, dir string, from kv.Pos, owned bool, fn func(kv.Batch) error) (kv.Pos, error) {
	o, err := Options{Dir: dir}.withDefaults()
	if err != nil {
		return from, err
	}
	j := newJournal(o.FS, filepath.Join(dir, "journal"), o)
	defer j.close()
	segs, err := listSegments(j.dir)
	if err != nil {
		return from, err
	}
	limit := place{}
	for _, n := range segs {
		if _, used, err := readHeader(j.fs, j.dir, n); err != nil {
			return from, err
		} else if used {
			limit.seg = n
		}
	}
	if limit.seg == 0 {
		return from, nil
	}
	j.first = segs[0]
	c, err := j.seekAfter(from, limit)
	if err != nil {
		return from, err
	}
	var held *kv.Batch // not handed out yet
	for {
		if err := ctx.Err(); err != nil {
			return from, err
		}
		rec, err := c.nextIfAny(limit)
		if err != nil {
			return from, err
		}
		if held != nil && (rec.body != nil || owned) {
			if err := fn(*held); err != nil {
				return from, err
			}
			from = held.Pos
		}
		if rec.body == nil {
			return from, nil
		}
		b, err := toBatch(rec)
		if err != nil {
			return from, fmt.Errorf("segment %d offset %d: %w", rec.at.seg, rec.at.off, err)
		}
		held = &b
	}
}

// nextIfAny is next, but the end of the last segment is not an error.
func (c *cursor) nextIfAny(limit place) (record, error) {
	rec, err := c.read()
	if err == nil && rec.body == nil && c.at.seg < limit.seg {
		return c.next(limit)
	}
	return rec, err
}
