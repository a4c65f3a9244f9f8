package badgerkv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
	"github.com/countersign/countersign/authzstore/kv/locks"
)

// recovery says what Open found and did.
type recovery struct {
	Batches   int    // replayed from the journal
	Bytes     int64  // of their bodies
	TornBytes int64  // a write that a crash cut short, never acknowledged, was wiped
	Rebuilt   string // why the state was thrown away; "" if it was not
}

// Open opens the store in o.Dir, or makes a new one. It refuses with
// kv.ErrDamaged what it cannot put right without losing something.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	o = o.withDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	owner, err := disk.Own(o.Dir) // before anything is read: preparing state/ deletes files
	if err != nil {
		return nil, err
	}
	stop, cancel := context.WithCancel(context.Background())
	r := &recoverer{ctx: ctx, Store: &Store{
		o: o, owner: owner, locks: locks.New(maxWaiters), stop: stop, cancel: cancel,
		journal: &journal{segments: journalIn(o.Dir, o.fs), now: o.Now, maxBytes: o.segmentBytes, stop: stop},
		backups: &segments{fs: o.fs, dir: filepath.Join(o.Dir, "backup"), do: doBackup},
		guard:   &disk.Guard{FS: o.fs, Dir: o.Dir, MinFreeBytes: o.MinFreeBytes, BallastBytes: o.BallastBytes, Logger: o.Logger},
		overlay: map[string]latest{}, failed: make(chan struct{}),
	}}
	defer func() {
		if err != nil {
			cancel()
			if r.state != nil {
				r.state.db.Close()
			}
			r.journal.close()
			err = errors.Join(err, owner.Release())
		}
	}()
	if err := r.run(); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	r.start()
	return r.Store, nil
}

// start goes on where the recovery ended.
func (s *Store) start() {
	s.nextSeq, s.durable = s.journal.head.Seq+1, s.journal.head.Pos()
	s.written, s.replayed = s.recovery.Bytes, s.unapplied
	s.snapshot = s.state.read()
	for _, b := range s.layers {
		for k, v := range b.state {
			if ns := k[:1]; ns == nsRecord || ns == nsCounter || ns == nsStream {
				s.overlay[k] = latest{v, b}
			}
		}
	}
	s.durableTo, s.segmentLeft = s.journal.at, s.journal.size-s.journal.at.off
	s.work, s.moved = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	s.closed = sync.OnceValue(s.close)
	s.SafeSeq()
	s.guard.MakeBallast()
	s.done.Add(2)
	go s.commitLoop()
	go s.applyLoop()
	if s.o.VerifyEvery > 0 {
		s.done.Add(1)
		go s.verifyLoop()
	}
}

// recoverer brings journal and state of a store together that does not run yet.
type recoverer struct {
	*Store
	ctx context.Context

	last   uint64     // segment that holds data, or segment 1; 0: there is none
	before chain.Link // of the record before the first one kept
	at     applied    // how far the state is
	cursor *cursor    // there

	lastAt place // of the last record replayed
}

func (r *recoverer) dir(name string) string { return filepath.Join(r.o.Dir, name) }

