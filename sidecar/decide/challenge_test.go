package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// answer is a terminal's, under a key of its own.
func answer(terminal, challenge, how string) call.Request {
	return request(terminal, "POST", "/challenges/"+challenge+"/"+how, "", nextKey())
}

func (s *stepWorld) wantState(t testing.TB, challenge string, state authzstore.ChallengeState) {
	t.Helper()
	if c := s.challenge(t, challenge); c.State != state {
		t.Errorf("the challenge is %s, want %s", c.State, state)
	}
}

func (s *stepWorld) initiator(t testing.TB, subject string) (i authzstore.Initiator) {
	t.Helper()
	id := anna().Owner
	id.Subject = subject
	s.view(t, func(snap authzstore.Snapshot) (err error) {
		i, err = snap.Initiator("acc_anna", id)
		return err
	})
	return i
}

// One terminal of those asked approves, and the payment passes once.
func TestApproval(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, asking(askApproval))
	key := nextKey()
	id := s.asked(t, key)
	if m := s.messages(t, "trm_tablet"); len(m) != 1 || m[0].Kind != "approval_request" || m[0].CodeCounter != 0 || m[0].Challenge != id || m[0].AmountMinor != 250 {
		t.Errorf("messages %+v", m)
	}
	want(t, s.decide(answer("laptop", id, "approve")), decide.Defect, 500, "policy_defect") // no terminal at all
	d := s.decide(answer("tablet", id, "approve"))
	want(t, d, decide.Allow, 0)
	if e := d.Execution; e == nil || e.Does != "approve_challenge" || e.Challenge != id || e.Terminal != "" || e.Account != "" {
		t.Errorf("execution %+v", e)
	}
	if c := s.challenge(t, id); c.State != authzstore.ChallengeSatisfied || c.DecidedBy != "trm_tablet" {
		t.Errorf("challenge %+v", c)
	}
	want(t, s.decide(pay(key)), decide.Allow, 0)
	s.wantState(t, id, authzstore.ChallengeConsumed)
	s.clean(t)
}

// Who rejects ends the challenge for good; another one is asked for under the same key,
// and it is counted until somebody approves.
func TestRejection(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, asking(askApproval))
	key := nextKey()
	for n := range int64(2) {
		id := s.asked(t, key)
		want(t, s.decide(answer("phone", id, "reject")), decide.Allow, 0)
		s.wantState(t, id, authzstore.ChallengeRejected)
		if i := s.initiator(t, "anna"); i.RejectedInARow != n+1 || len(i.StartsNanos) != int(n)+1 || len(i.Open) != 0 {
			t.Errorf("initiator %+v", i)
		}
		// It is over: an approval that comes after it changes nothing.
		want(t, s.decide(answer("tablet", id, "approve")), decide.Defect, 500, "policy_defect")
	}
	id := s.asked(t, key)
	want(t, s.decide(answer("phone", id, "approve")), decide.Allow, 0)
	if i := s.initiator(t, "anna"); i.RejectedInARow != 0 {
		t.Errorf("initiator %+v", i)
	}
	want(t, s.decide(pay(key)), decide.Allow, 0)
	s.clean(t)
}

// Codes can be rejected too, by who did not ask for them, but not approved.
func TestCodesAreNotApproved(t *testing.T) {
	s := newStepWorld(t)
	id := s.asked(t, nextKey())
	want(t, s.decide(answer("phone", id, "approve")), decide.Defect, 500, "policy_defect")
	s.wantState(t, id, authzstore.ChallengeOpen)
	want(t, s.decide(answer("phone", id, "reject")), decide.Allow, 0)
	s.wantState(t, id, authzstore.ChallengeRejected)
	s.clean(t)
}

