package decide_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// stepModel says what must come of calls that people are asked about, by the tables in
// the package's comment. It knows nothing of the code.
type stepModel struct {
	rules  string // asks, denies, broken
	now    time.Time
	failed int // sets in a row; at 5 the account's codes are locked

	keys       map[string]*stepKey
	challenges []*stepChallenge
	starts     []time.Time
	usedBy     map[string]string // code → the decision that used it
	burnt      int64             // attempts at the account's codes since burntAt
	burntAt    time.Time
	paid       int64
}

// stepKey is what is known about one key.
type stepKey struct {
	state     string // pending, denied, allowed
	amount    int64
	code      string // the evidence of the last evaluation
	lockedOut bool
	spentBy   string
	matched   bool // the evidence, when it was asked for a challenge
	challenge *stepChallenge
}

type stepChallenge struct {
	id     string
	amount int64 // the call
	state  authzstore.ChallengeState
	issued time.Time
	burnt  int
	// forgotten: it had expired when its caller started another one.
	forgotten bool
}

const stepLife = 300 * time.Second

// at is the state that counts now.
func (m *stepModel) at(c *stepChallenge) authzstore.ChallengeState {
	if c == nil {
		return ""
	}
	if c.live() && m.now.After(c.issued.Add(stepLife)) {
		return authzstore.ChallengeExpired
	}
	return c.state
}

func (c *stepChallenge) live() bool {
	return c.state == authzstore.ChallengeOpen || c.state == authzstore.ChallengeSatisfied
}

func (c *stepChallenge) replace() {
	if c != nil && c.live() {
		c.state = authzstore.ChallengeReplaced
	}
}

// call predicts the answer to a call, given the IDs of a new decision and challenge.
func (m *stepModel) call(key string, amount int64, code, decisionID, challengeID string) modelAnswer {
	k := m.keys[key]
	switch {
	case k != nil && k.amount != amount:
		return modelAnswer{decide.Deny, 422, []string{"key_other_call"}, false, k.state + ", other call"}
	case k != nil && k.state == "allowed":
		return modelAnswer{decide.Allow, 0, nil, true, "allowed"}
	case k != nil && k.state == "denied" && k.code == code:
		return modelAnswer{decide.Deny, 403, []string{"no"}, true, "denied, same evidence"}
	}
	before := stepKey{state: "unknown"}
	if k != nil {
		before = *k
	}
	again := k != nil && code != "" && k.code == code && !k.lockedOut
	if m.now.Sub(m.burntAt) > time.Hour {
		m.burnt = 0
	}
	now := &stepKey{state: "pending", amount: amount, code: code, challenge: before.challenge}
	now.lockedOut = code != "" && !again && m.burnt >= codeAllowance.Max
	if code != "" {
		now.spentBy = decisionID
		if again {
			now.spentBy, now.matched = before.spentBy, before.matched
		}
	}
	carried := again && before.matched && before.state == "pending" && before.challenge != nil
	matched := carried || strings.HasPrefix(code, "right") && !now.lockedOut && (m.usedBy[code] == "" || again && m.usedBy[code] == before.spentBy)
	m.keys[key] = now
	a := m.evaluate(now, code == "" || matched, challengeID)
	evidence := "same evidence"
	if code != before.code {
		evidence = "other evidence"
	}
	a.cell = fmt.Sprintf("%s, %s, %s: %s", before.state, m.cellOf(before.challenge), evidence, a.cell)
	if code == "" || carried {
		return a
	}
	if a.outcome == decide.StepUp {
		now.matched = now.matched || matched
	}
	switch uses := a.outcome == decide.Allow || a.outcome == decide.StepUp || strings.HasPrefix(code, "right once"); {
	case matched && uses:
		if m.usedBy[code] == "" {
			m.usedBy[code] = decisionID
		}
	case !again && a.outcome != decide.Allow:
		if m.burnt == 0 {
			m.burntAt = m.now
		}
		m.burnt++
	}
	return a
}

func (m *stepModel) cellOf(c *stepChallenge) string {
	if c == nil {
		return "not asked"
	}
	return "was asked"
}

