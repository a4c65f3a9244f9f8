package decide

import (
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// An Outcome is the kind of an answer.
type Outcome string

// The outcomes; see the package's comment.
const (
	Allow       Outcome = "allow"
	Deny        Outcome = "deny"
	Defect      Outcome = "defect"
	Unavailable Outcome = "unavailable"
)

// A Decision is the answer to one call. The zero Decision is no allow.
type Decision struct {
	ID      string // dec_…, 130 random bits
	Outcome Outcome
	Status  int             // HTTP status for the caller; 0 for an allow
	Reasons []policy.Reason // for the caller; the first one leads; none for an allow
	// Replayed: the same call was answered before, and this is that answer.
	Replayed bool
	// ReservationState says what became of the reservation of a call that was
	// allowed before and does not pass again; empty otherwise.
	ReservationState string
	// Execution is what an allow lets the service behind Envoy do that must be done
	// as it was decided: make a payment, or show what a built-in operation did. Nil
	// where there is no such thing, and where it is no allow.
	Execution *Execution

	cause Cause // why nothing was decided
}

func (d Decision) because(cause Cause) Decision {
	d.cause = cause
	return d
}

// An Execution is one payment that the payment service may make once, in the
// terms of the canonical call; or a built-in operation that was done, and that the
// sidecar's own API may show.
type Execution struct {
	Audience      string // the service that may make it
	Does          string // the built-in operation, a key of call.BuiltIns; "" for a payment
	Identity      authzstore.Identity
	System        string
	Operation     string
	Account       string
	Grant         string // by which Account pays, or that the operation is about; "" for none
	Payee         string
	Currency      string // ISO 4217
	AmountMinor   int64
	ReservationID string
	Replayed      bool // the same call was allowed before
}

func denied(status int, reasons ...policy.Reason) Decision {
	return Decision{Outcome: Deny, Status: status, Reasons: reasons}
}

func refused(r *call.Refusal) Decision {
	return denied(r.Status, policy.Reason{Code: r.Code, Message: r.Message})
}

func unavailable(code, message string) Decision {
	return Decision{
		Outcome: Unavailable,
		Status:  http.StatusServiceUnavailable,
		Reasons: []policy.Reason{{Code: code, Message: message}},
	}
}

// InternalError is the reason for what went wrong inside and says nothing of it.
var InternalError = policy.Reason{Code: "internal_error",
	Message: "The call could not be decided. It was not made."}

var policyDefect = policy.Reason{Code: "policy_defect",
	Message: "The policy of this service failed. The call was not made."}

func defect(reason policy.Reason) Decision {
	return Decision{Outcome: Defect, Status: http.StatusInternalServerError, Reasons: []policy.Reason{reason}}
}

// Undecided is the answer to a check that names no call to decide.
func Undecided(reason policy.Reason) Decision {
	d := defect(reason)
	d.ID = newID()
	return d
}

func newID() string { return authzstore.NewID("dec") }

var (
	keyOtherCall = policy.Reason{Code: "key_other_call",
		Message: "The idempotency key stands for another call, and nothing was done. A new payment needs a new key; one that may have been made does not."}
	alreadyAllowed = policy.Reason{Code: "already_allowed",
		Message: "The call under this idempotency key was allowed before, and does not run again."}
)

var noPermit = policy.Reason{Code: "no_permit", Message: "No rule permits this call."}

// fromPolicy is the answer that a policy's decision stands for.
func fromPolicy(d policy.Decision) Decision {
	switch {
	case d.Allow:
		return Decision{Outcome: Allow}
	case len(d.Public) == 0:
		return denied(http.StatusForbidden, noPermit)
	default:
		return denied(http.StatusForbidden, d.Public...)
	}
}