// What a repeated answer is shown: the challenge, while the caller is a terminal that
// was asked.
func TestAnswerAgain(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, asking(askApproval))
	id := s.asked(t, nextKey())
	req := answer("phone", id, "approve")
	first := s.decide(req)
	want(t, first, decide.Allow, 0)
	again := s.decide(req)
	want(t, again, decide.Allow, 0)
	if !again.Replayed || again.ID != first.ID || again.Execution.Challenge != id {
		t.Errorf("%+v", again)
	}
	moved := phone()
	moved.State = authzstore.TerminalFrozen
	s.putTerminal(t, moved)
	want(t, s.decide(req), decide.Deny, 409, "already_allowed")
}

// A challenge is replaced when the policy asks for another, when the same call comes
// under another key, and when a terminal is bound anew; not by another call.
func TestReplacement(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *stepWorld)
		key    string // of the second call, "" for the first one's
		body   string
		stays  bool
	}{
		"nothing changed": {stays: true},
		"another kind":    {change: func(t *testing.T, s *stepWorld) { s.use(t, asking(askApproval)) }},
		"other terminals": {change: func(t *testing.T, s *stepWorld) {
			s.use(t, askingWith(everyone, `["trm_phone"]`))
		}},
		"another order of terminals": {change: func(t *testing.T, s *stepWorld) {
			s.use(t, askingWith(everyone, `["trm_tablet", "trm_phone"]`))
		}},
		"another condition": {change: func(t *testing.T, s *stepWorld) { s.use(t, askingWith(`"entry": "any"`, `"entry": "ascending"`)) }},
		"another side": {change: func(t *testing.T, s *stepWorld) {
			s.use(t, askingWith(`"expects": "initiator"`, `"expects": "terminals"`))
		}},
		"more attempts, other words":  {change: func(t *testing.T, s *stepWorld) { s.use(t, askingWith(`"max_attempts": 3`, `"max_attempts": 5`)) }, stays: true},
		"a terminal bound anew":       {change: func(t *testing.T, s *stepWorld) { s.rebind(t, tablet()) }},
		"another key":                 {key: "other"},
		"another key of another call": {key: "other", body: strings.Replace(bun, "250", "251", 1), stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			first := s.asked(t, "first")
			if c.change != nil {
				c.change(t, s)
			}
			req := pay("first")
			if c.key != "" {
				req = pay(c.key)
			}
			if c.body != "" {
				req = request("anna", "POST", "/accounts/acc_anna/payments", c.body, c.key)
			}
			d := s.decide(req)
			want(t, d, decide.StepUp, 401, "verification_required")
			state := authzstore.ChallengeReplaced
			if c.stays {
				state = authzstore.ChallengeOpen
			}
			s.wantState(t, first, state)
			if same := d.Challenge.ID == first; same != (c.stays && c.key == "") {
				t.Errorf("the same challenge: %v", same)
			}
			s.clean(t)
		})
	}
}

// askingWith are the rules with askCodes changed.
func askingWith(old, new string) string {
	if strings.Count(askCodes, old) != 1 {
		panic(old)
	}
	return asking(strings.Replace(askCodes, old, new, 1))
}

// rebind unbinds a terminal and binds it again, as another device of that name.
func (s *stepWorld) rebind(t testing.TB, as authzstore.Terminal) {
	t.Helper()
	unbound := as
	unbound.State = authzstore.TerminalUnbound
	s.putTerminal(t, unbound)
	s.pass(time.Second)
	s.putTerminal(t, as)
}

