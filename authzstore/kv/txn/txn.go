// Package txn runs the closure of an Update over what a backend has stored: it
// holds it to the records that were declared and to the limits, lets it see its
// own writes, and collects them. Locks, publication and disk are the backend's.
package txn

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Reader is what a transaction reads that it did not write itself. What it
// returns is the reader's no longer.
type Reader interface {
	Record(key string) (val []byte, ok bool, err error)
	Counter(counter string) (int64, error)
}

var errOver = errors.New("kv: transaction used after its closure")

// Run runs fn and returns what it wrote, nil if that is nothing: counters are
// increments still, and entries have no numbers. The error is that of fn, or the
// first that a method of its Tx returned. refs are as kv.Normalize returns them,
// and locked.
func Run(refs []kv.Ref, from Reader, fn func(kv.Tx) error) (*kv.Unit, error) {
	t := &tx{refs: refs, from: from}
	defer func() { t.from = nil }()
	err := fn(t)
	if err == nil {
		err = t.err
	}
	if err != nil || len(t.writes)+len(t.adds)+len(t.entries) == 0 {
		return nil, err
	}
	return t.unit()
}

// tx implements kv.Tx. Its first error sticks: a closure that ignores it writes
// nothing.
type tx struct {
	refs    []kv.Ref
	from    Reader            // nil: the closure has ended
	writes  map[string][]byte // nil: deleted
	adds    map[string]int64
	entries []kv.Entry
	err     error
}

func (t *tx) fail(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

// declared finds out whether the refs allow that use of a record.
func (t *tx) declared(key string, mode kv.Mode) error {
	if t.from == nil {
		return errOver
	}
	i, ok := slices.BinarySearchFunc(t.refs, key, func(r kv.Ref, k string) int { return cmp.Compare(r.Key, k) })
	switch {
	case !ok:
		return t.fail(fmt.Errorf("%w: %q", kv.ErrUndeclared, key))
	case mode == kv.Exclusive && t.refs[i].Mode == kv.Shared:
		return t.fail(fmt.Errorf("%w: %q is declared shared", kv.ErrUndeclared, key))
	}
	return nil
}

// named checks the names of what needs no ref.
func (t *tx) named(names ...string) error {
	if t.from == nil {
		return errOver
	}
	for _, name := range names {
		if err := kv.CheckKey(name); err != nil {
			return t.fail(err)
		}
	}
	return nil
}

func (t *tx) Get(key string) ([]byte, bool, error) {
	if err := t.declared(key, kv.Shared); err != nil {
		return nil, false, err
	}
	if v, ok := t.writes[key]; ok {
		return slices.Clone(v), v != nil, nil
	}
	v, ok, err := t.from.Record(key)
	return v, ok, t.fail(err)
}

func (t *tx) Put(key string, val []byte) error {
	if err := t.declared(key, kv.Exclusive); err != nil {
		return err
	}
	if len(val) > kv.MaxValue {
		return t.fail(fmt.Errorf("%w: value of %d bytes", kv.ErrTooBig, len(val)))
	}
	t.write(key, append(make([]byte, 0, len(val)), val...)) // a copy, and never nil
	return nil
}

func (t *tx) Delete(key string) error {
	if err := t.declared(key, kv.Exclusive); err != nil {
		return err
	}
	t.write(key, nil)
	return nil
}

func (t *tx) write(key string, val []byte) {
	if t.writes == nil {
		t.writes = map[string][]byte{}
	}
	t.writes[key] = val
}

func (t *tx) Add(counter string, n int64) error {
	if err := t.named(counter); err != nil {
		return err
	}
	sum, err := kv.Sum{Counter: counter, N: t.adds[counter]}.Plus(n)
	if err != nil {
		return t.fail(err)
	}
	if t.adds == nil {
		t.adds = map[string]int64{}
	}
	t.adds[counter] = sum.N
	return nil
}

func (t *tx) Counter(counter string) (int64, error) {
	if err := t.named(counter); err != nil {
		return 0, err
	}
	n, err := t.from.Counter(counter)
	if err != nil {
		return 0, t.fail(err)
	}
	sum, err := kv.Sum{Counter: counter, N: n}.Plus(t.adds[counter])
	if err != nil {
		return 0, t.fail(err)
	}
	return sum.N, nil
}

func (t *tx) Append(stream, id string, rec []byte) error {
	if err := t.named(stream, id); err != nil {
		return err
	}
	if len(rec) > kv.MaxValue {
		return t.fail(fmt.Errorf("%w: entry of %d bytes", kv.ErrTooBig, len(rec)))
	}
	t.entries = append(t.entries, kv.Entry{Stream: stream, ID: id, Rec: slices.Clone(rec)})
	return nil
}

// unit is what was written, in an order that does not depend on maps.
func (t *tx) unit() (*kv.Unit, error) {
	if n := len(t.writes) + len(t.adds) + len(t.entries); n > kv.MaxWrites {
		return nil, fmt.Errorf("%w: %d writes", kv.ErrTooBig, n)
	}
	u, payload := &kv.Unit{}, 0
	for _, k := range slices.Sorted(maps.Keys(t.writes)) {
		u.Records = append(u.Records, kv.Write{Key: k, Val: t.writes[k]})
		payload += len(k) + len(t.writes[k])
	}
	for _, c := range slices.Sorted(maps.Keys(t.adds)) {
		u.Counters = append(u.Counters, kv.Sum{Counter: c, N: t.adds[c]})
		payload += len(c) + 8
	}
	for _, e := range t.entries {
		payload += len(e.Stream) + len(e.ID) + len(e.Rec)
	}
	u.Entries = t.entries
	if payload > kv.MaxUpdate {
		return nil, fmt.Errorf("%w: transaction of %d bytes", kv.ErrTooBig, payload)
	}
	return u, nil
}
