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
	// ErrDamaged: a stored value cannot be read: it is damaged, or a newer
	// program wrote it.
	ErrDamaged = errors.New("authzstore: stored value cannot be read")
)

// An OverLimitError names the limit that a reservation would exceed.
type OverLimitError struct {
	Limit          string // its name; "payment" for the account's maximum for one payment
	RemainingMinor int64  // what the limit still allows, in minor units; -1 if it does not limit amounts
	RemainingCount int64  // how many payments it still allows; -1 if it does not limit them
}

func (e *OverLimitError) Error() string {
	return fmt.Sprintf("authzstore: over limit %s: %d minor units and %d payments remain (-1: no limit)",
		e.Limit, e.RemainingMinor, e.RemainingCount)
}
