package badgerkv

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

var errOver = errors.New("badgerkv: transaction used after its closure")

// tx implements kv.Tx. Its first error sticks: a closure that ignores it
// publishes nothing.
type tx struct {
	s       *Store
	refs    []kv.Ref          // normalized
	writes  map[string][]byte // nil: deleted
	adds    map[string]int64
	entries []kv.Entry
	cells   map[string]*cell // pinned, by key in Badger
	saw     *batch           // newest batch read that was not durable
	err     error
}

func checkKey(key string) error {
	if key == "" || len(key) > kv.MaxKey {
		return fmt.Errorf("%w: key of %d bytes, want 1 to %d", kv.ErrTooBig, len(key), kv.MaxKey)
	}
	return nil
}

func (t *tx) fail(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

// declared finds out whether the refs allow that use of a record.
func (t *tx) declared(key string, mode kv.Mode) error {
	if t.s == nil {
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

func (t *tx) Get(key string) ([]byte, bool, error) {
	if err := t.declared(key, kv.Shared); err != nil {
		return nil, false, err
	}
	if v, ok := t.writes[key]; ok {
		return slices.Clone(v), v != nil, nil
	}
	v, ok, from, err := t.s.readLatest(nsRecord + key)
	t.note(from)
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
	if _, err := t.pin(nsCounter, counter); err != nil {
		return err
	}
	sum, ok := addInt64(t.adds[counter], n)
	if !ok {
		return t.fail(fmt.Errorf("%w: counter %q overflows", kv.ErrTooBig, counter))
	}
	if t.adds == nil {
		t.adds = map[string]int64{}
	}
	t.adds[counter] = sum
	return nil
}

func (t *tx) Counter(counter string) (int64, error) {
	c, err := t.pin(nsCounter, counter)
	if err != nil {
		return 0, err
	}
	n, from := t.s.readCell(c)
	t.note(from)
	sum, ok := addInt64(n, t.adds[counter])
	if !ok {
		return 0, t.fail(fmt.Errorf("%w: counter %q overflows", kv.ErrTooBig, counter))
	}
	return sum, nil
}

func (t *tx) Append(stream, id string, rec []byte) error {
	if t.s == nil {
		return errOver
	}
	if err := errors.Join(checkKey(stream), checkKey(id)); err != nil {
		return t.fail(err)
	}
	if len(rec) > kv.MaxValue {
		return t.fail(fmt.Errorf("%w: entry of %d bytes", kv.ErrTooBig, len(rec)))
	}
	if _, err := t.pin(nsStream, stream); err != nil {
		return err
	}
	t.entries = append(t.entries, kv.Entry{Stream: stream, ID: id, Rec: slices.Clone(rec)})
	return nil
}

func (t *tx) empty() bool { return len(t.writes)+len(t.adds)+len(t.entries) == 0 }

// note remembers the newest batch that an answer depends on.
func (t *tx) note(b *batch) {
	if b != nil && (t.saw == nil || b.seq > t.saw.seq) {
		t.saw = b
	}
}

// pin keeps a counter in memory until the transaction ends.
func (t *tx) pin(ns, name string) (*cell, error) {
	if t.s == nil {
		return nil, errOver
	}
	if err := checkKey(name); err != nil {
		return nil, t.fail(err)
	}
	if c := t.cells[ns+name]; c != nil {
		return c, nil
	}
	c, err := t.s.pinCell(ns + name)
	if err != nil {
		return nil, t.fail(err)
	}
	if t.cells == nil {
		t.cells = map[string]*cell{}
	}
	t.cells[ns+name] = c
	return c, nil
}

// end makes the transaction unusable.
func (t *tx) end() {
	if len(t.cells) > 0 {
		t.s.unpinCells(t.cells)
	}
	t.s = nil
}

// unit encodes what the transaction wrote. Sums and numbers are still open.
func (t *tx) unit() (*unit, error) {
	writes := len(t.writes) + len(t.adds)
	if n := writes + len(t.entries); n > kv.MaxWrites {
		return nil, fmt.Errorf("%w: %d writes", kv.ErrTooBig, n)
	}
	keys, counters := slices.Sorted(maps.Keys(t.writes)), slices.Sorted(maps.Keys(t.adds))
	payload, size := 0, unitHeaderBytes
	for _, k := range keys {
		payload += len(k) + len(t.writes[k])
	}
	for _, c := range counters {
		payload += len(c) + 8
	}
	for _, e := range t.entries {
		payload += len(e.Stream) + len(e.ID) + len(e.Rec)
	}
	if payload > kv.MaxUpdate {
		return nil, fmt.Errorf("%w: transaction of %d bytes", kv.ErrTooBig, payload)
	}
	size += payload + writeHeaderBytes*writes + entryHeaderBytes*len(t.entries)

	u := &unit{body: appendUnitHeader(make([]byte, 0, size), size, writes, len(t.entries))}
	for _, k := range keys {
		u.putRecord(k, t.writes[k])
	}
	for _, c := range counters {
		u.addCounter(c, t.cells[nsCounter+c], t.adds[c])
	}
	for _, e := range t.entries {
		u.addEntry(e, t.cells[nsStream+e.Stream])
	}
	return u, nil
}
