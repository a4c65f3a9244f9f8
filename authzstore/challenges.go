package authzstore

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// ChallengeRefs declares what the setters of a challenge touch, c as it will be
// issued or as a snapshot has it: the challenge, its initiator, the verification of
// its account, and the terminals that it asks.
func ChallengeRefs(c Challenge) []kv.Ref {
	refs := []kv.Ref{
		ChallengeRef(c.ID, kv.Exclusive),
		InitiatorRef(c.Account, c.Initiator, kv.Exclusive),
		VerificationRef(c.Account, kv.Exclusive),
	}
	for _, t := range c.Terminals {
		refs = append(refs, TerminalRef(t.Terminal, kv.Shared))
	}
	return refs
}

// terminalsStand tells whether every terminal that a challenge asks is bound as it
// was at issue.
func (r Reader) terminalsStand(c Challenge) (bool, error) {
	for _, asked := range c.Terminals {
		t, ok, err := r.Terminal(asked.Terminal)
		if err != nil || !ok || !c.StillAsks(t) {
			return false, err
		}
	}
	return true, nil
}

// StandingAt is the state of a challenge that counts at a time: replaced, where it is
// open or satisfied and a terminal that it asks is not bound as it was. In a
// transaction the terminals are declared ([ChallengeRefs]).
func (r Reader) StandingAt(c Challenge, nowNanos int64) (ChallengeState, error) {
	state := c.StateAt(nowNanos)
	if state != ChallengeOpen && state != ChallengeSatisfied {
		return state, nil
	}
	stand, err := r.terminalsStand(c)
	if err == nil && !stand {
		state = ChallengeReplaced
	}
	return state, err
}

// IssueChallenge issues a challenge under c.ID, which is new, and counts it as a start
// of its initiator. Its state, what is counted, its times but the expiry, and when its
// terminals were bound are filled in. ErrTooManyStarts; ErrUnknownID for a terminal that there is not; ErrInvalid, also for an expiry
// that is past; a *StateError for a terminal that is not bound to the account, and
// for codes while the account's verification is locked.
func (tx *Tx) IssueChallenge(c Challenge) error {
	if _, exists, err := tx.Challenge(c.ID); err != nil || exists {
		return orElse(err, c.bad("exists"))
	}
	if c.Kind == ChallengeCode {
		if err := tx.verificationOpen(c.Account); err != nil {
			return err
		}
	}
	c.Terminals = slices.Clone(c.Terminals)
	for i, asked := range c.Terminals {
		t, ok, err := tx.Terminal(asked.Terminal)
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%w: terminal %s", ErrUnknownID, asked.Terminal)
		case t.Account != c.Account:
			return &StateError{"terminal", "another account's"}
		case t.State != TerminalBound:
			return &StateError{"terminal", string(t.State)}
		}
		c.Terminals[i].BoundAtNanos = t.BoundAtNanos
	}
	c.State, c.IssuedAtNanos, c.Burnt, c.Entries, c.DecidedAtNanos, c.DecidedBy = ChallengeOpen, tx.Now(), 0, nil, 0, ""
	if err := tx.putChallenge(c); err != nil {
		return err
	}
	return tx.noteStart(c)
}

// AddEntry adds an entry to the set that is being entered, and returns the
// challenge with it. It arrived no earlier than the entry before, whatever the
// clock says; 0: now. ErrUnknownID; ErrInvalid, also where the set is whole; a
// *StateError where the challenge is not open, and while the account's verification
// is locked.
func (tx *Tx) AddEntry(id string, e Entry) (Challenge, error) {
	c, err := tx.challengeIn(id, ChallengeOpen)
	if err != nil {
		return Challenge{}, err
	}
	if err := tx.verificationOpen(c.Account); err != nil {
		return Challenge{}, err
	}
	if e.ArrivedNanos == 0 {
		e.ArrivedNanos = tx.Now()
	}
	e.ArrivedNanos = max(e.ArrivedNanos, c.IssuedAtNanos)
	if n := len(c.Entries); n > 0 {
		e.ArrivedNanos = max(e.ArrivedNanos, c.Entries[n-1].ArrivedNanos)
	}
	c.Entries = append(c.Entries, e)
	return c, tx.putChallenge(c)
}

// SatisfyChallenge says that the right answer was given: by a terminal that is
// asked, for an approval, and by a whole set of entries (byTerminal is empty) for
// codes, which ends the account's row of failed sets. Either ends the initiator's row of
// rejections. ErrUnknownID; ErrInvalid for another terminal, or a set that is not whole or not right; a
// *StateError where the challenge is not open or a terminal was bound anew.
func (tx *Tx) SatisfyChallenge(id, byTerminal string) error {
	c, err := tx.challengeIn(id, ChallengeOpen)
	if err != nil {
		return err
	}
	if err := tx.stands(c); err != nil {
		return err
	}
	c.State, c.DecidedAtNanos, c.DecidedBy = ChallengeSatisfied, tx.Now(), byTerminal
	if err := tx.putChallenge(c); err != nil {
		return err
	}
	if c.Kind == ChallengeCode {
		if err := tx.noteVerified(c.Account); err != nil {
			return err
		}
	}
	return tx.noteApproved(c)
}

// FailChallenge says that a whole set of entries was wrong: it burns one attempt,
// which the account's verification counts, and the entries go. The last attempt locks
// the challenge, and so does the set that locks the account's codes. ErrUnknownID;
// ErrInvalid for an approval, and for a set that is not whole; a *StateError where the
// challenge is not open.
func (tx *Tx) FailChallenge(id string) (locked bool, err error) {
	c, err := tx.challengeIn(id, ChallengeOpen)
	switch {
	case err != nil:
		return false, err
	case c.Kind != ChallengeCode || len(c.Entries) != c.EntriesWanted():
		return false, c.bad("has no whole set that could be wrong")
	}
	c.Burnt++
	c.Entries = nil
	locked, err = tx.noteFailed(c.Account)
	switch {
	case err != nil:
		return false, err
	case !locked && c.Burnt < c.MaxAttempts:
		return false, tx.putChallenge(c)
	}
	return true, tx.endChallenge(c, ChallengeLocked)
}

// RejectChallenge says that a terminal that is asked does not want the call, which
// counts in the initiator's row of rejections. ErrUnknownID; ErrInvalid for another terminal; a *StateError where the challenge
// is not open.
func (tx *Tx) RejectChallenge(id, byTerminal string) error {
	c, err := tx.challengeIn(id, ChallengeOpen)
	if err != nil {
		return err
	}
	c.DecidedBy = byTerminal
	if err := tx.endChallenge(c, ChallengeRejected); err != nil {
		return err
	}
	return tx.noteRejected(c)
}

// ReplaceChallenge ends a challenge that is open or satisfied, expired or not,
// because another takes its place. ErrUnknownID or a *StateError.
func (tx *Tx) ReplaceChallenge(id string) error {
	c, ok, err := tx.Challenge(id)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: challenge %s", ErrUnknownID, id)
	case !c.Live():
		return &StateError{"challenge", string(c.State)}
	}
	return tx.endChallenge(c, ChallengeReplaced)
}

// ConsumeChallenge uses a satisfied challenge up, for good. ErrUnknownID; a
// *StateError where it is not satisfied, or a terminal was bound anew since.
func (tx *Tx) ConsumeChallenge(id string) error {
	c, err := tx.challengeIn(id, ChallengeSatisfied)
	if err != nil {
		return err
	}
	if err := tx.stands(c); err != nil {
		return err
	}
	return tx.endChallenge(c, ChallengeConsumed)
}

// stands returns a *StateError where a terminal of the challenge is not bound as it
// was at issue: such a challenge is as good as replaced.
func (tx *Tx) stands(c Challenge) error {
	stands, err := tx.terminalsStand(c)
	if err == nil && !stands {
		err = &StateError{"challenge", string(ChallengeReplaced)}
	}
	return err
}

// challengeIn returns a challenge that is in a state now.
func (tx *Tx) challengeIn(id string, state ChallengeState) (Challenge, error) {
	c, ok, err := tx.Challenge(id)
	switch {
	case err != nil:
		return Challenge{}, err
	case !ok:
		return Challenge{}, fmt.Errorf("%w: challenge %s", ErrUnknownID, id)
	case c.StateAt(tx.Now()) != state:
		return Challenge{}, &StateError{"challenge", string(c.StateAt(tx.Now()))}
	}
	return c, nil
}

// endChallenge writes a final state, and tells the initiator.
func (tx *Tx) endChallenge(c Challenge, state ChallengeState) error {
	if c.State == ChallengeOpen {
		c.DecidedAtNanos = tx.Now()
	}
	c.State = state
	if err := tx.putChallenge(c); err != nil {
		return err
	}
	return tx.noteEnd(c)
}

func (tx *Tx) putChallenge(c Challenge) error {
	return put(tx, challengePrefix+c.ID, challengeVersion, c)
}
