package kvtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// testCounters: concurrent additions are all there, without a lock.
func testCounters(t *testing.T, h Harness) {
	s := open(t, h)
	const workers, rounds = 16, 30
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				err := s.Update(context.Background(), nil, func(tx kv.Tx) error {
					return errors.Join(tx.Add("sum", int64(w)), tx.Add("count", 1), tx.Add(name("own-%02d", w), 1))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check := func(s kv.Store) {
		t.Helper()
		view(t, s, func(v kv.Snap) error {
			sum, err := v.Counter("sum")
			want(t, "sum", sum, int64(rounds*workers*(workers-1)/2))
			own := 0
			err2 := v.Counters("own-", "own-04", func(_ string, n int64) error {
				want(t, "own", n, int64(rounds))
				own++
				return nil
			})
			want(t, "counters from own-04", own, workers-4)
			return errors.Join(err, err2)
		})
	}
	check(s)
	// At zero it does not exist.
	update(t, s, nil, func(tx kv.Tx) error { return tx.Add("count", -workers*rounds) })
	view(t, s, func(v kv.Snap) error {
		return v.Counters("count", "", func(c string, n int64) error {
			t.Errorf("counter %s at %d exists", c, n)
			return nil
		})
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, h)
	check(s)
	update(t, s, nil, func(tx kv.Tx) error {
		n, err := tx.Counter("count")
		want(t, "count", n, int64(0))
		return err
	})
}

// testStreams: numbers have no gaps and follow each appender's own order, also
// over a restart.
func testStreams(t *testing.T, h Harness) {
	s := open(t, h)
	const workers, rounds = 8, 25
	for round := range 2 {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					err := s.Update(context.Background(), nil, func(tx kv.Tx) error {
						id := name("%d-%d-%d", round, w, i)
						return errors.Join(tx.Append("all", id, []byte(id)), tx.Append(name("s%d", w), "own-"+id, nil), tx.Append("all", id+"+", []byte("second")))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		total := uint64(2 * workers * rounds * (round + 1))
		view(t, s, func(v kv.Snap) error { return checkStream(t, v, total) })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, h)
	}
}

func checkStream(t *testing.T, v kv.Snap, total uint64) error {
	next := uint64(1)
	var before kv.Entry
	err := v.Stream("all", 0, func(e kv.Entry) error {
		want(t, "number", e.Num, next)
		want(t, "stream", e.Stream, "all")
		if next%2 == 0 { // both entries of one transaction, in its order
			want(t, "second entry", e.ID, before.ID+"+")
		} else {
			want(t, "content", string(e.Rec), e.ID)
		}
		got, ok, err := v.Record(e.ID)
		if err != nil || !ok || got.Num != e.Num || string(got.Rec) != string(e.Rec) {
			t.Fatalf("Record(%q): %v %v %v", e.ID, got, ok, err)
		}
		before = e
		next++
		return nil
	})
	want(t, "entries", next-1, total)
	last := uint64(0)
	err2 := v.Stream("all", total, func(e kv.Entry) error { last += e.Num; return nil })
	want(t, "the last entry alone", last, total)
	stop := errors.New("stop")
	wantErr(t, v.Stream("all", 1, func(kv.Entry) error { return stop }), stop)
	_, ok, err3 := v.Record("none")
	want(t, "unknown ID", ok, false)
	return errors.Join(err, err2, err3)
}
