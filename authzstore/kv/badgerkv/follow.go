package badgerkv

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// followEvery is how often Follow looks for more.
const followEvery = 100 * time.Millisecond

// settleTries is how often an unreadable last record is read again before it
// counts as damage: a live store may be writing it right now.
const settleTries = 10

// Follow calls fn for every batch after from, in order, reading the journal of
// the store in dir alone: it takes no lock, writes nothing, and can run beside
// the process that owns the store. What can be read there is not always durable
// yet: one write is in flight at a time, so of the newest batch it is not known.
// While the store is in use Follow syncs that one itself before it hands it out.
// With wait it goes on until ctx ends.
func Follow(ctx context.Context, dir string, from kv.Pos, wait bool, fn func(kv.Batch) error) error {
	d, segs, err := journalBeside(dir)
	if err != nil {
		return err
	}
	c, err := d.cursorAfter(from, segs[len(segs)-1])
	if err != nil {
		return err
	}
	var held *kv.Batch // read, perhaps not durable
	show := func() error {
		b := held
		if held = nil; b == nil {
			return nil
		}
		return fn(*b)
	}
	for tries := 0; ; {
		inUse, err := disk.InUse(dir) // before reading: what is read after the process ended is all there is
		if err != nil {
			return err
		}
		rec, err := c.next()
		pause := followEvery
		switch {
		case errors.Is(err, kv.ErrDamaged) && inUse && tries < settleTries:
			tries++
			pause /= settleTries
		case err != nil:
			return err
		case rec.body != nil:
			tries, pause = 0, 0
			batch, err := toBatch(rec)
			if err := errors.Join(err, show()); err != nil {
				return err
			}
			held = &batch
		default:
			if inUse && held != nil {
				err = syncSegment(d, c.at.seg)
			}
			if err = errors.Join(err, show()); err != nil || !wait {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// journalBeside is the journal of a store that another process may own, and its
// segments, one at least.
func journalBeside(dir string) (*segments, []uint64, error) {
	d := journalIn(dir, disk.OS{})
	segs, err := d.listRun()
	if errors.Is(err, kv.ErrDamaged) {
		segs, err = d.listRun() // some were removed while the directory was read
	}
	if err == nil && len(segs) == 0 {
		err = d.damage(place{}, 0, "no segments")
	}
	if err == nil {
		d.first.Store(segs[0])
	}
	return d, segs, err
}

// syncSegment makes durable what can be read of a segment, whoever wrote it.
func syncSegment(d *segments, seg uint64) error {
	f, err := d.fs.Open(segPath(d.dir, seg))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Oldest returns the position before the oldest batch of the journal in dir, or a
// later one after which everything is found that was written since the time given.
func Oldest(dir string, since time.Time) (kv.Pos, error) {
	d, segs, err := journalBeside(dir)
	if err != nil {
		return kv.Pos{}, err
	}
	at := segs[0]
	for _, seg := range segs[1:] {
		first, ok, err := d.firstRecord(seg)
		if err != nil {
			return kv.Pos{}, err
		}
		// A segment begins after everything in the one before. One without a record
		// is a spare.
		if !ok || first.WrittenMs >= since.UnixMilli() {
			break
		}
		at = seg
	}
	before, err := d.before(at)
	return before.Pos(), err
}