// A challenge that was satisfied and then lost a terminal reads as replaced: nothing
// passes by it.
func TestTerminalsCountAgainWhenItPays(t *testing.T) {
	for name, change := range map[string]func(*stepWorld){
		"bound anew": func(s *stepWorld) { s.rebind(t, tablet()) },
		"frozen": func(s *stepWorld) {
			frozen := tablet()
			frozen.State = authzstore.TerminalFrozen
			s.putTerminal(t, frozen)
		},
		"moved": func(s *stepWorld) {
			ben := anna()
			ben.ID = "acc_ben"
			putAccount(t, s.backend, ben)
			moved := tablet()
			moved.Account = "acc_ben"
			s.update(t, func(tx *authzstore.Tx) error { return tx.PutTerminal(moved) }, moved, tablet())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			key := nextKey()
			id := s.asked(t, key)
			s.enter(t, id, s.codes(t, id)...)
			s.wantState(t, id, authzstore.ChallengeSatisfied)
			change(s)
			s.use(t, askingWith(everyone, `["trm_phone"]`))
			d := s.decide(pay(key))
			want(t, d, decide.StepUp, 401, "verification_required")
			facts := s.input(t, d.ID)["facts"].(map[string]any)
			if state := facts["challenge"].(map[string]any)["state"]; state != "replaced" {
				t.Errorf("the policy was told %v", state)
			}
			s.wantState(t, id, authzstore.ChallengeReplaced)
			if d.Challenge.ID == id {
				t.Error("the same challenge")
			}
			s.clean(t)
		})
	}
}

// Exactly at the expiry an entry counts, and a satisfied challenge lets a call pass; one
// nanosecond beyond, neither.
func TestExpiry(t *testing.T) {
	const life = 300 * time.Second
	for name, c := range map[string]struct {
		enterAfter, payAfter time.Duration // after the issue, and after the entries
		state                authzstore.ChallengeState
		outcome              decide.Outcome
	}{
		"both at the expiry":        {life, 0, authzstore.ChallengeSatisfied, decide.Allow},
		"entries beyond":            {life + 1, 0, authzstore.ChallengeOpen, decide.StepUp},
		"the call beyond":           {life - 1, 2, authzstore.ChallengeSatisfied, decide.StepUp},
		"the call at the expiry":    {0, life, authzstore.ChallengeSatisfied, decide.Allow},
		"the call beyond the first": {0, life + 1, authzstore.ChallengeSatisfied, decide.StepUp},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			key := nextKey()
			id := s.asked(t, key)
			s.pass(c.enterAfter)
			s.enter(t, id, s.codes(t, id)...)
			s.wantState(t, id, c.state)
			s.pass(c.payAfter)
			d := s.decide(pay(key))
			if d.Outcome != c.outcome {
				t.Errorf("%s %v", d.Outcome, d.Reasons)
			}
			if c.outcome == decide.StepUp {
				s.wantState(t, id, authzstore.ChallengeReplaced)
				if d.Challenge.ID == id {
					t.Error("the expired challenge is offered again")
				}
			}
			s.clean(t)
		})
	}
}

// A final denial uses up what was presented, and ends what nobody waits for any more.
func TestFinalDenialEndsTheChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		satisfied bool
		state     authzstore.ChallengeState
	}{
		"satisfied": {true, authzstore.ChallengeConsumed},
		"open":      {false, authzstore.ChallengeReplaced},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			key := nextKey()
			id := s.asked(t, key)
			if c.satisfied {
				s.enter(t, id, s.codes(t, id)...)
			}
			s.use(t, fixed(false))
			want(t, s.decide(pay(key)), decide.Deny, 403, "no")
			s.wantState(t, id, c.state)
			s.use(t, stepUpRules)
			want(t, s.decide(pay(key)), decide.Deny, 403, "no") // a denial stays one
			s.clean(t)
		})
	}
}

// A call without a decision changes nothing of the challenge: it passes once there is one.
func TestDefectKeepsTheChallenge(t *testing.T) {
	s := newStepWorld(t)
	key := nextKey()
	id := s.asked(t, key)
	s.enter(t, id, s.codes(t, id)...)
	s.use(t, "package payments\n\ndecision := {\"allow\": true} if 1 / (input.version - 1) == 7\n")
	want(t, s.decide(pay(key)), decide.Defect, 500, "policy_defect")
	s.wantState(t, id, authzstore.ChallengeSatisfied)
	s.use(t, stepUpRules)
	want(t, s.decide(pay(key)), decide.Allow, 0)
	s.clean(t)
}

