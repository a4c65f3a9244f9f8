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
	seen    *Observation
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

	moved  bool                  // what the call leads to is not what was planned, whatever error that gave
	known  *authzstore.KeyedCall // what the store knows about the key, once it was read
	record *Record               // what was written of the decision; nil where nothing was
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

var errLockWait = fmt.Errorf("%w: the locks were not free in time", kv.ErrOverloaded)

// transact decides a call in one transaction. An error says why there is no
// decision, and then nothing was written.
func (ck *check) transact(ctx context.Context) (Decision, error) {
	for range maxPlans {
		if err := ck.prepareBuiltIn(); err != nil {
			return Decision{}, err
		}
		var planned leads
		err := ck.cfg.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
			planned, err = ck.follow(s.Reader)
			return err
		})
		if err != nil {
			return Decision{}, err
		}
		d, err := ck.transactPlanned(ctx, planned)
		if !errors.Is(err, errReplan) {
			return d, err
		}
	}
	return Decision{}, errReplan
}

// transactPlanned decides a call over these entities. Where there is no verdict, or
// none that can be carried out, be it for what the call itself asks, the transaction is
// given up whole, and a second one writes what stands nevertheless: the evidence is
// spent, the key is not free for another call, and the record says why.
func (ck *check) transactPlanned(ctx context.Context, planned leads) (Decision, error) {
	changes := ck.changes(planned)
	if !ck.admission.enterAbout(changes) {
		return Decision{}, errCrowded
	}
	defer ck.admission.leaveAbout(changes)
	ck.moved = false
	var decision Decision
	err := ck.update(ctx, planned, maxLockWait, func(tx *authzstore.Tx) (err error) {
		if err := ck.sameLeads(tx.Reader, planned); err != nil {
			return err
		}
		decision, err = ck.decideIn(ctx, tx, planned)
		return err
	})
	if ck.moved {
		return Decision{}, errReplan
	}
	undecided, ok := errors.AsType[*undecidedError](err)
	if !ok {
		return decision, err
	}
	// The caller may be gone; the evidence is spent all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	decision = ck.fail(ck.id, undecided.cause)
	err = ck.update(ctx, planned, settleTimeout, func(tx *authzstore.Tx) error { return ck.settle(tx, planned, undecided.basis, decision) })
	return decision, err
}

// update is Store.Update under the bound of the wait for locks. It returns once what
// was written, and what was read, is durable (package kv): so nothing is answered
// before, also not a retry that wrote nothing.
func (ck *check) update(ctx context.Context, planned leads, maxWait time.Duration, fn func(*authzstore.Tx) error) error {
	began := time.Now()
	var ended time.Time // the transaction, but for its being made durable
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if planned.stops {
		ctx = kv.Urgent(ctx)
	}
	wait := time.AfterFunc(maxWait, func() { cancel(errLockWait) })
	defer wait.Stop()
	cause := authzstore.Cause{ID: ck.id, Actor: ck.call.Identity, NowNanos: ck.arrived.UnixNano()}
	err := ck.cfg.Store.Update(ctx, cause, ck.refs(planned), func(tx *authzstore.Tx) error {
		wait.Stop()
		ck.seen.took(StageLocks, began)
		defer func() { ended = time.Now() }()
		return fn(tx)
	})
	if !ended.IsZero() {
		ck.seen.took(StageCommit, ended)
	}
	if errors.Is(err, context.Canceled) && !errors.Is(err, kv.ErrUnknown) && errors.Is(context.Cause(ctx), errLockWait) {
		return errLockWait
	}
	return err
}

// A basis is what a decision was made of: what the policy was asked, its
// verdict, and why there is none or none that can be carried out.
type basis struct {
	input   policy.Value
	verdict policy.Decision
	cause   error // nil for a decision
}

// An undecidedError is a transaction that came to no decision that can be carried out.
type undecidedError struct{ basis }

func (e *undecidedError) Error() string { return e.cause.Error() }

// decideIn is the transaction.
func (ck *check) decideIn(ctx context.Context, tx *authzstore.Tx, planned leads) (d Decision, err error) {
	var made basis
	defer func() {
		if p := recover(); p != nil {
			made.cause = ck.panicked(ck.id, p)
			d, err = Decision{}, &undecidedError{made}
		}
	}()
	facts, err := ck.readFacts(tx.Reader, planned, tx.Now())
	if err != nil {
		return Decision{}, err
	}
	if d, done, err := ck.fromKnown(tx, facts); done || err != nil {
		return d, err
	}
	err = ck.findOut(tx, planned)
	if err != nil && !errors.Is(err, errPanic) {
		return Decision{}, err
	}
	made.input = newInput(tx.Now(), ck, facts)
	if err != nil {
		made.cause = err
		return Decision{}, &undecidedError{made}
	}
	verdict, err := ck.askPolicy(ctx, made.input)
	if err != nil {
		made.cause = err
		return Decision{}, &undecidedError{made}
	}
	made.verdict = verdict
	done, err := ck.carryOut(tx, facts, verdict)
	_, isWrong := errors.AsType[*call.Refusal](err)
	switch {
	case isWrong, errors.Is(err, errContradiction):
		made.cause = err // what was done before that goes with the transaction
		return Decision{}, &undecidedError{made}
	case err != nil:
		return Decision{}, err
	}
	d = fromPolicy(verdict).with(done)
	return d, ck.write(tx, planned, d, made)
}

// settle writes what stands though there is no decision. It needs nothing that the
// links lead to.
func (ck *check) settle(tx *authzstore.Tx, planned leads, made basis, d Decision) error {
	if err := ck.readKnown(tx); err != nil {
		return err
	}
	// Another call under the key may have been answered between the two
	// transactions. Then that stays; what this one has shown is spent all the same.
	course := chooseCourse(ck.known, ck.fingerprint, ck.mac, false)
	if course == otherCall {
		ck.known = nil // what that one spent, this one did not
	}
	if err := ck.findOut(tx, planned); err != nil && !errors.Is(err, errPanic) {
		return err
	}
	if err := ck.spend(tx, planned, d.Outcome); err != nil {
		return err
	}
	if course == evaluate {
		if err := ck.answer(tx, d); err != nil {
			return err
		}
	}
	return ck.keep(tx, d, made)
}

// write spends the evidence, and writes what is known about the key from now on,
// and the record.
func (ck *check) write(tx *authzstore.Tx, planned leads, d Decision, made basis) error {
	if err := ck.spend(tx, planned, d.Outcome); err != nil {
		return err
	}
	if err := ck.answer(tx, d); err != nil {
		return err
	}
	return ck.keep(tx, d, made)
}

// keep writes the record.
func (ck *check) keep(tx *authzstore.Tx, d Decision, made basis) error {
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
