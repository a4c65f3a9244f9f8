package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// start runs an Update and waits until its closure ran.
func start(t testing.TB, s kv.Store, ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) <-chan error {
	t.Helper()
	ran, done := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		done <- s.Update(ctx, refs, func(tx kv.Tx) error {
			defer once.Do(func() { close(ran) })
			return fn(tx)
		})
	}()
	within(t, "the closure runs", ran)
	return done
}

// testDenyWaits: an answer that rests on facts which a crash could take back
// waits for them; so does an answer that rests on their absence.
func testDenyWaits(t *testing.T, h Harness) {
	s := open(t, h)
	put(t, s, "was", "1")
	resume := h.Stall()
	write := start(t, s, context.Background(), excl("spent", "was"), func(tx kv.Tx) error {
		return errors.Join(tx.Put("spent", []byte("1")), tx.Delete("was"))
	})
	deny := start(t, s, context.Background(), shared("spent"), func(tx kv.Tx) error {
		if _, ok, _ := tx.Get("spent"); !ok {
			t.Error("the lock was not released early")
		}
		return errDenied
	})
	absent := start(t, s, context.Background(), shared("was"), func(tx kv.Tx) error {
		if _, ok, _ := tx.Get("was"); ok {
			t.Error("read a deleted record")
		}
		return nil
	})
	other := start(t, s, context.Background(), shared("other"), func(tx kv.Tx) error {
		tx.Get("other")
		return errDenied
	})
	wantErr(t, within(t, "an answer on durable facts", other), errDenied)
	notYet(t, "an answer before its facts are durable", deny)
	notYet(t, "an answer before an absence is durable", absent)
	notYet(t, "an acknowledgement before it is durable", write)
	resume()
	wantErr(t, within(t, "the denial", deny), errDenied)
	wantErr(t, within(t, "the answer", absent), nil)
	wantErr(t, within(t, "the acknowledgement", write), nil)
}

func testCounterDenyWaits(t *testing.T, h Harness) {
	s := open(t, h)
	resume := h.Stall()
	write := start(t, s, context.Background(), nil, func(tx kv.Tx) error { return tx.Add("n", 7) })
	ran := make(chan int64, 1)
	deny := make(chan error, 1)
	eventually(t, "the sum is published", func() bool { // the closure ran, publication may follow
		done := start(t, s, context.Background(), nil, func(tx kv.Tx) error {
			n, err := tx.Counter("n")
			if n == 7 {
				select {
				case ran <- n:
				default:
				}
				return errors.Join(err, errDenied)
			}
			return err
		})
		select {
		case <-ran:
			go func() { deny <- <-done }()
			return true
		default:
			wantErr(t, within(t, "an answer on durable facts", done), nil)
			return false
		}
	})
	notYet(t, "an answer before the counter is durable", deny)
	resume()
	wantErr(t, within(t, "the denial", deny), errDenied)
	wantErr(t, within(t, "the acknowledgement", write), nil)
}

func testViewDoesNotWait(t *testing.T, h Harness) {
	s := open(t, h)
	put(t, s, "a", "1")
	resume := h.Stall()
	write := start(t, s, context.Background(), excl("a"), func(tx kv.Tx) error { return tx.Put("a", []byte("2")) })
	seen := make(chan string, 1)
	go func() { seen <- stored(t, s, "a") }()
	want(t, "View during a stall", within(t, "View", seen), "1")
	resume()
	wantErr(t, within(t, "the acknowledgement", write), nil)
	want(t, "View after it", stored(t, s, "a"), "2")
}

