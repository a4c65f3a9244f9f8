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
	saw     *batch // newest batch read that was not durable
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
	if err := t.named(counter); err != nil {
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
	if err := t.named(counter); err != nil {
		return 0, err
	}
	v, _, from, err := t.s.readLatest(nsCounter + counter)
	if err != nil {
		return 0, t.fail(err)
	}
	t.note(from)
	n, err := decodeInt(v)
	if err != nil {
		return 0, t.fail(err)
	}
	sum, ok := addInt64(n, t.adds[counter])
	if !ok {
		return 0, t.fail(fmt.Errorf("%w: counter %q overflows", kv.ErrTooBig, counter))
	}
	return sum, nil
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

func (t *tx) empty() bool { return len(t.writes)+len(t.adds)+len(t.entries) == 0 }

// note remembers the newest batch that an answer depends on.
func (t *tx) note(b *batch) {
	if b != nil && (t.saw == nil || b.seq > t.saw.seq) {
		t.saw = b
	}
}

// named checks the names of what needs no ref.
func (t *tx) named(names ...string) error {
	if t.s == nil {
		return errOver
	}
	for _, name := range names {
		if err := checkKey(name); err != nil {
			return t.fail(err)
		}
	}
	return nil
}

// end makes the transaction unusable.
func (t *tx) end() { t.s = nil }

// unit is what the transaction wrote, with increments for sums and no numbers.
func (t *tx) unit() (*unit, error) {
	if n := len(t.writes) + len(t.adds) + len(t.entries); n > kv.MaxWrites {
		return nil, fmt.Errorf("%w: %d writes", kv.ErrTooBig, n)
	}
	u, payload := &unit{}, 0
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
