package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

func storeCode(terminal, body, key string) call.Request {
	return request(terminal, "POST", "/stored_codes", body, key)
}

func (s *stepWorld) storedCodes(t testing.TB) (c authzstore.StoredCodes) {
	t.Helper()
	s.view(t, func(snap authzstore.Snapshot) (err error) {
		c, err = snap.StoredCodes("acc_anna")
		return err
	})
	return c
}

// A terminal has a code made, which goes to it alone and takes the place of the one that
// it had. The repeat of the call makes none.
func TestStoreCode(t *testing.T) {
	s := newStepWorld(t)
	req := storeCode("phone", `{"max_amount_minor": 5000, "currency": "EUR"}`, nextKey())
	d := s.decide(req)
	want(t, d, decide.Allow, 0)
	if e := d.Execution; e.Does != "store_code" || e.Terminal != "trm_phone" || e.Account != "acc_anna" {
		t.Errorf("execution %+v", e)
	}
	stored := s.storedCodes(t)
	if len(stored.Codes) != 1 {
		t.Fatalf("codes %+v", stored)
	}
	c := stored.Codes[0]
	if c.Terminal != "trm_phone" || c.MaxAmountMinor != 5000 || c.Currency != "EUR" || c.ExpiresAtNanos != noon.UnixNano()+int64(7*24*time.Hour) {
		t.Errorf("code %+v", c)
	}
	m := s.messages(t, "trm_phone")
	if len(m) != 1 || m[0].Kind != "stored_code" || m[0].StoredCode == nil || m[0].StoredCode.Seq != c.Seq || m[0].AmountMinor != 5000 || len(s.messages(t, "trm_tablet")) != 0 {
		t.Errorf("messages %+v", m)
	}
	again := s.decide(req)
	want(t, again, decide.Allow, 0)
	if !again.Replayed || again.Execution.Terminal != "trm_phone" || s.storedCodes(t).LastSeq != 1 {
		t.Errorf("again %+v", again)
	}
	want(t, s.decide(storeCode("phone", `{}`, nextKey())), decide.Allow, 0)
	if stored = s.storedCodes(t); len(stored.Codes) != 1 || stored.Codes[0].Seq != 2 || stored.Codes[0].MaxAmountMinor != 0 {
		t.Errorf("codes %+v", stored)
	}
	for _, body := range []string{`{"max_amount_minor": 5000}`, `{"currency": "EUR"}`} {
		want(t, s.decide(storeCode("phone", body, nextKey())), decide.Deny, 422, "code_terms_invalid")
	}
	// No terminal, and one that is frozen: the policy is to look.
	want(t, s.decide(storeCode("laptop", `{}`, nextKey())), decide.Defect, 500, "policy_defect")
	frozen := phone()
	frozen.State = authzstore.TerminalFrozen
	s.putTerminal(t, frozen)
	want(t, s.decide(storeCode("phone", `{}`, nextKey())), decide.Defect, 500, "policy_defect")
	want(t, s.decide(req), decide.Allow, 0) // it may still see that there was one
	s.clean(t)
}

// So many codes of an account work at once; then the call may come again.
func TestTooManyStoredCodes(t *testing.T) {
	s := newStepWorld(t)
	for n := range authzstore.MaxStoredCodes + 1 {
		s.putTerminal(t, terminal(fmt.Sprint("t", n)))
	}
	for n := range authzstore.MaxStoredCodes {
		want(t, s.decide(storeCode(fmt.Sprint("t", n), `{}`, nextKey())), decide.Allow, 0)
	}
	last, key := fmt.Sprint("t", authzstore.MaxStoredCodes), nextKey()
	want(t, s.decide(storeCode(last, `{}`, key)), decide.Deny, 429, "codes_over_maximum")
	s.pass(7*24*time.Hour + 1)
	want(t, s.decide(storeCode(last, `{}`, key)), decide.Allow, 0)
	s.clean(t)
}

// A terminal says up to where it has its messages, and cannot for more than were sent.
func TestAcknowledge(t *testing.T) {
	s := newStepWorld(t)
	ack := func(terminal string, upTo int, key string) call.Request {
		return request(terminal, "POST", "/messages/ack", fmt.Sprintf(`{"up_to": %d}`, upTo), key)
	}
	acked := func() (d authzstore.Delivery) {
		s.view(t, func(snap authzstore.Snapshot) (err error) {
			d, err = snap.Delivery("trm_phone")
			return err
		})
		return d
	}
	for range 3 {
		want(t, s.decide(storeCode("phone", `{}`, nextKey())), decide.Allow, 0)
	}
	d := s.decide(ack("phone", 2, ""))
	want(t, d, decide.Allow, 0)
	if e := d.Execution; e.Does != "acknowledge_messages" || e.Terminal != "trm_phone" || acked().Acked != 2 {
		t.Errorf("execution %+v, acknowledged %d", e, acked().Acked)
	}
	want(t, s.decide(ack("phone", 1, "")), decide.Allow, 0)
	want(t, s.decide(ack("phone", 4, "")), decide.Deny, 422, "message_unknown")
	want(t, s.decide(ack("phone", -1, "")), decide.Deny, 422, "message_unknown")
	want(t, s.decide(ack("tablet", 1, "")), decide.Deny, 422, "message_unknown")
	want(t, s.decide(ack("laptop", 0, "")), decide.Defect, 500, "policy_defect")
	if acked().Acked != 2 {
		t.Errorf("acknowledged %d", acked().Acked)
	}
	s.clean(t)
}

// A stream is of the caller's terminal, and ends with the caller's token.
func TestStreamMessages(t *testing.T) {
	s := newStepWorld(t)
	req := request("phone", "GET", "/messages", "", "")
	req.Claims["exp"] = float64(noon.Unix() + 600)
	d := s.decide(req)
	want(t, d, decide.Allow, 0)
	if e := d.Execution; e.Does != "stream_messages" || e.Terminal != "trm_phone" || e.ExpiresAtNanos != (noon.Unix()+600)*1e9 {
		t.Errorf("execution %+v", e)
	}
	want(t, s.decide(request("laptop", "GET", "/messages", "", "")), decide.Defect, 500, "policy_defect")
}
