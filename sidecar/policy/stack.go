package policy

import "runtime"

// OPA's evaluator recurses deeply. A goroutine that evaluates for the first time,
// or after a garbage collection has shrunk its stack, has it grown by doubling and
// copying; so a few goroutines do all evaluations, however many callers there are.
// warmStacks are those that are idle.
var warmStacks = make(chan chan func(), runtime.GOMAXPROCS(0))

// onWarmStack runs fn on one of them and returns when it has ended. fn must not
// panic.
func onWarmStack(fn func()) {
	var work chan func()
	select {
	case work = <-warmStacks:
	default:
		work = make(chan func())
		go func() {
			for fn := range work {
				fn()
			}
		}()
	}
	done := make(chan struct{})
	work <- func() {
		defer close(done)
		fn()
	}
	<-done
	select {
	case warmStacks <- work:
	default:
		close(work)
	}
}
