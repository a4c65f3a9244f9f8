package decide_test

import (
	"testing"

	"github.com/countersign/countersign/sidecar/decide"
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
