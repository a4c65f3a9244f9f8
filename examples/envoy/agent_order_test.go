package envoy

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/outbox"
)

func newDesk(t *testing.T) *family {
	f := newFamily(t, nil, []authzstore.Account{
		{ID: "acc_anna", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100000},
	}, terminalOf("acc_anna", "phone", "+491", "order"), terminalOf("acc_anna", "watch", "+492"))
	f.clock.move(48 * time.Hour)
	return f
}

// order is the desk's, under a key.
func (f *family) order(t *testing.T, key string, more map[string]any) response {
	t.Helper()
	body := map[string]any{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}
	for name, value := range more {
		body[name] = value
	}
	return f.keyed(t, key, "desk", http.MethodPost, "/v1/agent/orders", body)
}

func (f *family) enter(t *testing.T, subject, challenge, code string) {
	t.Helper()
	entered := f.call(t, subject, http.MethodPost, "/countersign/v1/challenges/"+challenge+"/entries", map[string]any{"code": code})
	if entered.StatusCode != http.StatusAccepted {
		t.Fatalf("entry by %s: status %d, %s", subject, entered.StatusCode, entered.body)
	}
}

// reason is the one that leads, as the caller hears it.
func (r response) reason(t *testing.T) string {
	t.Helper()
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(r.body), &problem); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return problem.Code
}

func kinds(messages []outbox.Envelope) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Kind)
	}
	return all
}

// A desk orders for Anna: her phone confirms the order and pays it, by four messages.
func TestAgentOrder(t *testing.T) {
	f := newDesk(t)
	asked := f.order(t, "loaves", nil)
	if asked.StatusCode != http.StatusUnauthorized || asked.reason(t) != "verification_required" || len(paid()) != 0 {
		t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
	}
	challenge := asked.Header.Get("Countersign-Challenge-Id")
	code := f.messages.to(t, "trm_phone", 1)[0].Code
	for _, subject := range []string{"desk", "watch"} { // the right code, from the wrong sender
		f.enter(t, subject, challenge, code)
		if again := f.order(t, "loaves", nil); again.StatusCode != http.StatusUnauthorized {
			t.Fatalf("after %s: status %d, %s", subject, again.StatusCode, again.body)
		}
	}
	f.enter(t, "phone", challenge, code)
	ordered := f.order(t, "loaves", nil)
	if ordered.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", ordered.StatusCode, ordered.body)
	}
	order := ordered.Header.Get("Countersign-Intent-Id")
	path := "/v1/orders/" + order + "/payments"
	for _, subject := range []string{"desk", "watch"} {
		if r := f.call(t, subject, http.MethodPost, path, nil); r.StatusCode != http.StatusForbidden {
			t.Errorf("paid by %s: status %d, %s", subject, r.StatusCode, r.body)
		}
	}
	f.clock.move(10 * time.Minute)
	if r := f.call(t, "phone", http.MethodPost, path, nil); r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", r.StatusCode, r.body)
	}
	if r := f.call(t, "phone", http.MethodPost, path, nil); r.StatusCode != http.StatusForbidden || r.reason(t) != "order_paid" {
		t.Errorf("again: status %d, %s", r.StatusCode, r.body)
	}
	want := []string{"code", "deduction_request", "payment_succeeded", "deduction_notice"}
	got := kinds(f.messages.to(t, "trm_phone", 4))
	if !slices.Equal(got, want) || len(f.messages.of(t, "")) != 4 {
		t.Errorf("messages %v", got)
	}
}

// Too late, by a nanosecond, and the order is dead.
func TestAgentOrderTooLate(t *testing.T) {
	f := newDesk(t)
	stored := f.call(t, "phone", http.MethodPost, "/countersign/v1/stored_codes", map[string]any{"max_amount_minor": 1250, "currency": "EUR"})
	if stored.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %s", stored.StatusCode, stored.body)
	}
	code := f.messages.to(t, "trm_phone", 1)[0].Code
	if r := f.order(t, "dear", map[string]any{"stored_code": "00000000"}); r.StatusCode != http.StatusForbidden || r.reason(t) != "stored_code_invalid" {
		t.Fatalf("status %d, %s", r.StatusCode, r.body)
	}
	ordered := f.order(t, "loaves", map[string]any{"stored_code": code})
	if ordered.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", ordered.StatusCode, ordered.body)
	}
	if r := f.order(t, "more", map[string]any{"stored_code": code}); r.reason(t) != "stored_code_invalid" {
		t.Errorf("used twice: status %d, %s", r.StatusCode, r.body)
	}
	path := "/v1/orders/" + ordered.Header.Get("Countersign-Intent-Id") + "/payments"
	f.clock.move(10*time.Minute + time.Nanosecond)
	for _, want := range []string{"instruction_too_late", "order_failed"} {
		if r := f.call(t, "phone", http.MethodPost, path, nil); r.reason(t) != want {
			t.Errorf("not %s: status %d, %s", want, r.StatusCode, r.body)
		}
	}
	got := kinds(f.messages.to(t, "trm_phone", 5))
	want := []string{"stored_code", "authorisation_failed", "deduction_request", "authorisation_failed", "payment_failed"}
	if !slices.Equal(got, want) {
		t.Errorf("messages %v", got)
	}
}
