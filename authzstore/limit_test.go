package authzstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

const callers = 64

// TestLimitUnderCallers has 64 callers spend against one limit at once, each
// seed with amounts of its own. Since nothing is given back, the limit is used
// exactly: what remains is less than any amount that was refused.
func TestLimitUnderCallers(t *testing.T) {
	w := open(t)
	seed := 0
	rapid.Check(t, func(rt *rapid.T) {
		seed++
		id := fmt.Sprintf("acc_%d", seed)
		limit := authzstore.Limit{Name: "total", MaxAmountMinor: rapid.Int64Range(1, 50000).Draw(rt, "limit")}
		if err := w.putAccount(account(id, limit)); err != nil {
			rt.Fatal(err)
		}
		amounts := rapid.SliceOfN(rapid.Int64Range(1, limit.MaxAmountMinor), callers, callers).Draw(rt, "amounts")
		accepted, smallestRefused := w.spend(rt, id, amounts)
		if accepted > limit.MaxAmountMinor {
			rt.Fatalf("%d were accepted against a limit of %d", accepted, limit.MaxAmountMinor)
		}
		if remaining := limit.MaxAmountMinor - accepted; remaining >= smallestRefused {
			rt.Fatalf("%d was refused though %d remain", smallestRefused, remaining)
		}
		if got := w.usage(t, id).PendingMinor; got != accepted {
			rt.Fatalf("usage is %d, accepted were %d", got, accepted)
		}
	})
	w.clean(t)
}

// spend reserves all amounts at once and returns the sum of those accepted, and
// the smallest one refused.
func (w *world) spend(rt *rapid.T, id string, amounts []int64) (accepted, smallestRefused int64) {
	var sum atomic.Int64
	var mu sync.Mutex
	var failure error
	smallestRefused = 1 << 62
	var wg sync.WaitGroup
	for _, amount := range amounts {
		wg.Go(func() {
			err := w.reserve(id, authzstore.NewID("rsv"), amount)
			var over *authzstore.OverLimitError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				sum.Add(amount)
			case errors.As(err, &over):
				smallestRefused = min(smallestRefused, amount)
			default:
				failure = err
			}
		})
	}
	wg.Wait()
	if failure != nil {
		rt.Fatal(failure)
	}
	return sum.Load(), smallestRefused
}

// TestEqualAmountsMeetTheLimit: 64 callers of the same amount, a limit that some
// of them fill exactly.
func TestEqualAmountsMeetTheLimit(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna", authzstore.Limit{Name: "total", MaxAmountMinor: 25 * 7})))
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if w.reserve("acc_anna", authzstore.NewID("rsv"), 7) == nil {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if got := allowed.Load(); got != 25 {
		t.Errorf("%d of 64 callers were allowed, want exactly 25", got)
	}
	w.clean(t)
}

// TestOneUseUnderCallers: of 64 callers with one code, one wins, also where it is
// one of many steps.
func TestOneUseUnderCallers(t *testing.T) {
	w := open(t)
	for round := range 20 {
		thing := authzstore.NewID("chl")
		var won atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				cause := w.cause()
				err := w.Update(context.Background(), cause, []kv.Ref{authzstore.UseRef(thing)}, func(tx *authzstore.Tx) error {
					if round%2 == 0 {
						return tx.UseOnce(thing)
					}
					return tx.UseStep(thing, 1_800_000_000/30)
				})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, authzstore.ErrUsed) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 64 callers used %s", won.Load(), thing)
		}
	}
	w.clean(t)
}
