package api

import (
	"github.com/countersign/countersign/authzstore"
)

// A ChallengeView is a challenge as the people whom it is about see it. What its codes
// must be like, and what was entered, nobody is told.
type ChallengeView struct {
	ID    string                    `json:"id"`
	Kind  authzstore.ChallengeKind  `json:"kind"`
	State authzstore.ChallengeState `json:"state"`
	// What is to be agreed to: 0 and empty where the call has none.
	System      string `json:"system"`
	Operation   string `json:"operation"`
	AmountMinor int64  `json:"amount_minor,omitempty"`
	Currency    string `json:"currency,omitempty"`
	Payee       string `json:"payee,omitempty"`
	Intent      string `json:"intent,omitempty"`
	// Initiator made the call. Requester asked for what it is about: who opened its
	// intent, or else the initiator.
	Initiator authzstore.Identity `json:"initiator"`
	Requester authzstore.Identity `json:"requester"`
	// Account, who is asked of it, and who of them decided: for its own people alone.
	Account   string   `json:"account,omitempty"`
	Terminals []string `json:"terminals,omitempty"`
	DecidedBy string   `json:"decided_by,omitempty"`
	// AttemptsLeft is for those who enter the codes.
	AttemptsLeft   *int64 `json:"attempts_left,omitempty"`
	IssuedAtNanos  int64  `json:"issued_at_ns"`
	ExpiresAtNanos int64  `json:"expires_at_ns"`
	DecidedAtNanos int64  `json:"decided_at_ns,omitempty"`
}

// challenge shows the challenge of the call to who made the call that it is for, to
// the terminals that it asks and to their account's owner.
func (s shower) challenge() (any, error) {
	c, ok, err := s.Challenge(s.claims.Challenge)
	if err != nil || !ok {
		return nil, orUnknown(err)
	}
	state, err := s.StandingAt(c, s.nowNanos)
	if err != nil {
		return nil, err
	}
	asked, err := s.isAsked(c)
	if err != nil {
		return nil, err
	}
	account, _, err := s.Account(c.Account)
	if err != nil {
		return nil, err
	}
	initiated, theirs := s.caller == c.Initiator, asked || s.caller == account.Owner
	if !initiated && !theirs {
		return Known{c.ID, string(state)}, nil
	}
	requester, err := requester(s.Reader, c)
	if err != nil {
		return nil, err
	}
	v := ChallengeView{
		ID: c.ID, Kind: c.Kind, State: state, System: c.System, Operation: c.Operation,
		AmountMinor: c.AmountMinor, Currency: c.Currency, Payee: c.Payee, Intent: c.Intent,
		Initiator: c.Initiator, Requester: requester,
		IssuedAtNanos: c.IssuedAtNanos, ExpiresAtNanos: c.ExpiresAtNanos, DecidedAtNanos: c.DecidedAtNanos,
	}
	if theirs {
		v.Account, v.Terminals, v.DecidedBy = c.Account, terminalsOf(c), c.DecidedBy
	}
	expected := initiated && c.Expects == authzstore.ExpectsInitiator || asked && c.Expects == authzstore.ExpectsTerminals
	if expected && c.Kind == authzstore.ChallengeCode {
		left := c.AttemptsLeft()
		v.AttemptsLeft = &left
	}
	return v, nil
}

// isAsked tells whether the caller is a terminal that a challenge asks: bound, and not
// bound anew since.
func (s shower) isAsked(c authzstore.Challenge) (bool, error) {
	t, ok, err := s.TerminalAs(s.caller)
	return err == nil && ok && c.StillAsks(t), err
}

// requester is who asked for what a challenge is about.
func requester(r authzstore.Reader, c authzstore.Challenge) (authzstore.Identity, error) {
	if c.Intent == "" {
		return c.Initiator, nil
	}
	i, ok, err := r.Intent(c.Intent)
	if err != nil || !ok {
		return c.Initiator, err
	}
	return i.Initiator, nil
}
