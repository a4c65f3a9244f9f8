package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// refs declares everything that the transaction of a check touches.
func (ck *check) refs(l leads) []kv.Ref {
	refs := ck.factRefs(l)
	if ck.writes() {
		refs = append(refs, ck.effectRefs(l)...)
	}
	if l.reservation != "" {
		refs = append(refs, authzstore.ReservationRef(l.reservation), authzstore.AccountRef(l.paidFrom, kv.Shared))
	}
	if l.paidBy != "" {
		refs = append(refs, authzstore.GrantRef(l.paidBy, kv.Shared))
	}
	if l.opened != "" {
		refs = append(refs, authzstore.IntentRef(l.opened, kv.Shared), authzstore.AccountRef(l.paidFrom, kv.Shared))
	}
	if ck.key != nil {
		refs = append(refs, ck.key.Ref())
	}
	if ck.entry != nil {
		refs = append(refs, authzstore.AttemptsRef(ck.entry.sender.Name))
	}
	about := ck.about(l)
	for _, e := range ck.evidence {
		refs = append(refs, authzstore.AttemptsRef(e.sender.Name))
		refs = append(refs, e.kind.Refs(about, e.secret)...)
	}
	return refs
}

// factRefs declares what the facts lead to, to be read.
func (ck *check) factRefs(l leads) []kv.Ref {
	refs := make([]kv.Ref, 0, 16) // what most calls need
	for _, account := range []string{l.account, l.intentAccount} {
		if account != "" {
			refs = append(refs, authzstore.AccountRef(account, kv.Shared), authzstore.UsageRef(account, kv.Shared),
				authzstore.DelegatesRef(account, kv.Shared))
		}
	}
	if l.grant != "" {
		refs = append(refs, authzstore.GrantRef(l.grant, kv.Shared), authzstore.UsageRef(l.grant, kv.Shared))
	}
	if l.handle != "" && len(ck.evidence) > 0 {
		refs = append(refs, authzstore.CredentialRef(l.handle, kv.Exclusive)) // perhaps a code of it is used for the first time
	}
	if ck.asksMerchant() {
		refs = append(refs, authzstore.MerchantOfRef(ck.call.Identity))
	}
	if l.merchant != "" {
		refs = append(refs, authzstore.MerchantRef(l.merchant, kv.Shared))
	}
	return append(append(refs, ck.terminalRefs(l)...), ck.intentRefs(l)...)
}

// terminalRefs declares the terminals that the call leads to, and how they are found.
func (ck *check) terminalRefs(l leads) []kv.Ref {
	var refs []kv.Ref
	if _, named := ck.call.Route.Field("terminal"); ck.reads(factTerminal) && !named {
		refs = append(refs, authzstore.TerminalAsRef(ck.call.Identity))
	}
	if l.account != "" && ck.asksTerminals() {
		refs = append(refs, authzstore.AccountTerminalsRef(l.account, kv.Shared))
	}
	if l.expected {
		refs = append(refs, authzstore.AccountTerminalsRef(l.askedOf, kv.Shared))
	}
	for _, id := range l.devices() {
		refs = append(refs, authzstore.TerminalRef(id, kv.Shared))
	}
	return refs
}

