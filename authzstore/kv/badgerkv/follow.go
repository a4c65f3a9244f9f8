package badgerkv

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// followEvery is how often Follow looks for more.
const followEvery = 100 * time.Millisecond

// settleTries is how often an unreadable last record is read again before it
// counts as damage: a live store may be writing it right now.
const settleTries = 10

// Follow calls fn for every batch after from, in order, reading the journal of
// the store in dir alone: it takes no lock, writes nothing, and can run beside
// the process that owns the store. What can be read there is not always durable
// yet, so while the store is in use the newest batch is held back until the next
// one follows it: one write is in flight at a time. With wait it goes on until
// ctx ends.
func Follow(ctx context.Context, dir string, from kv.Pos, wait bool, fn func(kv.Batch) error) error {
	f, err := newFollower(dir, from)
	if err != nil {
		return err
	}
	for {
		used, err := inUse(dir)
		if err != nil {
			return err
		}
		if err := f.drain(ctx, used, fn); err != nil {
			return err
		}
		if !wait {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

type follower struct {
	cursor *cursor
	held   *kv.Batch // read, perhaps not durable
}

func newFollower(dir string, from kv.Pos) (*follower, error) {
	d := journalIn(dir, osFS{})
	segs, err := d.listRun()
	if err == nil && len(segs) == 0 {
		err = d.damage(place{}, 0, "no segments")
	}
	if err != nil {
		return nil, err
	}
	d.first.Store(segs[0])
	c, err := d.cursorAfter(from, segs[len(segs)-1])
	if err != nil {
		return nil, err
	}
	c.last = c.at.seg
	return &follower{cursor: c}, nil
}

// drain reads as far as the journal goes.
func (f *follower) drain(ctx context.Context, inUse bool, fn func(kv.Batch) error) error {
	tries := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := f.next()
		if errors.Is(err, kv.ErrDamaged) && inUse && tries < settleTries {
			tries++
			time.Sleep(followEvery / settleTries)
			continue
		}
		if err != nil {
			return err
		}
		tries = 0
		if rec.body == nil {
			break
		}
		batch, err := toBatch(rec)
		if err != nil {
			return err
		}
		if err := f.flush(fn); err != nil {
			return err
		}
		f.held = &batch
	}
	if inUse {
		return nil
	}
	return f.flush(fn)
}

func (f *follower) flush(fn func(kv.Batch) error) error {
	b := f.held
	f.held = nil
	if b == nil {
		return nil
	}
	return fn(*b)
}

// next reads a record, going on to segments that came to be meanwhile. A record
// without a body is the journal's end.
func (f *follower) next() (record, error) {
	for {
		rec, err := f.cursor.next()
		if err != nil || rec.body != nil {
			return rec, err
		}
		empty, err := f.cursor.d.empty(f.cursor.last + 1)
		if errors.Is(err, os.ErrNotExist) {
			return record{}, nil
		}
		if err != nil || empty {
			return record{}, err
		}
		f.cursor.last++
	}
}
