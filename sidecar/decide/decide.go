package decide

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// Config of a Decider. Bundle, Store and Keys are required.
type Config struct {
	// Bundle returns the one that decides now. It is asked once for each call.
	Bundle func() *bundle.Bundle
	Store  *authzstore.Store
	Keys   Keys
	// Evidence are the kinds of evidence that a route may name.
	Evidence map[string]evidence.Kind
	// MaxInFlight bounds the calls that are being decided; more are answered
	// `overloaded` at once, as are more than a quarter of them from one identity, or
	// that change one account or grant; but for those that stop payments from it.
	// Zero means DefaultMaxInFlight.
	MaxInFlight int
	// Now is the clock; its error means that nobody knows what time it is. Nil
	// means time.Now.
	Now func() (time.Time, error)
	// NewCredential makes the credential of a grant that is accepted, changed or given
	// new parameters; what it is a credential of is filled in. Only a route that does
	// one of these needs it.
	NewCredential func() (authzstore.Credential, error)
	// Challenges make and compare the codes of challenges, and StoredCodes make those
	// that are agreed in advance. Only routes that ask for codes need them.
	Challenges  *evidence.Challenges
	StoredCodes *evidence.StoredCodes
	// NewID makes the ID of a decision. Nil means [authzstore.NewID] of "dec".
	NewID func() string
	// Record receives every decision that the policy was asked for, before it is
	// answered. Nil means that nobody does.
	Record func(Record)
	// Observe is told of every call once it is answered, outside all locks. It
	// must not keep the Observation. Nil means that nobody is told.
	Observe func(*Observation)
	// Log receives what went wrong inside. Nil means slog.Default.
	Log *slog.Logger
}

// Keys are the secrets of a Decider: 32 random bytes each.
type Keys struct {
	// Personal makes the tokens that stand for personal fields.
	Personal []byte
	// Evidence tells evidence from other evidence without keeping it.
	Evidence []byte
}

// minTime is the least time until the caller's deadline that is worth a start.
const minTime = 5 * time.Millisecond

// A Decider decides calls. Its methods may be called concurrently.
type Decider struct {
	cfg       Config
	admission *admission
	repeats   repeats
	refusals  *rate.Limiter // of lines in the log
}

// New returns a Decider.
func New(cfg Config) *Decider {
	if cfg.MaxInFlight < 1 {
		cfg.MaxInFlight = DefaultMaxInFlight
	}
	if cfg.Now == nil {
		cfg.Now = func() (time.Time, error) { return time.Now(), nil }
	}
	if cfg.NewID == nil {
		cfg.NewID = newID
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Decider{
		cfg:       cfg,
		admission: newAdmission(cfg.MaxInFlight),
		refusals:  rate.NewLimiter(refusalsPerSecond, refusalsBurst),
	}
}

// Decide decides one request. It always answers. What it waits for (a turn, a
// lock, an evaluation, the disk) ends with ctx, but for what must be written in
// any case (settleTimeout).
func (d *Decider) Decide(ctx context.Context, req call.Request) (decision Decision) {
	id, began, obs := d.cfg.NewID(), time.Now(), &Observation{}
	defer func() {
		if p := recover(); p != nil {
			_ = d.panicked(id, p)
			decision = defect(InternalError).because(CausePanic)
		}
		if decision.ID == "" {
			decision.ID = id
		}
		d.observe(obs, began, decision)
	}()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minTime {
		return tooLate.because(CauseLate)
	}
	if !d.admission.enter() {
		return overloaded.because(CauseFull)
	}
	defer d.admission.leave()
	now, err := d.cfg.Now()
	if err != nil {
		d.logClock(id, err)
		return clockJumped.because(CauseClock)
	}
	active, received := d.cfg.Bundle(), time.Now()
	c, err := active.Routes.Decode(req, call.Keys{Personal: d.cfg.Keys.Personal})
	obs.took(StageDecode, received)
	if err != nil {
		return d.fail(id, err)
	}
	obs.System, obs.Operation = c.Route.System, c.Route.Operation
	if !d.admission.enterAs(c.Identity) {
		return overloaded.because(CauseIdentity)
	}
	defer d.admission.leaveAs(c.Identity)
	ck, err := d.newCheck(id, now, active, c, obs)
	if err != nil {
		return d.fail(id, err)
	}
	if !ck.needsStore() {
		return ck.evaluate(ctx)
	}
	return ck.repeated(ctx, req.CheckID)
}

func (d *Decider) newCheck(id string, now time.Time, active *bundle.Bundle, c call.Call, obs *Observation) (*check, error) {
	ck := &check{Decider: d, id: id, obs: obs, arrived: now, bundle: active, call: c, reservationID: authzstore.NewID("rsv")}
	if c.Route.AsksPeople() {
		ck.challengeID = authzstore.NewID("chl")
	}
	if c.Route.Writes(call.FactOpenIntents) {
		ck.intentID = authzstore.NewID("int")
	}
	var err error
	if ck.evidence, err = d.show(c); err != nil {
		return nil, err
	}
	if ck.entry = showEntry(c); ck.entry != nil && d.cfg.Challenges == nil {
		return nil, errNoChallenges
	}
	ck.mac = d.mac(ck.evidence, ck.entry)
	fingerprint := c.Fingerprint()
	ck.fingerprint = fingerprint[:]
	if ck.entry != nil {
		ck.fingerprint = ofEntry(ck.fingerprint, ck.mac)
	}
	if c.IdempotencyKey != "" {
		ck.key = &authzstore.CallKey{Caller: c.Identity, System: c.Route.System, Operation: c.Route.Operation, Key: c.IdempotencyKey}
	}
	return ck, nil
}

// decide is the decision of a call that needs the store.
func (ck *check) decide(ctx context.Context) Decision {
	decision, err := ck.transact(ctx)
	if err != nil {
		decision = ck.fail(ck.id, orStore(err))
	} else if ck.record != nil {
		ck.obs.Evidence = ck.record.Evidence
		if ck.cfg.Record != nil {
			ck.cfg.Record(*ck.record)
		}
	}
	if decision.ID == "" {
		decision.ID = ck.id
	}
	return decision
}

// evaluate is the decision of a call that needs no store.
func (ck *check) evaluate(ctx context.Context) Decision {
	made := basis{input: newInput(ck.arrived.UnixNano(), ck, Facts{})}
	var decision Decision
	made.verdict, made.cause = ck.askPolicy(ctx, made.input)
	if made.cause == nil {
		var done effected
		done, made.cause = ck.carryOut(nil, Facts{}, made.verdict)
		decision = fromPolicy(made.verdict).with(done)
	}
	if made.cause != nil {
		decision = ck.fail(ck.id, made.cause)
	}
	if ck.cfg.Record != nil {
		record, err := ck.newRecord(ck.arrived.UnixNano(), decision, made)
		if err != nil {
			return ck.fail(ck.id, err)
		}
		ck.cfg.Record(record)
	}
	return decision
}

// askPolicy has the policy decide.
func (ck *check) askPolicy(ctx context.Context, input policy.Value) (policy.Decision, error) {
	defer ck.obs.took(StageEvaluate, time.Now())
	return ck.bundle.Policy.Decide(ctx, input)
}