// devices are all terminals that the call leads to, each once.
func (l leads) devices() []string {
	all := slices.Concat(l.terminals, l.pushed, l.asked, l.told)
	if l.terminal != "" {
		all = append(all, l.terminal)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// intentRefs declares the intents that the call leads to, and the challenge.
func (ck *check) intentRefs(l leads) []kv.Ref {
	var refs []kv.Ref
	if l.intent != "" {
		refs = append(refs, authzstore.IntentRef(l.intent, kv.Shared))
	}
	if l.account != "" && ck.reads(factOpenIntents) {
		refs = append(refs, authzstore.OpenIntentsRef(l.account, kv.Shared))
	}
	for _, id := range l.intents {
		refs = append(refs, authzstore.IntentRef(id, kv.Shared))
	}
	if l.challenge != "" {
		refs = append(refs, authzstore.ChallengeRef(l.challenge, kv.Shared))
	}
	if l.account != "" && ck.asksVerification() {
		refs = append(refs, authzstore.VerificationRef(l.account, kv.Shared))
	}
	return refs
}

// asksVerification tells whether the call asks whether the account's people can be
// asked for codes: where it is about more than accounts, grants and merchants.
func (ck *check) asksVerification() bool {
	asksNobody := []string{factAccount, factGrant, factMerchant}
	return ck.call.Route.Does == "unlock_verification" ||
		slices.ContainsFunc(ck.call.Route.Facts, func(f call.Fact) bool { return !slices.Contains(asksNobody, f.Name) })
}

// effectRefs declares what an effect may change.
func (ck *check) effectRefs(l leads) []kv.Ref {
	var refs []kv.Ref
	for _, id := range ck.messaged(l) {
		refs = append(refs, authzstore.SendRefs(id)...)
	}
	if ck.mayWrite(factIntent) && l.intentOwner != "" {
		refs = append(refs, authzstore.IntentRefs(authzstore.Intent{ID: l.intent, Account: l.intentOwner})...)
	}
	if ck.mayWrite(factOpenIntents) && l.account != "" {
		refs = append(refs, authzstore.IntentRefs(authzstore.Intent{ID: ck.intentID, Account: l.account})...)
		for _, id := range l.intents {
			refs = append(refs, authzstore.IntentRef(id, kv.Exclusive))
		}
	}
	refs = append(refs, ck.stepUpRefs(l)...)
	if does := ck.call.Route.Does; does == "" {
		refs = append(refs, ck.reserveRefs(l)...)
	} else if of := builtIns[does].refs; of != nil {
		refs = append(refs, of(ck, l)...)
	}
	return refs
}

// stepUpRefs declares what asking for a challenge touches, and what its consumption.
func (ck *check) stepUpRefs(l leads) []kv.Ref {
	if !ck.call.Route.AsksPeople() || l.account == "" {
		return nil
	}
	refs := []kv.Ref{authzstore.ChallengeRef(ck.challengeID, kv.Exclusive), authzstore.InitiatorRef(l.account, ck.call.Identity, kv.Exclusive)}
	for _, id := range []string{l.challenge, l.former} {
		if id != "" {
			refs = append(refs, authzstore.ChallengeRef(id, kv.Exclusive))
		}
	}
	if l.askedOf != "" { // another account than the call's, where a terminal has moved
		refs = append(refs, authzstore.InitiatorRef(l.askedOf, l.initiator, kv.Exclusive))
	}
	return refs
}

// reserveRefs declares what a reservation touches, of each account that may pay.
func (ck *check) reserveRefs(l leads) []kv.Ref {
	var refs []kv.Ref
	if l.account != "" && (ck.mayWrite(factAccount) || ck.mayWrite(factGrant)) {
		refs = authzstore.ReserveRefs(authzstore.Reservation{ID: ck.reservationID, Account: l.account, Grant: l.grant})
	}
	if l.intentAccount != "" && ck.mayWrite(factIntentAccount) {
		refs = append(refs, authzstore.ReserveRefs(authzstore.Reservation{ID: ck.reservationID, Account: l.intentAccount})...)
	}
	return refs
}

// messaged are the terminals that messages may go to, each once.
func (ck *check) messaged(l leads) []string {
	var all []string
	if ck.mayWrite(factIntent) || ck.mayWrite(factIntentTerminals) {
		all = append(all, l.pushed...)
	}
	if ck.mayWrite(factTerminals) {
		all = append(all, l.terminals...)
	}
	if ck.mayWrite(factTerminal) && l.terminal != "" {
		all = append(all, l.terminal)
	}
	if l.expected {
		all = append(append(all, l.asked...), l.told...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
