package evidence

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// What a merchant has for one handle ends at five wrong codes, and is its own.
func TestHandleBudget(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 {
		w.wants(t, "guesser", noon, w.wrong(t, noon, i), -1)
	}
	w.wants(t, "guesser", noon, w.code(t, noon), -1) // right, and not looked at
	w.wants(t, "another shop", noon, w.code(t, noon), 0)
	later := noon.Add(time.Hour + time.Second)
	w.wants(t, "guesser", later, w.code(t, later), 0)
}

// A right code after four wrong ones pays, and so does the one after it: a match burns
// nothing.
func TestMatchBurnsNothing(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 4 {
		w.wants(t, "shop", noon, w.wrong(t, noon, i), -1)
	}
	for i := range 5 {
		at := noon.Add(time.Duration(i) * 30 * time.Second)
		w.wants(t, "shop", at, w.code(t, at), 0)
	}
}

// Once a merchant's own budget is used up, it leaves nothing behind under the handles
// that it makes up, and a right code does not match.
func TestGuesserLeavesLittle(t *testing.T) {
	const budget = 10
	w := newWorld(t, func(cfg *Config) {
		cfg.MerchantAllowance = authzstore.Allowance{Max: budget, WindowNanos: hourNanos}
	})
	for i := range 10 * budget {
		w.wants(t, "guesser", noon, fmt.Sprintf("28%010d00000000", i), -1)
	}
	w.wants(t, "guesser", noon, w.code(t, noon), -1)
	if callers, handles := w.attempts(t); callers != 1 || handles != budget {
		t.Errorf("%d records of callers and %d of handles, want 1 and %d", callers, handles, budget)
	}
	w.wants(t, "shop", noon, w.code(t, noon), 0)
}

// What is no code at all burns the caller's own budget alone.
func TestFormBurnsTheCallers(t *testing.T) {
	w := newWorld(t, nil)
	for range 7 {
		w.wants(t, "guesser", noon, "no code", -1)
	}
	if callers, handles := w.attempts(t); callers != 1 || handles != 0 {
		t.Errorf("%d records of callers and %d of handles", callers, handles)
	}
}

// When wrong codes of everybody are more than mistakes, allowances are tightened: who
// failed has less left, who did not fail notices nothing.
func TestOverallTightens(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.OverallFailures = 40 })
	for i := range 3 {
		w.wants(t, "clumsy", noon, w.wrong(t, noon, i), -1)
	}
	for i := range 37 {
		w.wants(t, fmt.Sprintf("guesser%d", i%10), noon, w.wrong(t, noon, i), -1)
	}
	w.wants(t, "clumsy", noon, w.code(t, noon), -1) // three are more than a quarter of five, and than two
	at := noon.Add(30 * time.Second)
	w.wants(t, "shop", at, w.wrong(t, at, 0), -1)
	w.wants(t, "shop", at, w.code(t, at), 0)
	// The failures of the hour before count too.
	at = noon.Add(61 * time.Minute)
	for i := range 3 {
		w.wants(t, "late", at, w.wrong(t, at, i), -1)
	}
	w.wants(t, "late", at, w.code(t, at), -1)
	// The hours of the clock go by, and with them the failures in them.
	at = noon.Add(3 * time.Hour)
	for i := range 3 {
		w.wants(t, "clumsy", at, w.wrong(t, at, i), -1)
	}
	w.wants(t, "clumsy", at, w.code(t, at), 0)
}

// One caller alone cannot tighten what the others have.
func TestOneCallerDoesNotTighten(t *testing.T) {
	w := newWorld(t, func(cfg *Config) {
		cfg.MerchantAllowance = authzstore.Allowance{Max: 10, WindowNanos: hourNanos}
		cfg.OverallFailures = 20
	})
	for i := range 4 {
		w.wants(t, "clumsy", noon, w.wrong(t, noon, i), -1)
	}
	for i := range 100 {
		w.wants(t, "guesser", noon, w.wrong(t, noon, i), -1)
	}
	w.wants(t, "clumsy", noon, w.code(t, noon), 0)
}

// 1 000 merchants with 100 guesses each at one handle do not stop the delegate's next
// payment, and leave one record each of their own and one of them and the handle.
func TestManyGuessers(t *testing.T) {
	const merchants, atOnce = 1000, 64
	guesses := 100
	if raceEnabled { // a call takes ten times as long then: twice what they may guess is enough
		guesses = 10
	}
	w := newWorld(t, nil)
	wrong := w.wrong(t, noon, 0)
	jobs := make(chan int)
	var guessers sync.WaitGroup
	for range atOnce {
		guessers.Go(func() {
			for job := range jobs {
				if _, matched, err := w.show(noon, fmt.Sprintf("guesser%d", job%merchants), wrong); matched || err != nil {
					t.Errorf("%v, %v", matched, err)
				}
			}
		})
	}
	for job := range merchants * guesses {
		jobs <- job
	}
	close(jobs)
	guessers.Wait()
	w.wants(t, "shop", noon, w.code(t, noon), 0)
	if callers, handles := w.attempts(t); callers != merchants || handles != merchants {
		t.Errorf("%d records of callers and %d of handles", callers, handles)
	}
}