func (r *recoverer) run() error {
	for _, step := range []func() error{
		r.makeDirs, r.findSegments, r.removeRemains, r.guard.Check, r.openState, r.create, r.findPlace, r.replay, r.resumeJournal,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *recoverer) makeDirs() error {
	return errors.Join(os.MkdirAll(r.dir("journal"), 0o700), os.MkdirAll(r.dir("state"), 0o700), os.MkdirAll(r.dir("backup"), 0o700))
}

// oldState is a state that is being thrown away.
const oldState = "state.old"

// removeRemains removes what is of no use any more, of a process that was killed
// too. Unfinished segments of the journal are written over.
func (r *recoverer) removeRemains() error {
	return errors.Join(os.RemoveAll(r.dir(oldState)), os.RemoveAll(filepath.Join(r.backups.dir, tmpName)))
}

// findSegments looks at the journal's files, and refuses formats that it does
// not know before anything is changed.
func (r *recoverer) findSegments() error {
	segs, err := r.journal.listRun()
	if err != nil || len(segs) == 0 {
		return err
	}
	first := segs[0]
	r.last = segs[len(segs)-1]
	r.journal.first.Store(first)
	empty, err := r.journal.empty(r.last)
	if err == nil && empty && r.last > first {
		r.last-- // it is the spare
		empty, err = r.journal.empty(r.last)
	}
	if err != nil {
		return err
	}
	if empty && r.last > 1 {
		return r.journal.damage(place{r.last, pageBytes}, 0, "no record, and none follows")
	}
	if r.before, err = r.journal.before(first); err != nil {
		return err
	}
	h, err := r.journal.header(first)
	if err != nil {
		return err
	}
	r.journal.store, r.backups.store = h.Store, h.Store
	_, err = r.journal.header(r.last)
	return err
}

// openState opens Badger. Damaged tables are a reason to rebuild it from the
// journal; damage that hides whether the journal is the state's, or a journal
// that is missing, is a reason to refuse.
func (r *recoverer) openState() (err error) {
	r.state, err = openState(r.dir("state"), r.o)
	if err == nil {
		r.at, err = r.state.readApplied()
	}
	var damage *kv.DamageError
	if errors.As(err, &damage) && filepath.Ext(damage.File) == ".sst" && r.last > 0 {
		r.recovery.Rebuilt, err = damage.Error(), nil
	}
	return err
}

// rebuild throws the state away, if it can be made again, and begins a new one:
// with the newest good backup where segments were pruned.
func (r *recoverer) rebuild() (err error) {
	pruned, backup := r.before.Seq > 0, uint64(0)
	if pruned {
		if backup, err = r.usableBackup(); err != nil {
			return err
		}
	}
	r.o.Logger.Warn("rebuilding the state from the journal", "why", r.recovery.Rebuilt)
	if r.state != nil {
		err = r.state.db.Close()
	}
	dir := r.dir("state")
	if err == nil {
		err = r.o.fs.Rename(dir, r.dir(oldState)) // in one step: half a state is refused
	}
	if err == nil {
		err = errors.Join(r.o.fs.SyncDir(r.o.Dir), r.removeRemains(), os.Mkdir(dir, 0o700))
	}
	if err != nil {
		return err
	}
	if r.state, err = openState(dir, r.o); err != nil {
		return err
	}
	if pruned { // what is applied goes in last: a load that was cut short is not mistaken for a state
		err = r.backups.readBackup(r.ctx, backup, func(values map[string][]byte) error {
			if err := r.guard.Check(); err != nil {
				return err
			}
			_, err := r.state.write(values)
			return err
		})
	}
	if err == nil {
		r.at, err = r.state.readApplied()
	}
	return err
}

// create starts a new store where there is no journal, unless there are remains
// of one.
func (r *recoverer) create() error {
	if r.last > 0 {
		return nil
	}
	backups, err := listSegments(r.backups.dir)
	if err != nil {
		return err
	}
	if r.at.Seq > 0 || len(backups) > 0 {
		return r.journal.damage(place{}, r.at.Seq, "the journal is missing; the state holds batches up to %d", r.at.Seq)
	}
	rand.Read(r.journal.store[:])
	r.journal.first.Store(1)
	r.last, r.backups.store = 1, r.journal.store
	return r.journal.makeSegment(1)
}

// findPlace puts the cursor behind the state's last batch. That proves that the
// journal contains it: otherwise the journal lost its tail, was rolled back, or
// is another store's. A state that is too old for the segments kept is made
// again.
func (r *recoverer) findPlace() (err error) {
	if r.at.Seq > 0 && r.at.Store != r.journal.store {
		return r.journal.damage(place{}, r.at.Seq, "it belongs to store %x, the state to another store, %x", r.journal.store, r.at.Store)
	}
	if r.recovery.Rebuilt == "" && r.at.Seq < r.before.Seq {
		r.recovery.Rebuilt = fmt.Sprintf("the state holds batches up to %d, the journal starts after %d", r.at.Seq, r.before.Seq)
	}
	if r.recovery.Rebuilt != "" {
		if err := r.rebuild(); err != nil {
			return err
		}
	}
	r.applied = r.at.Seq
	r.state.mark(r.applied)
	if r.cursor, err = r.journal.cursorAfter(r.at.Pos, r.last); err == nil {
		r.cursor.last = r.last // whatever lies between has to be records
	}
	return err
}
