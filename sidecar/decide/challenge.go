package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/policy"
)

// A ChallengeOffer is what a caller is told of a challenge: it is to be answered, and
// then the call repeated under its key.
type ChallengeOffer struct {
	ID             string // chl_…
	Kind           string // code or approval
	ExpiresAtNanos int64  // at this instant it can still be answered
}

func offerOf(c authzstore.Challenge) *ChallengeOffer {
	return &ChallengeOffer{ID: c.ID, Kind: string(c.Kind), ExpiresAtNanos: c.ExpiresAtNanos}
}

// challengeRefs declares what asking for a challenge touches, and what the end of one:
// also where evidence leads nowhere this time, and the call to no account.
func (ck *check) challengeRefs(f Facts) []kv.Ref {
	if !ck.call.Route.AsksPeople() {
		return nil
	}
	var refs []kv.Ref
	if f.Account != nil {
		refs = append(refs, authzstore.ChallengeRef(ck.challengeID, kv.Exclusive), authzstore.InitiatorRef(f.Account.ID, ck.call.Identity, kv.Exclusive))
	}
	for _, c := range []*authzstore.Challenge{f.Challenge, f.former} {
		if c != nil { // perhaps of another account than the call's, where a terminal has moved
			refs = append(refs, authzstore.ChallengeRef(c.ID, kv.Exclusive), authzstore.InitiatorRef(c.Account, c.Initiator, kv.Exclusive))
		}
	}
	return refs
}

// ask asks the people of the account about the call, unless that is what they are being
// asked already: then nothing is sent, and no start is counted. A challenge that was
// asked for the same call before is replaced.
func (ck *check) ask(tx *authzstore.Tx, f Facts, e policy.IssueChallenge, about *authzstore.Intent) (*ChallengeOffer, error) {
	if !ck.call.Route.AsksPeople() || f.Account == nil {
		return nil, contradiction("a challenge on a route that does not ask, or of no account")
	}
	c, err := ck.newChallenge(f, e, about)
	if err != nil {
		return nil, err
	}
	if f.Challenge != nil && f.Challenge.State == authzstore.ChallengeOpen && asksTheSame(*f.Challenge, c) {
		return offerOf(*f.Challenge), nil
	}
	for _, before := range []*authzstore.Challenge{f.Challenge, f.former} {
		if before == nil {
			continue
		}
		if err := replace(tx, before.ID); err != nil {
			return nil, err
		}
	}
	if c.Kind == authzstore.ChallengeCode {
		if err := ck.seal(&c); err != nil {
			return nil, err
		}
	}
	if err := tx.IssueChallenge(c); err != nil {
		return nil, err
	}
	return offerOf(c), ck.sendChallenge(tx, f, e, c, about)
}

// newChallenge is what the effect asks for, without a secret.
func (ck *check) newChallenge(f Facts, e policy.IssueChallenge, about *authzstore.Intent) (authzstore.Challenge, error) {
	p := ck.purpose(about)
	c := authzstore.Challenge{
		ID:             ck.challengeID,
		Kind:           e.Kind,
		Account:        f.Account.ID,
		Initiator:      ck.call.Identity,
		System:         ck.call.Route.System,
		Operation:      ck.call.Route.Operation,
		Fingerprint:    ck.fingerprint,
		Expects:        e.Expects,
		AmountMinor:    p.amountMinor,
		Currency:       p.currency,
		Payee:          p.payee,
		ExpiresAtNanos: e.ExpiresAtNanos,
	}
	if about != nil {
		c.Intent = about.ID
	}
	if f.Grant != nil {
		c.Grant = f.Grant.ID
	}
	for _, id := range e.Terminals {
		t, err := ck.reachable(f, id)
		if err != nil {
			return authzstore.Challenge{}, err
		}
		c.Terminals = append(c.Terminals, authzstore.ChallengeTerminal{Terminal: t.ID, BoundAtNanos: t.BoundAtNanos})
	}
	if c.Kind == authzstore.ChallengeCode {
		c.Digits, c.MaxAttempts = int(e.Digits), e.MaxAttempts
		c.Condition = e.Condition
		// Before a secret is drawn for what must not be.
		return c, c.Condition.Check(c.Digits, len(c.Terminals))
	}
	return c, nil
}

// seal draws the secret of the codes, and says which code is whose.
func (ck *check) seal(c *authzstore.Challenge) error {
	if ck.cfg.Challenges == nil {
		return errNoChallenges
	}
	sealed, counters, err := ck.cfg.Challenges.NewSecret(c.ID, c.Digits, len(c.Terminals))
	if err != nil {
		return err
	}
	c.Sealed = sealed
	for i := range c.Terminals {
		c.Terminals[i].Counter = counters[i]
	}
	return nil
}

// asksTheSame tells whether a challenge that is open asks what another would.
func asksTheSame(open, other authzstore.Challenge) bool {
	same := func(a, b authzstore.ChallengeTerminal) bool {
		return a.Terminal == b.Terminal && a.BoundAtNanos == b.BoundAtNanos
	}
	return open.Kind == other.Kind && open.Expects == other.Expects && open.Condition == other.Condition &&
		open.Intent == other.Intent && slices.EqualFunc(open.Terminals, other.Terminals, same)
}

// replace ends a challenge that can still come to something.
func replace(tx *authzstore.Tx, id string) error {
	c, ok, err := tx.Challenge(id)
	if err != nil || !ok || !c.Live() {
		return err
	}
	return tx.ReplaceChallenge(id)
}

// endChallenge ends the challenge of the call's key with a final answer: a satisfied one
// was presented, and is used up; nobody waits for any other.
func (ck *check) endChallenge(tx *authzstore.Tx, f Facts) error {
	if !ck.call.Route.AsksPeople() || f.Challenge == nil {
		return nil
	}
	if f.Challenge.State == authzstore.ChallengeSatisfied {
		return tx.ConsumeChallenge(f.Challenge.ID)
	}
	return replace(tx, f.Challenge.ID)
}
