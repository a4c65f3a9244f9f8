package decide

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// A builtIn is how an operation of call.BuiltIns is done.
type builtIn struct {
	// refs declares what do touches beside what every call declares.
	refs func(*check, Facts) []kv.Ref
	// do does it. The fact that it needs is there. Nil where it only shows, or does
	// nothing but the policy's effects.
	do func(*check, *authzstore.Tx, Facts) error
	// shows says of what an allow of it lets the sidecar's API show the state. Nil means
	// the account and the grant.
	shows func(*check, Facts, effected, *Execution)
	// again tells whether who repeats it may see again what became of it. Nil means the
	// owner of the account and the delegate of the grant.
	again func(*check, Facts) bool
	// issues: it makes a credential.
	issues bool
	// stops: it stops payments, so that many of those are in flight does not keep it
	// out. Who is a party to what it stops is urgent to the store too.
	stops bool
}

var builtIns = map[string]builtIn{
	"offer_grant":   {refs: offerRefs, do: offer},
	"accept_grant":  {refs: grantRefs, issues: true, do: onGrant((*authzstore.Tx).AcceptGrant)},
	"decline_grant": {refs: grantRefs, do: toGrant((*authzstore.Tx).DeclineGrant)},
	"change_grant":  {refs: grantRefs, issues: true, do: change},

	"freeze_grant":   {refs: grantRefs, stops: true, do: toGrant((*authzstore.Tx).FreezeGrant)},
	"unfreeze_grant": {refs: grantRefs, do: toGrant((*authzstore.Tx).UnfreezeGrant)},
	"revoke_grant":   {refs: grantRefs, stops: true, do: toGrant((*authzstore.Tx).RevokeGrant)},
	"end_grant":      {refs: grantRefs, stops: true, do: toGrant((*authzstore.Tx).EndGrant)},

	"reissue_parameters": {refs: grantRefs, issues: true, do: onGrant((*authzstore.Tx).IssueCredential)},
	"fetch_parameters":   {refs: grantRefs, do: fetch},

	"freeze_account":      {refs: accountRefs, stops: true, do: toAccount((*authzstore.Tx).FreezeAccount)},
	"unfreeze_account":    {refs: accountRefs, do: toAccount((*authzstore.Tx).UnfreezeAccount)},
	"unlock_verification": {refs: verificationRefs, do: toAccount((*authzstore.Tx).UnlockVerification)},

	"view_grant":       {},
	"view_account":     {},
	"list_grants":      {},
	"list_delegations": {},

	"enter_code":        {refs: enterRefs, do: enterCode, shows: nothing, again: always},
	"approve_challenge": {refs: answerRefs, do: approve, shows: theChallenge, again: (*check).wasAsked},
	"reject_challenge":  {refs: answerRefs, do: reject, shows: theChallenge, again: (*check).wasAsked},
	"view_challenge":    {shows: theChallenge},

	"view_intent":   {shows: theIntent},
	"act_on_intent": {shows: theIntent, again: (*check).takesPart},

	"store_code":           {refs: storeCodeRefs, do: storeCode, shows: theTerminal, again: (*check).isTerminal},
	"stream_messages":      {shows: theStream},
	"acknowledge_messages": {refs: acknowledgeRefs, do: acknowledge, shows: theTerminal, again: (*check).isTerminal},
}

// prepareBuiltIn makes what the operation of the call needs, anew in every round of
// planning.
func (ck *check) prepareBuiltIn() (err error) {
	does := ck.call.Route.Does
	if does == "" {
		return nil
	}
	b, known := builtIns[does]
	if !known {
		return fmt.Errorf("%w: the operation %q", errNotKnown, does)
	}
	ck.grantID = authzstore.NewID("grt")
	if !b.issues {
		return nil
	}
	if ck.cfg.NewCredential == nil {
		return fmt.Errorf("%w: %s, without a key for credentials", errNotKnown, does)
	}
	ck.credential, err = ck.cfg.NewCredential()
	return err
}

// builtInRefs declares what the operation of the call touches.
func (ck *check) builtInRefs(f Facts) []kv.Ref {
	if refs := builtIns[ck.call.Route.Does].refs; refs != nil {
		return refs(ck, f)
	}
	return nil
}

// doBuiltIn does the operation of a call that is allowed.
func (ck *check) doBuiltIn(tx *authzstore.Tx, f Facts, done effected) (*Execution, error) {
	does := ck.call.Route.Does
	if !ck.hasWhatItIsAbout(f) {
		return nil, contradiction("%s without the %s that it is about", does, call.BuiltIns[does].Fact)
	}
	b := builtIns[does]
	if b.do != nil {
		err := b.do(ck, tx, f)
		if b.issues && errors.Is(err, authzstore.ErrUsed) {
			return nil, errReplan // the handle was given before: with another one
		}
		if err != nil {
			return nil, refusedByStore(err)
		}
	}
	made := ""
	if does == "offer_grant" {
		made = ck.grantID
	}
	return ck.builtInExecution(f, done, made), nil
}

// hasWhatItIsAbout tells whether there is what the call's operation is about. A code can
// be entered for what there is not, and acting on an intent does nothing of its own.
func (ck *check) hasWhatItIsAbout(f Facts) bool {
	does := ck.call.Route.Does
	if does == "enter_code" || does == "act_on_intent" {
		return true
	}
	switch call.BuiltIns[does].Fact {
	case call.FactGrant:
		return f.Grant != nil
	case call.FactAccount:
		return f.Account != nil
	case call.FactChallenge:
		return f.Challenge != nil
	case call.FactIntent:
		return f.Intent != nil
	case call.FactTerminal:
		return f.Terminal != nil
	}
	return true
}

// builtInExecution is what an allow of a built-in operation lets the sidecar's API
// show. made is the grant that the operation made, "" for none.
func (ck *check) builtInExecution(f Facts, done effected, made string) *Execution {
	e := ck.execution(nil)
	e.Does = ck.call.Route.Does
	if shows := builtIns[e.Does].shows; shows != nil {
		shows(ck, f, done, e)
		return e
	}
	e.Grant = made
	if f.Account != nil {
		e.Account = f.Account.ID
	}
	if f.Grant != nil {
		e.Grant = f.Grant.ID
	}
	return e
}

// canShowAgain tells whether who repeats a built-in operation may see again what
// became of it: while it is the owner of the account, or the delegate; and the
// parameters while they are this call's, and no code of them was used.
func (ck *check) canShowAgain(tx *authzstore.Tx, f Facts) (bool, error) {
	if again := builtIns[ck.call.Route.Does].again; again != nil {
		return again(ck, f), nil
	}
	owns := f.Account != nil && f.Account.Owner == ck.call.Identity
	pays := f.Grant != nil && f.Grant.Delegate == ck.call.Identity
	if ck.call.Route.Does != "fetch_parameters" {
		return owns || pays, nil
	}
	if !pays || f.Grant.Handle == "" {
		return false, nil
	}
	c, ok, err := tx.Credential(f.Grant.Handle)
	return ok && !c.Ended && !c.FirstUsed && c.FetchedBy == f.earlier.known.RecordID, err
}
