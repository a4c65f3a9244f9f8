package badgerkv

import (
	"path/filepath"
	"time"
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
		h, used, err := readHeader(osFS{}, filepath.Join(dir, "journal"), n)
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
