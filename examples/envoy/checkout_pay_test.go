package envoy

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// payWindow is how long after the push it can be paid.
const payWindow = 180 * time.Second

var payCases = []checkoutCase{
	{name: "paid on the phone", step: steps(laptopOpens, phoneSwipes, phonePays)},
	{name: "paid on the tablet, which swiped first", step: steps(laptopOpens, tabletSwipes, tabletPays)},
	{name: "no operation", step: steps(laptopOpens, phonePays), public: []string{"checkout_awaits_gesture"}},
	{name: "paid on the laptop", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return w.pay(t, f, w.laptop, nil)
	}), public: []string{"checkout_opened_here", "terminals_not_paired"}},
	{name: "paid on the tablet, when the phone has swiped", step: steps(laptopOpens, phoneSwipes, tabletPays), public: []string{"checkout_not_pushed"}},
	{name: "paid on the watch", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return w.pay(t, f, w.watch, nil)
	}), public: []string{"checkout_not_pushed", "terminals_not_paired"}},
	{name: "paid on a phone of another account", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return w.pay(t, f, checkoutOf(0).phone, nil)
	}), public: unknown},
	{name: "paid by the owner", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return w.pay(t, f, "anna", nil)
	}), public: []string{"terminal_unknown"}},
	{name: "paid by the merchant", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return w.pay(t, f, "bakery", nil)
	}), public: []string{"terminal_unknown"}},
	{name: "no such checkout", step: steps(laptopOpens, phoneSwipes, anotherID, phonePays), public: unknown},
	{name: "one minor unit more", step: steps(laptopOpens, phoneSwipes, paysWith(map[string]any{"amount_minor": 1251})), public: []string{"amount_changed"}},
	{name: "one minor unit less", step: steps(laptopOpens, phoneSwipes, paysWith(map[string]any{"amount_minor": 1249})), public: []string{"amount_changed"}},
	{name: "another payee", step: steps(laptopOpens, phoneSwipes, paysWith(map[string]any{"payee": "mer_casino"})), public: []string{"payee_changed"}},
	{name: "another currency", step: steps(laptopOpens, phoneSwipes, paysWith(map[string]any{"currency": "USD"})), public: []string{"currency_changed", "currency_not_account"}},

	{name: "paid at the last instant", step: steps(laptopOpens, phoneSwipes, waits(payWindow), phonePays)},
	{name: "paid one nanosecond later", step: steps(laptopOpens, phoneSwipes, waits(payWindow+1), phonePays), public: []string{"payment_too_late"}},
	{name: "both at their last instants", step: steps(laptopOpens, waits(60*time.Second), phoneSwipes, waits(payWindow), phonePays)},
	{name: "expired by one nanosecond", step: steps(laptopOpens, waits(60*time.Second), phoneSwipes, waits(payWindow+1), phonePays), public: []string{"intent_expired"}},
	{name: "paid before", step: steps(laptopOpens, phoneSwipes, phonePays, phonePays), public: []string{"intent_closed"}},
	{name: "the first of two, when its turn is over", step: steps(laptopOpens, phoneSwipes, laptopOpens, phonePays), public: []string{"checkout_awaits_gesture"}},

	{name: "the phone was unbound since", step: steps(laptopOpens, phoneSwipes, becomes(thePhone, unbound), phonePays), public: []string{"terminal_unknown"}},
	{name: "the phone was frozen since", step: steps(laptopOpens, phoneSwipes, becomes(thePhone, frozen), phonePays), public: []string{"terminal_unknown"}},
	{name: "the phone was bound anew since", step: steps(laptopOpens, phoneSwipes, isAnother(thePhone), phonePays), public: []string{"terminal_unbound"}},
	{name: "the laptop was unbound since", step: steps(laptopOpens, phoneSwipes, becomes(theLaptop, unbound), phonePays), public: []string{"terminal_unbound"}},
	{name: "the laptop was frozen since", step: steps(laptopOpens, phoneSwipes, becomes(theLaptop, frozen), phonePays), public: []string{"terminal_unbound"}},
	{name: "the laptop was bound anew since", step: steps(laptopOpens, phoneSwipes, isAnother(theLaptop), phonePays), public: []string{"terminal_unbound"}},
	{name: "not paired any more", step: steps(laptopOpens, phoneSwipes, becomes(thePhone, unpaired), phonePays), public: []string{"terminals_not_paired"}},
	{name: "the phone is of another account now", step: steps(laptopOpens, phoneSwipes, becomes(thePhone, func(trm *authzstore.Terminal) {
		trm.Account = checkoutOf(0).account
	}), phonePays), public: unknown},

	{name: "the account was frozen since", step: steps(laptopOpens, phoneSwipes, accountStops, phonePays), public: []string{"account_frozen"}},
	{name: "exactly the account's maximum", world: func(a *authzstore.Account) { a.MaxPaymentMinor = 1250 }, step: steps(laptopOpens, phoneSwipes, phonePays)},
	{name: "one minor unit over the account's maximum", world: func(a *authzstore.Account) { a.MaxPaymentMinor = 1249 }, step: steps(laptopOpens, phoneSwipes, phonePays),
		public: []string{"amount_over_payment_maximum payment 1249 left"}},
	{name: "exactly what is left of the account's limit", world: accountLimit(2500), step: steps(laptopOpens, phoneSwipes, phonePays, laptopOpens, phoneSwipes, phonePays)},
	{name: "one minor unit over the account's limit", world: accountLimit(2499), step: steps(laptopOpens, phoneSwipes, phonePays, laptopOpens, phoneSwipes, phonePays),
		public: []string{"amount_over_limit total 1249 left"}},
}

