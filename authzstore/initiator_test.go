package authzstore

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestStarts: thirty-two within an hour, each counted from its own time.
func TestStarts(t *testing.T) {
	d := askedDesk(t)
	start := d.now
	for n := range MaxStarts {
		d.mustIssue(t, d.approval(fmt.Sprintf("chl_%d", n)))
		d.now++
	}
	wantError(t, d.issue(d.approval("chl_more")), ErrTooManyStarts)
	d.now = start + hour - 1
	wantError(t, d.issue(d.approval("chl_more")), ErrTooManyStarts)
	other := d.approval("chl_other")
	other.Initiator = ben
	d.mustIssue(t, other)
	d.now = start + hour
	d.mustIssue(t, d.approval("chl_more"))
	wantError(t, d.issue(d.approval("chl_last")), ErrTooManyStarts)
	d.now++
	d.mustIssue(t, d.approval("chl_last"))
	if c := d.challenge(t, "chl_none"); c.ID != "" {
		t.Errorf("%+v", c)
	}
	i := d.initiator(t, agent)
	if len(i.StartsNanos) != MaxStarts || i.StartsNanos[0] != start+2 || i.StartsNanos[MaxStarts-1] != d.now {
		t.Errorf("starts %v", i.StartsNanos)
	}
	if i := d.initiator(t, ben); len(i.StartsNanos) != 1 || i.Identity != ben || i.Account != "acc_anna" {
		t.Errorf("Ben's are %+v", i)
	}
	d.clean(t)
}

// TestOpenChallenges: the latest eight are remembered, none that has expired before
// one that has not.
func TestOpenChallenges(t *testing.T) {
	d := askedDesk(t)
	open := func() (ids string) {
		for _, o := range d.initiator(t, agent).Open {
			ids += o.Challenge[4:] + " "
		}
		return ids
	}
	issue := func(id string, life int64) {
		t.Helper()
		c := d.approval("chl_" + id)
		c.Fingerprint = bytes.Repeat([]byte(id), 32)
		c.ExpiresAtNanos = d.now + life
		d.mustIssue(t, c)
	}
	issue("a", hour)
	issue("b", 5)
	for _, id := range []string{"c", "d", "e", "f", "g"} {
		issue(id, hour)
	}
	d.now += 6
	issue("h", hour)
	if got := open(); got != "a c d e f g h " {
		t.Errorf("after the expired one: %s", got)
	}
	issue("i", hour)
	issue("j", hour)
	if got := open(); got != "c d e f g h i j " {
		t.Errorf("after ten: %s", got)
	}
	d.clean(t)
	for id, end := range map[string]func(*Tx) error{
		"chl_d": func(tx *Tx) error { return tx.ReplaceChallenge("chl_d") },
		"chl_g": func(tx *Tx) error { return tx.RejectChallenge("chl_g", "trm_1") },
		"chl_a": func(tx *Tx) error { return tx.RejectChallenge("chl_a", "trm_1") }, // forgotten, and works
		"chl_e": func(tx *Tx) error { return tx.noteEnd(Challenge{ID: "chl_x", Account: "acc_anna", Initiator: agent}) },
	} {
		if err := d.set(t, id, end); err != nil {
			t.Error(err)
		}
	}
	if got := open(); got != "c e f h i j " {
		t.Errorf("after the ends: %s", got)
	}
	if o := d.initiator(t, agent).Open[0]; !bytes.Equal(o.Fingerprint, bytes.Repeat([]byte("c"), 32)) || o.ExpiresAtNanos != d.now-6+hour {
		t.Errorf("%+v", o)
	}
	d.clean(t)
}

// TestStartsAreTheirOwn: a start is of the challenge that was issued, once, and of
// nobody and no account else.
func TestStartsAreTheirOwn(t *testing.T) {
	d := askedDesk(t)
	c := d.mustIssue(t, d.approval("chl_1"))
	wantError(t, d.issue(d.approval("chl_1")), ErrInvalid) // twice
	i := d.initiator(t, agent)
	if want := []OpenChallenge{{c.Fingerprint, "chl_1", c.ExpiresAtNanos}}; !reflect.DeepEqual(i.Open, want) || !slices.Equal(i.StartsNanos, []int64{c.IssuedAtNanos}) {
		t.Errorf("the initiator is %+v, want open %+v", i, want)
	}
	d.read(t, func(s Snapshot) error {
		other, err := s.Initiator("acc_ben", agent)
		if len(other.StartsNanos)+len(other.Open) > 0 {
			t.Errorf("at another account %+v", other)
		}
		return err
	})
	if other := d.initiator(t, ben); len(other.StartsNanos)+len(other.Open) > 0 {
		t.Errorf("another initiator %+v", other)
	}
	d.clean(t)
}

