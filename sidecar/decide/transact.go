package decide

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// A check is one call on its way to a decision.
type check struct {
	*Decider
	id      string
	obs     *Observation
	arrived time.Time
	bundle  *bundle.Bundle
	call    call.Call

	evidence      []*shown
	mac           []byte // of the evidence
	lockedOut     bool   // for some of the evidence no attempt was left
	key           *authzstore.CallKey
	fingerprint   []byte
	entry         *entry // the code that the call enters into a challenge, nil for none
	reservationID string // of the reservation that an allow makes
	challengeID   string // of the challenge that a denial issues
	intentID      string // of the intent that an allow opens

	grantID    string                // of the grant that an allow offers
	credential authzstore.Credential // that an allow issues

	record *Record // what was written of the decision; nil where nothing was
}

// needsStore tells whether a call's decision depends on anything, or changes
// anything, beside itself.
func (ck *check) needsStore() bool {
	return len(ck.call.Route.Facts) > 0 || len(ck.evidence) > 0 || ck.entry != nil || ck.key != nil
}

// Bounds of a transaction. Envoy gives a check half a second.
const (
	maxLockWait = 200 * time.Millisecond
	// settleTimeout is for what must be written though no decision came in time.
	settleTimeout = time.Second
)

// errForgotten: a transaction touches what its plan did not declare, though nothing that
// was read has changed since the plan before. It is a fault of this program.
var errForgotten = errors.New("the plan of a call leaves out what its transaction touches")

var errLockWait = fmt.Errorf("%w: the locks were not free in time", kv.ErrOverloaded)

// transact decides a call in one transaction. An error says why there is no
// decision, and then nothing was written.
func (ck *check) transact(ctx context.Context) (d Decision, err error) {
	var before plan
	for round := range maxPlans {
		if err := ck.prepareBuiltIn(); err != nil {
			return Decision{}, err
		}
		p, err := ck.plan(ctx)
		if err != nil {
			return Decision{}, err
		}
		p.same = round > 0 && p.reads.Same(before.reads)
		p.last = p.same || round == maxPlans-1
		d, err = ck.transactPlanned(ctx, p)
		if p.last || !errors.Is(err, errReplan) {
			return d, err
		}
		before = p
	}
	return Decision{}, errReplan
}

// transactPlanned decides a call under the locks of a plan. Where there is no verdict, or
// none that can be carried out, be it for what the call itself asks, the transaction is
// given up whole, and a second one writes what stands nevertheless: the evidence is
// spent, the key is not free for another call, and the record says why.
func (ck *check) transactPlanned(ctx context.Context, p plan) (Decision, error) {
	if !ck.admission.enterAbout(p.changes) {
		return Decision{}, errCrowded
	}
	defer ck.admission.leaveAbout(p.changes)
	var decision Decision
	var made basis
	err := ck.update(ctx, p, maxLockWait, func(tx *authzstore.Tx) (err error) {
		made = basis{}
		decision, err = ck.decideIn(ctx, tx, &made)
		return err
	})
	switch {
	case err == nil, errors.Is(err, kv.ErrUnknown):
		return decision, err // ErrUnknown: perhaps all of it stands
	case errors.Is(err, kv.ErrUndeclared) && p.same:
		err = fmt.Errorf("%w: %w", errForgotten, err)
	case errors.Is(err, kv.ErrUndeclared), errors.Is(err, errReplan):
		err = fmt.Errorf("%w: %w", errReplan, err)
	}
	if !made.shown || errors.Is(err, errReplan) && !p.last {
		return Decision{}, err
	}
	made.cause = orStore(err)
	// The caller may be gone; the evidence is spent all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	decision = ck.fail(ck.id, made.cause)
	err = ck.update(ctx, p, settleTimeout, func(tx *authzstore.Tx) error { return ck.settle(tx, made, decision) })
	return decision, err
}

