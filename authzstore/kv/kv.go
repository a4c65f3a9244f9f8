package kv

import (
	"context"
	"fmt"
	"time"
)

// Mode says how a transaction uses a declared record.
type Mode uint8

const (
	// Shared records are only read; any number of transactions hold one at once.
	Shared Mode = iota
	// Exclusive records may be written; one transaction at a time holds one.
	Exclusive
)

// Ref declares one record of a transaction. A record declared twice counts as
// Exclusive if either says so.
type Ref struct {
	Key  string // 1 to MaxKey bytes
	Mode Mode
}

// Limits of every backend. Past one the answer is ErrTooBig.
const (
	MaxKey    = 1 << 10   // bytes of a key, of a name of a counter or stream, of an ID
	MaxValue  = 256 << 10 // bytes of a record's value, of a stream's entry
	MaxUpdate = 1 << 20   // bytes of everything that one transaction writes, keys included
	MaxWrites = 2048      // records, counters and entries that one transaction writes
	MaxRefs   = 2048      // records that one transaction declares
)

// Tx is the view of the records declared in refs. It is valid only inside the
// closure and not for concurrent use. It sees its own Put, Delete and Add. Once
// one of its methods failed, nothing is written, also if the closure goes on:
// Update returns that error.
type Tx interface {
	// Get returns a copy of the value, and whether the record exists.
	Get(key string) (val []byte, ok bool, err error)
	Put(key string, val []byte) error
	Delete(key string) error
	// Add adds n to a counter, which needs no ref. The sum must fit an int64.
	Add(counter string, n int64) error
	// Counter returns the sum of everything published so far, plus this
	// transaction's own Add.
	Counter(counter string) (int64, error)
	// Append adds an entry to a stream, which needs no ref. The ID is new and
	// random, or made of such a one: Snap.Record finds the entry by it.
	Append(stream, id string, rec []byte) error
}

// Entry is one entry of a stream.
type Entry struct {
	Stream string
	Num    uint64 // from 1, without gaps
	ID     string
	Rec    []byte
}

// Snap is one consistent, durable view of everything. It is valid only inside
// the closure.
type Snap interface {
	// Get returns a copy of the value, and whether the record exists.
	Get(key string) (val []byte, ok bool, err error)
	// Scan calls fn for each record whose key has the prefix and is ≥ from, in
	// key order, until fn returns an error. fn may keep val.
	Scan(prefix, from string, fn func(key string, val []byte) error) error
	Counter(counter string) (int64, error)
	// Counters is Scan for counters.
	Counters(prefix, from string, fn func(counter string, n int64) error) error
	// Record finds a stream's entry by its ID. A pruned one is not found, or
	// ErrPruned.
	Record(id string) (e Entry, ok bool, err error)
	// Stream calls fn for the entries of a stream with Num ≥ from, in order,
	// until fn returns an error. Pruned entries are left out: Num shows the gap.
	Stream(stream string, from uint64, fn func(Entry) error) error
	// Pos is the last batch that the snapshot contains.
	Pos() Pos
}

// Pos names a batch. The zero Pos is the place before the first one.
type Pos struct {
	Seq  uint64
	Hash [32]byte // of the chain; zero where it is not known
}

// Batch is a group of transactions that became durable together.
type Batch struct {
	Pos
	Prev   [32]byte // hash of the batch before
	Digest [32]byte // Merkle root over Units
	Units  []Unit   // in the order of publication
}

// Unit is what one transaction wrote. Counters are sums, not increments, so
// units can be applied again.
type Unit struct {
	Leaf     [32]byte // SHA-256(0x00 ‖ the unit as the backend stored it)
	Records  []Write
	Counters []Sum
	Entries  []Entry
}

// Write is a record as a transaction left it.
type Write struct {
	Key string
	Val []byte // nil: deleted
}

// Sum is a counter as a transaction left it.
type Sum struct {
	Counter string
	N       int64
}

// Plus returns the sum with n added. The error is ErrTooBig.
func (s Sum) Plus(n int64) (Sum, error) {
	sum := s.N + n
	if (sum > s.N) != (n > 0) {
		return s, fmt.Errorf("%w: counter %q overflows", ErrTooBig, s.Counter)
	}
	s.N = sum
	return s, nil
}

// Retention says which batches Prune may forget. A batch goes when it is past
// MaxAge or MaxBytes, is older than MinAge, is not above Exported, and is not needed
// to recover.
type Retention struct {
	Now      time.Time
	MaxAge   time.Duration // 0: no limit
	MinAge   time.Duration // batches that are no older stay in any case; 0: none do
	MaxBytes int64         // of all batches kept, newest first; 0: no limit
	Exported uint64        // batches above this sequence number stay in any case
}

// Store is a backend.
type Store interface {
	// Update locks refs, runs fn, and returns nil only when the writes are
	// durable. The closure may run again before it commits, so it has no
	// effects outside tx. If fn fails, its error is returned and nothing is
	// written. The package comment says what each error means.
	Update(ctx context.Context, refs []Ref, fn func(Tx) error) error
	// View runs fn on a snapshot that holds every Update that returned before
	// the call, and nothing that is not durable. It takes no locks and never
	// waits for a disk to write. Keep it short: it holds old versions.
	View(ctx context.Context, fn func(Snap) error) error
	// Tail calls fn for every durable batch after from, in order, and waits for
	// more until ctx ends or fn fails; it returns that error. ErrPruned if the
	// batch after from is no longer kept, ErrDamaged if the stored chain is
	// broken or does not contain from.
	Tail(ctx context.Context, from Pos, fn func(Batch) error) error
	// ID is 128 random bits, drawn when the store was made. It stays the same for
	// its life, and a copy of the store has it too.
	ID() [16]byte
	// SafeSeq is the highest sequence number whose batch is no longer needed to
	// recover from a crash. It never falls.
	SafeSeq() uint64
	// Prune forgets batches and the stream entries in them, never records or
	// counters. It returns the first sequence number still kept.
	Prune(ctx context.Context, r Retention) (first uint64, err error)
	// Verify reads everything stored and checks it. progress may be nil; it gets
	// bytes. Damage is ErrDamaged.
	Verify(ctx context.Context, progress func(done, total int64)) error
	// Failed is closed when a commit failed; the owner must then exit.
	Failed() <-chan struct{}
	// Close waits for running closures, makes everything published durable and
	// ends Tail with ErrClosed. What is published, nobody waits for any more and
	// the disk has no room for, it gives up: that was never acknowledged. Close is
	// not called from a closure.
	Close() error
}