func TestRejectedInARow(t *testing.T) {
	d := askedDesk(t)
	asked := Challenge{Account: "acc_anna", Initiator: agent}
	note := func(fn func(*Tx, Challenge) error) {
		t.Helper()
		d.now++
		d.must(t, []kv.Ref{InitiatorRef("acc_anna", agent, kv.Exclusive)}, func(tx *Tx) error { return fn(tx, asked) })
	}
	note((*Tx).noteApproved)
	if i := d.initiator(t, agent); i.RejectedInARow != 0 || i.RejectedAtNanos != 0 {
		t.Errorf("at first %+v", i)
	}
	for n := int64(1); n <= 4; n++ {
		note((*Tx).noteRejected)
		if i := d.initiator(t, agent); i.RejectedInARow != n || i.RejectedAtNanos != d.now {
			t.Errorf("after %d: %+v", n, i)
		}
	}
	at := d.now
	note((*Tx).noteApproved)
	if i := d.initiator(t, agent); i.RejectedInARow != 0 || i.RejectedAtNanos != at {
		t.Errorf("after an approval: %+v", i)
	}
	d.clean(t)
}

// fail enters a wrong set into a challenge, which it issues first where there is none.
func (d *desk) fail(t testing.TB, id string) {
	t.Helper()
	if d.challenge(t, id).ID == "" {
		d.mustIssue(t, d.codes(id))
	}
	if err := d.enter(t, id, -1, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.set(t, id, func(tx *Tx) error { _, err := tx.FailChallenge(id); return err }); err != nil {
		t.Fatal(err)
	}
}

// TestVerificationLocks: five sets that fail in a row, of whatever challenges, lock the
// account's codes, also where no challenge comes to its last attempt; and nothing but an
// unlocking opens them. Approvals go on.
func TestVerificationLocks(t *testing.T) {
	d := askedDesk(t)
	ref := []kv.Ref{VerificationRef("acc_anna", kv.Exclusive)}
	unlock := func() error { return d.do(ref, func(tx *Tx) error { return tx.UnlockVerification("acc_anna") }) }
	wantError(t, unlock(), ErrState)
	row := func(note string, want int64) {
		t.Helper()
		if v := d.verification(t); v.FailedInARow != want || v.Locked() != (want >= 5) {
			t.Errorf("%s: %+v, want %d", note, v, want)
		}
	}
	fail := func(id string, want int64) {
		t.Helper()
		d.fail(t, id)
		row("a wrong set into "+id, want)
	}
	into := func(kind ChallengeKind, state ChallengeState, id string, want int64) {
		t.Helper()
		d.into(t, kind, state, id)
		row(id, want)
	}
	fail("chl_a", 1)
	fail("chl_a", 2)
	into(ChallengeCode, ChallengeReplaced, "chl_replaced", 2)
	into(ChallengeCode, ChallengeRejected, "chl_rejected", 2)
	into(ChallengeApproval, ChallengeSatisfied, "chl_approved", 2)
	into(ChallengeCode, ChallengeLocked, "chl_locked", 5)
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	row("unlocked", 0)
	fail("chl_a", 1)
	into(ChallengeCode, ChallengeSatisfied, "chl_right", 0)
	for n, id := range []string{"chl_1", "chl_1", "chl_2", "chl_2"} { // each abandoned before its last attempt
		fail(id, int64(n)+1)
	}
	into(ChallengeCode, ChallengeOpen, "chl_open", 4)
	fail("chl_3", 5)
	c := d.challenge(t, "chl_3")
	if c.State != ChallengeLocked || c.Burnt != 1 || c.AttemptsLeft() != 0 {
		t.Errorf("the challenge of the fifth is %+v", c)
	}
	if c := d.challenge(t, "chl_2"); c.State != ChallengeOpen || c.AttemptsLeft() != 1 {
		t.Errorf("the one before is %+v", c)
	}
	if v := d.verification(t); v.LockedAtNanos != d.now {
		t.Errorf("%+v", v)
	}
	wantError(t, d.issue(d.codes("chl_more")), ErrState)
	wantError(t, d.enter(t, "chl_open", 0), ErrState)
	d.mustIssue(t, d.approval("chl_b"))
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	wantError(t, unlock(), ErrState)
	if err := d.enter(t, "chl_open", 0); err != nil {
		t.Error(err)
	}
	fail("chl_more", 1)
	d.clean(t)
}

// TestVerificationStaysLocked: what was entered before counts afterwards, and opens
// nothing.
func TestVerificationStaysLocked(t *testing.T) {
	d := askedDesk(t)
	for _, id := range []string{"chl_right", "chl_wrong"} {
		d.mustIssue(t, d.codes(id))
		if err := d.enter(t, id, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	for n := range MaxFailedInARow {
		d.fail(t, fmt.Sprintf("chl_%d", n))
	}
	if err := d.set(t, "chl_right", func(tx *Tx) error { return tx.SatisfyChallenge("chl_right", "") }); err != nil {
		t.Error(err)
	}
	if err := d.set(t, "chl_wrong", func(tx *Tx) error { _, err := tx.FailChallenge("chl_wrong"); return err }); err != nil {
		t.Error(err)
	}
	if v := d.verification(t); !v.Locked() || v.FailedInARow != MaxFailedInARow+1 {
		t.Errorf("%+v", v)
	}
	d.clean(t)
}
