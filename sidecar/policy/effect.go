package policy

import (
	"errors"
	"fmt"
	"math"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/authzstore"
)

// An Effect is what the policy wants done in the decision's transaction: a [Reserve],
// [IssueChallenge], [OpenIntent], [AdvanceIntent] or [Notify]. docs/policies.md is the
// reference of all of them. Words and bounds are those of authzstore, which keeps what
// they come to.
type Effect interface {
	// Type is its `type`, as the policy writes it.
	Type() string
}

// Reserve takes money of an account for the payment that is decided on.
type Reserve struct {
	Account     string
	Grant       string // by which the account pays, "" where it pays by itself
	Payee       string
	AmountMinor int64 // minor units
	Currency    string
}

// IssueChallenge asks people about the call, which is denied until they have answered.
type IssueChallenge struct {
	Kind           authzstore.ChallengeKind
	Terminals      []string           // who is asked, in the order that Condition may want; 1 to 16
	Expects        authzstore.Expects // whose entries count
	ExpiresAtNanos int64              // since 1970-01-01 UTC; at this instant an answer still counts
	Message        string             // the kind of the message that goes to each terminal
	Details        map[string]string

	// Of codes alone, 0 for an approval.
	MaxAttempts int64 // 1 to 5
	Digits      int64 // of each code, 6 to 8
	Condition   authzstore.Condition
}

// OpenIntent opens an intent of the account that the call is about.
type OpenIntent struct {
	Kind           string
	State          string
	ExpiresAtNanos int64    // since 1970-01-01 UTC; at this instant it can still go on
	Terminals      []string // whom it is pushed to, or who takes part
	Attributes     map[string]string
	AmountMinor    int64  // minor units; 0 for the call's
	Currency       string // "" for the call's
	Payee          string // "" for the call's
}

// AdvanceIntent takes an intent from one state to another, if it still is in the first.
type AdvanceIntent struct {
	Intent    string
	From, To  string
	Terminals []string // in place of the intent's; nil to leave those
	Parties   map[string]string
	Close     bool // it goes on no more
}

// Notify sends a message to a terminal.
type Notify struct {
	Terminal       string
	Kind           string
	ExpiresAtNanos int64 // since 1970-01-01 UTC; 0 where the policy does not say
	Details        map[string]string
}

// The types, as the policy writes them.
const (
	typeReserve        = "reserve"
	typeIssueChallenge = "issue_challenge"
	typeOpenIntent     = "open_intent"
	typeAdvanceIntent  = "advance_intent"
	typeNotify         = "notify"
)

func (Reserve) Type() string        { return typeReserve }
func (IssueChallenge) Type() string { return typeIssueChallenge }
func (OpenIntent) Type() string     { return typeOpenIntent }
func (AdvanceIntent) Type() string  { return typeAdvanceIntent }
func (Notify) Type() string         { return typeNotify }

func (o *members) effect(term *ast.Term) (effect Effect) {
	e := o.child(term, "effect")
	switch kind := e.text("type", maxMessageBytes); kind {
	case typeReserve:
		effect = e.reserve()
	case typeIssueChallenge:
		effect = e.issueChallenge()
	case typeOpenIntent:
		effect = e.openIntent()
	case typeAdvanceIntent:
		effect = e.advanceIntent()
	case typeNotify:
		effect = e.notify()
	default:
		e.fail("an effect of a type that there is not")
	}
	o.take(e)
	return effect
}

func (o *members) reserve() Reserve {
	return Reserve{
		Account:     o.text("account", maxNameBytes),
		Grant:       o.optionalText("grant", maxNameBytes),
		Payee:       o.text("payee", maxNameBytes),
		Currency:    o.text("currency", maxNameBytes),
		AmountMinor: o.int("amount_minor", 1, authzstore.MaxAmountMinor),
	}
}

