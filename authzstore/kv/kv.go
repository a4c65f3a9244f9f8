// Package kv is the storage contract of Countersign: closure transactions over
// small binary records, with every record that a transaction may touch
// declared before it starts. It imports nothing of the project.
package kv

import (
	"context"
	"errors"
)

// Mode says how a transaction uses a declared record.
type Mode uint8

const (
	// Shared records are only read; any number of transactions hold one at once.
	Shared Mode = iota
	// Exclusive records may be written; one transaction at a time holds one.
	Exclusive
)

// Ref declares one record of a transaction.
type Ref struct {
	Key  string // at most MaxKey bytes
	Mode Mode
}

// Limits of every backend, in bytes.
const (
	MaxKey   = 1 << 10
	MaxValue = 256 << 10
)

// Errors of Update and View. All but ErrUnknown guarantee that nothing was
// written.
var (
	// ErrUnknown: the writes may have happened or may still happen. It is never
	// a "no"; only another Update over the same records tells.
	ErrUnknown = errors.New("kv: outcome unknown")
	// ErrOverloaded: too much is waiting; try again later.
	ErrOverloaded = errors.New("kv: overloaded")
	// ErrTooBig: a key, a value or the whole transaction is over its limit.
	ErrTooBig = errors.New("kv: too big")
	// ErrUndeclared: the closure touched a record that refs do not name, or
	// wrote one that refs declare Shared.
	ErrUndeclared = errors.New("kv: record not declared")
	// ErrFailed: an earlier commit failed; the process must restart.
	ErrFailed = errors.New("kv: store failed")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("kv: store closed")
)

// Tx is the view of the records declared in refs. It is valid only inside the
// closure and not for concurrent use.
type Tx interface {
	// Get returns a copy of the value, and whether the record exists.
	Get(key string) (val []byte, ok bool, err error)
	Put(key string, val []byte) error
	Delete(key string) error
}

// Snap is one consistent, durable view of all records.
type Snap interface {
	// Get returns a copy of the value, and whether the record exists.
	Get(key string) (val []byte, ok bool, err error)
	// Scan calls fn for each record whose key has the prefix and is ≥ from, in
	// key order, until fn returns an error.
	Scan(prefix, from string, fn func(key string, val []byte) error) error
}

// Store is a backend.
type Store interface {
	// Update locks refs, runs fn, and returns nil only when the writes are
	// durable. The closure may run again before it commits, so it has no
	// effects outside tx. If fn fails, its error is returned and nothing is
	// written.
	Update(ctx context.Context, refs []Ref, fn func(Tx) error) error
	// View runs fn on a snapshot that holds every Update that returned before
	// the call. It takes no locks and never waits for a disk.
	View(ctx context.Context, fn func(Snap) error) error
	// Failed is closed when a commit failed; the owner must then exit.
	Failed() <-chan struct{}
	Close() error
}
