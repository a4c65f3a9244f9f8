package decide_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

const (
	reserveBun = `{"type": "reserve", "account": "acc_anna", "payee": "mer_bakery", "amount_minor": 250, "currency": "EUR"}`
	openOrder  = `{"type": "open_intent", "kind": "order", "state": "ordered", "expires_at_ns": input.now_ns + 60000000000, "terminals": ["trm_phone"], "attributes": {"what": "bun"}}`
	notePhone  = `{"type": "notify", "terminal": "trm_phone", "kind": "note"}`
)

func order(body, key string) call.Request {
	return request("anna", "POST", "/accounts/acc_anna/orders", body, key)
}

// What a policy cannot do: nothing of it is done, no challenge is issued, no message is
// sent, no intent is opened or goes on, and other calls go on.
func TestEffectsThatContradict(t *testing.T) {
	ask := strings.NewReplacer("\n", " ").Replace(askCodes)
	with := func(effect, old, new string) string {
		if strings.Count(effect, old) != 1 {
			t.Fatalf("%s has %q %d times", effect, old, strings.Count(effect, old))
		}
		return strings.Replace(effect, old, new, 1)
	}
	advance := `{"type": "advance_intent", "intent": "int_x", "from": "ordered", "to": "paid"}`
	toLaptop := func(effect string) string { return with(effect, "trm_phone", "trm_laptop") }
	for name, c := range map[string]struct {
		allow   bool
		effects []string
		req     call.Request
	}{
		"a challenge on an allow":                     {true, []string{reserveBun, ask}, pay("k")},
		"two challenges":                              {false, []string{ask, with(ask, `"max_attempts": 3`, `"max_attempts": 2`)}, pay("k")},
		"a challenge on a route that does not ask":    {false, []string{ask}, order(bun, "k")},
		"a challenge for a terminal elsewhere":        {false, []string{with(ask, everyone, `["trm_laptop"]`)}, pay("k")},
		"a challenge for a frozen terminal":           {false, []string{with(ask, everyone, `["trm_frozen"]`)}, pay("k")},
		"a challenge that is over":                    {false, []string{with(ask, "input.now_ns + 300000000000", "input.now_ns - 1")}, pay("k")},
		"a challenge for ever":                        {false, []string{with(ask, "300000000000", "300000000000000")}, pay("k")},
		"a sum of six digits":                         {false, []string{with(ask, `"entry": "any"`, `"entry": "sum"`)}, pay("k")},
		"an order of one code":                        {false, []string{with(with(ask, `"entry": "any"`, `"entry": "ascending"`), everyone, `["trm_phone"]`)}, pay("k")},
		"an intent on a denial":                       {false, []string{openOrder}, order(bun, "k")},
		"two intents":                                 {true, []string{openOrder, with(openOrder, `"bun"`, `"roll"`)}, order(bun, "k")},
		"an intent on a route that opens none":        {true, []string{reserveBun, openOrder}, pay("k")},
		"an intent for a terminal elsewhere":          {true, []string{toLaptop(openOrder)}, order(bun, "k")},
		"an intent that is over":                      {true, []string{with(openOrder, "input.now_ns + 60000000000", "input.now_ns - 1")}, order(bun, "k")},
		"an intent that there is not":                 {false, []string{advance}, order(bun, "k")},
		"an intent on a route that leads to none":     {true, []string{reserveBun, advance}, pay("k")},
		"a message to a terminal elsewhere":           {false, []string{toLaptop(notePhone)}, pay("k")},
		"a message to nobody":                         {false, []string{with(notePhone, "trm_phone", "anybody")}, pay("k")},
		"a message that is over":                      {false, []string{with(notePhone, `"kind"`, `"expires_at_ns": input.now_ns - 1, "kind"`)}, pay("k")},
		"a message where terminals are only read":     {false, []string{notePhone}, request("anna", "GET", "/intents/int_x", "", "")},
		"a reservation on a route that moves nothing": {true, []string{reserveBun}, order(bun, "k")},
		"messages, but no reservation":                {true, []string{notePhone}, pay("k")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			frozen := terminal("frozen")
			frozen.State = authzstore.TerminalFrozen
			s.putTerminal(t, frozen)
			ben := anna()
			ben.ID = "acc_ben"
			putAccount(t, s.backend, ben)
			laptop := terminal("laptop")
			laptop.Account = "acc_ben"
			s.putTerminal(t, laptop)
			s.use(t, fixed(c.allow, c.effects...))
			before := s.counts(t)
			d := s.decide(c.req)
			want(t, d, decide.Defect, 500, "policy_defect")
			if after := s.counts(t); after != before {
				t.Errorf("%s, and before %s", after, before)
			}
			var r decide.Record
			if err := json.Unmarshal([]byte(s.kept(t, d.ID)), &r); err != nil || !strings.HasPrefix(r.Error, "the policy contradicts") || r.Challenge+r.Intent+r.ReservationID != "" {
				t.Errorf("record %+v, %v", r, err)
			}
			s.use(t, stepUpRules)
			want(t, s.decide(pay(nextKey())), decide.StepUp, 401, "verification_required")
			s.clean(t)
		})
	}
}