// testCancelBefore: given up before publication, nothing is written.
func testCancelBefore(t *testing.T, h Harness) {
	s := open(t, h)
	out := make(chan struct{})
	holder := start(t, s, context.Background(), excl("a"), func(kv.Tx) error { return nil })
	wantErr(t, within(t, "a closure without writes", holder), nil)

	inside := make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- s.Update(context.Background(), excl("a"), func(kv.Tx) error { close(inside); <-out; return nil })
	}()
	within(t, "the lock is held", inside)
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan error, 1)
	go func() {
		waiting <- s.Update(ctx, excl("a"), func(tx kv.Tx) error { return tx.Put("a", []byte("1")) })
	}()
	notYet(t, "the lock is granted twice", waiting)
	cancel()
	err := within(t, "the waiter gives up", waiting)
	wantErr(t, err, context.Canceled)
	if errors.Is(err, kv.ErrUnknown) {
		t.Error("given up before publication is not unknown")
	}
	close(out)
	wantErr(t, within(t, "the holder ends", held), nil)
	want(t, "a", stored(t, s, "a"), "-")

	ctx, cancel = context.WithCancel(context.Background())
	err = s.Update(ctx, excl("a"), func(tx kv.Tx) error { cancel(); return tx.Put("a", []byte("1")) })
	if errors.Is(err, kv.ErrUnknown) || err == nil { // either is legal, but it has to be what happened
		return
	}
	want(t, "a after "+err.Error(), stored(t, s, "a"), "-")
}

// testCancelAfter: given up after publication, the outcome is unknown, and the
// next Update learns it.
func testCancelAfter(t *testing.T, h Harness) {
	s := open(t, h)
	resume := h.Stall()
	ctx, cancel := context.WithCancel(context.Background())
	write := start(t, s, ctx, excl("a"), func(tx kv.Tx) error { return tx.Put("a", []byte("1")) })
	// Behind the writer's lock: when this closure runs, the write is published.
	read := start(t, s, ctx, shared("a"), func(tx kv.Tx) error { tx.Get("a"); return errDenied })
	cancel()
	err := within(t, "the writer gives up", write)
	wantErr(t, err, kv.ErrUnknown)
	err = within(t, "the reader gives up", read)
	wantErr(t, err, context.Canceled)
	if errors.Is(err, kv.ErrUnknown) {
		t.Error("a closure without writes is never unknown")
	}
	resume()
	update(t, s, shared("a"), func(tx kv.Tx) error {
		b, _, err := tx.Get("a")
		want(t, "a in the next transaction", string(b), "1")
		return err
	})
	want(t, "a", stored(t, s, "a"), "1")
}

// testFairness: waiters get a record in the order in which they came, urgent ones
// before the others.
func testFairness(t *testing.T, h Harness) {
	s := open(t, h)
	out, inside := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		s.Update(context.Background(), excl("k"), func(kv.Tx) error { close(inside); <-out; return nil })
	})
	within(t, "the lock is held", inside)
	var order []int
	const n = 8
	for i := range n {
		ctx := context.Background()
		if i%3 > 0 {
			ctx = kv.Urgent(ctx)
		}
		done.Go(func() {
			s.Update(ctx, excl("k"), func(kv.Tx) error { order = append(order, i); return nil })
		})
		notYet(t, "nothing", make(chan int)) // lets the waiter queue
	}
	close(out)
	done.Wait()
	for i, who := range []int{1, 2, 4, 5, 7, 0, 3, 6} {
		want(t, name("waiter %d", i), order[i], who)
	}
	want(t, "waiters", len(order), n)
}

