package policy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/authzstore"
)

// A Decision is what the policy answered, exactly as it must be: an allow has no
// reasons, and a denial with reasons has public ones.
type Decision struct {
	Allow bool
	// Reasons are all of them, as the record keeps them; the first one leads.
	Reasons []Reason
	// Public are what the caller is told of them.
	Public  []Reason
	Effects []Effect
	// Document is the answer as the policy gave it, for the record.
	Document Value
}

// A Reason says why a call is refused.
type Reason struct {
	Code    string `json:"code"` // snake_case, at most 64 characters
	Message string `json:"message"`
	// Rank orders reasons, lowest first, before their code does; -1000 to 1000.
	Rank int64 `json:"rank,omitempty"`
	// Limit is the name of the limit that the call exceeds, with what remains of
	// it; empty where the reason is no limit.
	Limit          string `json:"limit,omitempty"`
	RemainingMinor *int64 `json:"remaining_minor,omitempty"` // minor units
	RemainingCount *int64 `json:"remaining_count,omitempty"` // payments
	ResetsAtNanos  *int64 `json:"resets_at_ns,omitempty"`    // since 1970-01-01 UTC
}

// Bounds of one decision, so that a wrong policy cannot flood an answer.
const (
	maxReasons      = 16
	maxEffects      = 32
	maxRank         = 1000
	maxMessageBytes = 256
	maxNameBytes    = authzstore.MaxNameBytes
)

// readDecision reads the value of the entrypoint. Anything that is not exactly
// a decision is an error: {"allow": boolean, "reasons", "public_reasons",
// "effects"}, the last three sets or arrays. The error goes to the log: it quotes
// no value, for the policy may have made it of the call.
func readDecision(v Value) (Decision, error) {
	if v.term == nil {
		return Decision{}, errors.New("undefined")
	}
	o, err := readMembers(v.term, "decision")
	if err != nil {
		return Decision{}, err
	}
	d := Decision{Document: v}
	d.Allow = o.boolean("allow")
	for _, term := range o.elements("reasons", maxReasons) {
		d.Reasons = append(d.Reasons, o.reason(term))
	}
	for _, term := range o.elements("public_reasons", maxReasons) {
		d.Public = append(d.Public, o.reason(term))
	}
	for _, term := range o.elements("effects", maxEffects) {
		d.Effects = append(d.Effects, o.effect(term))
	}
	switch err := o.end(); {
	case err != nil:
		return Decision{}, err
	case d.Allow && len(d.Reasons)+len(d.Public) > 0:
		return Decision{}, fmt.Errorf("allow contradicts %d reasons", len(d.Reasons)+len(d.Public))
	case (len(d.Reasons) == 0) != (len(d.Public) == 0):
		return Decision{}, fmt.Errorf("%d reasons of which %d are told", len(d.Reasons), len(d.Public))
	}
	sortReasons(d.Reasons)
	sortReasons(d.Public)
	return d, nil
}

// sortReasons: a set is in the order of OPA's terms, an array in that of the
// policy.
func sortReasons(reasons []Reason) {
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), strings.Compare(a.Code, b.Code),
			strings.Compare(a.Limit, b.Limit), strings.Compare(a.Message, b.Message))
	})
}

func (o *members) reason(term *ast.Term) Reason {
	r := o.child(term, "reason")
	reason := Reason{
		Code:           r.text("code", maxMessageBytes),
		Message:        r.text("message", maxMessageBytes),
		RemainingMinor: r.optionalInt("remaining_minor", 0, math.MaxInt64),
		RemainingCount: r.optionalInt("remaining_count", 0, math.MaxInt64),
		ResetsAtNanos:  r.optionalInt("resets_at_ns", 0, math.MaxInt64),
	}
	if rank := r.optionalInt("rank", -maxRank, maxRank); rank != nil {
		reason.Rank = *rank
	}
	if r.has("limit") {
		reason.Limit = r.text("limit", maxMessageBytes)
	}
	if !authzstore.IsSnakeCase(reason.Code) {
		r.fail("a reason's code is not a snake_case name of at most 64 bytes")
	}
	o.take(r)
	return reason
}