// counts says how many of the new nouns there are.
func (s *stepWorld) counts(t testing.TB) string {
	t.Helper()
	var text string
	s.view(t, func(snap authzstore.Snapshot) error {
		counts, err := snap.Counts()
		for _, kind := range []string{"challenge", "intent", "open_intents", "mailbox", "initiator", "reservation"} {
			text += fmt.Sprint(kind, " ", counts[kind], " ")
		}
		return err
	})
	return text
}

// An allow under a key that was asked for a challenge needs it satisfied, whatever became
// of it: only asking again, or a denial, is left to the policy.
func TestAllowNeedsTheChallenge(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *stepWorld, string){
		"open":     func(*testing.T, *stepWorld, string) {},
		"expired":  func(_ *testing.T, s *stepWorld, _ string) { s.pass(301 * time.Second) },
		"replaced": func(t *testing.T, s *stepWorld, _ string) { s.asked(t, nextKey()) },
		"rejected": func(t *testing.T, s *stepWorld, id string) {
			want(t, s.decide(answer("phone", id, "reject")), decide.Allow, 0)
		},
		"locked": func(t *testing.T, s *stepWorld, id string) {
			for range 3 {
				s.enter(t, id, s.wrongCode(t, id), s.wrongCode(t, id))
			}
			s.wantState(t, id, authzstore.ChallengeLocked)
		},
		"satisfied, and a terminal bound anew": func(t *testing.T, s *stepWorld, id string) {
			s.enter(t, id, s.codes(t, id)...)
			s.rebind(t, phone())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			key := nextKey()
			id := s.asked(t, key)
			prepare(t, s, id)
			s.use(t, fixed(true, reserveBun))
			want(t, s.decide(pay(key)), decide.Defect, 500, "policy_defect")
			if u := s.usage(t); u.PendingMinor != 0 {
				t.Errorf("usage %+v", u)
			}
			s.use(t, stepUpRules)
			next := s.asked(t, key) // the key is not lost
			s.enter(t, next, s.codes(t, next)...)
			want(t, s.decide(pay(key)), decide.Allow, 0)
			s.clean(t)
		})
	}
}

// A consumed challenge lets nothing pass again: neither under another key, nor under its
// own after a denial.
func TestChallengeWorksOnce(t *testing.T) {
	s := newStepWorld(t)
	req := func(code, key string) call.Request {
		return request("anna", "POST", "/accounts/acc_anna/code_payments", strings.Replace(bun, "{", `{"code": "`+code+`", `, 1), key)
	}
	key := nextKey()
	d := s.decide(req("right 1", key))
	want(t, d, decide.StepUp, 401, "verification_required")
	s.enter(t, d.Challenge.ID, s.codes(t, d.Challenge.ID)...)
	s.use(t, fixed(false))
	want(t, s.decide(req("right 1", key)), decide.Deny, 403, "no")
	s.wantState(t, d.Challenge.ID, authzstore.ChallengeConsumed)
	s.use(t, fixed(true, reserveBun))
	want(t, s.decide(req("right 2", key)), decide.Defect, 500, "policy_defect") // a new attempt, and the old challenge
	s.use(t, stepUpRules)
	again := s.decide(req("right 3", key))
	want(t, again, decide.StepUp, 401, "verification_required")
	if again.Challenge.ID == d.Challenge.ID {
		t.Error("the consumed challenge is offered again")
	}
	s.clean(t)
}

// Evidence that matched when the key was asked for a challenge matches again when the
// call is repeated, is told so, and is used up once, by the step-up; other evidence is
// looked at anew.
func TestEvidenceOverAStepUp(t *testing.T) {
	for _, right := range []string{"right", "right once"} {
		t.Run(right, func(t *testing.T) {
			s := newStepWorld(t)
			codes := func(code, key string) call.Request {
				return request("anna", "POST", "/accounts/acc_anna/code_payments", strings.Replace(bun, "{", `{"code": "`+code+`", `, 1), key)
			}
			key := nextKey()
			first := s.decide(codes(right, key))
			want(t, first, decide.StepUp, 401, "verification_required")
			s.wantEvidence(t, first.ID, `map[matched:true matched_when_asked:false]`)
			for range 2 {
				again := s.decide(codes(right, key))
				want(t, again, decide.StepUp, 401, "verification_required")
				s.wantEvidence(t, again.ID, `map[matched:true matched_when_asked:true]`)
				if again.Challenge.ID != first.Challenge.ID {
					t.Error("another challenge")
				}
			}
			// It was used up by the step-up: under another key it is worth nothing.
			other := s.decide(codes(right, nextKey()))
			s.wantEvidence(t, other.ID, `map[matched:false matched_when_asked:false]`)
			s.wantLeft(t, "acc_anna", codeAllowance.Max-1)
			id := s.decide(codes(right, key)).Challenge.ID // the other call had replaced it
			s.enter(t, id, s.codes(t, id)...)
			paid := s.decide(codes(right, key))
			want(t, paid, decide.Allow, 0)
			s.wantEvidence(t, paid.ID, `map[matched:true matched_when_asked:true]`)
			s.wantLeft(t, "acc_anna", codeAllowance.Max-1)
			s.clean(t)
		})
	}
}

// Who has no attempt left for evidence cannot have anybody sent messages by it, on a
// denial; a call without evidence still can.
func TestNoMessagesWithoutAttempts(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, fixed(false, `{"type": "notify", "terminal": "trm_tablet", "kind": "note"}`))
	deny := func(body string) {
		t.Helper()
		want(t, s.decide(request("anna", "POST", "/accounts/acc_anna/code_payments", body, nextKey())), decide.Deny, 403, "no")
	}
	wrong := func(n int64) string { return strings.Replace(bun, "{", fmt.Sprintf(`{"code": "wrong %d", `, n), 1) }
	for n := range codeAllowance.Max {
		deny(wrong(n))
		if sent := s.messages(t, "trm_tablet"); len(sent) != int(n)+1 {
			t.Errorf("%d messages after %d wrong codes", len(sent), n+1)
		}
	}
	for n := range int64(3) {
		deny(wrong(codeAllowance.Max + n))
	}
	deny(strings.Replace(bun, "{", `{"code": "right", `, 1))
	if sent := s.messages(t, "trm_tablet"); len(sent) != int(codeAllowance.Max) {
		t.Errorf("%d messages after calls for which no attempt was left", len(sent))
	}
	deny(bun)
	if sent := s.messages(t, "trm_tablet"); len(sent) != int(codeAllowance.Max)+1 {
		t.Errorf("%d messages after a call without a code", len(sent))
	}
	s.clean(t)
}

// What did not match then does not match later, and other evidence is spent anew.
func TestOtherEvidenceOverAStepUp(t *testing.T) {
	s := newStepWorld(t)
	req := func(code, key string) call.Request {
		return request("anna", "POST", "/accounts/acc_anna/code_payments", strings.Replace(bun, "{", `{"code": "`+code+`", `, 1), key)
	}
	key := nextKey()
	wrong := s.decide(req("wrong", key))
	want(t, wrong, decide.StepUp, 401, "verification_required") // these rules ask all the same
	s.wantLeft(t, "acc_anna", codeAllowance.Max-1)
	again := s.decide(req("wrong", key))
	s.wantEvidence(t, again.ID, `map[matched:false matched_when_asked:false]`)
	s.wantLeft(t, "acc_anna", codeAllowance.Max-1)
	other := s.decide(req("right", key))
	s.wantEvidence(t, other.ID, `map[matched:true matched_when_asked:false]`)
	s.wantLeft(t, "acc_anna", codeAllowance.Max-1)
	s.enter(t, again.Challenge.ID, s.codes(t, again.Challenge.ID)...)
	back := s.decide(req("wrong", key)) // the last evidence counts: this is a new try
	want(t, back, decide.Defect, 500, "policy_defect")
	s.wantLeft(t, "acc_anna", codeAllowance.Max-2)
	want(t, s.decide(request("anna", "POST", "/accounts/acc_anna/code_payments", strings.Replace(bun, "250", "1", 1), key)), decide.Deny, 422, "key_other_call")
	s.clean(t)
}

