package badgerkv

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// reader reads for one transaction.
type reader struct {
	s   *Store
	saw *batch // newest batch read that was not durable: the answer waits for it
}

func (r *reader) Record(key string) ([]byte, bool, error) { return r.read(nsRecord + key) }

func (r *reader) Counter(counter string) (int64, error) { return sum(r.read(nsCounter + counter)) }

// sum is a counter's, as it was read.
func sum(val []byte, _ bool, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return chain.DecodeInt(val)
}

// read returns a copy of the newest published value of a key. The snapshot is
// taken after the overlay missed and under the same mutex: taken before, a batch
// applied in between would be in neither (measured: lost updates).
func (r *reader) read(key string) ([]byte, bool, error) {
	s := r.s
	s.mu.Lock()
	if l, ok := s.overlay[key]; ok {
		defer s.mu.Unlock()
		if l.in.seq > s.durable.Seq && (r.saw == nil || l.in.seq > r.saw.seq) {
			r.saw = l.in
		}
		return slices.Clone(l.val), l.val != nil, nil
	}
	p := s.snapshot
	p.refs++
	s.mu.Unlock()
	defer s.release(p)
	return p.get(key)
}

// View implements kv.Store.
func (s *Store) View(ctx context.Context, fn func(kv.Snap) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	v := &snap{base: s.snapshot, layers: s.layers, pos: s.durable, journal: segmentReader{d: s.journal.segments}}
	v.base.refs++
	s.mu.Unlock()
	defer s.release(v.base)
	defer v.journal.close()
	return fn(v)
}

// snap implements kv.Snap: what Badger holds, and over it the durable batches
// that it does not hold yet.
type snap struct {
	base    *snapshot
	layers  []*batch // oldest first
	pos     kv.Pos
	journal segmentReader
}

func (v *snap) Pos() kv.Pos { return v.pos }

// get may return memory shared with a batch.
func (v *snap) get(key string) ([]byte, bool, error) {
	for _, b := range slices.Backward(v.layers) {
		if val, ok := b.state[key]; ok {
			return val, val != nil, nil
		}
	}
	return v.base.get(key)
}

// named is get for a name that the caller gave.
func (v *snap) named(ns, name string) ([]byte, bool, error) {
	if err := kv.CheckKey(name); err != nil {
		return nil, false, err
	}
	return v.get(ns + name)
}

func (v *snap) Get(key string) ([]byte, bool, error) {
	val, ok, err := v.named(nsRecord, key)
	return slices.Clone(val), ok, err
}

func (v *snap) Counter(counter string) (int64, error) {
	return sum(v.named(nsCounter, counter))
}

func (v *snap) Record(id string) (kv.Entry, bool, error) {
	val, ok, err := v.named(nsID, id)
	if err != nil || !ok {
		return kv.Entry{}, false, err
	}
	e, err := v.journal.entry(val)
	return e, err == nil, err
}

func (v *snap) Scan(prefix, from string, fn func(string, []byte) error) error {
	return v.scan(nsRecord+prefix, nsRecord+from, func(key string, val []byte) error {
		return fn(key[1:], slices.Clone(val))
	})
}

func (v *snap) Counters(prefix, from string, fn func(string, int64) error) error {
	return v.scan(nsCounter+prefix, nsCounter+from, func(key string, val []byte) error {
		n, err := chain.DecodeInt(val)
		if err != nil {
			return err
		}
		return fn(key[1:], n)
	})
}

func (v *snap) Stream(stream string, from uint64, fn func(kv.Entry) error) error {
	if err := kv.CheckKey(stream); err != nil {
		return err
	}
	return v.scan(streamKey(stream), entryKey(stream, from), func(key string, val []byte) error {
		e, err := v.journal.entry(val)
		if errors.Is(err, kv.ErrPruned) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(e)
	})
}

// entry reads an entry of a stream at its location, as the index has it, and
// checks it.
func (r *segmentReader) entry(index []byte) (kv.Entry, error) {
	l, err := decodeLocation(index)
	if err != nil {
		return kv.Entry{}, err
	}
	b := make([]byte, l.Bytes)
	if err := r.read(uint64(l.Seg), b, int64(l.Off)); err != nil {
		return kv.Entry{}, err
	}
	if checksum(b) != l.CRC {
		return kv.Entry{}, r.d.damage(place{uint64(l.Seg), int64(l.Off)}, 0, "checksum of a stream's entry is wrong")
	}
	return chain.DecodeEntry(b)
}

// scan merges the layers with Badger, in key order.
func (v *snap) scan(prefix, from string, fn func(key string, val []byte) error) error {
	over := map[string][]byte{}
	for _, b := range v.layers {
		for k, val := range b.state {
			if strings.HasPrefix(k, prefix) && k >= from {
				over[k] = val
			}
		}
	}
	layered := slices.Sorted(maps.Keys(over))
	layered = slices.DeleteFunc(layered, func(key string) bool { return over[key] == nil })
	err := v.base.scan(prefix, from, func(key string, val []byte) error {
		for ; len(layered) > 0 && layered[0] < key; layered = layered[1:] {
			if err := fn(layered[0], over[layered[0]]); err != nil {
				return err
			}
		}
		if _, newer := over[key]; newer {
			return nil
		}
		return fn(key, val)
	})
	for _, key := range layered {
		if err == nil {
			err = fn(key, over[key])
		}
	}
	return err
}
