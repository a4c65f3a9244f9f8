package decide

import (
	"net/http"
	"slices"

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
	StepUp      Outcome = "step_up" // a denial until a challenge is answered
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
	// Challenge is what a step-up asks for; nil where it is none.
	Challenge *ChallengeOffer
	// IntentID is the intent (int_…) that an allowed call came to be about, also of one
	// that was allowed before and does not pass again; "" for none.
	IntentID string
	// Execution is what an allow lets the service behind Envoy do that must be done
	// as it was decided: make a payment, go on with an intent that was opened, or show
	// what a built-in operation did. Nil where there is no such thing, and where it is
	// no allow.
	Execution *Execution

	cause Cause // why nothing was decided
}

func (d Decision) because(cause Cause) Decision {
	d.cause = cause
	return d
}

// An Execution is one payment that the payment service may make once, in the
// terms of the canonical call; or an intent that was opened, for which no money moves
// yet; or a built-in operation that was done, and that the sidecar's own API may show.
type Execution struct {
	Audience      string // the service that may make it
	Does          string // the built-in operation, a key of call.BuiltIns; "" for what a service does
	Identity      authzstore.Identity
	System        string
	Operation     string
	Account       string
	Grant         string // by which Account pays, or that the operation is about; "" for none
	Payee         string
	Currency      string // ISO 4217
	AmountMinor   int64
	ReservationID string // "" where no money moves
	Intent        string // that it is about; "" for none
	Replayed      bool   // the same call was allowed before

	// Of built-in operations alone: what the API shows.
	Challenge      string
	Terminal       string
	ExpiresAtNanos int64 // until when it may be shown; 0: that is not known
}

// final tells whether a denial stands for good under the call's key: one for too much of
// something is to try again.
func (d Decision) final() bool { return d.Outcome == Deny && d.Status != http.StatusTooManyRequests }

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

// wantsAnswer is told of a step-up for which the policy has no words of its own.
var wantsAnswer = policy.Reason{Code: "answer_required",
	Message: "The people of the account were asked about this call. Repeat it under the same key once they have answered."}

var noPermit = policy.Reason{Code: "no_permit", Message: "No rule permits this call."}

// fromPolicy is the answer that a policy's decision stands for.
func fromPolicy(d policy.Decision) Decision {
	switch {
	case d.Allow:
		return Decision{Outcome: Allow}
	case asksPeople(d):
		return Decision{Outcome: StepUp, Status: http.StatusUnauthorized, Reasons: orOne(d.Public, wantsAnswer)}
	case len(d.Public) == 0:
		return denied(http.StatusForbidden, noPermit)
	default:
		return denied(http.StatusForbidden, d.Public...)
	}
}

func asksPeople(d policy.Decision) bool {
	return slices.ContainsFunc(d.Effects, func(e policy.Effect) bool {
		_, asks := e.(policy.IssueChallenge)
		return asks
	})
}

func orOne(reasons []policy.Reason, one policy.Reason) []policy.Reason {
	if len(reasons) == 0 {
		return []policy.Reason{one}
	}
	return reasons
}
