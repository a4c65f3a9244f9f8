package locks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

func excl(keys ...string) (refs []kv.Ref) {
	for _, k := range keys {
		refs = append(refs, kv.Ref{Key: k, Mode: kv.Exclusive})
	}
	return refs
}

func mustLock(t *testing.T, table *Table, refs []kv.Ref) {
	t.Helper()
	if err := table.Lock(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
}

// Who is queued gets the record in the order in which they came, urgent ones before the
// others.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(8)
		mustLock(t, table, excl("a"))
		var got []string
		wait := func(ctx context.Context, name string, mode kv.Mode) {
			go func() {
				refs := []kv.Ref{{Key: "a", Mode: mode}}
				if err := table.Lock(ctx, refs); err != nil {
					t.Error(err)
					return
				}
				got = append(got, name)
				table.Unlock(refs)
			}()
			synctest.Wait()
		}
		wait(t.Context(), "payment 1", kv.Exclusive)
		wait(kv.Urgent(t.Context()), "freeze 1", kv.Exclusive)
		wait(t.Context(), "payment 2", kv.Exclusive)
		wait(kv.Urgent(t.Context()), "freeze 2", kv.Exclusive)
		wait(t.Context(), "payment 3", kv.Exclusive)
		table.Unlock(excl("a"))
		synctest.Wait()
		if want := []string{"freeze 1", "freeze 2", "payment 1", "payment 2", "payment 3"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if table.Records() != 0 || table.Waiters() != 0 {
			t.Errorf("%d records, %d waiters left", table.Records(), table.Waiters())
		}
	})
}

// The bound counts neither urgent waiters nor is it for them, wherever in the
// queue they are, and room is there again for each who left.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound, urgent = 8, 500
		table := New(bound)
		mustLock(t, table, excl("a"))
		refused, ran := 0, 0
		wait := func(ctx context.Context) {
			go func() {
				switch err := table.Lock(ctx, excl("a")); {
				case errors.Is(err, kv.ErrOverloaded):
					refused++
				case err == nil:
					ran++
					table.Unlock(excl("a"))
				}
			}()
			synctest.Wait()
		}
		for i := range urgent {
			wait(kv.Urgent(t.Context()))
			if i < bound {
				wait(t.Context())
			}
		}
		if refused != 0 {
			t.Fatalf("%d refused", refused)
		}
		wait(t.Context())
		if refused != 1 {
			t.Fatal("one more waits than the bound allows")
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 { // urgent ones who give up make no room for others
			wait(kv.Urgent(ctx))
		}
		cancel()
		synctest.Wait()
		wait(t.Context())
		if refused != 2 {
			t.Fatal("one more waits than the bound allows, once urgent ones gave up")
		}
		table.Unlock(excl("a"))
		synctest.Wait()
		if ran != bound+urgent || table.Records() != 0 || table.Waiters() != 0 {
			t.Errorf("%d ran, want %d; %d records, %d waiters left", ran, bound+urgent, table.Records(), table.Waiters())
		}
	})
}

// An exclusive waiter is not overtaken by those who share.
func TestSharedDoNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, shared := New(8), []kv.Ref{{Key: "a"}}
		mustLock(t, table, shared)
		mustLock(t, table, shared) // side by side
		writer, reader := false, false
		go func() { writer = table.Lock(t.Context(), excl("a")) == nil }()
		synctest.Wait()
		go func() { reader = table.Lock(t.Context(), shared) == nil }()
		synctest.Wait()
		table.Unlock(shared)
		synctest.Wait()
		if writer || reader {
			t.Fatal("granted while one still shares it")
		}
		table.Unlock(shared)
		synctest.Wait()
		if !writer || reader {
			t.Fatalf("writer %v, reader %v, want the writer alone", writer, reader)
		}
		table.Unlock(excl("a"))
		synctest.Wait()
		if !reader {
			t.Fatal("the reader waits for nobody")
		}
		table.Unlock(shared)
	})
}

// Who gives up lets those behind go on, and keeps nothing.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, shared := New(8), []kv.Ref{{Key: "b"}}
		mustLock(t, table, shared)
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { err = table.Lock(ctx, excl("a", "b")) }() // holds a, waits for b
		synctest.Wait()
		reader := false
		go func() { reader = table.Lock(t.Context(), shared) == nil }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(err, context.Canceled) || !reader {
			t.Fatalf("%v, reader %v", err, reader)
		}
		if n := table.Records(); n != 1 {
			t.Fatalf("%d records held, want b alone", n)
		}
		if err := table.Lock(ctx, excl("c")); !errors.Is(err, context.Canceled) || table.Records() != 1 {
			t.Fatalf("%v with an ended context, %d records", err, table.Records())
		}
	})
}

// Under any load nobody holds what somebody else holds exclusively, all end, and
// nothing is left.
func TestLoad(t *testing.T) {
	table := New(1000)
	var holders [4]atomic.Int64 // an exclusive one counts 1000
	weight := func(r kv.Ref) int64 {
		if r.Mode == kv.Exclusive {
			return 1000
		}
		return 1
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 7))
			for range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(100))*time.Microsecond, cancel)
				}
				var refs []kv.Ref
				for k := range holders {
					if rng.IntN(2) == 0 {
						refs = append(refs, kv.Ref{Key: fmt.Sprint(k), Mode: kv.Mode(rng.IntN(2))})
					}
				}
				if table.Lock(ctx, refs) == nil {
					for _, r := range refs {
						if n := holders[r.Key[0]-'0'].Add(weight(r)); n > 1000 || r.Mode == kv.Exclusive && n != 1000 {
							t.Errorf("%d hold %s", n, r.Key)
						}
					}
					for _, r := range refs {
						holders[r.Key[0]-'0'].Add(-weight(r))
					}
					table.Unlock(refs)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if table.Records() != 0 || table.Waiters() != 0 {
		t.Errorf("%d records, %d waiters left", table.Records(), table.Waiters())
	}
}
