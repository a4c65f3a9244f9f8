package badgerkv

import (
	"cmp"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/countersign/countersign/authzstore/kv/disk"
)

const (
	// Segments grow, so that a first start and a small store are quick. With the
	// largest the next segment was never waited for at 65 000 updates per second.
	firstSegmentBytes = 4 << 20
	maxSegmentBytes   = 64 << 20
	// Zeros are written in small steps, each synced, so that no large write
	// stands in front of a batch in the device's queue. To pace them as well made
	// no difference to what callers see (measured with 1 to 256 of them).
	zeroStepBytes = 256 << 10
	spareRetry    = 200 * time.Millisecond
)

// spare is the next segment: all zeros, written and durable.
type spare struct {
	file disk.File // open for synchronous writes
	err  error
}

func (j *journal) sizeOf(seg uint64) int64 {
	return min(int64(firstSegmentBytes)<<min(seg-1, 8), j.maxBytes)
}

// bytesTo is the size of the segments kept, up to seg.
func (j *journal) bytesTo(seg uint64) (total int64) {
	for kept := j.first.Load(); kept <= seg; kept++ {
		total += j.sizeOf(kept)
	}
	return total
}

// makeSpare prepares a segment in the background, unless it is made, and tries again while the
// disk is full, until the journal stops. Any other error is the next commit's that
// needs the segment: to try for ever would keep the committer, and all who wait
// for it, without an answer (seen after a power cut: every write was an I/O error).
func (j *journal) makeSpare(seg uint64, made bool) {
	next := make(chan spare, 1)
	j.next = next
	go func() {
		var s spare
		for !made {
			s.err = j.makeSegment(seg)
			full := errors.Is(s.err, syscall.ENOSPC) || errors.Is(s.err, syscall.EDQUOT)
			j.starved.Store(full)
			if !full || j.stop.Err() != nil {
				break
			}
			select {
			case <-j.stop.Done():
			case <-time.After(spareRetry):
			}
		}
		if s.err == nil {
			s.file, s.err = j.fs.OpenSync(segPath(j.dir, seg))
		}
		next <- s
	}()
}

// makeSegment makes a file of a header and written zeros. Unwritten extents would
// not do: the first write into one changes metadata, which costs a second write
// for every sync (measured: 161 µs against 96 µs).
func (j *journal) makeSegment(seg uint64) error {
	size := j.sizeOf(seg)
	return j.make(seg, func(f disk.File) error {
		if err := f.Allocate(size); err != nil {
			return fmt.Errorf("preallocate: %w", err)
		}
		step := make([]byte, zeroStepBytes)
		encodeSegHeader(step, seg, j.store, size)
		for off := int64(0); off < size; off += zeroStepBytes {
			_, err := f.WriteAt(step[:min(zeroStepBytes, size-off)], off)
			if err := cmp.Or(err, f.Sync(), j.stop.Err()); err != nil {
				return err
			}
			clear(step[:pageBytes])
		}
		return nil
	})
}
