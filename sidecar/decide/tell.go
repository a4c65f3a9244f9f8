package decide

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

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
