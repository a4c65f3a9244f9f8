package kv

import (
	"errors"
	"fmt"
)

// Errors of a Store. All but ErrUnknown guarantee that nothing was written.
var (
	// ErrUnknown: the writes may have happened or may still happen. It is never
	// a "no"; only another Update over the same records tells.
	ErrUnknown = errors.New("kv: outcome unknown")
	// ErrOverloaded: too much is waiting for a record or for the disk; try again
	// later.
	ErrOverloaded = errors.New("kv: overloaded")
	// ErrTooBig: a key, a value, the whole transaction or the sum of a counter is
	// over its limit.
	ErrTooBig = errors.New("kv: too big")
	// ErrUndeclared: the closure touched a record that refs do not name, or
	// wrote one that refs declare Shared.
	ErrUndeclared = errors.New("kv: record not declared")
	// ErrFailed: an earlier commit failed; the process must restart.
	ErrFailed = errors.New("kv: store failed")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("kv: store closed")
	// ErrPruned: that part of the history is no longer kept.
	ErrPruned = errors.New("kv: pruned")
	// ErrDamaged: stored bytes are not what was written. The error is, or wraps,
	// a *DamageError that says where.
	ErrDamaged = errors.New("kv: damaged")
)

// DamageError says what is broken, where, and what to do about it.
type DamageError struct {
	File   string // path of the file; "" if it is not one file
	Offset int64  // byte in File, -1 if the whole file is meant
	Seq    uint64 // last sequence number that is known to be good
	What   string // what is wrong
	Do     string // what the operator should do
}

func (e *DamageError) Error() string {
	where := e.File
	if e.Offset >= 0 && e.File != "" {
		where = fmt.Sprintf("%s offset %d", e.File, e.Offset)
	}
	return fmt.Sprintf("kv: damaged: %s (last good sequence number %d): %s; what to do: %s", where, e.Seq, e.What, e.Do)
}

// Is makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }
