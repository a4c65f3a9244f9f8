package decide

import (
	"crypto/sha256"
	"errors"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// An entry is a code that the call enters into a challenge: a deposit, which proves
// nothing about the call that brings it.
type entry struct {
	name   string // of the field
	code   string
	sender evidence.Budget
	into   string // the challenge that expected it, "" for none
	burnt  bool   // of the sender's budget
	again  bool   // an evaluation under the same key was shown it, and spent it
}

// showEntry lines up the code that a call enters, nil where it enters none.
func showEntry(c call.Call) *entry {
	for i, s := range c.Route.Secrets {
		if s.Evidence == evidence.ChallengeCode {
			sender := evidence.Budget{Name: authzstore.SenderBudget(s.Evidence, c.Identity), Allowance: evidence.SenderAllowance}
			return &entry{name: s.Name, code: c.Secrets[i], sender: sender}
		}
	}
	return nil
}

// ofEntry is the fingerprint of a call that enters a code: one that enters another code
// is another call, so that under one key nobody takes the one for the other.
func ofEntry(fingerprint, mac []byte) []byte {
	sum := sha256.Sum256(append(fingerprint, mac...))
	return sum[:]
}

// enterRefs declares what an entry changes that the challenge expects, and everything
// that locks with it. Any other changes nothing but the sender's budget.
func enterRefs(_ *check, f Facts) []kv.Ref {
	if !f.expected {
		return nil
	}
	return authzstore.ChallengeRefs(*f.Challenge)
}

// enterCode puts a code into the set that is being entered, and has the set judged once
// it is complete. The answer is the same in every case.
func enterCode(ck *check, tx *authzstore.Tx, f Facts) error {
	c := f.Challenge
	if !f.expected || c.State != authzstore.ChallengeOpen {
		return ck.enterInVain(tx)
	}
	v, err := tx.Verification(c.Account)
	switch {
	case err != nil:
		return err
	case v.Locked():
		return ck.enterInVain(tx)
	}
	entered, err := ck.cfg.Challenges.Match(*c, ck.entry.code)
	if err != nil {
		return err
	}
	entered.ArrivedNanos = ck.arrived.UnixNano()
	ck.entry.into = c.ID
	withIt, err := tx.AddEntry(c.ID, entered)
	if err != nil || !evidence.Complete(withIt) {
		return err
	}
	if evidence.Judge(withIt) {
		return tx.SatisfyChallenge(c.ID, "")
	}
	return ck.failSet(tx, f, withIt)
}

// enterInVain burns the sender's own budget for an entry that no challenge expects, and
// does the work of comparing. Past the budget nothing is looked at.
func (ck *check) enterInVain(tx *authzstore.Tx) error {
	left, err := tx.AttemptsLeft(ck.entry.sender.Name, ck.entry.sender.Allowance)
	if err != nil {
		return err
	}
	if left > 0 {
		ck.cfg.Challenges.MatchNobody(ck.entry.code)
	}
	return ck.burnEntry(tx)
}

func (ck *check) burnEntry(tx *authzstore.Tx) error {
	ck.entry.burnt = true
	return tx.BurnAttempt(ck.entry.sender.Name, ck.entry.sender.Allowance)
}

// failSet burns an attempt of a challenge whose set was wrong, and tells the people when
// that locks the challenge, when it locks their account's codes, and before: when one
// more would (Delegated Regulation (EU) 2018/389, article 4(4)).
func (ck *check) failSet(tx *authzstore.Tx, f Facts, c authzstore.Challenge) error {
	locked, err := tx.FailChallenge(c.ID)
	if err != nil {
		return err
	}
	if locked {
		if err := ck.tellOfLock(tx, f, c, "challenge_locked", asked(c)); err != nil {
			return err
		}
	}
	v, err := tx.Verification(c.Account)
	switch {
	case err != nil:
		return err
	case v.FailedInARow == authzstore.MaxFailedInARow-1:
		return ck.tellOfLock(tx, f, c, "verification_at_risk", f.told)
	case v.Locked():
		return ck.tellOfLock(tx, f, c, "verification_locked", f.told)
	}
	return nil
}

// tellOfLock announces a lock, or that one is near. A terminal that got as many messages
// as it may is left out: who enters a code is not to learn of it.
func (ck *check) tellOfLock(tx *authzstore.Tx, f Facts, c authzstore.Challenge, kind string, terminals []string) error {
	for _, id := range terminals {
		t := f.devices[id]
		if t.State == authzstore.TerminalUnbound || t.Account != c.Account {
			continue
		}
		err := tx.Send(authzstore.Message{
			ID: authzstore.NewID("msg"), Kind: kind, Terminal: t.ID, Account: t.Account, TerminalBoundAtNanos: t.BoundAtNanos,
			AmountMinor: c.AmountMinor, Currency: c.Currency, Payee: c.Payee, Requester: c.Initiator,
			Challenge: c.ID, Intent: c.Intent, ExpiresAtNanos: tx.Now() + messageLifeNanos,
		})
		if err != nil && !errors.Is(err, authzstore.ErrTooManyMessages) {
			return err
		}
	}
	return nil
}

// nothing: whatever an entry was for, the answer is the same.
func nothing(*check, Facts, effected, *Execution) {}

func always(*check, Facts) bool { return true }