// evaluate is what the rules and the table of challenges make of a call.
func (m *stepModel) evaluate(k *stepKey, proven bool, challengeID string) modelAnswer {
	state := m.at(k.challenge)
	contradicts := modelAnswer{decide.Defect, 500, []string{"policy_defect"}, false, "defect"}
	switch {
	case m.rules == "broken":
		return contradicts
	case m.rules == "denies":
		k.state = "denied"
		if state == authzstore.ChallengeSatisfied {
			k.challenge.state = authzstore.ChallengeConsumed
		}
		k.challenge.replace()
		return modelAnswer{decide.Deny, 403, []string{"no"}, false, "denied"}
	case state == authzstore.ChallengeSatisfied && !proven:
		return contradicts
	case state == authzstore.ChallengeSatisfied:
		k.state, k.challenge.state = "allowed", authzstore.ChallengeConsumed
		m.paid += k.amount
		return modelAnswer{decide.Allow, 0, nil, false, "allowed"}
	case state == authzstore.ChallengeOpen:
		return modelAnswer{decide.StepUp, 401, []string{"verification_required"}, false, "kept"}
	case m.failed >= authzstore.MaxFailedInARow:
		return contradicts
	case m.startsInHour() >= authzstore.MaxStarts:
		return modelAnswer{decide.Deny, 429, []string{"challenges_over_maximum"}, false, "429"}
	}
	k.challenge.replace()
	for _, c := range m.challenges {
		if c.amount == k.amount && !c.forgotten {
			c.replace()
		}
		c.forgotten = c.forgotten || m.at(c) == authzstore.ChallengeExpired
	}
	m.starts = append(m.starts, m.now)
	k.challenge = &stepChallenge{id: challengeID, amount: k.amount, state: authzstore.ChallengeOpen, issued: m.now}
	m.challenges = append(m.challenges, k.challenge)
	return modelAnswer{decide.StepUp, 401, []string{"verification_required"}, false, "asked"}
}

func (m *stepModel) startsInHour() (n int) {
	for _, at := range m.starts {
		if m.now.Sub(at) < authzstore.StartsWindow {
			n++
		}
	}
	return n
}

// enter is a whole set of codes by who is expected.
func (m *stepModel) enter(c *stepChallenge, right bool) {
	switch {
	case m.at(c) != authzstore.ChallengeOpen || m.failed >= authzstore.MaxFailedInARow:
	case right:
		c.state, m.failed = authzstore.ChallengeSatisfied, 0
	default:
		c.burnt++
		m.failed++
		if c.burnt == 3 || m.failed == authzstore.MaxFailedInARow {
			c.state = authzstore.ChallengeLocked
		}
	}
}

// stepCells must be reached; others may be.
var stepCells = []string{
	"unknown, not asked, same evidence: asked", "unknown, not asked, other evidence: asked", "unknown, not asked, other evidence: denied",
	"pending, was asked, same evidence: kept", "pending, was asked, other evidence: kept", "pending, was asked, same evidence: asked",
	"pending, was asked, same evidence: allowed", "pending, was asked, other evidence: allowed", "pending, was asked, same evidence: denied",
	"pending, was asked, same evidence: defect", "pending, other call", "denied, same evidence", "denied, other call",
	"denied, was asked, other evidence: asked", "allowed", "allowed, other call",
}

