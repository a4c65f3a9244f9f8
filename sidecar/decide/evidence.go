package decide

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// shown is a secret field of a call, with what came of it.
type shown struct {
	name   string
	kind   evidence.Kind
	kindID string
	secret string
	sender evidence.Budget // of the sender's own

	finding evidence.Finding
	carried bool              // it matched in an evaluation under the same key, and was used up
	lead    string            // the grant that it leads to, "" for none
	again   bool              // an evaluation under the same key was shown it, and spent it
	burns   []evidence.Budget // of each an attempt is burnt, unless the call is allowed
}

// show lines up the secrets that a call has.
func (d *Decider) show(c call.Call) ([]*shown, error) {
	var all []*shown
	for i, s := range c.Route.Secrets {
		kind, known := d.cfg.Evidence[s.Evidence]
		switch {
		case s.Evidence == evidence.ChallengeCode:
			// is entered (builtin_entry.go), and proves nothing
		case !known:
			return nil, fmt.Errorf("%w: evidence %q", errNotKnown, s.Evidence)
		case c.Secrets[i] != "":
			all = append(all, &shown{
				name: s.Name, kind: kind, kindID: s.Evidence, secret: c.Secrets[i],
				sender: evidence.Budget{Name: authzstore.SenderBudget(s.Evidence, c.Identity), Allowance: evidence.SenderAllowance},
			})
		}
	}
	return all, nil
}

