package decide

import (
	"bytes"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// readChallenge: a built-in operation names it, every other call has the one that its key
// stands for.
func (ck *check) readChallenge(r authzstore.Reader, f *Facts) error {
	id := ck.call.Text("challenge")
	if ck.call.Route.AsksPeople() {
		id = ""
		if f.earlier != nil {
			id = f.earlier.known.Challenge
		}
		if err := ck.readFormer(r, id, f); err != nil {
			return err
		}
	}
	if id == "" {
		return nil
	}
	c, err := found(r.Challenge(id))
	if err != nil || c == nil {
		return err
	}
	f.Challenge, f.hidden = c, ck.entry != nil
	terminals, err := f.bound(r, asked(*c))
	if err != nil {
		return err
	}
	if err := ck.readExpected(r, terminals, f); err != nil {
		return err
	}
	if c.State, err = r.StandingAt(*c, f.nowNanos); err != nil {
		return err
	}
	if ck.call.Route.AsksPeople() && !f.isOfTheSame(*c) {
		c.State = authzstore.ChallengeReplaced
	}
	return nil
}

// isOfTheSame tells whether a challenge was asked of the people of the call's account,
// for its grant. Other evidence, or a terminal that has moved, leads elsewhere.
func (f Facts) isOfTheSame(c authzstore.Challenge) bool {
	if f.Grant == nil && c.Grant != "" || f.Grant != nil && c.Grant != f.Grant.ID {
		return false
	}
	return f.Account != nil && f.Account.ID == c.Account
}

// asked are the terminals that a challenge asks.
func asked(c authzstore.Challenge) []string {
	all := make([]string, 0, len(c.Terminals))
	for _, t := range c.Terminals {
		all = append(all, t.Terminal)
	}
	return all
}

// readFormer reads the challenge that the caller has asked for the same call, by the same
// grant if there is one, under another key than that of the challenge id.
func (ck *check) readFormer(r authzstore.Reader, id string, f *Facts) error {
	if f.Account == nil {
		return nil
	}
	before, err := r.Initiator(f.Account.ID, ck.call.Identity)
	if err != nil {
		return err
	}
	for _, open := range before.Open {
		if open.Challenge == id || !bytes.Equal(open.Fingerprint, ck.fingerprint) {
			continue
		}
		c, err := found(r.Challenge(open.Challenge))
		if err != nil {
			return err
		}
		if c != nil && f.isOfTheSame(*c) {
			f.former = c
			return nil
		}
	}
	return nil
}

// readExpected finds out whether the challenge, as it is stored, expects the code that
// the call enters, and then who is told if that locks it. terminals are those that it
// asks.
func (ck *check) readExpected(r authzstore.Reader, terminals []authzstore.Terminal, f *Facts) error {
	c := f.Challenge
	f.expected = ck.entry != nil && c.Kind == authzstore.ChallengeCode && c.State == authzstore.ChallengeOpen &&
		evidence.Expected(*c, ck.call.Identity, terminals)
	if !f.expected {
		return nil
	}
	of, err := r.AccountTerminals(c.Account)
	if err != nil {
		return err
	}
	f.told = of.Terminals
	_, err = f.bound(r, f.told)
	return err
}

// readPeople reads what counts where the people of the account may be asked: whether
// they can be, and by this caller before.
func (ck *check) readPeople(r authzstore.Reader, f *Facts) error {
	if f.Account == nil {
		return nil
	}
	if ck.showsStoredCode() {
		if err := ck.readAccountTerminals(r, f); err != nil {
			return err
		}
	}
	if !ck.asksVerification() {
		return nil
	}
	v, err := r.Verification(f.Account.ID)
	if err != nil {
		return err
	}
	f.Verification = &v
	if !ck.call.Route.AsksPeople() {
		return nil
	}
	i, err := r.Initiator(f.Account.ID, ck.call.Identity)
	f.Initiator = &i
	return err
}

// asksVerification tells whether the call asks whether the account's people can be
// asked for codes: where it is about more than accounts, grants and merchants.
func (ck *check) asksVerification() bool {
	asksNobody := []string{call.FactAccount, call.FactGrant, call.FactMerchant}
	return ck.call.Route.Does == "unlock_verification" ||
		slices.ContainsFunc(ck.call.Route.Facts, func(f call.Fact) bool { return !slices.Contains(asksNobody, f.Name) })
}