func testMaxWaiters(t *testing.T, h Harness) {
	s := open(t, h)
	out, inside := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		s.Update(context.Background(), excl("k"), func(kv.Tx) error { close(inside); <-out; return nil })
	})
	within(t, "the lock is held", inside)
	var overloaded, ran atomic.Int64
	const more = 5
	for range h.MaxWaiters + more {
		done.Go(func() {
			err := s.Update(context.Background(), excl("k"), func(tx kv.Tx) error { ran.Add(1); return tx.Add("n", 1) })
			if errors.Is(err, kv.ErrOverloaded) {
				overloaded.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "waiters over the bound are refused", func() bool { return overloaded.Load() == more })
	put(t, s, "other", "1") // other records are free
	close(out)
	done.Wait()
	want(t, "closures that ran", ran.Load(), int64(h.MaxWaiters))
	want(t, "overloaded", overloaded.Load(), int64(more))
}

// testUrgentWaiter: an urgent Update gets in where as many others wait as may, and
// so do all the urgent ones that come after it, while others are still refused.
func testUrgentWaiter(t *testing.T, h Harness) {
	s := open(t, h)
	out, inside := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	defer done.Wait()
	free := sync.OnceFunc(func() { close(out) })
	defer free()
	var overloaded, ran, urgentRan atomic.Int64
	call := func(ctx context.Context, ran *atomic.Int64) {
		done.Go(func() {
			err := s.Update(ctx, excl("k"), func(tx kv.Tx) error { ran.Add(1); return tx.Add("n", 1) })
			if errors.Is(err, kv.ErrOverloaded) && !kv.IsUrgent(ctx) {
				overloaded.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	done.Go(func() {
		s.Update(context.Background(), excl("k"), func(kv.Tx) error { close(inside); <-out; return nil })
	})
	within(t, "the lock is held", inside)
	call(kv.Urgent(context.Background()), &urgentRan)
	notYet(t, "nothing", make(chan int)) // lets it queue: it takes nobody's place
	for range h.MaxWaiters + 1 {
		call(context.Background(), &ran)
	}
	eventually(t, "a waiter over the bound is refused", func() bool { return overloaded.Load() == 1 })
	const many = 1000
	for range many {
		call(kv.Urgent(context.Background()), &urgentRan)
	}
	notYet(t, "nothing", make(chan int))
	call(context.Background(), &ran)
	eventually(t, "a waiter over the bound is refused", func() bool { return overloaded.Load() == 2 })
	free()
	done.Wait()
	want(t, "closures that ran", ran.Load(), int64(h.MaxWaiters))
	want(t, "urgent closures that ran", urgentRan.Load(), int64(1+many))
}

// testUrgentOnStalledDisk: an urgent Update is taken where others are refused
// because too much waits for the disk.
func testUrgentOnStalledDisk(t *testing.T, h Harness) {
	s := open(t, h)
	resume := h.Stall()
	defer resume()
	refused := make(chan struct{})
	var once sync.Once
	var done sync.WaitGroup
	var stop atomic.Bool
	for w := range 64 {
		done.Go(func() {
			for i := 0; !stop.Load(); i++ {
				ctx, cancel := context.WithTimeout(context.Background(), settle) // given up, still pending
				err := s.Update(ctx, nil, func(tx kv.Tx) error {
					return tx.Append("st", fmt.Sprintf("%d-%d", w, i), make([]byte, kv.MaxValue))
				})
				cancel()
				if errors.Is(err, kv.ErrOverloaded) {
					once.Do(func() { close(refused) })
					return
				}
			}
		})
	}
	within(t, "updates are refused", refused)
	stop.Store(true)
	done.Wait()
	urgent := make(chan error, 1)
	go func() {
		urgent <- s.Update(kv.Urgent(context.Background()), excl("k"), func(tx kv.Tx) error { return tx.Put("k", []byte("frozen")) })
	}()
	select {
	case err := <-urgent:
		t.Fatalf("before the disk came back: %v", err)
	case <-time.After(settle):
	}
	resume()
	if err := <-urgent; err != nil {
		t.Fatal(err)
	}
}

// testNoDeadlock: transactions that declare the same records in any order all end.
func testNoDeadlock(t *testing.T, h Harness) {
	s := open(t, h)
	keys := []string{"a", "b", "c", "d"}
	done := make(chan struct{})
	go func() {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 40 {
					x, y, z := keys[(w+i)%4], keys[(w+3*i+1)%4], keys[(i/2)%4]
					err := s.Update(context.Background(), append(excl(x, y), shared(z)...), func(tx kv.Tx) error {
						return errors.Join(increment(tx, x), tx.Add("n", 1))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		close(done)
	}()
	within(t, "all transactions end", done)
}