// readLeads finds out what each piece of evidence leads to.
func (ck *check) readLeads(r authzstore.Reader) (err error) {
	for _, e := range ck.evidence {
		if e.lead, err = e.kind.Lead(r, ck.call, e.secret); err != nil {
			return err
		}
	}
	return nil
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

// evidenceRefs declares what checking and spending the call's secrets touches.
func (ck *check) evidenceRefs(f Facts) []kv.Ref {
	var refs []kv.Ref
	if ck.entry != nil {
		refs = append(refs, authzstore.AttemptsRef(ck.entry.sender.Name))
	}
	about := ck.shownFor(f)
	for _, e := range ck.evidence {
		refs = append(refs, authzstore.AttemptsRef(e.sender.Name))
		refs = append(refs, e.kind.Refs(about, e.secret)...)
	}
	if f.Grant != nil && f.Grant.Handle != "" && len(ck.evidence) > 0 {
		refs = append(refs, authzstore.CredentialRef(f.Grant.Handle, kv.Exclusive)) // perhaps a code of it is used for the first time
	}
	return refs
}

// mac tells evidence from other evidence without keeping it; empty for none.
func (d *Decider) mac(all []*shown, entered *entry) []byte {
	var parts []string
	for _, e := range all {
		parts = append(parts, e.name, e.secret)
	}
	if entered != nil {
		parts = append(parts, entered.name, entered.code)
	}
	if len(parts) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, d.cfg.Keys.Evidence)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// shownFor is what evidence is shown for.
func (ck *check) shownFor(f Facts) evidence.About {
	about := evidence.About{Call: ck.call, Terminals: f.accountTerminals}
	if f.Account != nil {
		about.Account = f.Account.ID
	}
	return about
}

// budgets are whose attempts the evidence burns.
func (e *shown) budgets() []evidence.Budget {
	if len(e.finding.Budgets) == 0 {
		return []evidence.Budget{e.sender}
	}
	return e.finding.Budgets
}

// checkOne has a piece of evidence checked. One whose check panics proves nothing, and
// costs its sender.
func (ck *check) checkOne(tx *authzstore.Tx, f Facts, e *shown) (err error) {
	e.finding, e.again, e.burns, e.carried = evidence.Finding{}, f.earlier.spent(ck.mac), nil, false
	defer func() {
		if p := recover(); p != nil {
			err = ck.panicked(ck.id, p)
		}
	}()
	e.finding, err = e.kind.Check(tx, ck.shownFor(f), e.secret)
	return err
}

// findOut has every piece of evidence checked. What was used up before, what is
// shown as two pieces of evidence at once, what leads to another grant than the call,
// and what comes when no attempt is left, does not match: nobody is told which. With
// errPanic all of that is known too.
func (ck *check) findOut(tx *authzstore.Tx, f Facts) error {
	things, asked := map[string]bool{}, map[string]int64{} // asked: attempts, by budget
	ck.lockedOut = false
	if ck.entry != nil {
		ck.entry.into, ck.entry.burnt = "", false // of a transaction that was given up
		ck.entry.again = f.earlier.spent(ck.mac)
	}
	matchedBefore := f.earlier.matched(ck.mac)
	var panicked error
	for _, e := range ck.evidence {
		switch err := ck.checkOne(tx, f, e); {
		case errors.Is(err, errPanic):
			panicked = err
		case err != nil:
			return err
		}
		lockedOut, err := e.askBudgets(tx, asked)
		if err != nil {
			return err
		}
		ck.lockedOut = ck.lockedOut || lockedOut
		misled := e.lead != "" && (f.Grant == nil || e.lead != f.Grant.ID)
		if matchedBefore && !misled {
			e.carried, e.finding.Matched = true, true
			continue
		}
		if lockedOut || misled || e.finding.Thing != "" && things[e.finding.Thing] {
			e.doesNotMatch()
		}
		things[e.finding.Thing] = true
		if !e.finding.Matched || e.finding.Thing == "" {
			continue
		}
		use, used, err := tx.Use(e.finding.Thing)
		if err != nil {
			return err
		}
		if used && use.Step >= e.finding.Step && !(e.again && use.Step == e.finding.Step && use.RecordID == f.earlier.known.SpentBy) {
			e.doesNotMatch()
		}
	}
	return panicked
}

// matched tells whether the same evidence matched when the key was asked for a
// challenge, and was used up then: it may have aged since. Nothing passes by that alone,
// for the challenge is to be satisfied ([check.mayPass]).
func (e *earlier) matched(mac []byte) bool {
	return e.spent(mac) && e.known.EvidenceMatched && e.known.State == authzstore.KeyedPending && e.known.Challenge != ""
}

func (ck *check) allMatched() bool {
	return !slices.ContainsFunc(ck.evidence, func(e *shown) bool { return !e.finding.Matched })
}

// doesNotMatch takes a match back. What was found out about it goes too: a policy that
// told how old a used code is would tell a guesser that it was right.
func (e *shown) doesNotMatch() { e.finding.Matched, e.finding.Facts = false, nil }

// askBudgets asks each budget for an attempt, up to the first that has none left. asked
// are the attempts that the call's other evidence asked for.
func (e *shown) askBudgets(tx *authzstore.Tx, asked map[string]int64) (lockedOut bool, err error) {
	for _, b := range e.budgets() {
		left, err := tx.AttemptsLeft(b.Name, b.Allowance)
		if err != nil {
			return false, err
		}
		lockedOut = left <= asked[b.Name] && !e.again
		asked[b.Name]++
		e.burns = append(e.burns, b)
		if lockedOut {
			return true, nil
		}
	}
	return false, nil
}

// spend has the evidence pay for the answer: an allow uses up what matched, and so does a
// step-up; every other answer burns attempts, unless what matched is used up by a denial
// too, or the call was not decided for want of time or of the store: else an overload
// would lock out who brings the right code. What was spent before is not spent again.
func (ck *check) spend(tx *authzstore.Tx, f Facts, o Outcome) error {
	allowed := o == Allow
	if ck.entry != nil && !allowed && !ck.entry.again {
		if err := ck.burnEntry(tx); err != nil {
			return err
		}
	}
	for _, e := range ck.evidence {
		if e.carried {
			e.burns = nil
			continue
		}
		if e.finding.Matched && (allowed || o == StepUp || e.finding.UsedWhenDenied) {
			if err := e.useUp(tx, f); err != nil {
				return err
			}
			e.burns = nil
		}
		if allowed || e.again || e.finding.Matched && o == Unavailable {
			e.burns = nil
		}
		for _, b := range e.burns {
			if err := tx.BurnAttempt(b.Name, b.Allowance); err != nil {
				return err
			}
		}
		if len(e.burns) == 0 || e.finding.Failures == "" {
			continue
		}
		if err := tx.Count(e.finding.Failures, 1); err != nil {
			return err
		}
	}
	return nil
}

// useUp uses up what the evidence matched, unless it was by an earlier evaluation of
// the same, and notes that the credential of the grant that it leads to is in use.
func (e *shown) useUp(tx *authzstore.Tx, f Facts) error {
	if e.finding.Thing == "" {
		return nil
	}
	use, used, err := tx.Use(e.finding.Thing)
	switch {
	case err != nil:
		return err
	case used && use.Step == e.finding.Step: // findOut has seen that it was this
	case e.finding.Step == 0:
		err = tx.UseOnce(e.finding.Thing)
	default:
		err = tx.UseStep(e.finding.Thing, e.finding.Step)
	}
	if err == nil && e.lead != "" {
		err = tx.MarkFirstUsed(f.Grant.Handle)
	}
	return err
}
