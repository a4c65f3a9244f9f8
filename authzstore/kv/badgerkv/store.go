package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
	"github.com/countersign/countersign/authzstore/kv/locks"
	"github.com/countersign/countersign/authzstore/kv/txn"
)

// Store is a kv.Store on a local disk. Its parts, each in a file of its own:
// transactions run under locks (packages locks and txn), are published into the
// current batch (publish.go), which one goroutine writes to the journal
// (commit.go) and another, later, to Badger (apply.go). Readers put the parts
// together again (snap.go).
type Store struct {
	o        Options
	owner    *disk.Lock
	locks    *locks.Table
	journal  *journal
	backups  *segments
	state    *state
	guard    *disk.Guard
	gather   gatherer
	recovery recovery

	mu sync.Mutex // of everything down to the blank line

	active         int  // Updates, Views and Tails that run
	closing        bool // no new ones
	failure        error
	pending        []*batch          // published, not being written yet; the last one is being published to
	layers         []*batch          // durable, not in Badger; oldest first; old slices stay valid
	overlay        map[string]latest // what pending, layers and the batch being written hold: records, counters, last numbers of streams
	snapshot       *snapshot         // of Badger
	nextSeq        uint64
	durable        kv.Pos
	durableTo      place
	segmentLeft    int64 // bytes of the active segment behind durableTo
	applied        uint64
	batches, units uint64 // committed since Open

	undurable int64 // bytes of bodies in pending and the batch being written
	unapplied int64 // cost of layers
	replayed  int64 // of it, what Open brought
	written   int64 // bytes of durable bodies behind the state that was opened
	covered   int64 // of them, those that Badger's tables hold
	committed bool  // the committer has ended

	work    *sync.Cond // on mu: the committer has something to look at
	moved   *sync.Cond // on mu: anything else that somebody waits for
	failed  chan struct{}
	stop    context.Context // background work ends
	cancel  context.CancelFunc
	done    sync.WaitGroup
	pruning sync.Mutex
	closed  func() error
}

var _ kv.Store = (*Store)(nil)

// latest is the newest published value of a key in Badger.
type latest struct {
	val []byte // nil: deleted
	in  *batch
}

// batch is a group of units that becomes one journal record.
type batch struct {
	seq       uint64
	units     []*chain.Unit
	sealing   sync.WaitGroup // callers that still seal their unit
	bodyBytes int64
	cost      int64
	state     map[string][]byte // what it leaves in Badger; set once durable

	head chain.Link
	done chan struct{} // closed when durable or failed
	err  error         // set before done
}

// answer tells everyone who waits for the batch. Only the committer calls it.
func (b *batch) answer(err error) {
	select {
	case <-b.done: // by faults.ackBeforeWrite
	default:
		b.err = err
		close(b.done)
	}
}

// enter admits an Update, View or Tail; leave ends it.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	if s.closing {
		return kv.ErrClosed
	}
	s.active++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.closing {
		s.moved.Broadcast()
		s.work.Signal()
	}
}

// Update implements kv.Store. It runs fn exactly once.
func (s *Store) Update(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
	refs, err := kv.Normalize(refs)
	if err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.locks.Lock(ctx, refs); err != nil {
		return err
	}
	u, b, err := s.runLocked(ctx, refs, fn)
	if u != nil {
		u.Seal() // outside the locks: it encodes and hashes
		b.sealing.Done()
	}
	return s.await(ctx, b, u != nil, err)
}

// runLocked runs fn, publishes what it wrote and releases the locks, also when
// fn panics. It returns the published unit, if any, and the batch whose
// durability the answer has to wait for.
func (s *Store) runLocked(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) (*chain.Unit, *batch, error) {
	defer s.locks.Unlock(refs)
	from := &reader{s: s}
	written, err := txn.Run(refs, from, fn)
	if err != nil || written == nil {
		return nil, from.saw, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	u := &chain.Unit{Unit: *written}
	b, err := s.publish(u, kv.IsUrgent(ctx))
	if errors.Is(err, kv.ErrOverloaded) {
		s.SafeSeq() // there is room again for the next one, if Badger wrote a table meanwhile
	}
	if err != nil {
		return nil, nil, err
	}
	return u, b, nil
}

// await returns err once b, and with it every batch before, is durable.
func (s *Store) await(ctx context.Context, b *batch, wrote bool, err error) error {
	if b == nil {
		return err
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		select {
		case <-b.done: // both: the better answer
		default:
			if wrote {
				return fmt.Errorf("%w: %w", kv.ErrUnknown, ctx.Err())
			}
			return ctx.Err()
		}
	}
	switch {
	case b.err == nil:
		return err
	case wrote:
		// ErrFailed is a promise that nothing was written, so it is not wrapped.
		return fmt.Errorf("%w: %v", kv.ErrUnknown, b.err)
	}
	return b.err
}

// fail stops the store and returns why it did. The committer then gives up what
// is waiting.
func (s *Store) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = fmt.Errorf("%w: %w", kv.ErrFailed, cause)
		close(s.failed)
		s.o.Logger.Error("store failed", "error", cause)
	}
	s.moved.Broadcast()
	s.work.Signal()
	return s.failure
}

// ID implements kv.Store. It stands in every segment's header.
func (s *Store) ID() [16]byte { return s.journal.store }

// Failed implements kv.Store.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Close implements kv.Store.
func (s *Store) Close() error { return s.closed() }

func (s *Store) close() error {
	s.mu.Lock()
	s.closing = true
	s.moved.Broadcast()
	s.work.Signal()
	for s.active > 0 {
		s.moved.Wait()
	}
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
	s.release(s.snapshot)
	s.guard.OK() // gives the ballast up, if need be: Badger writes what it has in memory
	err := s.state.db.Close()
	s.journal.close()
	return errors.Join(err, s.owner.Release())
}

// Stats is what a metrics page shows.
type Stats struct {
	Seq            uint64 // last durable batch
	Applied        uint64 // last batch in Badger
	Batches, Units uint64 // committed since Open
	UndurableBytes int64
	UnappliedBytes int64
	JournalBytes   int64 // of all segments kept, full or not
	Waiters        int   // transactions that wait for a record
	DiskPaused     bool  // Badger is left alone for want of free disk
}

// Stats returns a moment's numbers.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Seq: s.durable.Seq, Applied: s.applied, Batches: s.batches, Units: s.units,
		UndurableBytes: s.undurable, UnappliedBytes: s.unapplied,
		JournalBytes: s.journal.bytesTo(s.durableTo.seg), Waiters: s.locks.Waiters(), DiskPaused: s.guard.Paused(),
	}
}