// The tables of retries and of step-ups, as a model, against the real thing.
func TestStepUpModel(t *testing.T) {
	s := newStepWorld(t)
	reached := map[string]int{}
	rules := map[string]*bundle.Bundle{
		"asks": s.rules, "denies": stepUpBundle(t, fixed(false)),
		"broken": stepUpBundle(t, "package payments\n\ndecision := {\"allow\": true} if 1 / (input.version - 1) == 7\n"),
	}
	rapid.Check(t, func(rt *rapid.T) {
		account := anna()
		account.ID = authzstore.NewID("acc")
		putAccount(t, s.backend, account)
		for _, name := range []string{"a", "b"} {
			device := terminal(authzstore.NewID("t") + name)
			device.ID, device.Account = authzstore.NewID("trm"), account.ID
			s.putTerminal(t, device)
		}
		m := &stepModel{rules: "asks", now: s.now, keys: map[string]*stepKey{}, usedBy: map[string]string{}}
		s.swap(rules["asks"])
		oneCall := func(rt *rapid.T) {
			key := account.ID + rapid.SampledFrom([]string{"-1", "-2", "-3"}).Draw(rt, "key")
			amount := rapid.SampledFrom([]int64{250, 250, 250, 300}).Draw(rt, "amount")
			code := rapid.SampledFrom([]string{"", "", "", "right 1", "right 2", "right once 1", "wrong"}).Draw(rt, "code")
			body := fmt.Sprintf(`{"payee": "mer_bakery", "amount_minor": %d, "currency": "EUR"}`, amount)
			if code != "" {
				body = strings.Replace(body, "{", fmt.Sprintf(`{"code": %q, `, code), 1)
			}
			d := s.decide(request("anna", "POST", "/accounts/"+account.ID+"/code_payments", body, key))
			if slices.Equal(codesOf(d), []string{"overloaded"}) {
				return // this machine is; nothing was written
			}
			offered := ""
			if d.Challenge != nil {
				offered = d.Challenge.ID
			}
			a := m.call(key, amount, code, d.ID, offered)
			reached[a.cell]++
			if d.Outcome != a.outcome || d.Status != a.status || !slices.Equal(codesOf(d), a.codes) || d.Replayed != a.replayed {
				rt.Fatalf("%s: %s %d %v, replayed %v; want %s %d %v, replayed %v", a.cell, d.Outcome, d.Status, codesOf(d), d.Replayed, a.outcome, a.status, a.codes, a.replayed)
			}
			if a.outcome == decide.StepUp && offered != m.keys[key].challenge.id {
				rt.Fatalf("%s: challenge %s, want %s", a.cell, offered, m.keys[key].challenge.id)
			}
		}
		enter := func(right bool) func(*rapid.T) {
			return func(rt *rapid.T) {
				if len(m.challenges) == 0 || m.rules != "asks" { // the others let no entry in
					return
				}
				c := rapid.SampledFrom(m.challenges).Draw(rt, "challenge")
				codes := s.codes(t, c.id)
				if !right {
					codes[0] = s.wrongCode(t, c.id)
				}
				s.enter(t, c.id, codes...)
				m.enter(c, right)
			}
		}
		set := func(which string) func(*rapid.T) {
			return func(*rapid.T) { m.rules = which; s.swap(rules[which]) }
		}
		rt.Repeat(map[string]func(*rapid.T){
			// Several times, so that calls are most of what happens.
			"call": oneCall, "call again": oneCall, "call more": oneCall, "call on": oneCall, "call and call": oneCall, "call once more": oneCall,
			"ask": set("asks"), "ask on": set("asks"), "ask again": set("asks"), "deny": set("denies"), "break": set("broken"),
			"enter":       enter(true),
			"enter right": enter(true),
			"enter wrong": enter(false),
			"stranger": func(rt *rapid.T) {
				if len(m.challenges) > 0 && m.rules == "asks" {
					c := rapid.SampledFrom(m.challenges).Draw(rt, "challenge")
					want(t, s.decide(entryOf("mallory", c.id, s.codes(t, c.id)[0])), decide.Allow, 0)
				}
			},
			"time": func(rt *rapid.T) {
				s.pass(time.Duration(rapid.SampledFrom([]int64{1, 100, 299, 300, 301}).Draw(rt, "seconds")) * time.Second)
				m.now = s.now
			},
			"unlock": func(rt *rapid.T) {
				if m.failed < authzstore.MaxFailedInARow {
					return
				}
				m.failed = 0
				err := s.store.Update(context.Background(), s.cause(), []kv.Ref{authzstore.VerificationRef(account.ID, kv.Exclusive)}, func(tx *authzstore.Tx) error { return tx.UnlockVerification(account.ID) })
				if err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) { m.check(rt, s, account.ID) },
		})
	})
	for _, cell := range stepCells {
		if reached[cell] == 0 {
			t.Errorf("never reached: %s", cell)
		}
	}
	t.Logf("%v", reached)
	s.clean(t)
}

func (s *stepWorld) cause() authzstore.Cause {
	s.mu.Lock()
	defer s.mu.Unlock()
	cause := operatorCause()
	cause.NowNanos = s.now.UnixNano()
	return cause
}

// check compares the store with the model: challenges, money, attempts, codes.
func (m *stepModel) check(rt *rapid.T, s *stepWorld, account string) {
	c := call.Call{Route: &call.Route{Fields: []call.Field{{Name: "account"}}}, Fields: []call.Value{{Text: account}}}
	refs := []kv.Ref{authzstore.AttemptsRef(codeBudget(c)), authzstore.UsageRef(account, kv.Shared)}
	for _, known := range m.challenges {
		refs = append(refs, authzstore.ChallengeRef(known.id, kv.Shared))
	}
	for code := range m.usedBy {
		refs = append(refs, authzstore.UseRef(codeThing(c, code)))
	}
	err := s.store.Update(context.Background(), s.cause(), refs, func(tx *authzstore.Tx) error {
		for _, known := range m.challenges {
			if stored, _, err := tx.Challenge(known.id); err != nil || stored.State != known.state || int(stored.Burnt) != known.burnt {
				return fmt.Errorf("challenge %s is %s after %d sets, want %s after %d (%v)", known.id, stored.State, stored.Burnt, known.state, known.burnt, err)
			}
		}
		if u, err := tx.Usage(account); err != nil || u.PendingMinor != m.paid {
			return fmt.Errorf("%d minor units are taken, want %d (%v)", u.PendingMinor, m.paid, err)
		}
		for code, by := range m.usedBy {
			if use, _, err := tx.Use(codeThing(c, code)); err != nil || use.RecordID != by {
				return fmt.Errorf("code %q used by %q, want %q (%v)", code, use.RecordID, by, err)
			}
		}
		burnt := m.burnt
		if m.now.Sub(m.burntAt) > time.Hour {
			burnt = 0
		}
		left, err := tx.AttemptsLeft(codeBudget(c), codeAllowance)
		if want := max(0, codeAllowance.Max-burnt); err != nil || left != want {
			return fmt.Errorf("%d attempts left, want %d (%v)", left, want, err)
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}
