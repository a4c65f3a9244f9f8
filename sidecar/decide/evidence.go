package decide

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// Evidence is one kind of proof that a secret field can be, such as a code.
type Evidence interface {
	// Refs declares what Check reads, with [authzstore.UseRef] of every thing and
	// [authzstore.AttemptsRef] of every budget that it may name in a Finding.
	Refs(c call.Call, secret string) []kv.Ref
	// Check finds out what the secret proves about the call. It writes nothing,
	// compares in constant time, and does the same work whether or not there is
	// anything to compare with.
	Check(tx *authzstore.Tx, c call.Call, secret string) (Finding, error)
}

// A Finding is what a secret proves.
type Finding struct {
	// Matched: it is right, and meant for this very call.
	Matched bool
	// Thing is the ID of what a match uses up. It is used once.
	Thing string
	// UsedWhenDenied: what matched is used up by a denial too.
	UsedWhenDenied bool
	// Budget is what a wrong answer burns an attempt of, where the thing expects
	// this sender; empty where it does not, and then it is the sender's own.
	Budget    string
	Allowance authzstore.Allowance
	// Facts are what the policy is told beside `matched`.
	Facts []policy.Member
}

// SenderAllowance is what each sender has for answers that the thing answered did
// not expect of it, for each kind of evidence.
var SenderAllowance = authzstore.Allowance{Max: 20, WindowNanos: 3600 * 1e9}

// shown is a secret field of a call, with what came of it.
type shown struct {
	name   string
	kind   Evidence
	kindID string
	secret string
	sender string // budget of the sender's own

	finding Finding
	again   bool // an evaluation under the same key was shown it, and spent it
}

// show lines up the secrets that a call has.
func (d *Decider) show(c call.Call) ([]*shown, error) {
	var evidence []*shown
	for i, s := range c.Route.Secrets {
		kind, known := d.cfg.Evidence[s.Evidence]
		switch {
		case !known:
			return nil, fmt.Errorf("%w: evidence %q", errNotKnown, s.Evidence)
		case c.Secrets[i] != "":
			evidence = append(evidence, &shown{
				name: s.Name, kind: kind, kindID: s.Evidence, secret: c.Secrets[i],
				sender: authzstore.SenderBudget(s.Evidence, c.Identity),
			})
		}
	}
	return evidence, nil
}

// mac tells evidence from other evidence without keeping it; empty for none.
func (d *Decider) mac(evidence []*shown) []byte {
	if len(evidence) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, d.cfg.Keys.Evidence)
	for _, e := range evidence {
		for _, part := range []string{e.name, e.secret} {
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			mac.Write([]byte(part))
		}
	}
	return mac.Sum(nil)
}

// budget is whose attempt the evidence burns.
func (e *shown) budget() (string, authzstore.Allowance) {
	if e.finding.Budget == "" {
		return e.sender, SenderAllowance
	}
	return e.finding.Budget, e.finding.Allowance
}

// checkOne has a piece of evidence checked. One whose check panics proves nothing, and
// costs its sender.
func (ck *check) checkOne(tx *authzstore.Tx, e *shown) (err error) {
	e.finding, e.again = Finding{}, spentBefore(ck.known, ck.mac)
	defer func() {
		if p := recover(); p != nil {
			err = ck.panicked(ck.id, p)
		}
	}()
	e.finding, err = e.kind.Check(tx, ck.call, e.secret)
	return err
}

// findOut has every piece of evidence checked. What was used up before, what is
// shown as two pieces of evidence at once, and what comes when no attempt is left,
// does not match: nobody is told which. With errPanic all of that is known too.
func (ck *check) findOut(tx *authzstore.Tx) error {
	things, asked := map[string]bool{}, map[string]int64{} // asked: attempts, by budget
	ck.lockedOut = false
	var panicked error
	for _, e := range ck.evidence {
		switch err := ck.checkOne(tx, e); {
		case errors.Is(err, errPanic):
			panicked = err
		case err != nil:
			return err
		}
		budget, allowance := e.budget()
		left, err := tx.AttemptsLeft(budget, allowance)
		if err != nil {
			return err
		}
		lockedOut := left <= asked[budget] && !e.again
		asked[budget]++
		ck.lockedOut = ck.lockedOut || lockedOut
		if lockedOut || things[e.finding.Thing] {
			e.finding.Matched = false
		}
		things[e.finding.Thing] = true
		if !e.finding.Matched {
			continue
		}
		use, used, err := tx.Use(e.finding.Thing)
		if err != nil {
			return err
		}
		if used && !(e.again && use.RecordID == ck.known.SpentBy) {
			e.finding.Matched = false
		}
	}
	return panicked
}

// spend has the evidence pay for the answer: an allow uses up what matched, every
// other answer burns an attempt; and what was spent before is not spent again.
func (ck *check) spend(tx *authzstore.Tx, allowed bool) error {
	for _, e := range ck.evidence {
		if e.finding.Matched && (allowed || e.finding.UsedWhenDenied) {
			_, used, err := tx.Use(e.finding.Thing)
			if err == nil && !used {
				err = tx.UseOnce(e.finding.Thing)
			}
			if err != nil {
				return err
			}
		}
		if allowed || e.again {
			continue
		}
		if err := tx.BurnAttempt(e.budget()); err != nil {
			return err
		}
	}
	return nil
}
