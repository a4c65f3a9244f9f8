package decide

import (
	"errors"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// maxPlans is how often a call is planned before it is given up: what it leads to
// changed each time between the plan and the locks.
const maxPlans = 3

// errReplan: the call leads elsewhere than planned. Nothing was written.
var errReplan = errors.New("the call leads elsewhere than planned")

// The facts that a route can name.
const (
	factAccount         = "account"
	factGrant           = "grant"
	factMerchant        = "merchant"
	factTerminal        = "terminal"
	factTerminals       = "terminals"
	factIntent          = "intent"
	factIntentAccount   = "intent_account"
	factIntentTerminals = "intent_terminals"
	factOpenIntents     = "open_intents"
	factChallenge       = "challenge"
)

// leads are what a call leads to: IDs, "" and nil where to nothing.
type leads struct {
	single
	terminals []string // of account, that are not unbound
	pushed    []string // that opened the intent, or that it was pushed to
	asked     []string // the challenge's
	told      []string // of the account that the challenge is about, where it may lock
	intents   []string // those of account that its list has
}

// single are the leads that are one thing each.
type single struct {
	account       string // that the call names, or the grant's, the terminal's or the intent's
	intentAccount string
	grant         string
	handle        string // of the grant's credential in force
	merchant      string
	terminal      string
	terminalOf    string // its account
	intent        string
	intentOwner   string // the intent's account, whether or not that is a fact

	challenge string // that a built-in operation is about, or that the call's key stands for
	former    string // that the caller has asked for the same call under another key
	initiator authzstore.Identity
	askedOf   string // the account that the challenge is about
	expected  bool   // the call enters a code, and the challenge expects it

	// stops: the call stops payments from its caller's own account, or by a grant that
	// the caller is a party to.
	stops bool

	// The reservation that the call's key stands for, and what it takes money from, or
	// the intent that it stands for, and whose that is.
	reservation, paidFrom, paidBy string
	opened                        string
}

func (l leads) equal(other leads) bool {
	return l.single == other.single && slices.Equal(l.terminals, other.terminals) && slices.Equal(l.pushed, other.pushed) &&
		slices.Equal(l.asked, other.asked) && slices.Equal(l.told, other.told) && slices.Equal(l.intents, other.intents)
}

// sameLeads fails with errReplan where the call leads elsewhere than planned: then
// what it leads to is perhaps not even declared.
func (ck *check) sameLeads(r authzstore.Reader, planned leads) error {
	l, err := ck.follow(r)
	ck.moved = errors.Is(err, kv.ErrUndeclared) || err == nil && !l.equal(planned)
	if ck.moved {
		return errReplan
	}
	return err
}

// reads tells whether the route names a fact.
func (ck *check) reads(fact string) bool {
	_, named := ck.call.Route.Fact(fact)
	return named
}

// mayWrite tells whether the route declares a fact `write`.
func (ck *check) mayWrite(fact string) bool { return ck.call.Route.Writes(fact) }

// writes tells whether an effect may change what the call leads to.
func (ck *check) writes() bool {
	return slices.ContainsFunc(ck.call.Route.Facts, func(f call.Fact) bool { return f.Write })
}

// changes are the entities that an effect may change, and of whose changes only so
// many are decided at once.
func (ck *check) changes(l leads) []string {
	if !ck.writes() || builtIns[ck.call.Route.Does].stops {
		return nil
	}
	all := []string{l.account, l.grant}
	if ck.mayWrite(factIntentAccount) {
		all = append(all, l.intentAccount)
	}
	if ck.mayWrite(factIntent) {
		all = append(all, l.intent)
	}
	if l.expected {
		all = append(all, l.challenge)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id string) bool { return id == "" })
}

// about is what evidence is shown for.
func (ck *check) about(l leads) evidence.About {
	return evidence.About{Call: ck.call, Account: l.account, Terminals: l.terminals}
}
