package kvtest

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

func testAtomicity(t *testing.T, h Harness) {
	s := open(t, h)
	put(t, s, "a", "1")
	put(t, s, "gone", "1")
	fail := errors.New("no")
	all := func(tx kv.Tx, err error) error {
		return errors.Join(tx.Put("a", []byte("2")), tx.Put("b", []byte("2")), tx.Delete("gone"),
			tx.Add("n", 5), tx.Append("st", "id1", []byte("rec")), err)
	}
	check := func(a, b, gone string, n int64, found bool) {
		t.Helper()
		want(t, "a", stored(t, s, "a"), a)
		want(t, "b", stored(t, s, "b"), b)
		want(t, "gone", stored(t, s, "gone"), gone)
		view(t, s, func(v kv.Snap) error {
			got, err := v.Counter("n")
			want(t, "counter", got, n)
			_, ok, err2 := v.Record("id1")
			want(t, "entry", ok, found)
			return errors.Join(err, err2)
		})
	}
	err := s.Update(context.Background(), excl("a", "b", "gone"), func(tx kv.Tx) error { return all(tx, fail) })
	wantErr(t, err, fail)
	check("1", "-", "1", 0, false)
	update(t, s, excl("a", "b", "gone"), func(tx kv.Tx) error { return all(tx, nil) })
	check("2", "2", "-", 5, true)
}

