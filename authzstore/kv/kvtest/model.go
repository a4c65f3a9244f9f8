package kvtest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore/kv"
)

// model is what a store holds, as simply as it can be said.
type model struct {
	records  map[string]string
	counters map[string]int64
	streams  map[string][]kv.Entry
	ids      int
}

var modelKeys = []string{"a", "a/1", "a/2", "b", "b/1", "c"}

// testModel runs random transactions on the store and on the model and compares
// all that can be read.
func testModel(t *testing.T, newHarness func(t testing.TB) Harness) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHarness(t)
		s := h.Open(t)
		defer func() { s.Close() }()
		m := &model{records: map[string]string{}, counters: map[string]int64{}, streams: map[string][]kv.Entry{}}
		rt.Repeat(map[string]func(*rapid.T){
			"update": func(rt *rapid.T) { m.update(rt, s) },
			"reopen": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "reopen") > 0 {
					return
				}
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = h.Open(t)
			},
			"": func(rt *rapid.T) { m.check(rt, s) },
		})
	})
}

// update runs one transaction, which fails now and then.
func (m *model) update(rt *rapid.T, s kv.Store) {
	key := rapid.SampledFrom(modelKeys)
	refs := map[string]kv.Mode{}
	for range rapid.IntRange(0, 4).Draw(rt, "refs") {
		k, mode := key.Draw(rt, "key"), kv.Mode(rapid.IntRange(0, 1).Draw(rt, "mode"))
		refs[k] = max(mode, refs[k])
	}
	next := &model{records: maps.Clone(m.records), counters: maps.Clone(m.counters), streams: maps.Clone(m.streams), ids: m.ids}
	fails := rapid.IntRange(0, 4).Draw(rt, "fails") == 0
	var declared []kv.Ref
	for k, mode := range refs {
		declared = append(declared, kv.Ref{Key: k, Mode: mode})
	}
	undeclared := false
	err := s.Update(context.Background(), declared, func(tx kv.Tx) error {
		for range rapid.IntRange(0, 6).Draw(rt, "steps") {
			if err := next.step(rt, tx, refs, key.Draw(rt, "key")); errors.Is(err, kv.ErrUndeclared) {
				undeclared = true
			} else if err != nil {
				return err
			}
		}
		if fails {
			return errDenied
		}
		return nil
	})
	switch {
	case fails:
		wantRapid(rt, "failing", errors.Is(err, errDenied), true)
	case undeclared:
		wantRapid(rt, "undeclared", errors.Is(err, kv.ErrUndeclared), true)
	case err != nil:
		rt.Fatal(err)
	default:
		*m = *next
	}
}

func (m *model) step(rt *rapid.T, tx kv.Tx, refs map[string]kv.Mode, key string) error {
	mode, declared := refs[key]
	writable := declared && mode == kv.Exclusive
	expect := func(err error, allowed bool) error {
		wantRapid(rt, "declared "+key, !errors.Is(err, kv.ErrUndeclared), allowed)
		return err
	}
	switch rapid.IntRange(0, 5).Draw(rt, "op") {
	case 0:
		val := rapid.StringN(0, 20, -1).Draw(rt, "val")
		if writable {
			m.records[key] = val
		}
		return expect(tx.Put(key, []byte(val)), writable)
	case 1:
		if writable {
			delete(m.records, key)
		}
		return expect(tx.Delete(key), writable)
	case 2:
		n := rapid.Int64Range(-3, 3).Draw(rt, "n")
		m.counters[key] += n
		return tx.Add(key, n)
	case 3:
		m.ids++
		e := kv.Entry{Stream: key, ID: name("id%d", m.ids), Num: uint64(len(m.streams[key]) + 1), Rec: []byte(rapid.StringN(0, 20, -1).Draw(rt, "rec"))}
		m.streams[key] = append(slices.Clone(m.streams[key]), e)
		return tx.Append(key, e.ID, e.Rec)
	case 4:
		n, err := tx.Counter(key)
		wantRapid(rt, "counter "+key, n, m.counters[key])
		return err
	default:
		val, ok, err := tx.Get(key)
		if declared {
			want, exists := m.records[key]
			wantRapid(rt, "exists "+key, ok, exists)
			wantRapid(rt, "value "+key, string(val), want)
		}
		return expect(err, declared)
	}
}

// check compares everything.
func (m *model) check(rt *rapid.T, s kv.Store) {
	prefix := rapid.SampledFrom([]string{"", "a", "a/", "b"}).Draw(rt, "prefix")
	from := rapid.SampledFrom([]string{"", "a/1", "b"}).Draw(rt, "from")
	var wanted, got []string
	for _, k := range slices.Sorted(maps.Keys(m.records)) {
		if strings.HasPrefix(k, prefix) && k >= from {
			wanted = append(wanted, k+"="+m.records[k])
		}
	}
	err := s.View(context.Background(), func(v kv.Snap) error {
		err := v.Scan(prefix, from, func(k string, val []byte) error { got = append(got, k+"="+string(val)); return nil })
		wantRapid(rt, "scan", name("%q", got), name("%q", wanted))
		for _, k := range modelKeys {
			n, err2 := v.Counter(k)
			wantRapid(rt, "counter "+k, n, m.counters[k])
			i := 0
			err3 := v.Stream(k, 0, func(e kv.Entry) error {
				w := m.streams[k][i]
				wantRapid(rt, "entry", name("%d %s %q", e.Num, e.ID, e.Rec), name("%d %s %q", w.Num, w.ID, w.Rec))
				i++
				return nil
			})
			wantRapid(rt, "entries of "+k, i, len(m.streams[k]))
			err = errors.Join(err, err2, err3)
		}
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func wantRapid(rt *rapid.T, what string, got, want any) {
	if got != want {
		rt.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
