package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// Recovery says what Open found and did.
type Recovery struct {
	Batches   int           // replayed from the journal
	Bytes     int64         // of those
	TornBytes int64         // a write that a crash cut short, never acknowledged, was wiped
	Rebuilt   string        // why the state was thrown away; "" if it was not
	Took      time.Duration // from the lock to the end of the replay
}

// Open opens the store in o.Dir, or makes a new one. It refuses with
// kv.ErrDamaged what it cannot put right without losing something.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lockFile, err := lockDir(o.Dir) // before anything is read
	if err != nil {
		return nil, err
	}
	start := o.Now()
	r := &recoverer{ctx: ctx, o: o, guard: &diskGuard{o: o}}
	defer func() {
		if err != nil {
			r.abort()
			err = errors.Join(err, unlockDir(lockFile))
		}
	}()
	if err := r.run(); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	r.found.Took = o.Now().Sub(start)
	s := newStore(o, r)
	s.lockFile = lockFile
	s.start()
	return s, nil
}

func newStore(o Options, r *recoverer) *Store {
	s := &Store{
		o: o, locks: newLockTable(o.MaxWaiters), journal: r.journal, state: r.state, guard: r.guard,
		gather: newGatherer(), recovery: r.found,
		overlay: map[string]latest{}, snapshot: r.state.read(),
		nextSeq: r.journal.head.seq + 1, durable: r.journal.head.pos(), durableTo: r.journal.end(), applied: r.journal.head.seq,
		safeSeq: r.safeSeq,
		wake:    make(chan struct{}, 1), applyWake: make(chan struct{}, 1),
		failed: make(chan struct{}), committed: make(chan struct{}), stop: make(chan struct{}),
	}
	s.moved, s.idle = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	s.current = s.newBatch()
	s.addMark(mark{s.snapshot.txn.ReadTs(), s.applied})
	return s
}

func (s *Store) start() {
	s.guard.makeBallast()
	s.done.Add(1)
	go s.commitLoop()
	go s.applyLoop()
	if s.o.VerifyEvery > 0 {
		s.done.Add(1)
		go s.verifyLoop()
	}
}

// recoverer brings journal and state together.
type recoverer struct {
	ctx   context.Context
	o     Options
	guard *diskGuard
	found Recovery

	journal *journal
	state   *state
	safeSeq uint64

	first, last uint64    // segments that hold data; 0: none
	spare       uint64    // segment without data behind them; 0: none
	oldest      segHeader // of first
	at          applied   // how far the state is
	cursor      *cursor   // there

	end    place // where the journal ends
	lastAt place // of the last record replayed
	torn   int64 // bytes that a torn write left at tornAt
	tornAt place
}

func (r *recoverer) dir(name string) string { return filepath.Join(r.o.Dir, name) }

func (r *recoverer) run() error {
	for _, d := range []string{"journal", "state", "backup"} {
		if err := os.MkdirAll(r.dir(d), 0o700); err != nil {
			return err
		}
	}
	r.journal = newJournal(r.o.fs, r.dir("journal"), r.o)
	if err := r.findSegments(); err != nil {
		return err
	}
	if err := r.guard.check(); err != nil {
		return err
	}
	if err := r.openState(); err != nil {
		return err
	}
	if r.last == 0 {
		return r.create()
	}
	if err := r.bringStateInReach(); err != nil {
		return err
	}
	r.safeSeq = r.at.head.seq // without write-ahead logs all of it comes from tables
	if err := r.replay(); err != nil {
		return err
	}
	return r.resumeJournal()
}

// findSegments looks at the journal's files, and refuses formats that it does
// not know before anything is changed.
func (r *recoverer) findSegments() error {
	dir := r.dir("journal")
	segs, err := listSegments(dir)
	if err != nil || len(segs) == 0 {
		return err
	}
	for i := len(segs) - 1; i >= 0 && r.last == 0; i-- {
		h, used, err := r.journal.readHeader(segs[i])
		switch {
		case err != nil:
			return err
		case used:
			r.last, r.oldest = segs[i], h
		case r.spare != 0:
			return &kv.DamageError{File: segPath(dir, segs[i]), Offset: 0, What: "all zeros, and so is the segment behind it", Do: doRestoreJournal}
		default:
			r.spare = segs[i]
		}
	}
	if r.last == 0 {
		if len(segs) == 1 && segs[0] == 1 {
			return nil // a first start that was cut short
		}
		return &kv.DamageError{File: segPath(dir, segs[0]), Offset: 0, What: "no segment holds data", Do: doRestoreJournal}
	}
	r.first = segs[0]
	if r.first != r.last {
		if r.oldest, err = r.journal.header(r.first); err != nil {
			return err
		}
	}
	r.journal.store, r.journal.first = r.oldest.store, r.first
	return nil
}

