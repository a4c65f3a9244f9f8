package decide_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
)

// A payment asks for codes, which go to both terminals; it passes under its key once
// both were entered, and once.
func TestStepUp(t *testing.T) {
	s := newStepWorld(t)
	key := nextKey()
	first := s.decide(pay(key))
	want(t, first, decide.StepUp, 401, "verification_required")
	if first.Challenge == nil || first.Challenge.Kind != "code" || first.Challenge.ExpiresAtNanos != noon.UnixNano()+300e9 || first.Execution != nil {
		t.Fatalf("%+v", first)
	}
	id := first.Challenge.ID
	for i, terminal := range []string{"trm_phone", "trm_tablet"} {
		sent := s.messages(t, terminal)
		c := s.challenge(t, id)
		if len(sent) != 1 {
			t.Fatalf("%d messages to %s", len(sent), terminal)
		}
		m := sent[0]
		if m.Kind != "code" || m.Challenge != id || m.CodeCounter != c.Terminals[i].Counter || m.CodeCounter == 0 || m.AmountMinor != 250 || m.Currency != "EUR" ||
			m.Payee != "mer_bakery" || m.Requester != anna().Owner || m.Details["shop"] != "Bakery" || m.ExpiresAtNanos != c.ExpiresAtNanos {
			t.Errorf("message %+v", m)
		}
	}
	// Repeated while it is open, it is the same challenge, and nothing is sent.
	again := s.decide(pay(key))
	want(t, again, decide.StepUp, 401, "verification_required")
	if *again.Challenge != *first.Challenge || len(s.messages(t, "trm_phone")) != 1 {
		t.Errorf("%+v, %d messages", again.Challenge, len(s.messages(t, "trm_phone")))
	}
	codes := s.codes(t, id)
	s.enter(t, id, codes[1])
	want(t, s.decide(pay(key)), decide.StepUp, 401, "verification_required")
	s.enter(t, id, codes[0])
	if state := s.challenge(t, id).State; state != "satisfied" {
		t.Fatalf("the challenge is %s", state)
	}
	paid := s.decide(pay(key))
	want(t, paid, decide.Allow, 0)
	if e := paid.Execution; e == nil || e.ReservationID == "" || e.AmountMinor != 250 || e.Challenge != "" {
		t.Errorf("execution %+v", e)
	}
	if state := s.challenge(t, id).State; state != "consumed" {
		t.Errorf("the challenge is %s", state)
	}
	repeated := s.decide(pay(key))
	want(t, repeated, decide.Allow, 0)
	if !repeated.Replayed || repeated.Execution.ReservationID != paid.Execution.ReservationID {
		t.Errorf("%+v", repeated)
	}
	s.clean(t)
}

// Every decision on the way of a step-up, of an intent and of a code in advance can be
// made again of its record: the input is all that the policy knew.
func TestStepUpReplays(t *testing.T) {
	s := newStepWorld(t)
	rules := map[string]*bundle.Bundle{} // by decision
	made := func(d decide.Decision) decide.Decision {
		rules[d.ID] = s.rules
		return d
	}
	key := nextKey()
	id := made(s.decide(pay(key))).Challenge.ID
	for _, code := range s.codes(t, id) {
		made(s.decide(entryOf("anna", id, code)))
	}
	made(s.decide(pay(key)))
	s.use(t, asking(askApproval))
	other := made(s.decide(pay(nextKey()))).Challenge.ID
	made(s.decide(answer("phone", other, "reject")))
	intent := s.ordered(t, nextKey())
	s.use(t, fixed(true, advance("ordered", "pushed", "")))
	made(s.decide(request("anna", "POST", "/intents/"+intent+"/act", "", nextKey())))
	made(s.decide(request("phone", "POST", "/gestures", "", nextKey()))) // no intent that its rules name: a defect
	s.use(t, fixed(true))
	made(s.decide(request("phone", "POST", "/stored_codes", "{}", nextKey())))
	outcomes := map[decide.Outcome]int{}
	for _, decisionID := range slices.Sorted(maps.Keys(rules)) {
		var stored authzstore.Record
		s.view(t, func(snap authzstore.Snapshot) (err error) {
			stored, _, err = snap.Record(decisionID)
			return err
		})
		record, err := decide.ReadRecord(stored)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[record.Outcome]++
		if record.Outcome == decide.Defect {
			continue
		}
		input, err := policy.ParseValue(record.Input)
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := rules[decisionID].Policy.Decide(t.Context(), input)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(verdict.Document); err != nil || string(again) != string(record.Decision) {
			t.Errorf("%s\nnow %s, %v\nwas %s", record.Input, again, err, record.Decision)
		}
		if outcome, err := record.Would(verdict, record.ReservationID != ""); err != nil || outcome != record.Outcome {
			t.Errorf("would be %s, was %s (%v)", outcome, record.Outcome, err)
		}
	}
	if outcomes[decide.StepUp] != 2 || outcomes[decide.Allow] < 6 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// A call that Envoy asks twice is asked for one challenge, and gets one answer.
func TestStepUpAskedTwiceByEnvoy(t *testing.T) {
	s := newStepWorld(t)
	req := pay(nextKey())
	req.CheckID = "stream-1"
	first, second := s.decide(req), s.decide(req)
	if first.Outcome != decide.StepUp || second.ID != first.ID || *second.Challenge != *first.Challenge {
		t.Errorf("%+v and %+v", first, second)
	}
	if n := len(s.messages(t, "trm_phone")); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// What the policy is told of an account's people, in full.
func TestStepUpFacts(t *testing.T) {
	s := newStepWorld(t)
	key := nextKey()
	s.asked(t, key)
	d := s.decide(pay(key))
	input := s.input(t, d.ID)["facts"].(map[string]any)
	terminals := input["terminals"].([]any)
	delete(input, "account")
	delete(input, "terminals")
	c := s.challenge(t, d.Challenge.ID)
	wantFacts := map[string]any{
		"challenge": map[string]any{
			"id": c.ID, "kind": "code", "state": "open", "account": "acc_anna", "initiator": map[string]any{"kind": "user", "issuer": "https://id.example", "subject": "anna"},
			"system": "checkout", "operation": "pay", "expects": "initiator", "terminals": []any{"trm_phone", "trm_tablet"}, "amount_minor": 250, "currency": "EUR",
			"payee": "mer_bakery", "attempts_left": 3, "issued_at_ns": c.IssuedAtNanos, "expires_at_ns": c.ExpiresAtNanos,
		},
		"initiator": map[string]any{"starts_at_ns": []any{c.IssuedAtNanos}, "open": 1, "rejected_in_a_row": 0},
	}
	if got, want := indented(t, input), indented(t, wantFacts); !sameJSON(t, got, want) {
		t.Errorf("facts %s\nwant  %s", got, want)
	}
	wantPhone := map[string]any{
		"id": "trm_phone", "account": "acc_anna", "state": "bound", "number": "+49 30 phone", "os": "android", "rights": []any{"order"}, "paired_with": []any{},
		"bound_at_ns": noon.UnixNano(), "identity": map[string]any{"kind": "terminal", "issuer": "https://id.example", "subject": "phone"},
	}
	if got, want := indented(t, terminals[0]), indented(t, wantPhone); !sameJSON(t, got, want) {
		t.Errorf("terminal %s\nwant  %s", got, want)
	}
}

// sameJSON compares documents, whatever the order of members and the form of numbers.
func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var documents [2]any
	for i, text := range []string{a, b} {
		if err := json.Unmarshal([]byte(text), &documents[i]); err != nil {
			t.Fatal(err)
		}
	}
	return reflect.DeepEqual(documents[0], documents[1])
}
