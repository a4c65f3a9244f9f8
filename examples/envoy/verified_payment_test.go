package envoy

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/examples/issuer"
)

func terminalOf(account, id, number string, rights ...string) authzstore.Terminal {
	return authzstore.Terminal{
		ID: "trm_" + id, Account: account, Number: number, OS: "ios", Rights: rights, State: authzstore.TerminalBound,
		Identity: authzstore.Identity{Kind: "terminal", Issuer: issuer.URL, Subject: id},
	}
}

// A payment that two terminals confirm: nothing passes before both codes are entered,
// and once they are it passes once.
func TestVerifiedPayment(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{
		{ID: "acc_anna", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100000},
	}, terminalOf("acc_anna", "phone", "+491"), terminalOf("acc_anna", "tablet", "+492"))
	f.clock.move(48 * time.Hour)

	pay := func() response {
		return f.keyed(t, "shoes", "anna", http.MethodPost, "/v1/accounts/acc_anna/verified-payments",
			map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"})
	}
	asked := pay()
	if asked.StatusCode != http.StatusUnauthorized || len(paid()) != 0 {
		t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
	}
	challenge := asked.Header.Get("Countersign-Challenge-Id")
	for _, trm := range []string{"trm_phone", "trm_tablet"} {
		m := f.messages.to(t, trm, 1)
		if again := pay(); again.StatusCode != http.StatusUnauthorized || again.Header.Get("Countersign-Challenge-Id") != challenge {
			t.Fatalf("status %d, %s", again.StatusCode, again.body)
		}
		entered := f.call(t, "anna", http.MethodPost, "/countersign/v1/user/challenges/"+challenge+"/entries", map[string]any{"code": m[0].Code})
		if entered.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d, %s", entered.StatusCode, entered.body)
		}
	}
	if done := pay(); done.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Errorf("status %d, %d calls upstream: %s", done.StatusCode, len(paid()), done.body)
	}
	if n := len(f.messages.of(t, "")); n != 2 {
		t.Errorf("%d messages", n)
	}
}
