package authzstore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore/kv"
)

// asking is one challenge by codes as it should be.
type asking struct {
	state    ChallengeState
	entries  []int
	burnt    int
	stands   bool // no terminal was bound anew
	expires  int64
	consumed int
	failed   int
}

func (a *asking) stateAt(now int64) ChallengeState {
	if (a.state == ChallengeOpen || a.state == ChallengeSatisfied) && now > a.expires {
		return ChallengeExpired
	}
	return a.state
}

func (a *asking) right() bool {
	return len(a.entries) == 2 && a.entries[0] >= 0 && a.entries[1] >= 0 && a.entries[0] != a.entries[1]
}

// TestChallengeModel: whatever happens to challenges, the store has them as the
// model does; none fails more often than it may, and none is consumed twice.
func TestChallengeModel(t *testing.T) {
	d := newDesk(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := &askingWorld{t: t, desk: d, name: NewID("")[1:], all: map[string]*asking{}}
		for _, id := range []string{w.trm(0), w.trm(1)} {
			trm := terminal(id)
			trm.Account = w.acc()
			d.mustPutTerminal(t, trm)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"issue":   w.issue,
			"enter":   w.enter,
			"satisfy": w.satisfy,
			"fail":    w.fail,
			"guess":   func(rt *rapid.T) { w.enter(rt); w.enter(rt); w.fail(rt) },
			"consume": w.consume,
			"reject": func(rt *rapid.T) {
				w.end(rt, ChallengeRejected, func(tx *Tx, id string) error { return tx.RejectChallenge(id, w.trm(0)) })
			},
			"replace": func(rt *rapid.T) { w.end(rt, ChallengeReplaced, (*Tx).ReplaceChallenge) },
			"unlock":  w.unlock,
			"clock":   func(rt *rapid.T) { d.now += rapid.Int64Range(1, hour).Draw(rt, "ns") },
			"rebind":  w.rebind,
			"":        w.compare,
		})
	})
	d.clean(t)
}

type askingWorld struct {
	*desk
	t      *testing.T
	name   string
	ids    []string
	all    map[string]*asking
	starts []int64
	failed int // sets in a row
	bound  int // how often the second terminal was
}

func (w *askingWorld) acc() string      { return "acc_" + w.name }
func (w *askingWorld) trm(n int) string { return fmt.Sprintf("trm_%s%d", w.name, n) }

func (w *askingWorld) pick(rt *rapid.T) (string, *asking) {
	if len(w.ids) == 0 {
		return "", nil
	}
	id := w.ids[len(w.ids)-1-rapid.IntRange(0, min(2, len(w.ids)-1)).Draw(rt, "challenge")]
	return id, w.all[id]
}

func (w *askingWorld) set(id string, fn func(*Tx) error) error { return w.desk.set(w.t, id, fn) }

func (w *askingWorld) issue(rt *rapid.T) {
	id := "chl_" + w.name + fmt.Sprint(len(w.ids))
	c := w.codes(id)
	c.Account, c.Terminals[0].Terminal, c.Terminals[1].Terminal = w.acc(), w.trm(0), w.trm(1)
	c.ExpiresAtNanos = w.now + rapid.Int64Range(0, 2*hour).Draw(rt, "life")
	err := w.desk.issue(c)
	if w.failed >= MaxFailedInARow {
		w.want(rt, err, ErrState)
		return
	}
	if n := len(w.starts); n >= MaxStarts && w.now-w.starts[n-MaxStarts] < int64(StartsWindow) {
		w.want(rt, err, ErrTooManyStarts)
		return
	}
	w.want(rt, err, nil)
	w.starts = append(w.starts, w.now)
	w.ids = append(w.ids, id)
	w.all[id] = &asking{state: ChallengeOpen, stands: true, expires: c.ExpiresAtNanos}
}

func (w *askingWorld) want(rt *rapid.T, err, want error) {
	rt.Helper()
	if !errors.Is(err, want) {
		rt.Fatalf("%v, want %v", err, want)
	}
}

