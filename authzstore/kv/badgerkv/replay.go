package badgerkv

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/countersign/countersign/authzstore/kv"
)

// replay applies what the journal holds behind the state, in large
// transactions, and finds the journal's end.
func (r *recoverer) replay() error {
	c := r.cursor
	w := &bulk{state: r.state, guard: r.guard}
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
		if err := w.add(values, cost, &applied{r.journal.store, rec.pos()}); err != nil {
			return err
		}
		r.lastAt = rec.at
		r.found.Batches++
		r.found.Bytes += rec.next.off - rec.at.off
	}
	return w.flush()
}

// judgeEnd finds out whether the place where the cursor stopped is the end of the
// journal, a torn write, or damage.
func (r *recoverer) judgeEnd(err error) error {
	c := r.cursor
	if err == nil || errors.Is(err, errUnreadable) && c.at.seg == r.last {
		r.torn, err = c.torn()
	}
	if errors.Is(err, kv.ErrDamaged) && r.o.faults.trustJournal {
		rest, readErr := c.rest()
		r.torn, err = int64(len(rest)), readErr
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

// resumeJournal makes the journal ready to append where the cursor stopped.
func (r *recoverer) resumeJournal() error {
	at := r.cursor.at
	f, err := r.o.fs.OpenSync(segPath(r.dir("journal"), at.seg))
	if err != nil {
		return err
	}
	r.journal.head = r.cursor.h
	r.journal.resume(f, at, r.cursor.size)
	if err := errors.Join(r.wipe(f), r.confirm(f), r.syncNames()); err != nil {
		return err
	}
	return r.resumeSpare()
}

// wipe removes a torn write, so that no later scan meets its remains.
func (r *recoverer) wipe(f file) error {
	if r.torn == 0 || r.o.faults.keepTorn {
		return nil
	}
	at := r.cursor.at
	r.found.TornBytes = r.torn
	r.o.Logger.Warn("wiping a torn journal write", "segment", at.seg, "offset", at.off, "bytes", r.torn)
	_, err := f.WriteAt(make([]byte, r.torn), at.off)
	return err
}

// confirm makes the last record durable, by writing it again as it is. A process
// that was killed, or that met an error, in that write leaves it in the page
// cache: readable, but perhaps not on the disk, and then the next record would
// stand behind a hole after a power loss. Records before it were acknowledged.
func (r *recoverer) confirm(f file) error {
	end := r.cursor.at
	if r.lastAt.seg != end.seg {
		return nil // nothing of this segment was replayed: Badger has only what was durable
	}
	b := make([]byte, end.off-r.lastAt.off)
	if _, err := f.ReadAt(b, r.lastAt.off); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, r.lastAt.off); err != nil {
		return fmt.Errorf("write the last journal record again: %w", err)
	}
	return nil
}

// syncNames makes the names durable that an earlier process may have left in
// memory: of segments, and of the directories of a new store.
func (r *recoverer) syncNames() error {
	err := r.o.fs.SyncDir(r.dir("journal"))
	if r.cursor.h.seq == 0 {
		err = errors.Join(err, r.o.fs.SyncDir(r.o.Dir), r.o.fs.SyncDir(filepath.Dir(r.o.Dir)))
	}
	return err
}

// resumeSpare uses the empty segment that is there, if it is as it would be made.
func (r *recoverer) resumeSpare() error {
	next := r.last + 1
	if r.spare {
		if h, err := r.journal.header(next); err == nil && h.Bytes == r.journal.sizeOf(next) && h.Store == r.journal.store {
			f, err := r.o.fs.OpenSync(segPath(r.dir("journal"), next))
			if err != nil {
				return err
			}
			r.journal.coming = true
			r.journal.spares <- spare{seg: next, size: h.Bytes, file: f}
			return nil
		}
	}
	r.journal.makeSpare(next)
	return nil
}
