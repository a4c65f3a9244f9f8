package policy

import (
	"sync"
	"sync/atomic"
	"testing"
)

// However many callers there are, each has its own function run, to its end, and
// no more goroutines stay than can work at once.
func TestOnWarmStack(t *testing.T) {
	const callers = 50
	var ran atomic.Int64
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for range 20 {
				mine := 0
				onWarmStack(func() { mine++; ran.Add(1) })
				if mine != 1 {
					t.Errorf("the function has run %d times when it is over", mine)
				}
			}
		})
	}
	wait.Wait()
	if n := ran.Load(); n != callers*20 {
		t.Errorf("%d functions ran", n)
	}
	if n := len(warmStacks); n < 1 || n > cap(warmStacks) {
		t.Errorf("%d goroutines are idle, of %d", n, cap(warmStacks))
	}
}