func (w *askingWorld) enter(rt *rapid.T) {
	id, a := w.pick(rt)
	if a == nil {
		return
	}
	entry := rapid.IntRange(-1, 1).Draw(rt, "entry")
	err := w.set(id, func(tx *Tx) error { _, err := tx.AddEntry(id, Entry{Terminal: entry}); return err })
	switch {
	case a.stateAt(w.now) != ChallengeOpen || w.failed >= MaxFailedInARow:
		w.want(rt, err, ErrState)
	case len(a.entries) == 2:
		w.want(rt, err, ErrInvalid)
	default:
		w.want(rt, err, nil)
		a.entries = append(a.entries, entry)
	}
}

func (w *askingWorld) satisfy(rt *rapid.T) {
	id, a := w.pick(rt)
	if a == nil {
		return
	}
	err := w.set(id, func(tx *Tx) error { return tx.SatisfyChallenge(id, "") })
	switch {
	case a.stateAt(w.now) != ChallengeOpen || !a.stands:
		w.want(rt, err, ErrState)
	case !a.right():
		w.want(rt, err, ErrInvalid)
	default:
		w.want(rt, err, nil)
		a.state = ChallengeSatisfied
		if w.failed < MaxFailedInARow {
			w.failed = 0
		}
	}
}

func (w *askingWorld) fail(rt *rapid.T) {
	id, a := w.pick(rt)
	if a == nil {
		return
	}
	locked := false
	err := w.set(id, func(tx *Tx) (err error) {
		locked, err = tx.FailChallenge(id)
		return err
	})
	switch {
	case a.stateAt(w.now) != ChallengeOpen:
		w.want(rt, err, ErrState)
	case len(a.entries) != 2:
		w.want(rt, err, ErrInvalid)
	default:
		w.want(rt, err, nil)
		a.failed++
		w.failed++
		if a.failed > 3 || locked != (a.failed == 3 || w.failed >= MaxFailedInARow) {
			rt.Fatalf("%s failed %d times, %d in a row, locked: %t", id, a.failed, w.failed, locked)
		}
		a.burnt, a.entries = a.burnt+1, nil
		if locked {
			a.state = ChallengeLocked
		}
	}
}

func (w *askingWorld) consume(rt *rapid.T) {
	id, a := w.pick(rt)
	if a == nil {
		return
	}
	err := w.set(id, func(tx *Tx) error { return tx.ConsumeChallenge(id) })
	if a.stateAt(w.now) != ChallengeSatisfied || !a.stands {
		w.want(rt, err, ErrState)
		return
	}
	w.want(rt, err, nil)
	if a.consumed++; a.consumed > 1 {
		rt.Fatalf("%s was consumed twice", id)
	}
	a.state = ChallengeConsumed
}

// end rejects an open challenge, or replaces an open or satisfied one.
func (w *askingWorld) end(rt *rapid.T, to ChallengeState, fn func(*Tx, string) error) {
	id, a := w.pick(rt)
	if a == nil {
		return
	}
	err := w.set(id, func(tx *Tx) error { return fn(tx, id) })
	ok := a.stateAt(w.now) == ChallengeOpen
	if to == ChallengeReplaced {
		ok = a.state == ChallengeOpen || a.state == ChallengeSatisfied
	}
	if !ok {
		w.want(rt, err, ErrState)
		return
	}
	w.want(rt, err, nil)
	a.state = to
}

func (w *askingWorld) unlock(rt *rapid.T) {
	err := w.do([]kv.Ref{VerificationRef(w.acc(), kv.Exclusive)}, func(tx *Tx) error { return tx.UnlockVerification(w.acc()) })
	if w.failed < MaxFailedInARow {
		w.want(rt, err, ErrState)
		return
	}
	w.want(rt, err, nil)
	w.failed = 0
}

// rebind puts another device in the place of the second terminal.
func (w *askingWorld) rebind(rt *rapid.T) {
	w.now++
	w.bound++
	trm := terminal(w.trm(1))
	trm.Account = w.acc()
	trm.Identity.Subject += fmt.Sprint("/", w.bound)
	w.mustPutTerminal(w.t, trm)
	for _, a := range w.all {
		a.stands = false
	}
}

