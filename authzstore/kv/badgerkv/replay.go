package badgerkv

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// replay applies what the journal holds behind the state, in large
// transactions, and finds the journal's end.
func (r *recoverer) replay() error {
	w := &replayWriter{r: r, values: map[string][]byte{}}
	h, from := r.at.head, r.at.end
	r.end, r.endHead = from, h
	for num := from.seg; num <= r.last && r.torn == 0; num++ {
		name := segPath(r.dir("journal"), num)
		b, err := readFile(r.o.fs, name, r.buf)
		if err != nil {
			return err
		}
		r.buf = b
		seg := segment{num: num, name: name, size: int64(len(b)), bytes: b, last: num == r.last}
		off := int64(0)
		if num == from.seg {
			off = from.off
		}
		got, err := seg.scan(off, h, w.add)
		if errors.Is(err, kv.ErrDamaged) && r.o.faults.trustJournal {
			got.torn, err = int64(len(b))-got.end, nil
		}
		if err != nil {
			return err
		}
		h = got.head
		if got.torn > 0 {
			r.torn, r.tornAt = got.torn, place{num, got.end}
		}
		if got.end > 0 { // else nothing of this segment counts
			r.end, r.endHead = place{num, got.end}, h
		}
		// The values in w alias the buffer.
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

// replayWriter merges replayed records into transactions of Badger.
type replayWriter struct {
	r      *recoverer
	values map[string][]byte
	size   stateSize
	at     applied
}

func (w *replayWriter) add(rec record) error {
	if err := w.r.ctx.Err(); err != nil {
		return err
	}
	values := map[string][]byte{}
	if err := stateOf(rec, values); err != nil {
		return err
	}
	size := sizeOf(values)
	if len(w.values) > 0 && !w.r.state.fits(w.size.plus(size)) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for k, v := range values {
		w.values[k] = v
	}
	w.size = w.size.plus(size)
	w.at = applied{w.r.journal.store, rec.head, rec.next}
	w.r.lastAt = rec.at
	w.r.found.Batches++
	w.r.found.Bytes += rec.next.off - rec.at.off
	return nil
}

func (w *replayWriter) flush() error {
	if len(w.values) == 0 {
		return nil
	}
	if err := w.r.guard.check(); err != nil {
		return err
	}
	if err := w.r.state.write(w.values, &w.at); err != nil {
		return fmt.Errorf("replay up to %d: %w", w.at.head.seq, err)
	}
	clear(w.values)
	w.size = stateSize{}
	return nil
}

func sizeOf(values map[string][]byte) (size stateSize) {
	for k, v := range values {
		size = size.plus(stateSize{int64(len(k)+len(v)) + 16, 1})
	}
	return size
}

// resumeJournal wipes a torn write, so that no later scan meets its remains, and
// makes the journal ready to append.
func (r *recoverer) resumeJournal() error {
	if r.torn > 0 && !r.o.faults.keepTorn {
		if err := r.wipe(); err != nil {
			return err
		}
	}
	if r.end.off == 0 { // not even the first segment's header was written whole
		if err := r.journal.create(); err != nil {
			return err
		}
		r.end = r.journal.end()
		return r.resumeSpare()
	}
	f, err := r.o.fs.OpenSync(segPath(r.dir("journal"), r.end.seg))
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		err = r.confirm(f)
	}
	if err != nil {
		f.Close()
		return err
	}
	r.journal.resume(f, r.end, size, r.endHead)
	return r.resumeSpare()
}

// confirm makes the last record durable, by writing it again as it is. A process
// that was killed, or that met an error, in that write leaves it in the page
// cache: readable, but perhaps not on the disk, and then the next record would
// stand behind a hole after a power loss. Records before it were acknowledged.
func (r *recoverer) confirm(f file) error {
	start := r.lastAt.off
	switch {
	case r.end.off == pageBytes: // a header page, its record was not reached
		start = 0
	case r.lastAt.seg != r.end.seg:
		return nil // nothing was replayed: Badger has only what was durable
	case start == pageBytes: // the header page was in the same write
		start = 0
	}
	b := make([]byte, r.end.off-start)
	if _, err := f.ReadAt(b, start); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, start); err != nil {
		return fmt.Errorf("write the last journal record again: %w", err)
	}
	return r.o.fs.SyncDir(r.dir("journal")) // and so the segment's name
}

func (r *recoverer) wipe() error {
	f, err := r.o.fs.OpenSync(segPath(r.dir("journal"), r.tornAt.seg))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, r.torn), r.tornAt.off)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	r.found.TornBytes = r.torn
	if r.tornAt.off == 0 { // the write that would have started this segment
		r.spare = r.tornAt.seg
	}
	r.o.Logger.Warn("wiped a torn journal write", "segment", r.tornAt.seg, "offset", r.tornAt.off, "bytes", r.torn)
	return nil
}

// resumeSpare uses the empty segment that is there, if its size is right.
func (r *recoverer) resumeSpare() error {
	next := r.end.seg + 1
	if r.spare == next {
		f, err := r.o.fs.OpenSync(segPath(r.dir("journal"), next))
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err == nil && size == r.journal.sizeOf(next) {
			r.journal.coming = true
			r.journal.spares <- spare{seg: next, size: size, file: f}
			return nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	r.journal.makeSpare(next)
	return nil
}
