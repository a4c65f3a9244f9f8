package envoy

import (
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

// certified is the bakery's server, which has a certificate.
const certified = "spiffe://shop.example/bakery"

// registerServer has the bakery called for by its server too, as an operator registers it.
func (f *family) registerServer(t *testing.T) {
	t.Helper()
	var m api.Merchant
	f.backend(t, http.MethodGet, "/v1/merchants/mer_bakery", nil, &m)
	m.Channels = append(m.Channels, authzstore.MerchantChannel{Channel: "till", Identity: server("merchant", certified)})
	f.backend(t, http.MethodPut, "/v1/merchants/mer_bakery", m.MerchantTerms, nil)
}

// newShop is a secure family in which Anna has these accounts, and Ben pays from them.
func newShop(t *testing.T, rules fs.FS, accounts ...string) *family {
	t.Helper()
	var all []authzstore.Account
	for _, id := range accounts {
		all = append(all, accountOf(id, user("anna")))
	}
	f := newSecureFamily(t, rules, all, terminalOf(accounts[0], "phone", "+491", "approve"))
	f.registerServer(t)
	f.clock.move(48 * time.Hour)
	return f
}

// payment is what the bakery charges by a code.
func payment(code string) map[string]any {
	return map[string]any{"payment_code": code, "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}
}

// A merchant whose server has a certificate is paid by a delegate's code; the owner and
// the delegate have tokens.
func TestCertifiedPayment(t *testing.T) {
	f := newShop(t, nil, "acc_anna")
	device := f.accept(t, f.offer(t, "acc_anna", freeTerms()))
	code := f.code(t, device, 0)
	pay := func(key, subject, code string) response {
		return f.keyed(t, key, subject, http.MethodPost, "/v1/payments", payment(code))
	}
	if resp := pay("rolls", certified, code); resp.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	claims := f.verified(t, lastPaid(t))
	if claims.AmountMinor != 1250 || claims.Payee != "mer_bakery" || authzstore.Identity(claims.Identity) != server("merchant", certified) {
		t.Errorf("the payment service reads %+v", claims)
	}
	if resp := pay("rolls", certified, code); resp.StatusCode != http.StatusOK {
		t.Fatalf("again: status %d, %s", resp.StatusCode, resp.body)
	}
	again := f.verified(t, lastPaid(t))
	if !again.Replayed || again.ReservationID != claims.ReservationID {
		t.Errorf("again: the payment service reads %+v", again)
	}

	// A denial is the sidecar's own, also where there is no token to blame.
	f.hears(t, pay("more", certified, code), http.StatusForbidden, []string{"payment_code_invalid"}, nil)

	// The token of the same merchant is another caller, with keys of its own. The code
	// has paid, whoever brings it.
	f.hears(t, pay("rolls", "bakery", code), http.StatusForbidden, []string{"payment_code_invalid"}, nil)
	if minor, payments := f.spent(t, "acc_anna"); minor != 1250 || payments != 1 {
		t.Errorf("spent %d in %d payments", minor, payments)
	}
	f.clock.move(time.Minute)
	next := f.code(t, device, 0)
	if resp := pay("rolls", "bakery", next); resp.StatusCode != http.StatusOK {
		t.Fatalf("by the token, under the key of the certificate: status %d, %s", resp.StatusCode, resp.body)
	}
	byToken := f.verified(t, lastPaid(t))
	if byToken.Replayed || byToken.ReservationID == claims.ReservationID || byToken.Identity.Subject != "bakery" {
		t.Errorf("by the token: the payment service reads %+v", byToken)
	}
	if minor, payments := f.spent(t, "acc_anna"); minor != 2500 || payments != 2 {
		t.Errorf("spent %d in %d payments", minor, payments)
	}
}

// Under a partial delegation the owner's phone approves what the merchant's server asks
// for, and the server repeats its call. The approval is no other caller's.
func TestCertifiedApproval(t *testing.T) {
	f := newShop(t, nil, "acc_anna")
	terms := freeTerms()
	terms.Delegation = authzstore.DelegationPartial
	device := f.accept(t, f.offer(t, "acc_anna", terms))
	body := payment(f.code(t, device, 0))
	pay := func(subject string) response {
		return f.keyed(t, "rolls", subject, http.MethodPost, "/v1/payments", body)
	}
	asked := pay(certified)
	if asked.StatusCode != http.StatusUnauthorized || asked.reason(t) != "approval_required" || len(paid()) != 0 {
		t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
	}
	challenge := asked.Header.Get("Countersign-Challenge-Id")
	if m := f.messages.to(t, "trm_phone", 1)[0]; m.Kind != "approval_request" || m.Requester != server("merchant", certified) {
		t.Errorf("message %+v", m)
	}
	approve := "/countersign/v1/challenges/" + challenge + "/approve"
	f.nobody(t, f.call(t, certified, http.MethodPost, approve, nil), "identity_missing")
	if resp := f.call(t, "phone", http.MethodPost, approve, nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	// The same call by the same merchant's token is not what was approved.
	f.hears(t, pay("bakery"), http.StatusForbidden, []string{"payment_code_invalid"}, nil)
	if len(paid()) != 0 {
		t.Fatal("it reached the payment service")
	}
	if resp := pay(certified); resp.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	if claims := f.verified(t, lastPaid(t)); authzstore.Identity(claims.Identity) != server("merchant", certified) {
		t.Errorf("the payment service reads %+v", claims)
	}
}

// An agent's desk with a certificate orders for Anna, whose phone confirms and pays.
func TestCertifiedOrder(t *testing.T) {
	f := newSecureFamily(t, nil, []authzstore.Account{accountOf(orderAccount(0), user("anna"))})
	o := newOrder(t, f, orderAccount(0))
	o.agent = "spiffe://desk.example/desk-7"
	o.enter(t, "phone", o.wantCode(t, o.place(t), "phone"))
	ours := o.agent
	o.agent = "desk-7" // by a token it is another agent, who has asked for nothing
	o.wantCode(t, o.place(t), "phone")
	o.agent = ours
	o.wantOrdered(t, o.place(t))
	if claims := f.verified(t, lastPaid(t)); authzstore.Identity(claims.Identity) != server("agent", ours) {
		t.Errorf("the order service reads %+v", claims)
	}
	if seen := o.shown(t, ours, agentOrders); seen.State == "" {
		t.Error("the desk does not see its order")
	}
	f.hears(t, f.call(t, "desk-7", http.MethodGet, agentOrders+o.id, nil), http.StatusForbidden, []string{"intent_unknown"}, nil)
	o.wantPaid(t, o.pay(t))
}

// An agent's desk with a certificate and an account of its own tops up and pays out.
func TestCertifiedBusiness(t *testing.T) {
	const desk = "spiffe://desk.example/desk-7"
	f := newSecureFamily(t, nil, []authzstore.Account{
		accountOf("acc_user", user("anna")), accountOf("acc_desk", server("agent", desk)), accountOf("acc_other", agentIdentity("desk-7")),
	}, terminalOf("acc_user", "phone", "+1"))
	for _, c := range []struct{ kind, payer string }{{"top_up", "acc_desk"}, {"withdrawal", "acc_user"}} {
		t.Run(c.kind, func(t *testing.T) {
			asked := f.call(t, "phone", http.MethodPost, "/v1/business", map[string]any{"type": c.kind, "amount_minor": 5000, "currency": "EUR", "proxy_mode": true})
			id := asked.Header.Get("Countersign-Intent-Id")
			if asked.StatusCode != http.StatusOK || id == "" {
				t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
			}
			f.do(t, desk, http.MethodGet, "/countersign/v1/business/"+id, nil, nil)
			if c.kind == "withdrawal" {
				f.do(t, desk, http.MethodPost, "/countersign/v1/business/"+id+"/scan", map[string]any{"account": "acc_desk"}, nil)
				f.do(t, "phone", http.MethodPost, "/countersign/v1/business/"+id+"/confirm", map[string]any{"agent_account": "acc_desk"}, nil)
			}
			execute := func(subject, account string) response {
				return f.keyed(t, "from-"+account+id, subject, http.MethodPost, "/v1/business/"+id+"/execute", map[string]any{"account": account, "amount_minor": 5000})
			}
			before := len(paid())
			// The account is the certificate's, and not of a token with the same name.
			if resp := execute("desk-7", "acc_desk"); resp.StatusCode != http.StatusForbidden || len(paid()) != before {
				t.Errorf("by a token: status %d, %s", resp.StatusCode, resp.body)
			}
			if resp := execute(desk, "acc_other"); resp.StatusCode != http.StatusForbidden || len(paid()) != before {
				t.Errorf("from the account of the token: status %d, %s", resp.StatusCode, resp.body)
			}
			if resp := execute(desk, "acc_desk"); resp.StatusCode != http.StatusOK || len(paid()) != before+1 {
				t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
			}
			if claims := f.verified(t, lastPaid(t)); claims.Account != c.payer || authzstore.Identity(claims.Identity) != server("agent", desk) {
				t.Errorf("the payment service reads %+v", claims)
			}
		})
	}
}

// The server of an operating system reports by its certificate what was done on a phone.
func TestCertifiedRelay(t *testing.T) {
	w := checkoutOf(0)
	phone := terminalOf(w.account, w.phone, "+1")
	phone.PairedWith = []string{"trm_" + w.laptop}
	f := newSecureFamily(t, nil, []authzstore.Account{accountOf(w.account, user("anna"))}, terminalOf(w.account, w.laptop, "+1"), phone)
	const relay = "spiffe://push.example/relay-"
	if resp := w.open(t, f, w.laptop, nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	f.hears(t, w.relay(t, f, relay+"windows", phone.ID, "swipe"), http.StatusForbidden, []string{"relay_unknown"}, nil)
	f.hears(t, w.relay(t, f, relay+"android", phone.ID, "swipe"), http.StatusForbidden, []string{"terminal_not_relayed"}, nil)
	f.hears(t, w.relay(t, f, "/relay-ios", phone.ID, "swipe"), http.StatusForbidden, []string{"relay_unknown"}, nil) // a token with that subject
	f.nobody(t, w.relay(t, f, "spiffe://desk.example/relay-ios", phone.ID, "swipe"), "identity_missing")
	if resp := w.relay(t, f, relay+"ios", phone.ID, "swipe"); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	if resp := phonePays(t, f, w); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %s", resp.StatusCode, resp.body)
	}
}
