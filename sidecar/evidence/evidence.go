// Package evidence holds what the secret fields of calls can be, and prove: a [Kind]
// for each. A secret goes in and findings come out; nothing else of it leaves.
//
// [PaymentCodes] are the kind by which a delegate pays. [Parameters] are what the
// delegate's device makes such codes from. [StoredCodes] are agreed in advance with
// the people of an account, and [IntentTokens] are shown with an intent. A [Sealer]
// keeps secrets from whoever has the store's files alone.
//
// The codes of a challenge are no Kind: they are entered one by one, each without a
// verdict. [Challenges] make them and tell which was entered, and [Judge] says whether
// a complete set meets the challenge's condition.
//
// All of it only finds out. Whether it is asked, whose attempts are burnt and what is
// used up is package decide's, in the transaction of the call.
package evidence

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// A Kind is one kind of proof that a secret field can be, such as a code.
type Kind interface {
	// Lead returns the ID of the grant that a secret points to, "" for none. It says
	// nothing of whether the secret is right. It is asked for a guess in a snapshot,
	// and again under the locks. A secret that points to a grant proves something of
	// calls about that grant alone, and what it matches is its credential in force,
	// which the delegate has fetched: the use of it is marked there.
	Lead(r authzstore.Reader, c call.Call, secret string) (grant string, err error)
	// Refs declares what Check reads, and [authzstore.UseRef] of every thing and
	// [authzstore.AttemptsRef] of every budget that it may name in a Finding. What Lead
	// reads is declared already.
	Refs(about About, secret string) []kv.Ref
	// Check finds out what the secret proves about the call. It writes nothing,
	// compares in constant time, and does the same work whether or not there is
	// anything to compare with.
	Check(tx *authzstore.Tx, about About, secret string) (Finding, error)
}

// An About is what a secret is shown for: the call that it stands in, and what the
// facts of the call's route lead to.
type About struct {
	call.Call
	// Account is that of the facts, "" for none.
	Account string
	// Terminals are those of Account that are not unbound, where the facts lead there.
	Terminals []string
}

// A Finding is what a secret proves.
type Finding struct {
	// Matched: it is right, and meant for this very call.
	Matched bool
	// Thing is the ID of what a match uses up: for good, with Step 0, or up to Step,
	// which is at least 1 and only grows ([authzstore.Tx.UseStep]).
	Thing string
	Step  int64
	// UsedWhenDenied: what matched is used up by a denial too. It pays for itself
	// then, and no attempt is burnt for it.
	UsedWhenDenied bool
	// Budgets are what a wrong answer burns an attempt of each, in order. One that has
	// none left ends that: the secret does not match, and what comes after it is not
	// burnt. None means the sender's own ([authzstore.SenderBudget] with
	// [SenderAllowance]), as for a sender that the thing does not expect.
	Budgets []Budget
	// Failures names a counter ([authzstore.Tx.Count]) of wrong answers, whoever gave
	// them; "" for none.
	Failures string
	// Facts are what the policy is told beside `matched`, of what matched alone.
	Facts []policy.Member
}

// A Budget is what somebody has for wrong answers.
type Budget struct {
	Name string
	authzstore.Allowance
}

// SenderAllowance is what each sender has for answers that the thing answered did
// not expect of it, for each kind of evidence.
var SenderAllowance = authzstore.Allowance{Max: 20, WindowNanos: 3600 * 1e9}
