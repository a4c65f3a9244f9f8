package decide_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// entryBudget is what a sender has left for entries that no challenge expects.
func (s *stepWorld) entryBudget(t testing.TB, kind, subject string) (left int64) {
	t.Helper()
	budget := authzstore.SenderBudget("challenge_code", authzstore.Identity{Kind: kind, Issuer: "https://id.example", Subject: subject})
	err := s.store.Update(t.Context(), operatorCause(), []kv.Ref{authzstore.AttemptsRef(budget)}, func(tx *authzstore.Tx) (err error) {
		left, err = tx.AttemptsLeft(budget, evidence.SenderAllowance)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// apart is a decision without what differs from one to the next: its ID, and who called.
func apart(t testing.TB, d decide.Decision) string {
	t.Helper()
	if d.ID == "" {
		t.Error("no ID")
	}
	e := *d.Execution
	e.Identity.Subject = "" // the caller's own
	d.ID, d.Execution = "", nil
	return fmt.Sprintf("%+v %+v", d, e)
}

// Whatever an entry is, its answer is the same to the last field: right, wrong, too
// late, of an unknown challenge or of somebody else's, and past every budget.
func TestEntriesAreAnsweredAlike(t *testing.T) {
	s := newStepWorld(t)
	open := s.asked(t, nextKey())
	codes := s.codes(t, open)
	lateKey := nextKey()
	other := request("anna", "POST", "/accounts/acc_anna/payments", strings.Replace(bun, "250", "999", 1), lateKey)
	expired := s.decide(other).Challenge.ID
	lateCode := s.codes(t, expired)[0]
	answers := map[string]string{}
	enter := func(name string, req call.Request) {
		d := s.decide(req)
		want(t, d, decide.Allow, 0)
		answers[name] = apart(t, d)
	}
	enter("right", entryOf("anna", open, codes[0]))
	enter("wrong", entryOf("anna", open, s.wrongCode(t, open)))
	enter("completes a right set, first", entryOf("anna", open, codes[0]))
	enter("completes a right set", entryOf("anna", open, codes[1]))
	s.wantState(t, open, authzstore.ChallengeSatisfied)
	enter("of a satisfied one", entryOf("anna", open, codes[1]))
	enter("no code", entryOf("anna", open, "hello"))
	enter("very long", entryOf("anna", open, strings.Repeat("7", 200)))
	enter("a stranger's", entryOf("mallory", expired, lateCode))
	enter("of an unknown challenge", entryOf("anna", authzstore.NewID("chl"), codes[0]))
	enter("of what is no challenge", entryOf("anna", "grt_x", codes[0]))
	s.pass(301 * time.Second)
	enter("too late", entryOf("anna", expired, lateCode))
	for range evidence.SenderAllowance.Max + 3 {
		enter("past the budget", entryOf("mallory", expired, lateCode))
	}
	for name, answer := range answers {
		if answer != answers["right"] {
			t.Errorf("%s: %s\nwant %s", name, answer, answers["right"])
		}
	}
	s.clean(t)
}

// The policy that is asked about an entry sees no challenge, and nothing of the code.
func TestEntryIsHiddenFromThePolicy(t *testing.T) {
	s := newStepWorld(t)
	id := s.asked(t, nextKey())
	code := s.codes(t, id)[0]
	for _, subject := range []string{"anna", "mallory"} {
		d := s.decide(entryOf(subject, id, code))
		record := s.kept(t, d.ID)
		var r decide.Record
		if err := json.Unmarshal([]byte(record), &r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(r.Input), `"evidence"`) || !strings.Contains(string(r.Input), `"facts":{}`) {
			t.Errorf("input %s", r.Input)
		}
		if strings.Contains(record, code) {
			t.Error("the code is on record")
		}
		expected := subject == "anna"
		if len(r.Evidence) != 1 || r.Evidence[0].Kind != "challenge_code" || r.Evidence[0].Matched != expected || (r.Challenge == id) != expected || (len(r.Evidence[0].Budgets) == 1) == expected {
			t.Errorf("record of %s: %+v, challenge %q", subject, r.Evidence, r.Challenge)
		}
	}
	if strings.Contains(s.log.String(), code) {
		t.Error("the code is in the log")
	}
}

// Who is expected: the caller, or the terminals that were asked, as they were bound.
func TestWhoIsExpected(t *testing.T) {
	enterAs := func(s *stepWorld, kind, subject, id, code string) {
		path := map[string]string{"user": "/entries", "terminal": "/terminal_entries"}[kind]
		want(t, s.decide(request(subject, "POST", "/challenges/"+id+path, fmt.Sprintf(`{"code": %q}`, code), nextKey())), decide.Allow, 0)
	}
	t.Run("initiator", func(t *testing.T) {
		s := newStepWorld(t)
		id := s.asked(t, nextKey())
		for _, code := range s.codes(t, id) {
			enterAs(s, "user", "ben", id, code)
			enterAs(s, "terminal", "anna", id, code) // of that name, but a terminal
			enterAs(s, "terminal", "phone", id, code)
		}
		if c := s.challenge(t, id); c.State != authzstore.ChallengeOpen || len(c.Entries) != 0 || c.Burnt != 0 {
			t.Errorf("challenge %+v", c)
		}
		if left := s.entryBudget(t, "user", "ben"); left != evidence.SenderAllowance.Max-2 {
			t.Errorf("%d attempts left of the stranger's", left)
		}
		if left := s.entryBudget(t, "user", "anna"); left != evidence.SenderAllowance.Max {
			t.Errorf("%d attempts left of Anna's", left)
		}
		s.clean(t)
	})
	t.Run("terminals", func(t *testing.T) {
		s := newStepWorld(t)
		s.use(t, askingWith(`"expects": "initiator"`, `"expects": "terminals"`))
		id := s.asked(t, nextKey())
		codes := s.codes(t, id)
		enterAs(s, "user", "anna", id, codes[0])
		if c := s.challenge(t, id); len(c.Entries) != 0 {
			t.Errorf("entries %+v", c.Entries)
		}
		enterAs(s, "terminal", "tablet", id, codes[0])
		s.rebind(t, tablet()) // after which nothing counts any more
		enterAs(s, "terminal", "phone", id, codes[1])
		if c := s.challenge(t, id); c.State != authzstore.ChallengeOpen || len(c.Entries) != 1 {
			t.Errorf("challenge %+v", c)
		}
		s.clean(t)
	})
}

// A set is judged whole: one that is wrong burns one attempt, the last locks the
// challenge, which is announced, and then no right one helps.
func TestSetsLock(t *testing.T) {
	s := newStepWorld(t)
	key := nextKey()
	id := s.asked(t, key)
	codes := s.codes(t, id)
	for n := range int64(3) {
		s.enter(t, id, s.wrongCode(t, id), codes[0])
		if c := s.challenge(t, id); c.Burnt != n+1 || len(c.Entries) != 0 {
			t.Errorf("challenge %+v", c)
		}
	}
	s.wantState(t, id, authzstore.ChallengeLocked)
	for _, terminal := range []string{"trm_phone", "trm_tablet"} {
		m := s.messages(t, terminal)
		if len(m) != 2 || m[1].Kind != "challenge_locked" || m[1].CodeCounter != 0 || m[1].Challenge != id || m[1].AmountMinor != 250 || m[1].Payee != "mer_bakery" {
			t.Errorf("messages %+v", m)
		}
	}
	s.enter(t, id, codes...)
	s.wantState(t, id, authzstore.ChallengeLocked)
	d := s.decide(pay(key))
	want(t, d, decide.StepUp, 401, "verification_required")
	if d.Challenge.ID == id {
		t.Error("the locked challenge is offered again")
	}
	s.clean(t)
}

// oneAttempt asks for one code, which may be wrong once.
var oneAttempt = strings.Replace(askingWith(everyone, `["trm_phone"]`), `"max_attempts": 3`, `"max_attempts": 1`, 1)

// lockCodes has wrong codes lock those of Anna's account, and returns the key that they
// were asked under.
func (s *stepWorld) lockCodes(t testing.TB) (key string) {
	t.Helper()
	s.use(t, oneAttempt)
	key = nextKey()
	for range authzstore.MaxFailedInARow {
		id := s.asked(t, key)
		s.enter(t, id, s.wrongCode(t, id))
		s.wantState(t, id, authzstore.ChallengeLocked)
	}
	return key
}

// kinds are the kinds of the messages of a terminal.
func (s *stepWorld) kinds(t testing.TB, terminal string) (kinds []string) {
	t.Helper()
	for _, m := range s.messages(t, terminal) {
		kinds = append(kinds, m.Kind)
	}
	return kinds
}

// Five wrong sets in a row lock the account's codes, though no challenge comes to its
// last attempt. All terminals of the account are told when one is left, and when it
// locks. A policy that asks all the same contradicts, and an entry into what is still
// open counts for nothing, until the owner unlocks them.
func TestVerificationLocks(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, askingWith(everyone, `["trm_phone"]`)) // 3 attempts
	other := request("anna", "POST", "/accounts/acc_anna/payments", strings.Replace(bun, "250", "999", 1), nextKey())
	open := s.decide(other).Challenge.ID
	last := ""
	for n := range authzstore.MaxFailedInARow {
		if n%2 == 0 { // the one before is abandoned: a new key replaces it
			last = s.asked(t, nextKey())
		}
		s.enter(t, last, s.wrongCode(t, last))
		want := [][]string{nil, nil, nil, {"verification_at_risk"}, {"verification_at_risk", "verification_locked"}}[n]
		if got := s.kinds(t, "trm_tablet"); !slices.Equal(got, want) {
			t.Errorf("after %d wrong sets the tablet was sent %q, want %q", n+1, got, want)
		}
	}
	if got := s.kinds(t, "trm_phone"); !slices.Equal(got, []string{"code", "code", "code", "verification_at_risk", "code", "challenge_locked", "verification_locked"}) {
		t.Errorf("the phone was sent %q", got)
	}
	s.wantState(t, last, authzstore.ChallengeLocked)
	key := nextKey()
	s.enter(t, open, s.codes(t, open)...)
	s.wantState(t, open, authzstore.ChallengeOpen)
	d := s.decide(pay(key))
	want(t, d, decide.Defect, 500, "policy_defect")
	facts := s.input(t, d.ID)["facts"].(map[string]any)
	if v := fmt.Sprint(facts["account"].(map[string]any)["verification"]); v != "map[failed_in_a_row:5 locked:true]" {
		t.Errorf("the policy was told %s", v)
	}
	unlock := request("anna", "POST", "/accounts/acc_anna/unlock", "", nextKey())
	unlocked := s.decide(unlock)
	want(t, unlocked, decide.Allow, 0)
	if e := unlocked.Execution; e.Account != "acc_anna" || e.Does != "unlock_verification" {
		t.Errorf("execution %+v", e)
	}
	want(t, s.decide(request("anna", "POST", "/accounts/acc_anna/unlock", "", nextKey())), decide.Defect, 500, "policy_defect")
	s.enter(t, open, s.codes(t, open)...)
	s.wantState(t, open, authzstore.ChallengeSatisfied)
	want(t, s.decide(other), decide.Allow, 0)
	s.clean(t)
}

// A right set ends the row: then five more are needed, and the people are told again.
func TestRightSetEndsTheRow(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, askingWith(everyone, `["trm_phone"]`))
	for range 2 {
		for range 2 {
			id := s.asked(t, nextKey())
			s.enter(t, id, s.wrongCode(t, id), s.wrongCode(t, id))
		}
		key := nextKey()
		id := s.asked(t, key)
		s.enter(t, id, s.codes(t, id)...)
		want(t, s.decide(pay(key)), decide.Allow, 0)
	}
	if got := s.kinds(t, "trm_tablet"); !slices.Equal(got, []string{"verification_at_risk", "verification_at_risk"}) {
		t.Errorf("the tablet was sent %q", got)
	}
	s.clean(t)
}

// A terminal that got as many messages as it may is not told, and the set fails all the
// same.
func TestAtRiskPastTheCap(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, askingWith(everyone, `["trm_phone"]`))
	err := s.store.Update(t.Context(), s.cause(), authzstore.SendRefs("trm_tablet"), func(tx *authzstore.Tx) error {
		for range authzstore.MaxMessagesPerHour {
			m := authzstore.Message{ID: authzstore.NewID("msg"), Kind: "note", Terminal: "trm_tablet", Account: "acc_anna", Requester: anna().Owner, ExpiresAtNanos: tx.Now()}
			if err := tx.Send(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range authzstore.MaxFailedInARow {
		id := s.asked(t, nextKey())
		s.enter(t, id, s.wrongCode(t, id))
		if got := s.challenge(t, id).Burnt; got != 1 {
			t.Errorf("after %d sets %d are burnt", n+1, got)
		}
	}
	if got := s.kinds(t, "trm_tablet"); len(got) != authzstore.MaxMessagesPerHour || slices.Contains(got, "verification_at_risk") {
		t.Errorf("the tablet was sent %q", got)
	}
	if got := s.kinds(t, "trm_phone"); !slices.Contains(got, "verification_at_risk") || !slices.Contains(got, "verification_locked") {
		t.Errorf("the phone was sent %q", got)
	}
	s.clean(t)
}

// An entry that is repeated under its key is not entered twice; another code under the
// same key is another call.
func TestEntryAgain(t *testing.T) {
	s := newStepWorld(t)
	id := s.asked(t, nextKey())
	codes := s.codes(t, id)
	req := entryOf("anna", id, codes[0])
	first := s.decide(req)
	again := s.decide(req)
	want(t, again, decide.Allow, 0)
	if !again.Replayed || again.ID != first.ID {
		t.Errorf("%+v", again)
	}
	if c := s.challenge(t, id); len(c.Entries) != 1 {
		t.Errorf("entries %+v", c.Entries)
	}
	other := entryOf("anna", id, codes[1])
	other.Headers = req.Headers
	want(t, s.decide(other), decide.Deny, 422, "key_other_call")
	// A stranger's is repeated at no cost, too.
	stranger := entryOf("mallory", id, codes[0])
	s.decide(stranger)
	s.decide(stranger)
	if left := s.entryBudget(t, "user", "mallory"); left != evidence.SenderAllowance.Max-1 {
		t.Errorf("%d attempts left", left)
	}
	s.clean(t)
}

// An entry that the policy does not let through, or fails over, costs its sender.
func TestEntryDenied(t *testing.T) {
	s := newStepWorld(t)
	id := s.asked(t, nextKey())
	code := s.codes(t, id)[0]
	s.use(t, fixed(false))
	want(t, s.decide(entryOf("anna", id, code)), decide.Deny, 403, "no")
	s.use(t, "package payments\n\ndecision := {\"allow\": true} if 1 / (input.version - 1) == 7\n")
	want(t, s.decide(entryOf("anna", id, code)), decide.Defect, 500, "policy_defect")
	if left := s.entryBudget(t, "user", "anna"); left != evidence.SenderAllowance.Max-2 {
		t.Errorf("%d attempts left", left)
	}
	if c := s.challenge(t, id); len(c.Entries) != 0 {
		t.Errorf("entries %+v", c.Entries)
	}
	s.clean(t)
}

// However many strangers guess at a challenge, they lock nobody out, and leave one
// record each.
func TestStrangersLockNobodyOut(t *testing.T) {
	const atOnce = 16
	strangers, guesses := 100, 25
	if kvtest.Soak() > 1 {
		strangers, guesses = 1000, 100
	}
	s := newStepWorld(t)
	key := nextKey()
	id := s.asked(t, key)
	codes := s.codes(t, id)
	jobs := make(chan int)
	var guessers sync.WaitGroup
	for range atOnce {
		guessers.Go(func() {
			for job := range jobs {
				code := fmt.Sprintf("%06d", job)
				if job%5 == 0 {
					code = codes[job/5%2] // right, in the wrong hands
				}
				if d := s.decide(entryOf(fmt.Sprint("stranger", job%strangers), id, code)); d.Outcome != decide.Unavailable { // as on a busy machine
					want(t, d, decide.Allow, 0)
				}
			}
		})
	}
	for job := range strangers * guesses {
		jobs <- job
	}
	close(jobs)
	guessers.Wait()
	if c := s.challenge(t, id); c.State != authzstore.ChallengeOpen || c.Burnt != 0 || len(c.Entries) != 0 {
		t.Errorf("challenge %+v", c)
	}
	s.view(t, func(snap authzstore.Snapshot) error {
		counts, err := snap.Counts()
		if counts["attempts"] != strangers {
			t.Errorf("%d records of attempts", counts["attempts"])
		}
		return err
	})
	s.enter(t, id, codes...)
	want(t, s.decide(pay(key)), decide.Allow, 0)
	s.clean(t)
}

// Conditions count the time of arrival at the sidecar, each bound inclusive.
func TestConditionsInTime(t *testing.T) {
	for name, c := range map[string]struct {
		condition   string
		first, then time.Duration
		state       authzstore.ChallengeState
	}{
		"within, at the bound":      {`"entry": "any", "within_ns": 60000000000`, 30 * time.Second, 30 * time.Second, authzstore.ChallengeSatisfied},
		"within, one beyond":        {`"entry": "any", "within_ns": 60000000000`, 30 * time.Second, 30*time.Second + 1, authzstore.ChallengeOpen},
		"least gap, at the bound":   {`"entry": "any", "min_gap_ns": 5000000000`, time.Second, 5 * time.Second, authzstore.ChallengeSatisfied},
		"least gap, one before":     {`"entry": "any", "min_gap_ns": 5000000000`, time.Second, 5*time.Second - 1, authzstore.ChallengeOpen},
		"longest gap, at the bound": {`"entry": "any", "max_gap_ns": 5000000000`, time.Second, 5 * time.Second, authzstore.ChallengeSatisfied},
		"longest gap, one beyond":   {`"entry": "any", "max_gap_ns": 5000000000`, time.Second, 5*time.Second + 1, authzstore.ChallengeOpen},
		"in the terminals' order":   {`"entry": "terminals"`, time.Second, time.Second, authzstore.ChallengeSatisfied},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			s.use(t, askingWith(`"entry": "any"`, c.condition))
			id := s.asked(t, nextKey())
			codes := s.codes(t, id)
			s.pass(c.first)
			s.enter(t, id, codes[0])
			s.pass(c.then)
			s.enter(t, id, codes[1])
			s.wantState(t, id, c.state)
			if burnt := s.challenge(t, id).Burnt; (burnt == 0) != (c.state == authzstore.ChallengeSatisfied) {
				t.Errorf("%d attempts burnt", burnt)
			}
			s.clean(t)
		})
	}
}

// An entry that arrived in time is in time, though a transaction that was later has
// changed the challenge before; and one that arrived late is late.
func TestEntryCountsByItsArrival(t *testing.T) {
	for beyond, state := range map[time.Duration]authzstore.ChallengeState{0: authzstore.ChallengeSatisfied, 1: authzstore.ChallengeOpen} {
		s := newStepWorld(t)
		s.use(t, askingWith(`"entry": "any"`, `"entry": "any", "within_ns": 60000000000`))
		id := s.asked(t, nextKey())
		codes := s.codes(t, id)
		s.enter(t, id, codes[0])
		s.pass(time.Minute + beyond)
		cause := s.cause()
		cause.NowNanos += int64(time.Second)
		phone := terminal("phone")
		refs := append(authzstore.TerminalRefs(phone), authzstore.ChallengeRefs(s.challenge(t, id))...)
		if err := s.store.Update(t.Context(), cause, refs, func(tx *authzstore.Tx) error { return tx.PutTerminal(phone) }); err != nil {
			t.Fatal(err)
		}
		s.enter(t, id, codes[1])
		if c := s.challenge(t, id); c.State != state {
			t.Errorf("%d ns beyond: %s", beyond, c.State)
		}
	}
}