func (o *members) issueChallenge() IssueChallenge {
	c := IssueChallenge{
		Kind:           oneOf(o, "kind", authzstore.ChallengeKinds()),
		Terminals:      o.names("terminals", authzstore.MaxTerminals),
		Expects:        oneOf(o, "expects", authzstore.AllExpects()),
		ExpiresAtNanos: o.int("expires_at_ns", 1, math.MaxInt64),
		Message:        o.snakeCase("message"),
		Details:        o.optionalTexts("details", authzstore.MaxMessageDetails),
	}
	if len(c.Terminals) == 0 {
		o.fail("a challenge that no terminal is asked about")
	}
	if c.Kind == authzstore.ChallengeApproval {
		if c.Expects != authzstore.ExpectsTerminals {
			o.fail("an approval that is not expected of its terminals")
		}
		return c
	}
	c.MaxAttempts = o.int(o.either("max_attempts", "attempts"), 1, authzstore.MaxChallengeAttempts)
	c.Digits = o.int(o.either("digits", "length"), authzstore.MinCodeDigits, authzstore.MaxCodeDigits)
	c.Condition = o.condition()
	return c
}

func (o *members) condition() authzstore.Condition {
	c := o.inside("condition")
	condition := authzstore.Condition{
		Entry:       oneOf(c, "entry", authzstore.EntryOrders()),
		WithinNanos: c.intOr0("within_ns", 1, math.MaxInt64),
		MinGapNanos: c.intOr0("min_gap_ns", 1, math.MaxInt64),
		MaxGapNanos: c.intOr0("max_gap_ns", 1, math.MaxInt64),
	}
	o.take(c)
	return condition
}

func (o *members) openIntent() OpenIntent {
	i := OpenIntent{
		Kind:           o.snakeCase("kind"),
		State:          o.snakeCase("state"),
		ExpiresAtNanos: o.int("expires_at_ns", 1, math.MaxInt64),
		Attributes:     o.optionalTexts("attributes", authzstore.MaxIntentAttributes),
		AmountMinor:    o.intOr0("amount_minor", 1, authzstore.MaxAmountMinor),
		Currency:       o.optionalText("currency", maxNameBytes),
		Payee:          o.optionalText("payee", maxNameBytes),
	}
	if o.has("terminals") {
		i.Terminals = o.names("terminals", authzstore.MaxIntentTerminals)
	}
	return i
}

func (o *members) advanceIntent() AdvanceIntent {
	a := AdvanceIntent{
		Intent:  o.text("intent", maxNameBytes),
		From:    o.snakeCase("from"),
		To:      o.snakeCase("to"),
		Parties: o.optionalTexts("parties", authzstore.MaxIntentParties),
	}
	if o.has("terminals") {
		a.Terminals = o.names("terminals", authzstore.MaxIntentTerminals)
	}
	if o.has("close") {
		a.Close = o.boolean("close")
	}
	return a
}

func (o *members) notify() Notify {
	return Notify{
		Terminal:       o.text("terminal", maxNameBytes),
		Kind:           o.snakeCase("kind"),
		ExpiresAtNanos: o.intOr0("expires_at_ns", 1, math.MaxInt64),
		Details:        o.optionalTexts("details", authzstore.MaxMessageDetails),
	}
}

// CheckEffects tells whether the effects go with the verdict: what moves money or opens
// something needs an allow; what asks is a denial until it was answered, and asks one
// thing. It is for who carries them out: a decision whose effects do not is read, so
// that the record has it.
func (d Decision) CheckEffects() error {
	challenges, intents := 0, 0
	for _, e := range d.Effects {
		switch e.(type) {
		case Reserve:
			if !d.Allow {
				return errors.New("a denial that reserves")
			}
		case OpenIntent:
			if intents++; !d.Allow {
				return errors.New("a denial that opens an intent")
			}
		case IssueChallenge:
			if challenges++; d.Allow {
				return errors.New("an allow that issues a challenge")
			}
		}
	}
	if challenges > 1 || intents > 1 {
		return fmt.Errorf("%d challenges and %d intents: at most one of each", challenges, intents)
	}
	return nil
}