// A policy that asks and gives no reason is given words.
func TestStepUpWithoutReasons(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, strings.Replace(stepUpRules, `"Codes were sent."} if not allow`, `"Codes were sent."} if input.now_ns < 0`, 1))
	want(t, s.decide(pay(nextKey())), decide.StepUp, 401, "answer_required")
}

// What is asked too often, sent too often or open too often is refused, and the key
// may try again.
func TestOverMaximum(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, asking(strings.Replace(askApproval, everyone, `["trm_phone"]`, 1)))
	for n := range authzstore.MaxStarts {
		want(t, s.decide(request("anna", "POST", "/accounts/acc_anna/payments", strings.Replace(bun, "250", fmt.Sprint(1000+n), 1), nextKey())), decide.StepUp, 401, "verification_required")
	}
	key := nextKey()
	want(t, s.decide(pay(key)), decide.Deny, 429, "challenges_over_maximum")
	want(t, s.decide(pay(key)), decide.Deny, 429, "challenges_over_maximum")
	s.pass(authzstore.StartsWindow)
	want(t, s.decide(pay(key)), decide.StepUp, 401, "verification_required")
	s.use(t, fixed(false, `{"type": "notify", "terminal": "trm_tablet", "kind": "note"}`))
	for range authzstore.MaxMessagesPerHour {
		want(t, s.decide(pay(nextKey())), decide.Deny, 403, "no")
	}
	key = nextKey()
	want(t, s.decide(pay(key)), decide.Deny, 429, "messages_over_maximum")
	s.pass(time.Hour)
	want(t, s.decide(pay(key)), decide.Deny, 403, "no")
	s.clean(t)
}

// A built-in operation can be asked about too: here who unlocks the codes of an account is
// approved by a terminal of it.
func TestBuiltInStepsUp(t *testing.T) {
	s := newStepWorld(t)
	s.lockCodes(t)
	s.use(t, asking(askApproval))
	key := nextKey()
	req := request("anna", "POST", "/accounts/acc_anna/approved_unlock", "", key)
	d := s.decide(req)
	want(t, d, decide.StepUp, 401, "verification_required")
	want(t, s.decide(answer("phone", d.Challenge.ID, "approve")), decide.Allow, 0)
	s.use(t, fixed(true))
	unlocked := s.decide(req)
	want(t, unlocked, decide.Allow, 0)
	if e := unlocked.Execution; e.Does != "unlock_verification" || e.Account != "acc_anna" {
		t.Errorf("execution %+v", e)
	}
	s.wantState(t, d.Challenge.ID, authzstore.ChallengeConsumed)
	s.view(t, func(snap authzstore.Snapshot) error {
		v, err := snap.Verification("acc_anna")
		if v.Locked() {
			t.Error("still locked")
		}
		return err
	})
	s.clean(t)
}

// What the people of one account have approved lets nothing pass from another, where the
// caller's terminal has moved there.
func TestChallengeOfAnotherAccount(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, asking(strings.Replace(askApproval, everyone, `["trm_tablet"]`, 1)))
	req := request("phone", "POST", "/payments", bun, nextKey())
	d := s.decide(req)
	want(t, d, decide.StepUp, 401, "verification_required")
	want(t, s.decide(answer("tablet", d.Challenge.ID, "approve")), decide.Allow, 0)
	ben := anna()
	ben.ID = "acc_ben"
	putAccount(t, s.backend, ben)
	moved := phone()
	moved.Account = "acc_ben"
	s.update(t, func(tx *authzstore.Tx) error { return tx.PutTerminal(moved) }, moved, phone())
	s.use(t, asking(askApproval))
	again := s.decide(req)
	want(t, again, decide.StepUp, 401, "verification_required")
	if c := s.challenge(t, again.Challenge.ID); c.Account != "acc_ben" || c.ID == d.Challenge.ID {
		t.Errorf("challenge %+v", c)
	}
	s.wantState(t, d.Challenge.ID, authzstore.ChallengeReplaced)
	s.clean(t)
}
