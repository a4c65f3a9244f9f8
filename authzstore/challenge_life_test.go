package authzstore

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// into brings a new challenge of a kind into a state.
func (d *desk) into(t testing.TB, kind ChallengeKind, state ChallengeState, id string) {
	t.Helper()
	c := d.codes(id)
	if kind == ChallengeApproval {
		c = d.approval(id)
	}
	d.mustIssue(t, c)
	satisfy := func() error {
		by := "trm_1"
		if kind == ChallengeCode {
			by = ""
			if err := d.enter(t, id, 1, 0); err != nil {
				return err
			}
		}
		return d.set(t, id, func(tx *Tx) error { return tx.SatisfyChallenge(id, by) })
	}
	var err error
	switch state {
	case ChallengeSatisfied:
		err = satisfy()
	case ChallengeConsumed:
		if err = satisfy(); err == nil {
			err = d.set(t, id, func(tx *Tx) error { return tx.ConsumeChallenge(id) })
		}
	case ChallengeLocked:
		err = d.lock(t, id)
	case ChallengeRejected:
		err = d.set(t, id, func(tx *Tx) error { return tx.RejectChallenge(id, "trm_2") })
	case ChallengeReplaced:
		err = d.set(t, id, func(tx *Tx) error { return tx.ReplaceChallenge(id) })
	case ChallengeExpired:
		d.now = c.ExpiresAtNanos + 1
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lock burns all attempts of a challenge.
func (d *desk) lock(t testing.TB, id string) error {
	t.Helper()
	for {
		if err := d.enter(t, id, -1, 0); err != nil {
			return err
		}
		locked := false
		err := d.set(t, id, func(tx *Tx) (err error) {
			locked, err = tx.FailChallenge(id)
			return err
		})
		if err != nil || locked {
			return err
		}
	}
}

// TestChallengeTransitions: a challenge takes no way but these, and every end is
// noted with its initiator.
func TestChallengeTransitions(t *testing.T) {
	whole := func(tx *Tx, id string) error {
		_, err := tx.AddEntry(id, Entry{Terminal: 1})
		if err == nil {
			_, err = tx.AddEntry(id, Entry{Terminal: 0})
		}
		return err
	}
	setters := map[string]func(tx *Tx, id string, c Challenge) error{
		"enter": func(tx *Tx, id string, _ Challenge) error { _, err := tx.AddEntry(id, Entry{Terminal: 0}); return err },
		"satisfy": func(tx *Tx, id string, c Challenge) error {
			if c.Kind == ChallengeApproval {
				return tx.SatisfyChallenge(id, "trm_2")
			}
			if c.State == ChallengeOpen && tx.Now() <= c.ExpiresAtNanos {
				if err := whole(tx, id); err != nil {
					return err
				}
			}
			return tx.SatisfyChallenge(id, "")
		},
		"fail": func(tx *Tx, id string, c Challenge) error {
			if c.State == ChallengeOpen && c.Kind == ChallengeCode && tx.Now() <= c.ExpiresAtNanos {
				if err := whole(tx, id); err != nil {
					return err
				}
			}
			_, err := tx.FailChallenge(id)
			return err
		},
		"reject":  func(tx *Tx, id string, _ Challenge) error { return tx.RejectChallenge(id, "trm_1") },
		"replace": func(tx *Tx, id string, _ Challenge) error { return tx.ReplaceChallenge(id) },
		"consume": func(tx *Tx, id string, _ Challenge) error { return tx.ConsumeChallenge(id) },
	}
	allowed := map[string]ChallengeState{ // kind, state and setter → state after it
		"code open enter": ChallengeOpen, "code open satisfy": ChallengeSatisfied, "code open fail": ChallengeOpen,
		"code open reject": ChallengeRejected, "code open replace": ChallengeReplaced,
		"code satisfied replace": ChallengeReplaced, "code satisfied consume": ChallengeConsumed,
		"code expired replace":  ChallengeReplaced,
		"approval open satisfy": ChallengeSatisfied, "approval open reject": ChallengeRejected, "approval open replace": ChallengeReplaced,
		"approval satisfied replace": ChallengeReplaced, "approval satisfied consume": ChallengeConsumed,
		"approval expired replace": ChallengeReplaced,
	}
	d := askedDesk(t)
	states := []ChallengeState{ChallengeOpen, ChallengeSatisfied, ChallengeConsumed, ChallengeLocked, ChallengeRejected, ChallengeReplaced, ChallengeExpired}
	n := 0
	for _, kind := range []ChallengeKind{ChallengeCode, ChallengeApproval} {
		for _, state := range states {
			if kind == ChallengeApproval && state == ChallengeLocked {
				continue
			}
			for name, setter := range setters {
				n++
				id, note := fmt.Sprintf("chl_%d", n), fmt.Sprintf("%s %s %s", kind, state, name)
				d.now += 2 * hour
				d.into(t, kind, state, id)
				before := d.challenge(t, id)
				err := d.set(t, id, func(tx *Tx) error { return setter(tx, id, before) })
				after := d.challenge(t, id)
				want, ok := allowed[note]
				switch {
				case ok && (err != nil || after.State != want):
					t.Errorf("%s: %s, %v, want %s", note, after.State, err, want)
				case !ok && err == nil:
					t.Errorf("%s: allowed", note)
				case !ok && kind == ChallengeApproval && state == ChallengeOpen && (name == "enter" || name == "fail"):
					wantError(t, err, ErrInvalid)
				case !ok:
					wantError(t, err, ErrState)
				}
				if !ok && !reflect.DeepEqual(before, after) {
					t.Errorf("%s: changed %+v to %+v", note, before, after)
				}
				if open := d.initiator(t, agent).Open; (len(open) > 0 && open[len(open)-1].Challenge == id) != after.Live() {
					t.Errorf("%s: it is %s, and open are %+v", note, after.State, open)
				}
				if d.verification(t).Locked() {
					d.must(t, []kv.Ref{VerificationRef("acc_anna", kv.Exclusive)}, func(tx *Tx) error { return tx.UnlockVerification("acc_anna") })
				}
			}
		}
	}
	for name, setter := range setters {
		if err := d.set(t, "chl_none", func(tx *Tx) error { return setter(tx, "chl_none", Challenge{}) }); err == nil {
			t.Errorf("%s: allowed on a challenge that there is not", name)
		} else {
			wantError(t, err, ErrUnknownID)
		}
	}
	d.clean(t)
}

// TestBoundAnew: a challenge whose terminal is not the one that was asked, bound as
// it was, comes to nothing.
func TestBoundAnew(t *testing.T) {
	for note, change := range map[string]func(d *desk){
		"frozen":   func(d *desk) { trm := terminal("trm_2"); trm.State = TerminalFrozen; d.mustPutTerminal(t, trm) },
		"unbound":  func(d *desk) { trm := terminal("trm_2"); trm.State = TerminalUnbound; d.mustPutTerminal(t, trm) },
		"moved":    func(d *desk) { trm := terminal("trm_2"); trm.Account = "acc_ben"; d.mustPutTerminal(t, trm) },
		"replaced": func(d *desk) { trm := terminal("trm_2"); trm.Identity.Subject = "new"; d.mustPutTerminal(t, trm) },
		"rebound": func(d *desk) {
			trm := terminal("trm_2")
			trm.State = TerminalUnbound
			d.mustPutTerminal(t, trm)
			d.mustPutTerminal(t, terminal("trm_2"))
		},
	} {
		t.Run(note, func(t *testing.T) {
			d := askedDesk(t)
			d.into(t, ChallengeApproval, ChallengeOpen, "chl_open")
			d.into(t, ChallengeCode, ChallengeSatisfied, "chl_done")
			d.into(t, ChallengeCode, ChallengeOpen, "chl_full")
			if err := d.enter(t, "chl_full", 0, 1); err != nil {
				t.Fatal(err)
			}
			d.now += hour / 2
			change(d)
			for id, fn := range map[string]func(*Tx) error{
				"chl_open": func(tx *Tx) error { return tx.SatisfyChallenge("chl_open", "trm_1") },
				"chl_done": func(tx *Tx) error { return tx.ConsumeChallenge("chl_done") },
				"chl_full": func(tx *Tx) error { return tx.SatisfyChallenge("chl_full", "") },
			} {
				err := d.set(t, id, fn)
				wantError(t, err, ErrState)
				if err == nil || err.Error() != "authzstore: the challenge is replaced" {
					t.Errorf("%s: %v", id, err)
				}
			}
			d.read(t, func(s Snapshot) error {
				c, _, _ := s.Challenge("chl_done")
				stands, err := s.terminalsStand(c)
				if stands {
					t.Error("the terminals stand")
				}
				return err
			})
			// The set is a failed one, though it was right.
			if err := d.set(t, "chl_full", func(tx *Tx) error { _, err := tx.FailChallenge("chl_full"); return err }); err != nil {
				t.Error(err)
			}
			d.clean(t)
		})
	}
}
