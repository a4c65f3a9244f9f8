package kvtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// testSnapshotStable: a View does not move while others write.
func testSnapshotStable(t *testing.T, h Harness) {
	s := open(t, h)
	for i := range 50 {
		put(t, s, name("k%02d", i), "old")
	}
	view(t, s, func(v kv.Snap) error {
		pos := v.Pos()
		for round := range 3 {
			for i := range 50 {
				if round == 1 {
					update(t, s, excl(name("k%02d", i)), func(tx kv.Tx) error { return tx.Delete(name("k%02d", i)) })
				} else {
					put(t, s, name("k%02d", i), "new")
				}
				update(t, s, nil, func(tx kv.Tx) error {
					return errors.Join(tx.Add("n", 1), tx.Append("st", name("id-%d-%d", round, i), nil))
				})
			}
			time.Sleep(settle) // a backend's own upkeep goes on
			n := 0
			err := v.Scan("k", "", func(k string, val []byte) error {
				want(t, k, string(val), "old")
				n++
				return nil
			})
			want(t, "records", n, 50)
			sum, err2 := v.Counter("n")
			want(t, "counter", sum, int64(0))
			err3 := v.Stream("st", 0, func(e kv.Entry) error { t.Error("saw a later entry"); return nil })
			if err := errors.Join(err, err2, err3); err != nil {
				return err
			}
		}
		want(t, "position", v.Pos(), pos)
		return nil
	})
}

// testSnapshotMoney: transfers keep the total, in every View and by every way of
// reading; and a View sees what its own goroutine was told.
func testSnapshotMoney(t *testing.T, h Harness) {
	s := open(t, h)
	const accounts, each, rounds = 8, 100, 60
	for i := range accounts {
		update(t, s, excl(name("acc%d", i)), func(tx kv.Tx) error { return tx.Put(name("acc%d", i), bytesOf(each)) })
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range rounds {
				from, to := name("acc%d", (w+i)%accounts), name("acc%d", (w+3*i+1)%accounts)
				if from == to {
					continue
				}
				var left uint64
				err := s.Update(context.Background(), excl(from, to), func(tx kv.Tx) error {
					a, _, err := tx.Get(from)
					b, _, err2 := tx.Get(to)
					amount := min(number(a), 7)
					left = number(a) - amount
					return errors.Join(err, err2, tx.Put(from, bytesOf(left)), tx.Put(to, bytesOf(number(b)+amount)), tx.Add("transfers", 1))
				})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.View(context.Background(), func(v kv.Snap) error { return checkTotal(t, v, accounts*each) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func checkTotal(t *testing.T, v kv.Snap, total uint64) error {
	var scanned, read uint64
	err := v.Scan("acc", "", func(k string, val []byte) error {
		scanned += number(val)
		b, _, err := v.Get(k)
		read += number(b)
		return err
	})
	if scanned != total || read != total {
		t.Errorf("total %d by Scan, %d by Get, want %d", scanned, read, total)
	}
	return err
}

func testScan(t *testing.T, h Harness) {
	s := open(t, h)
	for _, k := range []string{"b/2", "a", "b/10", "b/1", "c", "b", "b/3"} {
		put(t, s, k, k)
	}
	update(t, s, excl("b/3"), func(tx kv.Tx) error {
		return errors.Join(tx.Delete("b/3"), tx.Add("b/counter", 1), tx.Append("b/stream", "b/id", nil))
	})
	stop := errors.New("stop")
	for _, c := range []struct {
		prefix, from string
		limit        int
		want         []string
	}{
		{"", "", 99, []string{"a", "b", "b/1", "b/10", "b/2", "c"}},
		{"b/", "", 99, []string{"b/1", "b/10", "b/2"}},
		{"b/", "b/10", 99, []string{"b/10", "b/2"}},
		{"b/", "b/11", 99, []string{"b/2"}},
		{"b/", "c", 99, nil},
		{"b", "a", 2, []string{"b", "b/1"}},
		{"x", "", 99, nil},
	} {
		for _, reopened := range []bool{false, true} {
			if reopened && c.limit == 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, h)
			}
			var got []string
			err := s.View(context.Background(), func(v kv.Snap) error {
				return v.Scan(c.prefix, c.from, func(k string, val []byte) error {
					want(t, "value", string(val), k)
					if got = append(got, k); len(got) == c.limit {
						return stop
					}
					return nil
				})
			})
			if len(got) == c.limit {
				wantErr(t, err, stop)
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("Scan(%q, %q): got %v, want %v", c.prefix, c.from, got, c.want)
			}
		}
	}
}

func testReopen(t *testing.T, h Harness) {
	s := open(t, h)
	var pos kv.Pos
	id := s.ID()
	if id == ([16]byte{}) {
		t.Error("the store has no ID")
	}
	for round := range 4 {
		for i := range 20 {
			key := name("k%d", i)
			update(t, s, excl(key, "tmp"), func(tx kv.Tx) error {
				return errors.Join(increment(tx, key), tx.Delete("tmp"), tx.Add("n", 2), tx.Append("st", name("%d-%d", round, i), []byte(key)))
			})
		}
		view(t, s, func(v kv.Snap) error { pos = v.Pos(); return nil })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, h)
		want(t, "ID", s.ID(), id)
		view(t, s, func(v kv.Snap) error {
			want(t, "position", v.Pos(), pos)
			n, err := v.Counter("n")
			want(t, "counter", n, int64(40*(round+1)))
			entries := 0
			err2 := v.Stream("st", 0, func(e kv.Entry) error { entries++; return nil })
			want(t, "entries", entries, 20*(round+1))
			return errors.Join(err, err2)
		})
		want(t, "k7", number([]byte(stored(t, s, "k7"))), uint64(round+1))
	}
	if err := s.Verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func testClosed(t *testing.T, h Harness) {
	s := open(t, h)
	tail := make(chan error, 1)
	go func() { tail <- s.Tail(context.Background(), kv.Pos{}, func(kv.Batch) error { return nil }) }()
	put(t, s, "a", "1")
	// Close waits for a closure that runs, and its writes are kept.
	inside, out := make(chan struct{}), make(chan struct{})
	running := make(chan error, 1)
	go func() {
		running <- s.Update(context.Background(), excl("b"), func(tx kv.Tx) error { close(inside); <-out; return tx.Put("b", []byte("1")) })
	}()
	within(t, "the closure runs", inside)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	notYet(t, "Close returns while a closure runs", closed)
	close(out)
	wantErr(t, within(t, "the closure ends", running), nil)
	wantErr(t, within(t, "Close", closed), nil)
	wantErr(t, within(t, "Tail ends", tail), kv.ErrClosed)
	ctx := context.Background()
	wantErr(t, s.Update(ctx, nil, func(kv.Tx) error { return nil }), kv.ErrClosed)
	wantErr(t, s.View(ctx, func(kv.Snap) error { return nil }), kv.ErrClosed)
	wantErr(t, s.Close(), nil)
	s = open(t, h)
	want(t, "b", stored(t, s, "b"), "1")
}
