package envoy

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// Under a partial delegation Anna's phone approves what Ben's code pays; the merchant
// repeats the call with the code that has aged by then.
func TestApprovedPayment(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{
		{ID: "acc_anna", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100000},
	}, terminalOf("acc_anna", "phone", "+491", "approve"), terminalOf("acc_anna", "watch", "+492"))
	f.clock.move(48 * time.Hour)
	terms := freeTerms()
	terms.Delegation = authzstore.DelegationPartial
	device := f.accept(t, f.offer(t, "acc_anna", terms))

	pay := func(key, code string) response {
		return f.keyed(t, key, bakery.subject, http.MethodPost, "/v1/payments",
			map[string]any{"payment_code": code, "payee": bakery.payee, "amount_minor": 1250, "currency": "EUR"})
	}
	answer := func(subject, challenge, what string) response {
		return f.call(t, subject, http.MethodPost, "/countersign/v1/challenges/"+challenge+"/"+what, nil)
	}
	code := f.code(t, device, 0)
	asked := pay("rolls", code)
	if asked.StatusCode != http.StatusUnauthorized || asked.reason(t) != "approval_required" {
		t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
	}
	challenge := asked.Header.Get("Countersign-Challenge-Id")
	f.clock.move(2 * time.Minute) // the code is stale
	if r := pay("rolls", code); r.StatusCode != http.StatusUnauthorized || r.Header.Get("Countersign-Challenge-Id") != challenge {
		t.Fatalf("again: status %d, %s", r.StatusCode, r.body)
	}
	for _, subject := range []string{"ben", "watch", "bakery"} {
		if r := answer(subject, challenge, "approve"); r.StatusCode != http.StatusForbidden {
			t.Errorf("approved by %s: status %d, %s", subject, r.StatusCode, r.body)
		}
	}
	if r := answer("phone", challenge, "approve"); r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", r.StatusCode, r.body)
	}
	if r := pay("rolls", code); r.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Fatalf("status %d, %s", r.StatusCode, r.body)
	}

	f.clock.move(time.Minute)
	code = f.code(t, device, 0)
	challenge = pay("cake", code).Header.Get("Countersign-Challenge-Id")
	if r := answer("phone", challenge, "reject"); r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", r.StatusCode, r.body)
	}
	if r := pay("cake", code); r.StatusCode != http.StatusForbidden || r.reason(t) != "approval_rejected" {
		t.Errorf("rejected: status %d, %s", r.StatusCode, r.body)
	}
	if ms := f.messages.to(t, "trm_phone", 2); ms[0].Kind != "approval_request" || ms[0].AmountMinor != 1250 || ms[0].Payee != "mer_bakery" || ms[0].Details["delegate"] != "ben" {
		t.Errorf("message %+v", ms[0])
	}
	if n := len(f.messages.of(t, "")); n != 2 || len(paid()) != 1 {
		t.Errorf("%d messages, %d paid", n, len(paid()))
	}
}
