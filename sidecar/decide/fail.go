package decide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	errStore   = errors.New("store")
	errCrowded = errors.New("too many calls change the same")
	errPanic   = errors.New("panic")
)

var (
	overloaded = unavailable("overloaded", "Too many calls are being decided. Try again.")
	tooLate    = unavailable("decision_timeout", "The call could not be decided in time. Try again.")
	busyFacts  = unavailable("facts_changing", "What the call is about keeps changing. Try again.")
	unknown    = unavailable("outcome_unknown", "It is not known whether the decision was kept. Repeat the call under the same idempotency key.")
	noStore    = unavailable("store_unavailable", "The facts about this call cannot be read or written now. Try again.")

	clockJumped = unavailable("clock_jumped", "No call can be decided until this service is sure of the time. Try again later.")
)

// fail is the answer to an error, whose detail goes to the log alone: what the
// service is to blame for always, what comes of too many calls so many a second.
func (d *Decider) fail(id string, err error) Decision {
	if refusal, ok := errors.AsType[*call.Refusal](err); ok {
		d.logRefusal(id, refusal.Status, refusal.Code)
		return refused(refusal)
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			if f.level == slog.LevelWarn && !d.refusals.Allow() {
				return f.answer.because(f.cause) // as many as there are calls, where there are too many
			}
			d.cfg.Log.Log(context.Background(), f.level, f.message, "decision_id", id, "error", told(err))
			return f.answer.because(f.cause)
		}
	}
	d.cfg.Log.Error("internal error", "decision_id", id, "error", withoutValues(err))
	return defect(InternalError).because(CauseInternal)
}

// told is what a log or a record says of an error.
func told(err error) string {
	if _, ok := errors.AsType[*call.Refusal](err); ok {
		return err.Error()
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			if f.ours {
				return err.Error()
			}
			break
		}
	}
	return withoutValues(err)
}

// failures says how each error is answered, logged and counted; the first that
// fits. The text of ours holds no values, and is told whole.
var failures = []struct {
	err     error
	level   slog.Level
	message string
	ours    bool
	answer  Decision
	cause   Cause
}{
	{errCrowded, slog.LevelWarn, "overloaded", true, overloaded, CauseIdentity},
	{errForgotten, slog.LevelError, "internal error", false, defect(InternalError), CauseInternal},
	{errReplan, slog.LevelWarn, "the facts keep changing", false, busyFacts, CauseReplan},
	{errContradiction, slog.LevelError, "policy defect", true, defect(policyDefect), CauseContradiction},
	{policy.ErrDefect, slog.LevelError, "policy defect", true, defect(policyDefect), CausePolicy},
	{policy.ErrTimeout, slog.LevelWarn, "no decision in time", true, tooLate, CauseTimeout},
	{errPanic, slog.LevelError, "internal error", true, defect(InternalError), CausePanic},
	{errNotKnown, slog.LevelError, "internal error", true, defect(InternalError), CauseInternal},
	{kv.ErrUnknown, slog.LevelError, "not known whether the decision was kept", false, unknown, CauseUnknown},
	{errLockWait, slog.LevelWarn, "overloaded", true, overloaded, CauseLocks},
	{kv.ErrOverloaded, slog.LevelWarn, "overloaded", false, overloaded, CauseStoreBusy},
	{context.Canceled, slog.LevelWarn, "no decision in time", false, tooLate, CauseTimeout},
	{context.DeadlineExceeded, slog.LevelWarn, "no decision in time", false, tooLate, CauseTimeout},
	{evidence.ErrSealed, slog.LevelError, "a secret cannot be used", false, noStore, CauseStore},
	{errStore, slog.LevelError, "store", false, noStore, CauseStore},
}

// panicked logs a panic and is the error for it. What it says may quote the call:
// only its type is told.
func (d *Decider) panicked(id string, p any) error {
	d.cfg.Log.Error("panic while deciding", "decision_id", id, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %T", errPanic, p)
}

// At most so many refusals are logged, a second and at once.
const (
	refusalsPerSecond = 10
	refusalsBurst     = 100
)

// logClock says that a call was not decided for want of the time: only so many a
// second, because that is so for every call.
func (d *Decider) logClock(id string, err error) {
	if d.refusals.Allow() {
		d.cfg.Log.Warn("not decided", "decision_id", id, "code", clockJumped.Reasons[0].Code, "error", err)
	}
}

// logRefusal says what became of a call that no policy was asked for: only so
// many a second, because anybody can send them.
func (d *Decider) logRefusal(id string, status int, code string) {
	if d.refusals.Allow() {
		d.cfg.Log.Info("refused", "decision_id", id, "status", status, "code", code)
	}
}