// openState opens Badger. Damaged tables are a reason to rebuild; damage that
// hides whether the journal is the state's is a reason to refuse.
func (r *recoverer) openState() (err error) {
	r.state, err = openState(r.dir("state"), r.o)
	if err == nil {
		r.at, err = r.state.applied()
	}
	var damage *kv.DamageError
	if errors.As(err, &damage) && filepath.Ext(damage.File) == ".sst" {
		return r.newState(damage.Error())
	}
	return err
}

// newState throws the state away, if it can be made again, and opens an empty one.
func (r *recoverer) newState(why string) (err error) {
	if r.first > 1 {
		if _, err := r.usableBackup(); err != nil {
			return err
		}
	}
	if r.state != nil {
		if err := r.state.close(); err != nil {
			return err
		}
		r.state = nil
	}
	r.o.Logger.Warn("rebuilding the state from the journal", "why", why)
	r.found.Rebuilt = why
	if err := os.RemoveAll(r.dir("state")); err != nil {
		return err
	}
	if err := os.Mkdir(r.dir("state"), 0o700); err != nil {
		return err
	}
	r.state, err = openState(r.dir("state"), r.o)
	r.at = applied{}
	return err
}

// create starts a new store, unless there are remains of one.
func (r *recoverer) create() error {
	backups, err := listBackups(r.dir("backup"))
	if err != nil {
		return err
	}
	if r.at.head.seq > 0 || len(backups) > 0 {
		return &kv.DamageError{
			File: r.dir("journal"), Offset: -1, Seq: r.at.head.seq, Do: doRestoreJournal,
			What: fmt.Sprintf("the journal is missing; the state holds batches up to %d", r.at.head.seq),
		}
	}
	if err := r.journal.create(); err != nil {
		return err
	}
	// The new directories themselves, or a power loss could take all of it.
	for _, d := range []string{r.o.Dir, filepath.Dir(r.o.Dir)} {
		if err := r.o.fs.SyncDir(d); err != nil {
			return err
		}
	}
	r.journal.makeSpare(2)
	return nil
}

// bringStateInReach makes sure that replaying the kept segments continues what
// the state holds, and puts the cursor there.
func (r *recoverer) bringStateInReach() error {
	r.cursor = &cursor{j: r.journal, at: place{r.first, 0}, h: r.at.head, last: r.last}
	follows := r.at.store == r.journal.store && r.at.head.seq+1 == r.oldest.first && r.at.head.hash == r.oldest.prev
	switch {
	case r.at.head.seq > 0 && r.at.end.seg >= r.first:
		return r.findJunction()
	case r.at.head.seq > 0 && follows: // the state ends exactly where the kept journal begins
		return nil
	case r.first == 1: // replay everything
		r.cursor.h, r.at = head{}, applied{store: r.journal.store}
		return nil
	}
	b, err := r.usableBackup()
	if err != nil {
		return err
	}
	if r.found.Rebuilt == "" {
		if err := r.newState(fmt.Sprintf("the state holds batches up to %d, the journal starts with %d", r.at.head.seq, r.oldest.first)); err != nil {
			return err
		}
	}
	if err := b.load(r.ctx, &bulk{state: r.state, guard: r.guard}); err != nil {
		return err
	}
	if r.at, err = r.state.applied(); err != nil {
		return err
	}
	return r.findJunction()
}

// findJunction proves that the journal contains the state's last batch at its
// place: otherwise it lost its tail, was rolled back, or is another store's.
func (r *recoverer) findJunction() (err error) {
	end := r.at.end
	refuse := func(format string, args ...any) error {
		return &kv.DamageError{
			File: segPath(r.dir("journal"), end.seg), Offset: end.off, Seq: r.at.head.seq, What: fmt.Sprintf(format, args...),
			Do: "the journal lost its end or was rolled back: " + doRestoreJournal,
		}
	}
	if r.at.store != r.journal.store {
		return refuse("the state belongs to store %x, the journal to another store, %x", r.at.store, r.journal.store)
	}
	if end.seg > r.last {
		return refuse("the state holds batches up to %d, in a segment that does not exist or is empty", r.at.head.seq)
	}
	if r.cursor, err = r.journal.cursorAt(end.seg, end.seg); err != nil {
		return err
	}
	for c := r.cursor; c.h.seq < r.at.head.seq; {
		rec, err := c.next()
		if err != nil {
			return err
		}
		if rec.body == nil {
			break
		}
	}
	if c := r.cursor; c.at != end || c.h.pos() != r.at.head.pos() {
		return refuse("the state's last batch is %d with hash %x, the journal has %d with %x there",
			r.at.head.seq, r.at.head.hash[:4], c.h.seq, c.h.hash[:4])
	}
	r.cursor.last = r.last
	return nil
}

func (r *recoverer) abort() {
	if r.state != nil {
		r.state.close()
	}
	if r.journal != nil {
		r.journal.close()
	}
}