func accountLimit(minor int64) func(*authzstore.Account) {
	return func(a *authzstore.Account) {
		a.Limits = []authzstore.Limit{{Name: "total", MaxAmountMinor: minor, Period: authzstore.Period{Kind: authzstore.Lifetime}}}
	}
}

// paysWithToken pays on the phone with the token that is in mind.
func paysWithToken(change func(string) string) checkoutStep {
	return func(t *testing.T, f *family, w *checkout) response {
		token := w.token
		if change != nil {
			token = change(token)
		}
		return w.pay(t, f, w.phone, map[string]any{"token": token})
	}
}

// spoilt is another token of the same form.
func spoilt(token string) string {
	if token[0] == 'a' {
		return "b" + token[1:]
	}
	return "a" + token[1:]
}

// tokenCases: where none is wanted, one that is shown must still be right.
var tokenCases = []checkoutCase{
	{name: "a token without need", step: steps(laptopOpens, mind, phoneSwipes, paysWithToken(nil))},
	{name: "a wrong token without need", step: steps(laptopOpens, mind, phoneSwipes, paysWithToken(spoilt)), public: []string{"intent_token_invalid"}},
	{name: "the token of another checkout, without need", step: steps(laptopOpens, mind, waits(60*time.Second+1), laptopOpens, phoneSwipes, paysWithToken(nil)),
		public: []string{"intent_token_invalid"}},
}

// One checkout, and all that each terminal hears of it: the phone made no call before it
// was pushed to but the operation, and names no checkout in that.
func TestCheckoutFlow(t *testing.T) {
	f, w := newCheckouts(t, nil, make([]checkoutCase, 1)), checkoutOf(0)
	open := func() response {
		return f.keyed(t, "cart", w.laptop, http.MethodPost, "/v1/checkouts", map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"})
	}
	opened := open()
	w.id = opened.Header.Get("Countersign-Intent-Id")
	if claims := f.verified(t, lastPaid(t)); opened.StatusCode != http.StatusOK || w.id == "" || claims.Intent != w.id || claims.ReservationID != "" {
		t.Fatalf("status %d, %s; the payment service reads %+v", opened.StatusCode, opened.body, claims)
	}
	if again := open(); again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Intent-Id") != w.id || f.intentsOf(t, w.account) != 1 {
		t.Errorf("again: status %d, ID %q, want %q", again.StatusCode, again.Header.Get("Countersign-Intent-Id"), w.id)
	}
	f.wasTold(t, w, "trm_"+w.phone+" gesture_request", "trm_"+w.tablet+" gesture_request")
	if resp := phoneSwipes(t, f, w); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	f.wasTold(t, w, "trm_"+w.phone+" payment_response", "trm_"+w.tablet+" checkout_closed")
	pay := func() response {
		return f.keyed(t, "pay", w.phone, http.MethodPost, "/v1/checkouts/"+w.id+"/pay", map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"})
	}
	if resp := pay(); resp.StatusCode != http.StatusOK || resp.body != "paid" {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	claims := f.verified(t, lastPaid(t))
	if claims.Intent != w.id || claims.Account != w.account || claims.Payee != "mer_bakery" || claims.AmountMinor != 1250 || claims.ReservationID == "" {
		t.Errorf("the payment service reads %+v", claims)
	}
	if resp, again := pay(), f.verified(t, lastPaid(t)); resp.StatusCode != http.StatusOK || !again.Replayed || again.ReservationID != claims.ReservationID || again.Intent != w.id {
		t.Errorf("again: status %d, the payment service reads %+v", resp.StatusCode, again)
	}
	f.wasTold(t, w, "trm_"+w.laptop+" checkout_paid")
	if minor, payments := f.spent(t, w.account); minor != 1250 || payments != 1 {
		t.Errorf("%d spent in %d payments", minor, payments)
	}
}

// wasTold holds the messages since the last time to these, in any order, each with what
// it is about.
func (f *family) wasTold(t *testing.T, w *checkout, want ...string) {
	t.Helper()
	f.told += len(want)
	for deadline := time.Now().Add(patience); len(f.messages.of(t, "")) < f.told && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	all := f.messages.of(t, "")
	if len(all) != f.told {
		t.Fatalf("messages %q, want %d", kindsOf(all), f.told)
	}
	latest := all[f.told-len(want):]
	for _, m := range latest {
		if m.Intent != w.id || m.Payee != "mer_bakery" || m.AmountMinor != 1250 || m.Currency != "EUR" || m.Requester.Subject == "" {
			t.Errorf("message %+v", m)
		}
	}
	got := kindsOf(latest)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}