// testIsolation: concurrent read-modify-write of one record loses nothing, and
// two records that are always written together are never seen apart.
func testIsolation(t *testing.T, h Harness) {
	s := open(t, h)
	const workers, rounds = 16, 40
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				err := s.Update(context.Background(), excl("x", "y"), func(tx kv.Tx) error {
					x, _, err := tx.Get("x")
					y, _, err2 := tx.Get("y")
					if number(x) != number(y) {
						t.Errorf("x %d, y %d in a transaction", number(x), number(y))
					}
					return errors.Join(err, err2, increment(tx, "x"), increment(tx, "y"))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want(t, "x", number([]byte(stored(t, s, "x"))), uint64(workers*rounds))
}

func testSharedAndExclusive(t *testing.T, h Harness) {
	s := open(t, h)
	inside := make(chan string, 4)
	leave := map[string]chan struct{}{}
	enter := func(who string, refs []kv.Ref) <-chan error {
		leave[who] = make(chan struct{})
		out, done := leave[who], make(chan error, 1)
		go func() {
			done <- s.Update(context.Background(), refs, func(kv.Tx) error { inside <- who; <-out; return nil })
		}()
		return done
	}
	r1 := enter("reader 1", shared("k"))
	within(t, "reader 1 enters", inside)
	r2 := enter("reader 2", shared("k"))
	within(t, "reader 2 enters beside it", inside)
	w := enter("writer", excl("k"))
	notYet(t, "the writer enters beside readers", inside)
	r3 := enter("reader 3", shared("k"))
	notYet(t, "a later reader overtakes the writer", inside)
	close(leave["reader 1"])
	within(t, "reader 1 ends", r1)
	notYet(t, "the writer enters beside reader 2", inside)
	close(leave["reader 2"])
	within(t, "reader 2 ends", r2)
	want(t, "next", within(t, "the writer enters", inside), "writer")
	notYet(t, "a reader enters beside the writer", inside)
	close(leave["writer"])
	within(t, "the writer ends", w)
	want(t, "next", within(t, "reader 3 enters", inside), "reader 3")
	close(leave["reader 3"])
	within(t, "reader 3 ends", r3)
}

func testOwnWrites(t *testing.T, h Harness) {
	s := open(t, h)
	update(t, s, excl("a"), func(tx kv.Tx) error {
		got := func() string {
			b, ok, err := tx.Get("a")
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return "-"
			}
			return string(b)
		}
		want(t, "before", got(), "-")
		tx.Put("a", []byte("2"))
		want(t, "after put", got(), "2")
		tx.Delete("a")
		want(t, "after delete", got(), "-")
		tx.Put("a", nil)
		want(t, "an empty value exists", got(), "")
		tx.Add("n", 3)
		tx.Add("n", -1)
		n, err := tx.Counter("n")
		want(t, "own additions", n, int64(2))
		return err
	})
	want(t, "stored", stored(t, s, "a"), "")
}

func testCopies(t *testing.T, h Harness) {
	s := open(t, h)
	b := []byte("abc")
	update(t, s, excl("a"), func(tx kv.Tx) error {
		rec := []byte("rec")
		err := errors.Join(tx.Put("a", b), tx.Append("st", "id", rec))
		b[0], rec[0] = 'X', 'X'
		return err
	})
	scribble := func(v []byte, _ bool, err error) error {
		if len(v) > 0 {
			v[0] = 'Y'
		}
		return err
	}
	for range 2 {
		update(t, s, excl("a"), func(tx kv.Tx) error { return scribble(tx.Get("a")) })
		view(t, s, func(v kv.Snap) error {
			return errors.Join(scribble(v.Get("a")), v.Scan("", "", func(_ string, val []byte) error { return scribble(val, true, nil) }))
		})
	}
	want(t, "stored", stored(t, s, "a"), "abc")
	view(t, s, func(v kv.Snap) error {
		e, _, err := v.Record("id")
		want(t, "entry", string(e.Rec), "rec")
		return err
	})
}

func testUndeclared(t *testing.T, h Harness) {
	s := open(t, h)
	put(t, s, "a", "1")
	for what, fn := range map[string]func(kv.Tx) error{
		"get":           func(tx kv.Tx) error { _, _, err := tx.Get("b"); return err },
		"put":           func(tx kv.Tx) error { return tx.Put("b", nil) },
		"delete":        func(tx kv.Tx) error { return tx.Delete("b") },
		"put shared":    func(tx kv.Tx) error { return tx.Put("a", nil) },
		"delete shared": func(tx kv.Tx) error { return tx.Delete("a") },
	} {
		err := s.Update(context.Background(), shared("a"), fn)
		if !errors.Is(err, kv.ErrUndeclared) {
			t.Errorf("%s: got %v, want ErrUndeclared", what, err)
		}
	}
	// Twice declared is Exclusive if either is.
	update(t, s, append(append(shared("c"), excl("c")...), shared("c")...), func(tx kv.Tx) error { return tx.Put("c", []byte("1")) })
	want(t, "c", stored(t, s, "c"), "1")
}

// testIgnoredErrors: a closure that drops an error of tx publishes nothing.
func testIgnoredErrors(t *testing.T, h Harness) {
	s := open(t, h)
	err := s.Update(context.Background(), excl("a"), func(tx kv.Tx) error {
		tx.Put("a", []byte("1"))
		tx.Put("b", []byte("1"))
		return nil
	})
	wantErr(t, err, kv.ErrUndeclared)
	want(t, "a", stored(t, s, "a"), "-")
}

func testLimits(t *testing.T, h Harness) {
	s := open(t, h)
	ctx := context.Background()
	longest, tooLong := strings.Repeat("k", kv.MaxKey), strings.Repeat("k", kv.MaxKey+1)
	nothing := func(kv.Tx) error { return nil }
	wantErr(t, s.Update(ctx, excl(tooLong), nothing), kv.ErrTooBig)
	wantErr(t, s.Update(ctx, excl(""), nothing), kv.ErrTooBig)
	wantErr(t, s.Update(ctx, make([]kv.Ref, kv.MaxRefs+1), nothing), kv.ErrTooBig)
	for what, fn := range map[string]func(kv.Tx) error{
		"value":        func(tx kv.Tx) error { return tx.Put("a", make([]byte, kv.MaxValue+1)) },
		"entry":        func(tx kv.Tx) error { return tx.Append("st", "id", make([]byte, kv.MaxValue+1)) },
		"stream":       func(tx kv.Tx) error { return tx.Append(tooLong, "id", nil) },
		"id":           func(tx kv.Tx) error { return tx.Append("st", tooLong, nil) },
		"counter":      func(tx kv.Tx) error { return tx.Add(tooLong, 1) },
		"whole update": func(tx kv.Tx) error { return appendMany(tx, 5, kv.MaxValue) },
		"writes":       func(tx kv.Tx) error { return appendMany(tx, kv.MaxWrites+1, 1) },
	} {
		if err := s.Update(ctx, excl("a"), fn); !errors.Is(err, kv.ErrTooBig) {
			t.Errorf("%s: got %v, want ErrTooBig", what, err)
		}
	}
	// Exactly at the limits.
	update(t, s, excl(longest), func(tx kv.Tx) error {
		return errors.Join(tx.Put(longest, make([]byte, kv.MaxValue)), tx.Append(longest, longest, make([]byte, kv.MaxValue)), tx.Add(longest, 1))
	})
	update(t, s, nil, func(tx kv.Tx) error { return appendMany(tx, kv.MaxWrites, 100) })
	update(t, s, nil, func(tx kv.Tx) error { return appendMany(tx, 4, kv.MaxValue-100) })
	want(t, "longest", len(stored(t, s, longest)), kv.MaxValue)
}

func appendMany(tx kv.Tx, n, size int) error {
	for i := range n {
		if err := tx.Append("many", name("many-%d-%d", size, i), make([]byte, size)); err != nil {
			return err
		}
	}
	return nil
}

func testPanic(t *testing.T, h Harness) {
	s := open(t, h)
	func() {
		defer func() { want(t, "recovered", recover(), "boom") }()
		s.Update(context.Background(), excl("a"), func(tx kv.Tx) error {
			tx.Put("a", []byte("1"))
			tx.Add("n", 1)
			panic("boom")
		})
		t.Fatal("the panic was swallowed")
	}()
	want(t, "a", stored(t, s, "a"), "-")
	put(t, s, "a", "2") // the lock is free
	view(t, s, func(v kv.Snap) error {
		n, err := v.Counter("n")
		want(t, "counter", n, int64(0))
		return err
	})
}

func testAfterClosure(t *testing.T, h Harness) {
	s := open(t, h)
	var kept kv.Tx
	update(t, s, excl("a"), func(tx kv.Tx) error { kept = tx; return nil })
	if _, _, err := kept.Get("a"); err == nil {
		t.Error("Get after the closure gave no error")
	}
	if err := errors.Join(kept.Put("a", nil)); err == nil {
		t.Error("Put after the closure gave no error")
	}
	if kept.Add("n", 1) == nil || kept.Append("st", "id", nil) == nil {
		t.Error("Add or Append after the closure gave no error")
	}
}

// testCounterOverflow: the sum is refused, not wrapped, wherever it is noticed.
func testCounterOverflow(t *testing.T, h Harness) {
	s := open(t, h)
	add := func(ns ...int64) error {
		return s.Update(context.Background(), excl("a"), func(tx kv.Tx) error {
			for _, n := range ns {
				if err := tx.Add("n", n); err != nil {
					return err
				}
			}
			return tx.Put("a", []byte("1"))
		})
	}
	wantErr(t, add(math.MaxInt64, 1), kv.ErrTooBig)
	want(t, "a", stored(t, s, "a"), "-")
	if err := add(math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	wantErr(t, add(1), kv.ErrTooBig)
	if err := add(-1, 1); err != nil {
		t.Fatal(err)
	}
}
