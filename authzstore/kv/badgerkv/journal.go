package badgerkv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// journal appends records. One goroutine appends; any may read.
type journal struct {
	*segments
	now      func() time.Time
	maxBytes int64 // size to which segments grow

	// Of the appending goroutine.
	active disk.File
	at     place // behind the last record
	size   int64 // of the active segment
	head   chain.Link
	buf    []byte
	next   chan spare // gets the next segment; nil if none is being made

	starved atomic.Bool // the next segment cannot be made
	// Ended once nobody waits for a segment any more. One that a commit needs all
	// the same, on a full disk, is then that commit's error.
	stop context.Context
}

// journalIn is the journal of a store's directory, to be read.
func journalIn(dir string, fs disk.FileSystem) *segments {
	return &segments{fs: fs, dir: filepath.Join(dir, "journal"), do: doRestoreJournal}
}

// append writes one batch with one synchronous write and returns the place of
// its body. After an error the journal is not written again.
func (j *journal) append(h chain.Link, units []*chain.Unit, bodyBytes int64) (body place, err error) {
	extent := recordExtent(bodyBytes)
	if j.at.off+extent > j.size {
		if err := j.roll(); err != nil {
			return place{}, err
		}
	}
	j.buf = slices.Grow(j.buf[:0], int(extent))
	b := j.buf[:extent]
	encodeRecord(b, h, units, j.now().UnixMilli())
	if _, err := j.active.WriteAt(b, j.at.off); err != nil {
		return place{}, fmt.Errorf("journal segment %d offset %d: %w", j.at.seg, j.at.off, err)
	}
	body = bodyAt(j.at)
	j.at.off += extent
	j.head = h
	if j.next == nil {
		// Only now: of two empty segments at the journal's end, recovery could not
		// tell the first one from one whose records were lost.
		j.makeSpare(j.at.seg+1, false)
	}
	return body, nil
}

// roll goes on to the next segment.
func (j *journal) roll() error {
	next := <-j.next // in practice it lies ready
	j.next = nil
	if next.err != nil {
		return fmt.Errorf("next journal segment: %w", next.err)
	}
	closed := j.active.Close()
	j.active, j.at = next.file, place{j.at.seg + 1, pageBytes}
	j.size = j.sizeOf(j.at.seg)
	if closed != nil {
		return fmt.Errorf("journal segment %d: %w", j.at.seg-1, closed)
	}
	return nil
}

// forget removes the first segment. Its readers get ErrPruned from now on. If it
// cannot be removed it stays the first one: none behind it may go before it.
func (j *journal) forget(seg uint64) error {
	j.first.Store(seg + 1)
	if err := j.fs.Remove(segPath(j.dir, seg)); err != nil && !os.IsNotExist(err) {
		j.first.Store(seg)
		return err
	}
	return j.fs.SyncDir(j.dir)
}

// close is called once stop has ended.
func (j *journal) close() {
	if j.active != nil {
		j.active.Close()
	}
	if j.next != nil {
		if s := <-j.next; s.err == nil {
			s.file.Close()
		}
	}
}
