package decide

import (
	"context"
	"sync"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// Bounds of what is remembered for Envoy's own retries: longer than the timeout
// of a check, and more than are answered in that time. It is short because an
// allow that is told again was decided before whatever changed since; only whether
// its account and grant still pay, and its merchant is paid, is looked at again.
const (
	repeatTTL  = 2 * time.Second
	maxRepeats = 1 << 16
)

// repeats remembers answers for a while, by the check that they answer. Envoy
// asks again where it did not hear an answer in time, and then the answer is the
// one that it missed: deciding again would find the call answered. "Unavailable"
// is not kept: who asks again then may fare better.
type repeats struct {
	mu      sync.Mutex
	answers map[string]*repeat
	order   []*repeat // oldest first; some may have left answers
}

type repeat struct {
	check    string
	until    time.Time
	done     chan struct{} // closed when the answer is there
	decision Decision
}

// begin returns a function that keeps the answer of a check, or, if the check was
// asked before, the answer to wait for.
func (r *repeats) begin(check string, now time.Time) (keep func(Decision), before *repeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, asked := r.answers[check]; asked && now.Before(before.until) {
		return nil, before
	}
	for len(r.order) > 0 && (len(r.order) >= maxRepeats || !now.Before(r.order[0].until)) {
		r.forget(r.order[0])
		r.order = r.order[1:]
	}
	if r.answers == nil {
		r.answers = map[string]*repeat{}
	}
	mine := &repeat{check: check, done: make(chan struct{}), until: now.Add(repeatTTL)}
	r.answers[check] = mine
	r.order = append(r.order, mine)
	return func(d Decision) {
		mine.decision = d
		close(mine.done)
		if d.Outcome == Unavailable {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.forget(mine)
		}
	}, nil
}

// forget drops an answer, unless another one has taken its place.
func (r *repeats) forget(old *repeat) {
	if r.answers[old.check] == old {
		delete(r.answers, old.check)
	}
}

// repeated gives a check that Envoy asks again the answer that it missed.
func (ck *check) repeated(ctx context.Context, checkID string) Decision {
	if checkID == "" {
		return ck.decide(ctx)
	}
	keep, before := ck.repeats.begin(checkID+string(ck.fingerprint)+string(ck.mac)+ck.call.IdempotencyKey, time.Now())
	if before != nil {
		ck.obs.Course = CourseAskedAgain
		select {
		case <-before.done:
			if before.decision.Outcome == Allow && !ck.stillStands(ctx) {
				return ck.decide(ctx)
			}
			return before.decision
		case <-ctx.Done():
			return tooLate.because(CauseTimeout)
		}
	}
	kept := defect(InternalError).because(CausePanic)
	kept.ID = ck.id
	defer func() { keep(kept) }() // also where deciding panics
	kept = ck.decide(ctx)
	return kept
}

// stillStands tells whether nothing that the call leads to was frozen or taken
// away, as far as is known now.
func (ck *check) stillStands(ctx context.Context) (can bool) {
	err := ck.cfg.Store.View(ctx, func(s authzstore.Snapshot) error {
		f, err := ck.readFacts(s.Reader, ck.arrived.UnixNano()) // the same call shows the same evidence, so it leads where it led
		if err != nil {
			return err
		}
		made := f.earlier != nil && (f.earlier.reservation != nil || f.earlier.intent != nil)
		can = ck.merchantIsPaid(f) && (!made || f.earlier.pays) && (f.Account == nil || pays(*f.Account, f.Grant))
		return nil
	})
	return err == nil && can
}
