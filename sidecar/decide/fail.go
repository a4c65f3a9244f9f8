package decide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/countersign/countersign/authzstore"
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

// orStore is an error as it is answered: what no other row of failures names is the
// store's.
func orStore(err error) error {
	_, refusal := errors.AsType[*call.Refusal](err)
	for _, f := range failures {
		if refusal || errors.Is(err, f.err) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errStore, err)
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

// errNotKnown: a route names what this program does not have.
var errNotKnown = errors.New("a route names what this program does not have")

// tellable are errors whose own texts quote nothing.
var tellable = []error{
	kv.ErrUnknown, kv.ErrOverloaded, kv.ErrTooBig, kv.ErrUndeclared, kv.ErrFailed, kv.ErrClosed, kv.ErrPruned, kv.ErrDamaged,
	authzstore.ErrInvalid, authzstore.ErrUnknownID, authzstore.ErrUsed, authzstore.ErrOtherCall, authzstore.ErrAnswered,
	authzstore.ErrFrozen, authzstore.ErrResolved, authzstore.ErrTooManyDelegates, authzstore.ErrTooManySteps, authzstore.ErrDamaged,
	evidence.ErrSealed, call.ErrNoPersonalKey, context.Canceled, context.DeadlineExceeded,
}

// errNoChallenges: there is no key to make codes with.
var errNoChallenges = fmt.Errorf("%w: codes, without a key for them", errNotKnown)

// withoutValues is what may be told of an error that others made: which error of
// ours it is, what the system says, or at least its type. The rest of its text may
// name accounts, keys of the store and parts of values.
func withoutValues(err error) string {
	var texts []string
	for _, known := range tellable {
		if errors.Is(err, known) {
			texts = append(texts, known.Error())
		}
	}
	if _, ok := errors.AsType[*authzstore.OverLimitError](err); ok {
		texts = append(texts, "authzstore: over a limit")
	}
	if state, ok := errors.AsType[*authzstore.StateError](err); ok {
		texts = append(texts, state.Error())
	}
	if damage, ok := errors.AsType[*kv.DamageError](err); ok {
		texts = append(texts, damage.File, damage.Do)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		texts = append(texts, errno.Error())
	}
	if len(texts) == 0 {
		return fmt.Sprintf("%T", innermost(err))
	}
	return strings.Join(texts, ": ")
}

func innermost(err error) error {
	for {
		switch wrapped := err.(type) {
		case interface{ Unwrap() error }:
			if wrapped.Unwrap() == nil {
				return err
			}
			err = wrapped.Unwrap()
		case interface{ Unwrap() []error }:
			all := wrapped.Unwrap()
			if len(all) == 0 {
				return err
			}
			err = all[len(all)-1]
		default:
			return err
		}
	}
}