// wantEvidence checks what the policy was told of the code.
func (s *stepWorld) wantEvidence(t testing.TB, decision, want string) {
	t.Helper()
	shown := s.input(t, decision)["evidence"].(map[string]any)["code"]
	if got := fmt.Sprint(shown); got != want {
		t.Errorf("evidence %s, want %s", got, want)
	}
}

// A decider without keys for codes asks for none, and says so in its log alone.
func TestNoKeyForCodes(t *testing.T) {
	s := newStepWorld(t, func(cfg *decide.Config) { cfg.Challenges, cfg.StoredCodes = nil, nil })
	want(t, s.decide(pay(nextKey())), decide.Defect, 500, "internal_error")
	want(t, s.decide(entryOf("anna", "chl_x", "123456")), decide.Defect, 500, "internal_error")
	want(t, s.decide(request("phone", "POST", "/stored_codes", "{}", nextKey())), decide.Defect, 500, "internal_error")
	s.use(t, asking(askApproval))
	want(t, s.decide(pay(nextKey())), decide.StepUp, 401, "verification_required")
	if !strings.Contains(s.log.String(), "codes, without a key for them") {
		t.Errorf("log %s", &s.log)
	}
}

// partialGrant is a grant to Ben whose owner approves each payment.
func (s *stepWorld) partialGrant(t testing.TB) string {
	t.Helper()
	terms, err := authzstore.ParseTerms([]byte(strings.Replace(lifetimeTerms, `"delegation": "full"`, `"delegation": "partial"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	ben := authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "ben"}
	g := authzstore.Grant{ID: authzstore.NewID("grt"), Account: "acc_anna", Delegate: ben, Terms: terms}
	credential, err := newCredential()
	if err != nil {
		t.Fatal(err)
	}
	refs := append(authzstore.OfferRefs(g), authzstore.GrantRefs(g)...)
	refs = append(refs, authzstore.CredentialRef(credential.Handle, kv.Exclusive))
	err = s.store.Update(t.Context(), s.cause(), refs, func(tx *authzstore.Tx) error {
		if err := tx.OfferGrant(g); err != nil {
			return err
		}
		return tx.AcceptGrant(g.ID, credential)
	})
	if err != nil {
		t.Fatal(err)
	}
	return g.ID
}

// By a grant of partial delegation nothing is paid without an approval under the key,
// whatever the policy says.
func TestPartialDelegationNeedsAnApproval(t *testing.T) {
	s := newStepWorld(t)
	id := s.partialGrant(t)
	reserve := strings.Replace(reserveBun, "{", fmt.Sprintf(`{"grant": %q, `, id), 1)
	payBy := func(path, key string) call.Request {
		return request("mer_bakery", "POST", "/grants/"+id+path, bun, key)
	}
	codes, key := nextKey(), nextKey()
	byCodes := s.decide(payBy("/payments", codes))
	want(t, byCodes, decide.StepUp, 401, "verification_required")
	for _, code := range s.codes(t, byCodes.Challenge.ID) {
		want(t, s.decide(entryOf("mer_bakery", byCodes.Challenge.ID, code)), decide.Allow, 0)
	}
	s.wantState(t, byCodes.Challenge.ID, authzstore.ChallengeSatisfied)
	s.use(t, fixed(true, reserve))
	want(t, s.decide(payBy("/payments", codes)), decide.Defect, 500, "policy_defect") // it is no approval
	want(t, s.decide(payBy("/payments", key)), decide.Defect, 500, "policy_defect")
	want(t, s.decide(payBy("/unasked_payments", nextKey())), decide.Defect, 500, "policy_defect")
	s.use(t, asking(askApproval))
	d := s.decide(payBy("/payments", key))
	want(t, d, decide.StepUp, 401, "verification_required")
	want(t, s.decide(answer("phone", d.Challenge.ID, "approve")), decide.Allow, 0)
	s.use(t, fixed(true, reserve))
	paid := s.decide(payBy("/payments", key))
	want(t, paid, decide.Allow, 0)
	if e := paid.Execution; e.Grant != id || e.Account != "acc_anna" {
		t.Errorf("execution %+v", e)
	}
	s.clean(t)
}
