package authzstore

import (
	"errors"
	"fmt"
)

// Errors of setters. Nothing was written: an error of a setter is the closure's
// error, and Update writes nothing then.
var (
	// ErrInvalid: a noun breaks one of its own rules.
	ErrInvalid = errors.New("authzstore: invalid")
	// ErrUnknownID: there is no such noun.
	ErrUnknownID = errors.New("authzstore: not found")
	// ErrUsed: it was used before.
	ErrUsed = errors.New("authzstore: already used")
	// ErrOtherCall: the idempotency key stands for another call.
	ErrOtherCall = errors.New("authzstore: key belongs to another call")
	// ErrAnswered: the call under the idempotency key has its final answer.
	ErrAnswered = errors.New("authzstore: call already answered")
	// ErrFrozen: the account is frozen.
	ErrFrozen = errors.New("authzstore: account is frozen")
	// ErrResolved: the reservation was posted or voided before.
	ErrResolved = errors.New("authzstore: reservation already resolved")
	// ErrTooManyDelegates: the account has as many open grants as it may.
	ErrTooManyDelegates = errors.New("authzstore: too many delegates")
	// ErrTooManyTerminals: the account has as many terminals as it may.
	ErrTooManyTerminals = errors.New("authzstore: too many terminals")
	// ErrTooManyStarts: the initiator has asked the account's people too often.
	ErrTooManyStarts = errors.New("authzstore: too many challenges started")
	// ErrTooManyCodes: the account has as many stored codes as it may.
	ErrTooManyCodes = errors.New("authzstore: too many stored codes")
	// ErrTooManyIntents: the account has as many open intents as it may.
	ErrTooManyIntents = errors.New("authzstore: too many open intents")
	// ErrTooManySteps: the intent has had as many states as it may, and can only be
	// closed.
	ErrTooManySteps = errors.New("authzstore: too many steps of an intent")
	// ErrTooManyMessages: the terminal was sent as many messages as it may be for now.
	ErrTooManyMessages = errors.New("authzstore: too many messages")
	// ErrState: the noun is in a state that does not allow it. The error is a
	// *StateError.
	ErrState = errors.New("authzstore: wrong state")
	// ErrDamaged: a stored value cannot be read: it is damaged, or a newer
	// program wrote it.
	ErrDamaged = errors.New("authzstore: stored value cannot be read")
)

// A StateError says which state a noun is in that does not allow a change.
type StateError struct {
	Noun  string // its kind, such as grant
	State string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("authzstore: the %s is %s", e.Noun, e.State)
}

// Is makes errors.Is(err, ErrState) true.
func (e *StateError) Is(target error) bool { return target == ErrState }

// An OverLimitError names the limit that a reservation would exceed, and says what
// remains of it as [Room] does.
type OverLimitError struct {
	Holder         string // the account or the grant whose limit it is
	Limit          string // its name, PaymentLimit or CoolingLimit
	RemainingMinor int64  // what the limit still allows, in minor units; -1 if it does not limit amounts
	RemainingCount int64  // how many payments it still allows; -1 if it does not limit them
	StartsAtNanos  int64
	ResetsAtNanos  int64 // 0: never
	WindowFull     bool
}

func overLimit(holder, limit string, r Room) error {
	return &OverLimitError{holder, limit, r.Minor, r.Count, r.StartsAtNanos, r.ResetsAtNanos, r.WindowFull}
}

func (e *OverLimitError) Error() string {
	return fmt.Sprintf("authzstore: over limit %s: %d minor units and %d payments remain (-1: no limit)",
		e.Limit, e.RemainingMinor, e.RemainingCount)
}
