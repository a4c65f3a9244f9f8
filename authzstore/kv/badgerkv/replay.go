package badgerkv

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// replay reads what the journal holds behind the state, and finds the journal's
// end. The applier brings it into Badger once the store is open: that takes
// several times as long as to read it.
func (r *recoverer) replay() error {
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		rec, err := r.cursor.next()
		if err != nil || rec.body == nil {
			return r.judgeEnd(err)
		}
		if err := r.add(rec); err != nil {
			return err
		}
	}
}

// add joins a record to the newest layer, as far as a transaction of Badger goes:
// of few layers readers find things fast. What is more than the bound, as when a
// state is made again, goes into Badger at once.
func (r *recoverer) add(rec record) error {
	units, err := decodeUnits(rec)
	if err != nil {
		return err
	}
	cost := int64(0)
	for _, u := range units {
		cost += costOf(u)
	}
	n := len(r.layers)
	if n == 0 || r.layers[n-1].cost+cost > r.state.maxCost {
		r.layers, n = append(r.layers, &batch{state: map[string][]byte{}}), n+1
	}
	b := r.layers[n-1]
	addState(b.state, units, bodyAt(rec.at))
	b.seq, b.head = rec.Head.Seq, rec.Head
	b.bodyBytes += int64(len(rec.body))
	b.cost += cost
	r.unapplied += cost
	r.lastAt = rec.at
	r.recovery.Batches++
	r.recovery.Bytes += int64(len(rec.body))
	for r.recovery.Bytes-r.state.bodies > maxReplayBytes {
		if err := r.guard.Check(); err != nil {
			return err
		}
		oldest := r.layers[0]
		r.layers, r.unapplied, r.applied = r.layers[1:], r.unapplied-oldest.cost, oldest.seq
		if err := r.state.apply(r.journal.store, []*batch{oldest}); err != nil {
			return err
		}
	}
	return nil
}

// judgeEnd finds out whether the place where the cursor stopped is the end of the
// journal, a torn write, or damage.
func (r *recoverer) judgeEnd(err error) error {
	c := r.cursor
	if err == nil || errors.Is(err, errUnreadable) && c.at.seg == r.last {
		r.recovery.TornBytes, err = c.torn()
	}
	if errors.Is(err, kv.ErrDamaged) && r.o.faults.trustJournal {
		rest, readErr := c.rest()
		r.recovery.TornBytes, err = int64(len(rest)), readErr
	}
	return err
}

// resumeJournal makes the journal ready to append where the cursor stopped.
func (r *recoverer) resumeJournal() error {
	at := r.cursor.at
	f, err := r.o.fs.OpenSync(segPath(r.journal.dir, at.seg))
	if err != nil {
		return err
	}
	r.journal.head = r.cursor.h
	r.journal.active, r.journal.at, r.journal.size = f, at, r.cursor.size
	// An earlier process may have left names in memory: of segments, and of the
	// directories of a new store.
	err = errors.Join(r.settle(f), r.o.fs.SyncDir(r.journal.dir))
	if r.cursor.h.Seq == 0 {
		err = errors.Join(err, r.o.fs.SyncDir(r.o.Dir), r.o.fs.SyncDir(filepath.Dir(r.o.Dir)))
	}
	if err != nil {
		return err
	}
	next := r.last + 1
	h, err := r.journal.header(next) // the empty segment that is there serves, if it is as it would be made
	r.journal.makeSpare(next, err == nil && h.Bytes == r.journal.sizeOf(next))
	return nil
}

// settle removes a torn write, so that no later scan meets its remains, and makes
// the last record durable by writing it again as it is. A process that was killed,
// or that met an error, in that write leaves it in the page cache: readable, but
// perhaps not on the disk, and then the next record would stand behind a hole after
// a power loss. Records before it were acknowledged; so were all in a segment of
// which nothing was replayed, as Badger has only what was durable.
func (r *recoverer) settle(f disk.File) error {
	at := r.cursor.at
	from := at.off
	if r.lastAt.seg == at.seg {
		from = r.lastAt.off
	}
	last := make([]byte, at.off-from)
	if _, err := f.ReadAt(last, from); err != nil {
		return err
	}
	if torn := r.recovery.TornBytes; torn > 0 && !r.o.faults.keepTorn {
		r.o.Logger.Warn("wiping a torn journal write", "segment", at.seg, "offset", at.off, "bytes", torn)
		last = append(last, make([]byte, torn)...)
	}
	if _, err := f.WriteAt(last, from); err != nil {
		return fmt.Errorf("settle the journal's end: %w", err)
	}
	return nil
}
