package decide_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// A call that was allowed for one service, or for one that did not promise to run a
// reservation once, is not forwarded to another, nor once somebody promises it.
func TestForwardedToTheSameServiceAlone(t *testing.T) {
	for name, text := range map[string]string{
		"another audience":        strings.Replace(routesText(t), "audience: payments.example", "audience: other.example", 1),
		"a promise made later":    routesText(t),
		"moves no money any more": strings.Replace(routesText(t), "facts: {account: write}", "moves_money: false\n  idempotency: {header: idempotency-key}", 1),
	} {
		t.Run(name, func(t *testing.T) {
			before := routesText(t)
			if name == "a promise made later" {
				before = strings.Replace(before, "idempotent: true", "idempotent: false", 1)
			}
			w := newWorld(t, withRoutes(loadRoutes(t, before)))
			want(t, w.decide(keyedPayment("acc_anna", "k", 1250, "")), decide.Allow, 0)
			after := newWorld(t, withStore(w.backend), withRoutes(loadRoutes(t, text)))
			want(t, after.decide(keyedPayment("acc_anna", "k", 1250, "")), decide.Deny, 409, "already_allowed")
		})
	}
}

func loadRoutes(t *testing.T, text string) *call.Table {
	t.Helper()
	table, err := call.Load(fstest.MapFS{"systems/direct_payment/routes.yaml": {Data: []byte(text)}}, call.Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Envoy asking again gets no allow once a freeze was acknowledged.
func TestEnvoyAsksAgainAfterFreeze(t *testing.T) {
	w := newWorld(t)
	req := keyedPayment("acc_anna", "k", 1250, "")
	req.CheckID = "10.0.0.1:5000/42"
	want(t, w.decide(req), decide.Allow, 0)
	frozen := anna()
	frozen.State = authzstore.AccountFrozen
	putAccount(t, w.backend, frozen)
	want(t, w.decide(req), decide.Deny, 409, "already_allowed")
}

// A payment by a grant that was allowed is not forwarded again once its merchant is no
// longer paid, or the account is no longer of the owner who gave the grant; neither to
// who repeats it, nor where Envoy asks again.
func TestNotForwardedToWhomNothingIsPaid(t *testing.T) {
	for name, stop := range map[string]func(*grantWorld){
		"the merchant is frozen": func(w *grantWorld) {
			m := bakery()
			m.State = authzstore.MerchantFrozen
			w.putMerchant(t, m)
		},
		"the till is the merchant's no more": func(w *grantWorld) {
			m := bakery()
			m.Channels = nil
			w.putMerchant(t, m)
		},
		"the account has another owner": func(w *grantWorld) {
			a := anna()
			a.Owner.Subject = "carl"
			putAccount(t, w.backend, a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newGrantWorld(t)
			_, handle := w.active(t)
			req := codePayment(handle+"-1", 100, nextKey())
			missed := codePayment(handle+"-2", 100, nextKey())
			missed.CheckID = "127.0.0.1:1/x"
			for range 2 {
				want(t, w.decide(req), decide.Allow, 0)
				want(t, w.decide(missed), decide.Allow, 0)
			}
			stop(w)
			want(t, w.decide(req), decide.Deny, 409, "already_allowed")
			want(t, w.decide(missed), decide.Deny, 409, "already_allowed")
		})
	}
}