// update is Store.Update under the bound of the wait for locks. It returns once what
// was written, and what was read, is durable (package kv): so nothing is answered
// before, also not a retry that wrote nothing.
func (ck *check) update(ctx context.Context, p plan, maxWait time.Duration, fn func(*authzstore.Tx) error) error {
	began := time.Now()
	var ended time.Time // the transaction, but for its being made durable
	var ran, inTime bool
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if p.stops {
		ctx, maxWait = kv.Urgent(ctx), settleTimeout // or until the caller's deadline
	}
	wait := time.AfterFunc(maxWait, func() { cancel(errLockWait) })
	defer wait.Stop()
	cause := authzstore.Cause{ID: ck.id, Actor: ck.call.Identity, NowNanos: ck.arrived.UnixNano()}
	err := ck.cfg.Store.Update(ctx, cause, p.refs, func(tx *authzstore.Tx) error {
		if !ran { // a backend may run it again
			ran, inTime = true, wait.Stop()
		}
		if !inTime {
			return errLockWait // ctx ends with it, and with ctx the evaluation
		}
		ck.obs.took(StageLocks, began)
		defer func() { ended = time.Now() }()
		return fn(tx)
	})
	if !ended.IsZero() {
		ck.obs.took(StageCommit, ended)
	}
	if errors.Is(err, context.Canceled) && !errors.Is(err, kv.ErrUnknown) && errors.Is(context.Cause(ctx), errLockWait) {
		return errLockWait
	}
	return err
}

// A basis is what a decision was made of: the facts, what the policy was asked, its
// verdict, and why there is none or none that can be carried out.
type basis struct {
	facts   Facts
	shown   bool // the call's evidence was looked at: it is to be spent
	input   policy.Value
	verdict policy.Decision
	cause   error // nil for a decision
}

// decideIn is the transaction. Where it fails, made says how far it came, and all that it
// has written goes with the transaction.
func (ck *check) decideIn(ctx context.Context, tx *authzstore.Tx, made *basis) (d Decision, err error) {
	defer func() {
		if p := recover(); p != nil {
			d, err = Decision{}, ck.panicked(ck.id, p)
		}
	}()
	if made.facts, err = ck.readFacts(tx.Reader, tx.Now()); err != nil {
		return Decision{}, err
	}
	if d, done, err := ck.fromEarlier(tx, made.facts); done || err != nil {
		return d, err
	}
	made.shown = true
	panicked := ck.findOut(tx, made.facts)
	if panicked != nil && !errors.Is(panicked, errPanic) {
		return Decision{}, panicked
	}
	made.input = newInput(tx.Now(), ck, made.facts)
	if panicked != nil {
		return Decision{}, panicked
	}
	if made.verdict, err = ck.askPolicy(ctx, made.input); err != nil {
		return Decision{}, err
	}
	done, err := ck.carryOut(tx, made.facts, made.verdict)
	if err != nil {
		return Decision{}, err
	}
	d = fromPolicy(made.verdict).with(done)
	return d, ck.finish(tx, d, *made)
}

// settle writes what stands though there is no decision. It looks at nothing that the
// first transaction did not, beside what the store has of the key and the challenge now: so
// all is declared.
func (ck *check) settle(tx *authzstore.Tx, made basis, d Decision) error {
	now, err := ck.readKnown(tx.Reader)
	if err != nil {
		return err
	}
	// Another call under the key may have been answered between the two
	// transactions. Then that stays; what this one has shown is spent all the same.
	course := chooseCourse(now, ck.fingerprint, ck.mac, false)
	if course == CourseOtherCall {
		now = nil // what that one spent, this one did not
	}
	made.facts.earlier = now
	if err := ck.findOut(tx, made.facts); err != nil && !errors.Is(err, errPanic) {
		return err
	}
	if course != CourseEvaluated {
		if err := ck.spend(tx, made.facts, d.Outcome); err != nil {
			return err
		}
		return ck.writeRecord(tx, d, made)
	}
	if d.final() {
		// ErrState: somebody else has ended it meanwhile.
		if err := ck.endChallenge(tx, made.facts); err != nil && !errors.Is(err, authzstore.ErrState) {
			return err
		}
	}
	return ck.finish(tx, d, made)
}

// finish spends the evidence, and writes what is known about the key from now on,
// and the record.
func (ck *check) finish(tx *authzstore.Tx, d Decision, made basis) error {
	if err := ck.spend(tx, made.facts, d.Outcome); err != nil {
		return err
	}
	if err := ck.answerKey(tx, made.facts, d); err != nil {
		return err
	}
	return ck.writeRecord(tx, d, made)
}

// writeRecord writes the record.
func (ck *check) writeRecord(tx *authzstore.Tx, d Decision, made basis) error {
	record, err := ck.newRecord(tx.Now(), d, made)
	if err != nil {
		return err
	}
	detail, err := json.Marshal(record)
	if err != nil {
		return err
	}
	ck.record = &record
	tx.Detail(detail)
	return nil
}
