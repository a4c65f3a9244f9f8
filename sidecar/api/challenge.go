package api

import (
	"context"

	"github.com/countersign/countersign/authzstore"
)

// A Challenge is a challenge as operators see it: without its codes, what they must be
// like, and what was entered.
type Challenge struct {
	ID             string                    `json:"id"`
	Kind           authzstore.ChallengeKind  `json:"kind" enum:"code,approval"`
	State          authzstore.ChallengeState `json:"state" enum:"open,satisfied,consumed,locked,rejected,replaced,expired" doc:"replaced: also where a terminal is not bound as it was"`
	Account        string                    `json:"account"`
	Initiator      authzstore.Identity       `json:"initiator" doc:"who made the call that it is for"`
	System         string                    `json:"system"`
	Operation      string                    `json:"operation"`
	Intent         string                    `json:"intent,omitempty"`
	Terminals      []string                  `json:"terminals" doc:"who is asked"`
	Expects        authzstore.Expects        `json:"expects" enum:"initiator,terminals" doc:"whose answers count"`
	AmountMinor    int64                     `json:"amount_minor,omitempty"`
	Currency       string                    `json:"currency,omitempty"`
	Payee          string                    `json:"payee,omitempty"`
	MaxAttempts    int64                     `json:"max_attempts,omitempty" doc:"wrong sets of codes that lock it"`
	Burnt          int64                     `json:"burnt,omitempty" doc:"wrong sets of codes so far"`
	IssuedAtNanos  int64                     `json:"issued_at_ns"`
	ExpiresAtNanos int64                     `json:"expires_at_ns"`
	DecidedAtNanos int64                     `json:"decided_at_ns,omitempty" doc:"when it was open no more; absent: it is"`
	DecidedBy      string                    `json:"decided_by,omitempty" doc:"the terminal that approved or rejected"`
}

func showChallenge(r authzstore.Reader, c authzstore.Challenge, nowNanos int64) (Challenge, error) {
	state, err := r.StandingAt(c, nowNanos)
	return Challenge{
		ID: c.ID, Kind: c.Kind, State: state, Account: c.Account, Initiator: c.Initiator, System: c.System, Operation: c.Operation,
		Intent: c.Intent, Terminals: terminalsOf(c), Expects: c.Expects,
		AmountMinor: c.AmountMinor, Currency: c.Currency, Payee: c.Payee, MaxAttempts: c.MaxAttempts, Burnt: c.Burnt,
		IssuedAtNanos: c.IssuedAtNanos, ExpiresAtNanos: c.ExpiresAtNanos, DecidedAtNanos: c.DecidedAtNanos, DecidedBy: c.DecidedBy,
	}, err
}

func terminalsOf(c authzstore.Challenge) []string {
	ids := []string{}
	for _, t := range c.Terminals {
		ids = append(ids, t.Terminal)
	}
	return ids
}

// A ChallengePath is in the path of what is about one.
type ChallengePath struct {
	ID string `path:"id" pattern:"^chl_[A-Za-z0-9_-]+$" patternDescription:"chl_ and letters, digits, _ or -" maxLength:"64"`
}

type challengeOutput struct{ Body Challenge }

func (c *Control) registerChallenges() {
	register(c, "get-challenge", func(ctx context.Context, in *ChallengePath) (*challengeOutput, error) {
		ch, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Challenge, bool, error) { return r.Challenge(in.ID) }, showChallenge)
		return &challengeOutput{ch}, err
	})
}
