package decide

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// Facts are what the store holds about a call; nil where there is nothing, or where the
// route does not ask.
type Facts struct {
	Account    *authzstore.Account
	Usage      authzstore.Usage // of Account
	Delegates  authzstore.Delegates
	Grant      *authzstore.Grant
	GrantUsage authzstore.Usage // of Grant
	Merchant   *authzstore.Merchant
	Channel    string // of Merchant, that the caller stands for

	Terminal  *authzstore.Terminal
	Terminals []authzstore.Terminal // of Account, that are not unbound

	Intent *authzstore.Intent
	// IntentTerminals are the one that opened Intent and those that it was pushed to,
	// without those that are unbound.
	IntentTerminals []authzstore.Terminal
	IntentAccount   *authzstore.Account // of Intent
	IntentUsage     authzstore.Usage
	IntentDelegates authzstore.Delegates
	// OpenIntents are those of Account that are neither closed nor expired, of the
	// call's system.
	OpenIntents []authzstore.Intent

	// Challenge is the one that a built-in operation is about, or that the call's key
	// stands for, in the state that counts now ([authzstore.Reader.StandingAt]).
	Challenge *authzstore.Challenge
	// Initiator is what the caller has asked of the people of Account.
	Initiator *authzstore.Initiator
	// Verification tells whether the people of Account can be asked for codes.
	Verification *authzstore.Verification

	notForPolicy
}

// notForPolicy are facts that the policy does not see.
type notForPolicy struct {
	nowNanos int64 // the time as of which they are

	earlier *earlier // what is known about the call's key
	// former is the challenge that the caller has asked for the same call under another
	// key, and that is open.
	former *authzstore.Challenge
	hidden bool // the policy does not see Challenge

	expected bool     // the call enters a code, and Challenge expects it
	told     []string // the terminals of Challenge's account, where expected

	accountTerminals []string                       // of Account, where they are asked for
	devices          map[string]authzstore.Terminal // all that the call leads to, by ID
}

// readers are how each fact is read. A call's facts are read in the order of
// [call.FactNames], in which one leads to another, after what is known about its key
// (key.go) and what its evidence leads to (evidence.go).
var readers = map[string]func(*check, authzstore.Reader, *Facts) error{
	call.FactGrant:           (*check).readGrant,
	call.FactIntent:          (*check).readIntent,
	call.FactTerminal:        (*check).readTerminal,
	call.FactAccount:         (*check).readAccount,
	call.FactIntentAccount:   (*check).readIntentAccount,
	call.FactIntentTerminals: (*check).readIntentTerminals,
	call.FactTerminals:       (*check).readTerminals,
	call.FactOpenIntents:     (*check).readOpenIntents,
	call.FactChallenge:       (*check).readChallenge,
	call.FactMerchant:        (*check).readMerchant,
}

// readFacts reads what the call is about, as it is now: in a snapshot for the plan, and in
// the transaction for the decision.
func (ck *check) readFacts(r authzstore.Reader, nowNanos int64) (f Facts, err error) {
	f.nowNanos = nowNanos
	if f.earlier, err = ck.readEarlier(r); err != nil {
		return Facts{}, err
	}
	if err := ck.readLeads(r); err != nil {
		return Facts{}, err
	}
	for _, fact := range ck.call.Route.Facts {
		read, known := readers[fact.Name]
		if !known {
			return Facts{}, fmt.Errorf("%w: the fact %q", errNotKnown, fact.Name)
		}
		if err := read(ck, r, &f); err != nil {
			return Facts{}, err
		}
	}
	return f, ck.readPeople(r, &f)
}

// asksFor tells whether the route names a fact.
func (ck *check) asksFor(fact string) bool {
	_, named := ck.call.Route.Fact(fact)
	return named
}

// mayWrite tells whether the route declares a fact `write`.
func (ck *check) mayWrite(fact string) bool { return ck.call.Route.Writes(fact) }

// writes tells whether an effect may change what the call leads to.
func (ck *check) writes() bool {
	return slices.ContainsFunc(ck.call.Route.Facts, func(f call.Fact) bool { return f.Write })
}

func found[T any](noun T, ok bool, err error) (*T, error) {
	if err != nil || !ok {
		return nil, err
	}
	return &noun, nil
}