func (w *askingWorld) compare(rt *rapid.T) {
	for id, a := range w.all {
		c := w.challenge(w.t, id)
		if c.State != a.state || c.StateAt(w.now) != a.stateAt(w.now) || c.Burnt != int64(a.burnt) || len(c.Entries) != len(a.entries) {
			rt.Fatalf("%s is %+v, want %+v", id, c, a)
		}
	}
	w.read(w.t, func(s Snapshot) error {
		v, err := s.Verification(w.acc())
		if v.FailedInARow != int64(w.failed) || v.Locked() != (w.failed >= MaxFailedInARow) {
			rt.Fatalf("verification is %+v, want %d", v, w.failed)
		}
		return err
	})
}

const callers = 64

// atOnce runs fn for many callers at once, and counts those it worked for. The
// others are refused as they should be.
func atOnce(t *testing.T, fn func(n int) error, refused ...error) (won int64) {
	t.Helper()
	var wins atomic.Int64
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			err := fn(n)
			if err == nil {
				wins.Add(1)
				return
			}
			for _, want := range refused {
				if errors.Is(err, want) {
					return
				}
			}
			t.Error(err)
		})
	}
	wg.Wait()
	return wins.Load()
}

// TestOneWinner: of many callers at once, one advances an intent and one consumes a
// challenge.
func TestOneWinner(t *testing.T) {
	d := askedDesk(t)
	for round := range 5 {
		order, ch := fmt.Sprintf("int_%d", round), fmt.Sprintf("chl_%d", round)
		d.mustOpen(t, d.order(order))
		won := atOnce(t, func(n int) error {
			return d.advance(order, "ordered", IntentAdvance{To: "taken", By: identityOf(fmt.Sprint(n)), Parties: map[string]string{"agent": fmt.Sprint(n)}})
		}, ErrState)
		if i := d.intent(t, order); won != 1 || len(i.Steps) != 2 || i.Parties["agent"] != i.Steps[1].By.Subject {
			t.Errorf("%d took %+v", won, i)
		}
		d.into(t, ChallengeCode, ChallengeSatisfied, ch)
		c := d.challenge(t, ch)
		if won := atOnce(t, func(int) error {
			return d.do(ChallengeRefs(c), func(tx *Tx) error { return tx.ConsumeChallenge(ch) })
		}, ErrState); won != 1 {
			t.Errorf("%d consumed %s", won, ch)
		}
	}
	d.clean(t)
}

// TestGuessesAtOnce: of many wrong sets at once, as many count as there are
// attempts.
func TestGuessesAtOnce(t *testing.T) {
	d := askedDesk(t)
	c := d.mustIssue(t, d.codes("chl_1"))
	failed := atOnce(t, func(int) error {
		return d.do(ChallengeRefs(c), func(tx *Tx) error {
			for range 2 {
				if _, err := tx.AddEntry("chl_1", Entry{Terminal: -1}); err != nil {
					return err
				}
			}
			_, err := tx.FailChallenge("chl_1")
			return err
		})
	}, ErrState)
	if got := d.challenge(t, "chl_1"); failed != c.MaxAttempts || got.Burnt != c.MaxAttempts || got.State != ChallengeLocked {
		t.Errorf("%d sets failed: %+v", failed, got)
	}
	d.clean(t)
}

// TestBoundsAtOnce: bounds on what is started, sent and opened hold among many.
func TestBoundsAtOnce(t *testing.T) {
	d := askedDesk(t)
	started := atOnce(t, func(n int) error { return d.issue(d.approval(fmt.Sprintf("chl_%d", n))) }, ErrTooManyStarts)
	sent := atOnce(t, func(n int) error { return d.send(d.notice(fmt.Sprintf("msg_%d", n), "trm_1")) }, ErrTooManyMessages)
	opened := atOnce(t, func(n int) error { return d.open(d.order(fmt.Sprintf("int_%d", n))) }, ErrTooManyIntents)
	if started != MaxStarts || sent != MaxMessagesPerHour || opened != MaxOpenIntents {
		t.Errorf("%d challenges started, %d messages sent, %d intents opened", started, sent, opened)
	}
	if got := d.messages(t, "trm_1", 1, 100); len(got) != MaxMessagesPerHour || got[len(got)-1].Num != MaxMessagesPerHour {
		t.Errorf("%d messages, the last one %d", len(got), got[len(got)-1].Num)
	}
	d.clean(t)
}
