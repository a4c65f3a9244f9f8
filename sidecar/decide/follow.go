package decide

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/evidence"
)

// links are how each fact is followed, in the order in which one leads to another.
// That of a key's challenge is followed after the key.
var links = []struct {
	fact   string
	follow func(*check, authzstore.Reader, *leads) error
}{
	{factGrant, (*check).followGrant},
	{factIntent, (*check).followIntent},
	{factTerminal, (*check).followTerminal},
	{factAccount, (*check).followAccount},
	{factIntentAccount, (*check).followIntentAccount},
	{factIntentTerminals, nil}, // followIntent
	{factTerminals, nil},       // followTerminals: evidence may want it too
	{factOpenIntents, (*check).followOpenIntents},
	{factChallenge, nil}, // followChallenge
	{factMerchant, (*check).followMerchant},
}

// follow returns what a call leads to, by the facts that its route names and by its
// idempotency key. A plan follows it in a snapshot, as a guess; the transaction
// follows it again under its locks.
func (ck *check) follow(r authzstore.Reader) (l leads, err error) {
	for _, e := range ck.evidence {
		if e.lead, err = e.kind.Lead(r, ck.call, e.secret); err != nil {
			return leads{}, err
		}
	}
	followed := 0
	for _, link := range links {
		if !ck.reads(link.fact) {
			continue
		}
		followed++
		if link.follow == nil {
			continue
		}
		if err := link.follow(ck, r, &l); err != nil {
			return leads{}, err
		}
	}
	if followed != len(ck.call.Route.Facts) {
		return leads{}, fmt.Errorf("%w: one of the facts %v", errNotKnown, ck.call.Route.FactsRead())
	}
	if err := ck.followTerminals(r, &l); err != nil {
		return leads{}, err
	}
	if l.stops, err = ck.stopsOwn(r, l); err != nil {
		return leads{}, err
	}
	known, err := ck.followKey(r, &l)
	if err != nil || !ck.reads(factChallenge) {
		return l, err
	}
	return l, ck.followChallenge(r, known, &l)
}

// followKey follows the call's idempotency key to what an allow under it made.
func (ck *check) followKey(r authzstore.Reader, l *leads) (authzstore.KeyedCall, error) {
	if ck.key == nil {
		return authzstore.KeyedCall{}, nil
	}
	known, _, err := r.KeyedCall(*ck.key)
	switch {
	case err != nil:
		return known, err
	case known.ReservationID != "":
		var reservation authzstore.Reservation
		reservation, _, err = r.Reservation(known.ReservationID)
		l.reservation, l.paidFrom, l.paidBy = known.ReservationID, reservation.Account, reservation.Grant
	case known.Intent != "":
		var intent authzstore.Intent
		intent, _, err = r.Intent(known.Intent)
		l.opened, l.paidFrom = known.Intent, intent.Account
	}
	return known, err
}

// stopsOwn tells whether the call stops payments that its caller may stop, whatever the
// policy will say: those are not to wait behind the payments. A stranger's call waits
// its turn.
func (ck *check) stopsOwn(r authzstore.Reader, l leads) (bool, error) {
	if !builtIns[ck.call.Route.Does].stops || l.account == "" {
		return false, nil
	}
	if account, _, err := r.Account(l.account); err != nil || account.Owner == ck.call.Identity {
		return err == nil, err
	}
	if l.grant == "" {
		return false, nil
	}
	grant, _, err := r.Grant(l.grant)
	return err == nil && grant.Delegate == ck.call.Identity, err
}

// evidenceLead is the grant that the call's evidence leads to. What leads to two grants
// leads to none.
func (ck *check) evidenceLead() string {
	found := ""
	for _, e := range ck.evidence {
		if e.lead != "" && found != "" && e.lead != found {
			return ""
		}
		if e.lead != "" {
			found = e.lead
		}
	}
	return found
}

// followGrant follows the call to a grant and its account: by the field grant, or
// where the route has none, by its evidence.
func (ck *check) followGrant(r authzstore.Reader, l *leads) (err error) {
	if _, named := ck.call.Route.Field("grant"); named {
		l.grant = ck.call.Text("grant")
	} else {
		l.grant = ck.evidenceLead()
	}
	if l.grant == "" {
		return nil
	}
	grant, _, err := r.Grant(l.grant)
	l.account, l.handle = grant.Account, grant.Handle
	return err
}

func (ck *check) followMerchant(r authzstore.Reader, l *leads) error {
	m, _, _, err := r.MerchantOf(ck.call.Identity)
	l.merchant = m.ID
	return err
}

