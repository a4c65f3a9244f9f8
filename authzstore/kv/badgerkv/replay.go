package badgerkv

import (
	"errors"
	"fmt"
	"maps"

	"github.com/countersign/countersign/authzstore/kv"
)

// replay applies what the journal holds behind the state, in large
// transactions, and finds the journal's end.
func (r *recoverer) replay() error {
	c := r.cursor
	w := &bulk{state: r.state, guard: r.guard}
	r.end = c.at
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		rec, err := c.next()
		if err != nil || rec.body == nil {
			if err := r.judgeEnd(err); err != nil {
				return err
			}
			break
		}
		values, cost, err := stateOf(rec)
		if err != nil {
			return err
		}
		if err := w.add(values, cost, &applied{r.journal.store, rec.head, rec.next}); err != nil {
			return err
		}
		r.end, r.lastAt = rec.next, rec.at
		r.found.Batches++
		r.found.Bytes += rec.next.off - rec.at.off
	}
	if c.at.off > 0 { // else nothing of that segment counts
		r.end = c.at
	}
	return w.flush()
}

// judgeEnd finds out whether the place where the cursor stopped is the end of the
// journal, a torn write, or damage.
func (r *recoverer) judgeEnd(err error) error {
	c := r.cursor
	if err == nil || errors.Is(err, errUnreadable) && c.at.seg == r.last {
		r.torn, err = c.torn()
		r.tornAt = c.at
	}
	if errors.Is(err, kv.ErrDamaged) && r.o.faults.trustJournal {
		rest, readErr := c.rest()
		r.torn, r.tornAt, err = int64(len(rest)), c.at, readErr
	}
	return err
}

// stateOf is what a record leaves behind in Badger.
func stateOf(rec record) (values map[string][]byte, cost int64, err error) {
	units, err := decodeUnits(rec)
	values = map[string][]byte{}
	body := place{rec.at.seg, rec.at.off + recordHeaderBytes}
	for _, u := range units {
		u.addTo(values, body)
		body.off += int64(len(u.body))
		cost += u.cost()
	}
	return values, cost, err
}

// bulk merges values into large transactions of Badger.
type bulk struct {
	state  *state
	guard  *diskGuard
	values map[string][]byte
	cost   int64
	at     *applied // what values bring it to; nil: nothing that counts
}

func (w *bulk) add(values map[string][]byte, cost int64, at *applied) error {
	if w.cost+cost > w.state.maxCost {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.values == nil {
		w.values = map[string][]byte{}
	}
	maps.Copy(w.values, values)
	w.cost += cost
	w.at = at
	return nil
}

func (w *bulk) flush() error {
	if len(w.values) == 0 {
		return nil
	}
	if err := w.guard.check(); err != nil {
		return err
	}
	if err := w.state.write(w.values, w.at); err != nil {
		return fmt.Errorf("fill the state: %w", err)
	}
	w.values, w.cost = nil, 0
	return nil
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
	r.journal.resume(f, r.end, size, r.cursor.h)
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
