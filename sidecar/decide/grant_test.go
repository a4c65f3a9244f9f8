package decide_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// A grant is offered, accepted, its parameters are fetched, and it pays.
func TestGrantPays(t *testing.T) {
	w := newGrantWorld(t)
	key := nextKey()
	offered := w.decide(offerRequest(lifetimeTerms, key))
	want(t, offered, decide.Allow, 0)
	e := offered.Execution
	if e == nil || e.Does != "offer_grant" || e.Audience != "countersign" || e.Account != "acc_anna" || !strings.HasPrefix(e.Grant, "grt_") || e.ReservationID != "" {
		t.Fatalf("execution %+v", e)
	}
	id := e.Grant
	if again := w.decide(offerRequest(lifetimeTerms, key)); !again.Replayed || again.ID != offered.ID || again.Execution.Grant != id || !again.Execution.Replayed {
		t.Errorf("offered again: %+v", again)
	}
	if grant, _, _ := w.grant(t, id); grant.State != authzstore.GrantOffered || grant.Delegate.Subject != "ben" || grant.Owner.Subject != "anna" || grant.Terms.MaxPaymentMinor != 2000 {
		t.Errorf("offered %+v", grant)
	}
	want(t, w.decide(does("ben", "accept_grant", id, nextKey())), decide.Allow, 0)
	want(t, w.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Allow, 0)
	grant, credential, _ := w.grant(t, id)
	if grant.State != authzstore.GrantActive || credential.FetchedBy == "" || credential.FirstUsed {
		t.Errorf("accepted %+v, %+v", grant, credential)
	}
	paid := w.decide(codePayment(grant.Handle+"-7", 1500, nextKey()))
	want(t, paid, decide.Allow, 0)
	if e := paid.Execution; e.Account != "acc_anna" || e.Grant != id || e.Payee != "mer_bakery" || e.AmountMinor != 1500 || e.Does != "" || e.Audience != "payments.example" {
		t.Errorf("execution %+v", e)
	}
	err := w.store.View(t.Context(), func(s authzstore.Snapshot) error {
		r, _, err := s.Reservation(paid.Execution.ReservationID)
		if r.Grant != id || r.ExpiresAtNanos != noon.Add(2*time.Hour).UnixNano() {
			t.Errorf("reservation %+v", r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, credential, usage := w.grant(t, id)
	if account := w.usage(t); !credential.FirstUsed || usage.PendingMinor != 1500 || usage.Count != 1 || account.PendingMinor != 1500 {
		t.Errorf("credential %+v, usage %+v, account %+v", credential, usage, account)
	}
	var r decide.Record
	if err := json.Unmarshal([]byte(w.kept(t, paid.ID)), &r); err != nil || r.Grant != id || r.ReservationID != paid.Execution.ReservationID {
		t.Errorf("record %+v, %v", r, err)
	}
	w.clean(t)
}

// The rules see the grant with what remains of it, its account, and the merchant that
// calls.
func TestGrantFacts(t *testing.T) {
	w := newGrantWorld(t)
	terms := strings.NewReplacer(
		`{"kind": "lifetime"}`, `{"kind": "month", "alignment": "consent", "zone": "Europe/Berlin"}`,
		`"hours": {"mode": "any"}`, `"hours": {"mode": "between", "zone": "Europe/Berlin", "from": "08:00", "to": "20:00"}`,
		`"cooling": {"mode": "none"}`, `"cooling": {"mode": "first", "seconds": 86400, "max_amount_minor": 1000}`,
		`"categories": {"mode": "any"}`, `"categories": {"mode": "except", "values": ["7995"]}`,
		`"valid_to": {"mode": "any"}`, `"valid_to": {"mode": "at", "at_ns": 1795532400123456789}`,
	).Replace(lifetimeTerms)
	d := w.decide(offerRequest(terms, nextKey()))
	want(t, d, decide.Allow, 0)
	id := d.Execution.Grant
	accepted := w.decide(does("ben", "accept_grant", id, nextKey()))
	want(t, accepted, decide.Allow, 0)
	// Before it is accepted, its periods are as they would be from now on.
	if text := w.kept(t, accepted.ID); !strings.Contains(text, `"starts_at_ns":1795474800000000000`) || !strings.Contains(text, `"cooling":{"max_minor":1000,"mode":"first"}`) {
		t.Errorf("offered: %s", text)
	}
	want(t, w.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Allow, 0)
	grant, _, _ := w.grant(t, id)
	paid := w.decide(codePayment(grant.Handle+"-1", 400, nextKey()))
	want(t, paid, decide.Allow, 0)
	second := w.decide(codePayment(grant.Handle+"-2", 600, nextKey()))
	want(t, second, decide.Allow, 0)
	var r struct {
		Input struct{ Facts, Evidence json.RawMessage }
	}
	if err := json.Unmarshal([]byte(w.kept(t, second.ID)), &r); err != nil {
		t.Fatal(err)
	}
	anna, ben := `{"issuer":"https://id.example","kind":"user","subject":"anna"}`, `{"issuer":"https://id.example","kind":"user","subject":"ben"}`
	wantFacts := `{"account":{"currency":"EUR","delegates":{"open":1},"id":"acc_anna","limits":[],"max_payment_minor":50000,"owner":` + anna + `,"state":"active"},` +
		`"grant":{"accepted_at_ns":1795532400123456789,"account":"acc_anna","categories":{"mode":"except","values":["7995"]},"changed_at_ns":1795532400123456789,` +
		`"channels":{"mode":"any"},"cooling":{"max_minor":1000,"mode":"first","remaining_minor":600,"until_ns":1795618800123456789},"countries":{"mode":"any"},` +
		`"currency":"EUR","delegate":` + ben + `,"delegation":"full",` +
		`"hours":{"from_minute":480,"minute_begins":false,"minute_now":960,"mode":"between","to_minute":1200},"id":"` + id + `",` +
		`"limits":[{"amount":{"max_minor":5000,"mode":"at_most","remaining_minor":4600},"count":{"mode":"any"},"name":"total",` +
		`"period":{"alignment":"consent","kind":"month","zone":"Europe/Berlin"},"resets_at_ns":1798066800000000000,"starts_at_ns":1795474800000000000,"window_full":false}],` +
		`"max_payment_minor":2000,"merchants":{"mode":"any"},"offered_at_ns":1795532400123456789,"owner":` + anna + `,"raises":[],"refund_restores":false,` +
		`"state":"active","valid_from":{"mode":"any"},"valid_to":{"at_ns":1795532400123456789,"mode":"at"}},` +
		`"merchant":{"category":"5462","channel":"shop","country":"DE","id":"mer_bakery","state":"active"}}`
	if string(r.Input.Facts) != wantFacts {
		t.Errorf("facts %s\nwant  %s", r.Input.Facts, wantFacts)
	}
	if string(r.Input.Evidence) != `{"payment_code":{"matched":true,"matched_when_asked":false}}` {
		t.Errorf("evidence %s", r.Input.Evidence)
	}
}

// A raise says over which period the limit was that it loosened: another limit may
// have taken its name since.
func TestRaiseFacts(t *testing.T) {
	w := newGrantWorld(t)
	id, _ := w.active(t)
	change := func(terms string) {
		t.Helper()
		want(t, w.decide(request("anna", "PATCH", "/grants/"+id, `{"terms": `+terms+`}`, nextKey())), decide.Allow, 0)
	}
	change(strings.Replace(lifetimeTerms, `"total"`, `"other"`, 1))
	change(strings.Replace(lifetimeTerms, `"lifetime"`, `"day", "alignment": "calendar", "zone": "Europe/Berlin"`, 1))
	look := w.decide(request("anna", "GET", "/grants/"+id, "", ""))
	want(t, look, decide.Allow, 0)
	limit := func(name string) string {
		return `"delegation":"full","limits":[{"amount":{"max_minor":5000,"mode":"at_most"},"count":{"mode":"any"},"name":"` + name + `","period":{"kind":"lifetime"}}],"max_payment_minor":2000}`
	}
	if kept := w.kept(t, look.ID); !strings.Contains(kept, limit("total")) || !strings.Contains(kept, limit("other")) {
		t.Errorf("the facts are %s", kept)
	}
}

// A code is used up by what it is evaluated for, also by a denial; what is wrong
// burns an attempt, what is right and used up has paid.
func TestPaymentCodeOnce(t *testing.T) {
	w := newGrantWorld(t)
	_, handle := w.active(t)
	want(t, w.decide(codePayment(handle+"-1", 5001, nextKey())), decide.Deny, 403, "over_limit")
	want(t, w.decide(codePayment(handle+"-1", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(handle+"-2", 100, nextKey())), decide.Allow, 0)
	want(t, w.decide(codePayment(handle+"-2", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(handle+"-1", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment("0000000000-1", 100, nextKey())), decide.Deny, 403, "not_active", "payment_code_invalid")
	// Three attempts are gone, two are left.
	want(t, w.decide(codePayment(handle+"-3-wrong", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(handle+"-3", 100, nextKey())), decide.Allow, 0)
	want(t, w.decide(codePayment(handle+"-4-wrong", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(handle+"-4", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	// Another merchant has attempts of its own.
	other := codePayment(handle+"-5", 100, nextKey())
	other.Claims["sub"] = "butcher"
	want(t, w.decide(other), decide.Allow, 0)
	w.clean(t)
}

// The same code under 64 keys at once: one payment.
func TestPaymentCodeAtOnce(t *testing.T) {
	w := newGrantWorld(t)
	id, handle := w.active(t)
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			if d := w.decide(codePayment(handle+"-1", 10, fmt.Sprint("at-once-", i))); d.Outcome == decide.Allow {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if _, _, usage := w.grant(t, id); allowed.Load() != 1 || usage.Count != 1 {
		t.Errorf("%d allowed, usage %+v", allowed.Load(), usage)
	}
	w.clean(t)
}

// Evidence that leads to another grant than the call is about does not match, and is
// not used up.
func TestEvidenceOfAnotherGrant(t *testing.T) {
	w := newGrantWorld(t)
	first, handle := w.active(t)
	second, _ := w.active(t)
	about := func(grant, key string) decide.Decision {
		req := codePayment(handle+"-1", 100, key)
		req.Path = "/grants/" + grant + "/payments"
		return w.decide(req)
	}
	want(t, about(second, nextKey()), decide.Deny, 403, "payment_code_invalid")
	want(t, about(first, nextKey()), decide.Allow, 0)
	w.clean(t)
}

// What a code leads to is looked at again under the locks: a grant whose parameters
// were issued anew meanwhile does not pay by the old ones.
func TestGrantMovesBetweenPlanAndLock(t *testing.T) {
	for name, operation := range map[string]string{"reissued": "reissue_parameters", "revoked": "revoke_grant"} {
		t.Run(name, func(t *testing.T) {
			backend := openBadger(t)
			putAccount(t, backend, anna())
			other := newGrantWorld(t, withStore(backend))
			other.backend, other.store = backend, authzstore.New(backend)
			id, handle := other.active(t)
			moved := false
			w := newGrantWorld(t, withStore(fakeKV{Store: backend, update: movingUpdate(backend, func() {
				if !moved {
					moved = true
					want(t, other.decide(does("anna", operation, id, nextKey())), decide.Allow, 0)
				}
			})}))
			d := w.decide(codePayment(handle+"-1", 100, nextKey()))
			if d.Outcome != decide.Deny || d.Status != 403 {
				t.Errorf("%+v", d)
			}
			if _, _, usage := other.grant(t, id); !moved || usage.Count != 0 {
				t.Errorf("usage %+v", usage)
			}
			clean(t, authzstore.New(backend))
		})
	}
}

// A policy that contradicts the grant allows nothing and takes nothing: it may not
// leave out the grant, name another, or pay what the store says the grant may not.
func TestGrantContradictions(t *testing.T) {
	const always = `package payments

decision := {"allow": true, "reasons": [], "public_reasons": [], "effects": effects}

effects contains {"type": "reserve", "account": ACCOUNT, "grant": GRANT, "payee": input.call.payee, "amount_minor": input.call.amount_minor, "currency": input.call.currency} if {
	input.call.operation == "pay"
}
`
	rules := func(account, grant string) string {
		return strings.NewReplacer("ACCOUNT", account, "GRANT", grant).Replace(always)
	}
	honest := rules("input.facts.account.id", "input.facts.grant.id")
	for name, c := range map[string]struct {
		rules       string
		amountMinor int64
		before      string // an operation of Anna's on the grant
	}{
		"no grant":                 {strings.Replace(honest, `"grant": input.facts.grant.id, `, "", 1), 100, ""},
		"another grant":            {rules("input.facts.account.id", `"grt_other"`), 100, ""},
		"another account":          {rules(`"acc_other"`, "input.facts.grant.id"), 100, ""},
		"over the payment maximum": {honest, 2001, ""},
		"a frozen grant":           {honest, 100, "freeze_grant"},
		"a revoked grant":          {honest, 100, "revoke_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newGrantWorld(t)
			id, handle := w.active(t)
			if c.before != "" {
				want(t, w.decide(does("anna", c.before, id, nextKey())), decide.Allow, 0)
			}
			w.use(t, c.rules)
			want(t, w.decide(codePayment(handle+"-1", c.amountMinor, nextKey())), decide.Defect, 500, "policy_defect")
			if _, _, u := w.grant(t, id); u.Count != 0 || w.usage(t).Count != 0 {
				t.Errorf("usage %+v", u)
			}
			// The code is used up all the same, unless it had ended.
			w.use(t, grantRules)
			if c.before == "" {
				want(t, w.decide(codePayment(handle+"-1", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
				want(t, w.decide(codePayment(handle+"-2", 100, nextKey())), decide.Allow, 0)
			}
			w.clean(t)
		})
	}
	t.Run("a code without a grant", func(t *testing.T) {
		w := newGrantWorld(t)
		w.use(t, rules(`"acc_anna"`, `"grt_none"`))
		want(t, w.decide(codePayment("0000000000-1", 100, nextKey())), decide.Defect, 500, "policy_defect")
		w.clean(t)
	})
}

// A merchant is paid by the code that the delegate's device makes of the parameters:
// once in its step.
func TestRealPaymentCode(t *testing.T) {
	sealer, err := evidence.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := evidence.NewPaymentCodes(evidence.Config{Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	w := newGrantWorld(t, func(cfg *decide.Config) {
		cfg.Evidence = map[string]evidence.Kind{evidence.PaymentCode: codes}
		cfg.NewCredential = codes.NewCredential
		cfg.Now = func() (time.Time, error) { return now, nil }
	})
	id, _ := w.active(t)
	_, credential, _ := w.grant(t, id)
	device, err := codes.Parameters(credential)
	if err != nil {
		t.Fatal(err)
	}
	code := func(ahead int64) string {
		code, err := device.Code(device.Step(now.UnixNano()) + ahead)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	want(t, w.decide(codePayment(code(1), 100, nextKey())), decide.Deny, 403, "payment_code_invalid") // of the future
	want(t, w.decide(codePayment(code(-2), 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(code(-1), 100, nextKey())), decide.Allow, 0)
	key := nextKey()
	paid := w.decide(codePayment(code(0), 100, key))
	want(t, paid, decide.Allow, 0)
	want(t, w.decide(codePayment(code(0), 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(code(-1), 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	now = now.Add(time.Minute)
	// The merchant's retry, with the code of a minute ago and with a new one.
	for _, shown := range []string{code(-2), code(0)} {
		again := w.decide(codePayment(shown, 100, key))
		want(t, again, decide.Allow, 0)
		if !again.Replayed || again.Execution.ReservationID != paid.Execution.ReservationID {
			t.Errorf("again %+v", again.Execution)
		}
	}
	want(t, w.decide(codePayment(code(0), 100, nextKey())), decide.Allow, 0) // the retry did not use it
	var r decide.Record
	if err := json.Unmarshal([]byte(w.kept(t, paid.ID)), &r); err != nil || !strings.Contains(string(r.Input), `"evidence":{"payment_code":{"matched":true,"matched_when_asked":false,"step_age":0}}`) {
		t.Errorf("input %s, %v", r.Input, err)
	}
	if text := w.kept(t, paid.ID) + w.log.String(); strings.Contains(text, code(-2)) {
		t.Error("a code is on record")
	}
	w.clean(t)
}

// An allow that Envoy did not hear is not told again once the grant was revoked, or
// frozen, or its account.
func TestMissedAllowAfterRevoke(t *testing.T) {
	for _, stop := range []func(id string) call.Request{
		func(id string) call.Request { return does("anna", "revoke_grant", id, nextKey()) },
		func(id string) call.Request { return does("anna", "freeze_grant", id, nextKey()) },
		func(string) call.Request {
			return request("anna", "POST", "/accounts/acc_anna/freeze_account", "", nextKey())
		},
	} {
		w := newGrantWorld(t)
		id, handle := w.active(t)
		req := codePayment(handle+"-1", 100, nextKey())
		req.CheckID = "127.0.0.1:1/x"
		paid := w.decide(req)
		want(t, paid, decide.Allow, 0)
		again := w.decide(req)
		if want(t, again, decide.Allow, 0); again.ID != paid.ID || again.Replayed {
			t.Errorf("asked again: %+v", again)
		}
		want(t, w.decide(stop(id)), decide.Allow, 0)
		want(t, w.decide(req), decide.Deny, 409, "already_allowed")
	}
}

// Once a revocation was acknowledged nothing passes, and what passed is on record.
func TestNothingPassesAfterRevoke(t *testing.T) {
	w := newGrantWorld(t)
	w.use(t, strings.ReplaceAll(grantRules, "limit.amount.remaining_minor\n", "limit.amount.remaining_minor + 1000000\n"))
	id, handle := w.active(t)
	var revoked atomic.Bool
	var step, allowed, late atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				after := revoked.Load()
				req := codePayment(fmt.Sprintf("%s-%d", handle, step.Add(1)), 1, nextKey())
				req.Claims["sub"] = fmt.Sprintf("shop %d.%d", i, n) // a code that comes late is wrong: each has its own attempts
				d := w.decide(req)
				if d.Outcome != decide.Allow {
					continue
				}
				if allowed.Add(1); after {
					late.Add(1)
				}
			}
		})
	}
	for allowed.Load() < 3 && step.Load() < 160 {
		runtime.Gosched()
	}
	want(t, w.decide(does("anna", "revoke_grant", id, nextKey())), decide.Allow, 0)
	revoked.Store(true)
	wg.Wait()
	if _, _, usage := w.grant(t, id); late.Load() != 0 || usage.Count != allowed.Load() {
		t.Errorf("%d passed after the revocation, %d in all, usage %+v", late.Load(), allowed.Load(), usage)
	}
	w.clean(t)
}

// What runs again is what was allowed, from the account and by the grant that it was
// allowed from, wherever the code of the retry leads.
func TestRetryWithACodeOfAnotherAccount(t *testing.T) {
	w := newGrantWorld(t)
	id, handle := w.active(t)
	other := anna()
	other.ID = "acc_carla"
	putAccount(t, w.backend, other)
	offer := offerRequest(lifetimeTerms, nextKey())
	offer.Path = "/accounts/acc_carla/grants"
	carlas := w.decide(offer).Execution.Grant
	want(t, w.decide(does("ben", "accept_grant", carlas, nextKey())), decide.Allow, 0)
	want(t, w.decide(does("ben", "fetch_parameters", carlas, nextKey())), decide.Allow, 0)
	grant, _, _ := w.grant(t, carlas)
	key := nextKey()
	paid := w.decide(codePayment(handle+"-1", 100, key))
	want(t, paid, decide.Allow, 0)
	freeze := func(account string, state authzstore.AccountState) {
		a := anna()
		a.ID, a.State = account, state
		putAccount(t, w.backend, a)
	}
	again := func(outcome decide.Outcome, status int, codes ...string) {
		t.Helper()
		d := w.decide(codePayment(grant.Handle+"-1", 100, key))
		want(t, d, outcome, status, codes...)
		if d.Execution != nil && (d.Execution.Grant != id || d.Execution.Account != "acc_anna" || d.Execution.ReservationID != paid.Execution.ReservationID) {
			t.Errorf("forwarded with %+v", d.Execution)
		}
	}
	again(decide.Allow, 0)
	freeze("acc_carla", authzstore.AccountFrozen)
	again(decide.Allow, 0)
	freeze("acc_carla", authzstore.AccountActive)
	freeze("acc_anna", authzstore.AccountFrozen)
	again(decide.Deny, 409, "already_allowed")
	freeze("acc_anna", authzstore.AccountActive)
	want(t, w.decide(does("anna", "revoke_grant", carlas, nextKey())), decide.Allow, 0)
	again(decide.Allow, 0)
	want(t, w.decide(does("anna", "freeze_grant", id, nextKey())), decide.Allow, 0)
	again(decide.Deny, 409, "already_allowed")
	if _, _, usage := w.grant(t, carlas); usage.Count != 0 {
		t.Errorf("usage %+v", usage)
	}
	w.clean(t)
}
