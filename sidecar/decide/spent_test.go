package decide_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// Evidence that was looked at is spent, whatever keeps its decision from being written:
// also where the store had no room for it once it was made, or the caller was gone. Only
// where it is not known whether it was written, nothing more is: it may be spent. What
// was right burns no attempt then: an overload locks nobody out.
func TestEvidenceIsSpentThoughNothingIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		code  string
		spent int64
	}{
		"no room":          {kv.ErrOverloaded, "overloaded", 1},
		"too big":          {kv.ErrTooBig, "store_unavailable", 1},
		"the caller gone":  {context.Canceled, "decision_timeout", 1},
		"too late":         {context.DeadlineExceeded, "decision_timeout", 1},
		"nobody knows":     {kv.ErrUnknown, "outcome_unknown", 0},
		"no store at once": {nil, "store_unavailable", 0},
	} {
		for _, code := range []string{"wrong", "right-1"} {
			t.Run(name+", "+code, func(t *testing.T) {
				backend := openBadger(t)
				putAccount(t, backend, anna())
				first := true
				w := newWorld(t, withCodes(t, nil), withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
					if !first {
						return backend.Update(ctx, refs, fn)
					}
					first = false
					if c.err == nil {
						return errors.New("before anything was read")
					}
					return backend.Update(ctx, refs, func(tx kv.Tx) error {
						_ = fn(tx) // whatever it came to: the backend gives up
						return c.err
					})
				}}))
				w.backend = backend
				d := w.decide(keyedPayment("acc_anna", "k", 100, code))
				want(t, d, decide.Unavailable, 503, c.code)
				left := codeAllowance.Max - c.spent
				if code != "wrong" {
					left = codeAllowance.Max
				}
				w.wantLeft(t, "acc_anna", left)
				want(t, w.decide(keyedPayment("acc_anna", "k2", 100, "right-1")), decide.Allow, 0)
				clean(t, authzstore.New(backend))
			})
		}
	}
}

// A transaction that touches what its plan did not declare, though nothing has changed, is
// a fault of this program, and is not told as one of the moment.
func TestForgottenRef(t *testing.T) {
	backend := openBadger(t)
	putAccount(t, backend, anna())
	tries := 0
	w := newWorld(t, withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
		tries++
		kept := refs[:0:0]
		for _, r := range refs {
			if !strings.HasPrefix(r.Key, "reservation/") {
				kept = append(kept, r)
			}
		}
		return backend.Update(ctx, kept, fn)
	}}))
	want(t, w.decide(keyedPayment("acc_anna", "k", 100, "")), decide.Defect, 500, "internal_error")
	if log := w.log.String(); tries != 2 || !strings.Contains(log, "leaves out") && !strings.Contains(log, "not declared") {
		t.Errorf("%d tries, logged %s", tries, log)
	}
}

// Who opens intents of one account at once makes the others plan again, and all of them
// are decided.
func TestIntentsOpenedAtOnce(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, fixed(true, openOrder))
	var wg sync.WaitGroup
	answers := make(chan decide.Decision, 24)
	for n := range cap(answers) {
		wg.Go(func() { answers <- s.decide(order(bun, fmt.Sprint("order-", n))) })
	}
	wg.Wait()
	close(answers)
	intents := map[string]bool{}
	for d := range answers {
		want(t, d, decide.Allow, 0)
		intents[d.IntentID] = true
	}
	if len(intents) != cap(answers) {
		t.Errorf("%d intents, want %d", len(intents), cap(answers))
	}
	s.clean(t)
}

// A denial that the store has the last word on is final as any other: the approval that
// was presented is used up.
func TestApprovalIsSpentOnTheStoresDenial(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, `package payments

decision := {"allow": allow, "reasons": reasons, "public_reasons": reasons, "effects": effects}

default allow := false

allow if input.call.operation != "store_approved"

allow if input.facts.challenge.state == "satisfied"

reasons contains {"code": "approval_required", "message": "Asked."} if not allow

effects contains `+askApproval+` if not allow
`)
	store := func() decide.Decision {
		return s.decide(request("phone", "POST", "/approved_codes", `{"max_amount_minor": 5}`, "k"))
	}
	d := store()
	want(t, d, decide.StepUp, 401, "approval_required")
	want(t, s.decide(request("tablet", "POST", "/challenges/"+d.Challenge.ID+"/approve", "", nextKey())), decide.Allow, 0)
	want(t, store(), decide.Deny, 422, "code_terms_invalid")
	if c := s.challenge(t, d.Challenge.ID); c.State != authzstore.ChallengeConsumed {
		t.Errorf("the challenge is %s", c.State)
	}
	s.clean(t)
}

// A backend may run a closure again: what the first run found out counts for nothing.
func TestClosureRunsAgain(t *testing.T) {
	backend := openBadger(t)
	putAccount(t, backend, anna())
	w := newWorld(t, withCodes(t, nil), withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
		again := errors.New("run it again")
		if err := backend.Update(ctx, refs, func(tx kv.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return again
		}); !errors.Is(err, again) {
			return err
		}
		return backend.Update(ctx, refs, fn)
	}}))
	w.backend = backend
	d := w.decide(keyedPayment("acc_anna", "k", 1250, "right-1"))
	want(t, d, decide.Allow, 0)
	if u := w.usage(t); u.PendingMinor != 1250 || u.Count != 1 {
		t.Errorf("usage %+v", u)
	}
	w.wantLeft(t, "acc_anna", codeAllowance.Max)
	clean(t, authzstore.New(backend))
}

// A key that was asked for a challenge passes by that alone, also once the routes have
// changed and its route asks nobody any more.
func TestAskedKeyOnARouteThatAsksNoMore(t *testing.T) {
	s := newStepWorld(t)
	id := s.asked(t, "k")
	b := stepUpBundle(t, fixed(true, reserveBun))
	table, err := call.Load(fstest.MapFS{"systems/checkout/routes.yaml": {Data: []byte(strings.Replace(stepUpRoutes,
		"{account: write, terminals: write, challenge: write}", "{account: write}", 1))}}, call.Vocabulary{Evidence: []string{"test_code"}})
	if err != nil {
		t.Fatal(err)
	}
	b.Routes = table
	s.swap(b)
	want(t, s.decide(pay("k")), decide.Defect, 500, "policy_defect")
	want(t, s.decide(pay("another")), decide.Allow, 0)
	s.wantState(t, id, authzstore.ChallengeOpen)
	s.clean(t)
}