// followIntent follows the field intent, and to the intent's terminals where the route
// names them, or messages may go to them.
func (ck *check) followIntent(r authzstore.Reader, l *leads) error {
	l.intent = ck.call.Text("intent")
	if l.intent == "" {
		return nil
	}
	intent, _, err := r.Intent(l.intent)
	l.intentOwner = intent.Account
	if !ck.reads(factIntentTerminals) && !ck.mayWrite(factIntent) {
		return err
	}
	if intent.Terminal != "" {
		l.pushed = []string{intent.Terminal}
	}
	for _, id := range intent.Terminals {
		if id != intent.Terminal {
			l.pushed = append(l.pushed, id)
		}
	}
	return err
}

// followTerminal follows the field terminal, or where the route has none, the caller's
// identity.
func (ck *check) followTerminal(r authzstore.Reader, l *leads) error {
	if _, named := ck.call.Route.Field("terminal"); named {
		l.terminal = ck.call.Text("terminal")
		t, _, err := r.Terminal(l.terminal)
		l.terminalOf = t.Account
		return err
	}
	t, _, err := r.TerminalAs(ck.call.Identity)
	l.terminal, l.terminalOf = t.ID, t.Account
	return err
}

// followAccount follows the field account, or where the route has none, the terminal,
// or the intent.
func (ck *check) followAccount(_ authzstore.Reader, l *leads) error {
	switch _, named := ck.call.Route.Field("account"); {
	case named:
		l.account = ck.call.Text("account")
	case ck.reads(factTerminal):
		l.account = l.terminalOf
	default:
		l.account = l.intentOwner
	}
	return nil
}

func (ck *check) followIntentAccount(_ authzstore.Reader, l *leads) error {
	l.intentAccount = l.intentOwner
	return nil
}

// followTerminals follows the account to its terminals, where the route names them or
// evidence needs them.
func (ck *check) followTerminals(r authzstore.Reader, l *leads) error {
	if l.account == "" || !ck.asksTerminals() {
		return nil
	}
	of, err := r.AccountTerminals(l.account)
	l.terminals = of.Terminals
	return err
}

func (ck *check) asksTerminals() bool {
	return ck.reads(factTerminals) || slices.ContainsFunc(ck.evidence, func(e *shown) bool { return e.kindID == evidence.StoredCode })
}

func (ck *check) followOpenIntents(r authzstore.Reader, l *leads) error {
	if l.account == "" {
		return nil
	}
	open, err := r.OpenIntents(l.account)
	l.intents = open.Intents
	return err
}

// followChallenge follows a built-in operation to the challenge that it names, and every
// other call to the one that its key stands for, and to the one that the caller has
// asked for the same call under another key.
func (ck *check) followChallenge(r authzstore.Reader, known authzstore.KeyedCall, l *leads) error {
	l.challenge = known.Challenge
	if !ck.call.Route.AsksPeople() {
		l.challenge = ck.call.Text("challenge")
	} else if err := ck.followFormer(r, l); err != nil {
		return err
	}
	if l.challenge == "" {
		return nil
	}
	challenge, exists, err := r.Challenge(l.challenge)
	if err != nil || !exists {
		return err
	}
	l.initiator, l.askedOf = challenge.Initiator, challenge.Account
	for _, t := range challenge.Terminals {
		l.asked = append(l.asked, t.Terminal)
	}
	if ck.entry == nil {
		return nil
	}
	return ck.followEntry(r, challenge, l)
}

// followFormer follows to the challenge that the caller has asked for the same call under
// another key.
func (ck *check) followFormer(r authzstore.Reader, l *leads) error {
	if l.account == "" {
		return nil
	}
	before, err := r.Initiator(l.account, ck.call.Identity)
	if err != nil {
		return err
	}
	for _, open := range before.Open {
		if open.Challenge != l.challenge && bytes.Equal(open.Fingerprint, ck.fingerprint) {
			l.former = open.Challenge
		}
	}
	return nil
}

// followEntry tells whether the challenge expects the code that is entered, and then
// who is told if that locks it.
func (ck *check) followEntry(r authzstore.Reader, challenge authzstore.Challenge, l *leads) error {
	terminals := make([]authzstore.Terminal, 0, len(l.asked))
	for _, id := range l.asked {
		t, _, err := r.Terminal(id)
		if err != nil {
			return err
		}
		terminals = append(terminals, t)
	}
	l.expected = challenge.Kind == authzstore.ChallengeCode && challenge.State == authzstore.ChallengeOpen &&
		evidence.Expected(challenge, ck.call.Identity, terminals)
	if !l.expected {
		return nil
	}
	of, err := r.AccountTerminals(challenge.Account)
	l.told = of.Terminals
	return err
}
