package badgerkv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// journal appends records. One goroutine appends; any may read.
type journal struct {
	fs       fileSystem
	dir      string
	now      func() time.Time
	store    [16]byte
	maxBytes int64 // size to which segments grow

	// Of the appending goroutine.
	active file
	seg    uint64
	off    int64
	size   int64
	head   head
	buf    []byte
	spares chan spare
	coming bool // a spare will be in spares

	fill     atomic.Int64 // off and size for others to look at
	capacity atomic.Int64
	starved  atomic.Bool // the next segment cannot be made
	stop     chan struct{}

	mu    sync.Mutex
	files map[uint64]file // open for reading
	first uint64          // segments before it are pruned
}

func newJournal(fs fileSystem, dir string, o Options) *journal {
	return &journal{
		fs: fs, dir: dir, now: o.Now, maxBytes: o.SegmentBytes,
		spares: make(chan spare, 1), stop: make(chan struct{}), files: map[uint64]file{}, first: 1,
	}
}

// create starts the journal of a new store. A segment 1 without a header may be
// there from an earlier attempt that was cut short.
func (j *journal) create() error {
	if j.store == ([16]byte{}) {
		if _, err := rand.Read(j.store[:]); err != nil {
			return err
		}
	}
	f, err := makeSegment(j.fs, j.dir, 1, j.sizeOf(1), nil)
	if err != nil {
		return err
	}
	page := make([]byte, pageBytes)
	j.headerFor(1, 1, hash{}, j.sizeOf(1)).encode(page)
	if _, err := f.WriteAt(page, 0); err != nil {
		f.Close()
		return err
	}
	j.resume(f, place{1, pageBytes}, j.sizeOf(1), head{})
	return nil
}

// resume continues at the given place.
func (j *journal) resume(f file, at place, size int64, h head) {
	j.active, j.seg, j.off, j.size, j.head = f, at.seg, at.off, size, h
	j.fill.Store(at.off)
	j.capacity.Store(size)
}

func (j *journal) headerFor(seg, first uint64, prev hash, size int64) segHeader {
	return segHeader{
		seg: seg, first: first, prev: prev, store: j.store, createdMs: j.now().UnixMilli(),
		format: formatVersion, minReader: minReader, minWriter: minWriter, size: size,
	}
}

// append writes one batch with one synchronous write and returns the place of
// its body. If the active segment is full, the next one's header page goes into
// the same write, so that rolling costs no sync of its own. After an error the
// journal is not written again.
func (j *journal) append(h head, units []*unit, bodyBytes int64) (body place, err error) {
	extent := recordExtent(bodyBytes)
	f, seg, off, size, lead := j.active, j.seg, j.off, j.size, int64(0)
	if off+extent > size {
		next, err := j.takeSpare()
		if err != nil {
			return place{}, err
		}
		f, seg, off, size, lead = next.file, next.seg, 0, next.size, pageBytes
	}
	if int64(cap(j.buf)) < lead+extent {
		j.buf = make([]byte, lead+extent+64<<10)
	}
	b := j.buf[:lead+extent]
	if lead > 0 {
		j.headerFor(seg, h.seq, h.prev, size).encode(b)
	}
	encodeRecord(b[lead:], h, units)
	if _, err := f.WriteAt(b, off); err != nil {
		if lead > 0 {
			f.Close()
		}
		return place{}, fmt.Errorf("journal segment %d offset %d: %w", seg, off, err)
	}
	if lead > 0 {
		if err := j.active.Close(); err != nil {
			return place{}, fmt.Errorf("journal segment %d: %w", j.seg, err)
		}
		j.makeSpare(seg + 1)
	}
	j.resume(f, place{seg, off + lead + extent}, size, h)
	return place{seg, off + lead + recordHeaderBytes}, nil
}

// end is the place behind the last record.
func (j *journal) end() place { return place{j.seg, j.off} }

const (
	maxOpenSegments = 256
	readAttempts    = 8
)

// reading returns an open file of a segment. It may be closed by the time it is
// read: readAt then asks again.
func (j *journal) reading(seg uint64) (file, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seg < j.first {
		return nil, fmt.Errorf("%w: journal segment %d", kv.ErrPruned, seg)
	}
	if f := j.files[seg]; f != nil {
		return f, nil
	}
	if len(j.files) >= maxOpenSegments {
		for other, f := range j.files { // any one
			f.Close()
			delete(j.files, other)
			break
		}
	}
	f, err := j.fs.Open(segPath(j.dir, seg))
	if err != nil {
		return nil, err
	}
	j.files[seg] = f
	return f, nil
}

// readAt fills b from a segment, whoever appends, prunes or closes meanwhile.
func (j *journal) readAt(seg uint64, b []byte, off int64) (err error) {
	for range readAttempts {
		f, openErr := j.reading(seg)
		if openErr != nil {
			return openErr
		}
		if _, err = f.ReadAt(b, off); err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrClosed) {
			break
		}
	}
	return fmt.Errorf("journal segment %d offset %d: %w", seg, off, err)
}

// readEntry reads one entry of a stream and checks it.
func (j *journal) readEntry(l location) (kv.Entry, error) {
	b := make([]byte, l.len)
	if err := j.readAt(uint64(l.seg), b, int64(l.off)); err != nil {
		return kv.Entry{}, err
	}
	if checksum(b) != l.crc {
		return kv.Entry{}, &kv.DamageError{
			File: segPath(j.dir, uint64(l.seg)), Offset: int64(l.off), What: "checksum of a stream's entry is wrong", Do: doRestoreJournal,
		}
	}
	return decodeEntry(b)
}

// firstKept is the oldest segment.
func (j *journal) firstKept() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first
}

// forget removes the first segment. Its readers get ErrPruned from now on.
func (j *journal) forget(seg uint64) error {
	j.mu.Lock()
	j.first = seg + 1
	if f := j.files[seg]; f != nil {
		f.Close()
		delete(j.files, seg)
	}
	j.mu.Unlock()
	if err := j.fs.Remove(segPath(j.dir, seg)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

func (j *journal) close() {
	close(j.stop)
	if j.active != nil {
		j.active.Close()
	}
	if j.coming {
		if s := <-j.spares; s.file != nil {
			s.file.Close()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.files {
		f.Close()
	}
}
