package decide_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// Every built-in operation does what it says, in the states in which it can, and in
// any other the policy that allows it is wrong: a defect that changes nothing.
func TestBuiltIns(t *testing.T) {
	// Operations lead from a state to another.
	const offered, active, frozen = authzstore.GrantOffered, authzstore.GrantActive, authzstore.GrantFrozen
	states := map[authzstore.GrantState][]string{
		offered:                  {},
		active:                   {"accept_grant"},
		frozen:                   {"accept_grant", "freeze_grant"},
		authzstore.GrantDeclined: {"decline_grant"},
		authzstore.GrantRevoked:  {"accept_grant", "revoke_grant"},
		authzstore.GrantEnded:    {"accept_grant", "end_grant"},
	}
	transitions := map[string]map[authzstore.GrantState]authzstore.GrantState{
		"accept_grant":       {offered: active},
		"decline_grant":      {offered: authzstore.GrantDeclined},
		"freeze_grant":       {active: frozen},
		"unfreeze_grant":     {frozen: active},
		"revoke_grant":       {offered: authzstore.GrantRevoked, active: authzstore.GrantRevoked, frozen: authzstore.GrantRevoked},
		"end_grant":          {active: authzstore.GrantEnded, frozen: authzstore.GrantEnded},
		"reissue_parameters": {active: active, frozen: frozen},
		"fetch_parameters":   {active: active, frozen: frozen},
		"change_grant":       {offered: offered, active: active, frozen: frozen},
	}
	w := newGrantWorld(t)
	for _, operation := range slices.Sorted(maps.Keys(transitions)) {
		for state, before := range states {
			d := w.decide(offerRequest(lifetimeTerms, nextKey()))
			want(t, d, decide.Allow, 0)
			id := d.Execution.Grant
			for _, first := range before {
				want(t, w.decide(does("ben", first, id, nextKey())), decide.Allow, 0)
			}
			was, oldCredential, _ := w.grant(t, id)
			if was.State != state {
				t.Fatalf("%s, want %s", was.State, state)
			}
			req, key := does("ben", operation, id, nextKey()), ""
			if operation == "change_grant" {
				req = request("anna", "PATCH", "/grants/"+id, `{"terms": `+strings.Replace(lifetimeTerms, "5000", "4000", 1)+`}`, nextKey())
			}
			key = string(req.Headers[len(req.Headers)-1].Value)
			d = w.decide(req)
			now, credential, _ := w.grant(t, id)
			to, can := transitions[operation][state]
			if !can {
				if d.Outcome != decide.Defect || d.Status != 500 || now.State != state || now.Handle != was.Handle || d.Execution != nil {
					t.Errorf("%s in %s: %s %d %v, then %s", operation, state, d.Outcome, d.Status, codesOf(d), now.State)
				}
				continue
			}
			if e := d.Execution; d.Outcome != decide.Allow || e == nil || e.Does != operation || e.Grant != id || e.Account != "acc_anna" || e.Audience != call.BuiltInAudience || now.State != to {
				t.Errorf("%s in %s: %s %d %v with %+v, then %s, want %s", operation, state, d.Outcome, d.Status, codesOf(d), e, now.State, to)
			}
			issues := to == active || to == frozen
			switch operation {
			case "accept_grant", "reissue_parameters", "change_grant":
				if issues && (now.Handle == "" || now.Handle == was.Handle || credential.FetchedBy != "" || credential.Grant != id) {
					t.Errorf("%s in %s: handle %q after %q, credential %+v", operation, state, now.Handle, was.Handle, credential)
				}
			case "fetch_parameters":
				if credential.FetchedBy != d.ID || oldCredential.FetchedBy != "" {
					t.Errorf("%s in %s: fetched by %q, want %s", operation, state, credential.FetchedBy, d.ID)
				}
			}
			if operation == "change_grant" && now.Terms.Limits[0].MaxAmountMinor != 4000 {
				t.Errorf("%s in %s: terms %+v", operation, state, now.Terms)
			}
			// Repeated under its key it is not done again, and shows to who has part in it.
			again := w.decide(req)
			if again.Outcome != decide.Allow || !again.Replayed || again.ID != d.ID || !again.Execution.Replayed {
				t.Errorf("%s in %s under %s again: %+v", operation, state, key, again)
			}
		}
	}
	want(t, w.decide(request("anna", "POST", "/accounts/acc_anna/freeze_account", "", nextKey())), decide.Allow, 0)
	want(t, w.decide(request("anna", "POST", "/accounts/acc_anna/freeze_account", "", nextKey())), decide.Defect, 500, "policy_defect")
	want(t, w.decide(request("anna", "POST", "/accounts/acc_anna/unfreeze_account", "", nextKey())), decide.Allow, 0)
	want(t, w.decide(request("anna", "POST", "/accounts/acc_anna/unfreeze_account", "", nextKey())), decide.Defect, 500, "policy_defect")
	w.clean(t)
}

// What stops payments does not wait behind them, for who is a party to it; a stranger's
// call does, and so does every other.
func TestStopsAreUrgent(t *testing.T) {
	backend := openBadger(t)
	putAccount(t, backend, anna())
	urgent := false
	w := newGrantWorld(t, withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
		urgent = kv.IsUrgent(ctx)
		return backend.Update(ctx, refs, fn)
	}}))
	w.backend, w.store = backend, authzstore.New(backend)
	id, _ := w.active(t)
	for _, c := range []struct {
		subject, operation string
		urgent             bool
	}{
		{"anna", "freeze_grant", true},
		{"anna", "unfreeze_grant", false},
		{"carl", "freeze_grant", false},
		{"ben", "unfreeze_grant", false},
		{"ben", "end_grant", true},
	} {
		w.decide(does(c.subject, c.operation, id, nextKey()))
		if urgent != c.urgent {
			t.Errorf("%s by %s is urgent: %v", c.operation, c.subject, urgent)
		}
	}
	for subject, want := range map[string]bool{"anna": true, "ben": false} {
		w.decide(request(subject, "POST", "/accounts/acc_anna/freeze_account", "", nextKey()))
		if urgent != want {
			t.Errorf("freeze_account by %s is urgent: %v", subject, urgent)
		}
	}
}

// Every operation that a route can name is one that is done here.
func TestBuiltInsAreAll(t *testing.T) {
	w := newGrantWorld(t)
	missing := map[string]bool{}
	for name := range call.BuiltIns {
		missing[name] = true
	}
	for _, r := range append(w.rules.Routes.Routes(), stepUpBundle(t, stepUpRules).Routes.Routes()...) {
		delete(missing, r.Does)
	}
	if len(missing) > 0 {
		t.Fatalf("the table has no %v", missing)
	}
	id, _ := w.active(t)
	for _, req := range []call.Request{
		request("ben", "GET", "/grants/"+id, "", ""),
		request("anna", "GET", "/accounts/acc_anna", "", ""),
		request("anna", "GET", "/accounts/acc_anna/grants", "", ""),
		request("ben", "GET", "/delegations", "", ""),
	} {
		d := w.decide(req)
		want(t, d, decide.Allow, 0)
		e := d.Execution
		if e == nil || e.Does == "" || e.Audience != "countersign" || e.Identity.Subject != req.Claims["sub"] || (e.Account == "") != (e.Does == "list_delegations") || (e.Grant == "") != (e.Does != "view_grant") {
			t.Errorf("%s shows %+v", req.Path, e)
		}
	}
	// What is not there cannot be shown, nor changed, whatever the policy thinks.
	for _, req := range []call.Request{
		request("ben", "GET", "/grants/grt_none", "", ""),
		request("anna", "GET", "/accounts/acc_none", "", ""),
		does("ben", "accept_grant", "grt_none", nextKey()),
		request("anna", "POST", "/accounts/acc_none/freeze_account", "", nextKey()),
		request("anna", "POST", "/accounts/acc_none/grants", `{"kind": "user", "issuer": "x", "subject": "ben", "terms": `+lifetimeTerms+`}`, nextKey()),
	} {
		want(t, w.decide(req), decide.Defect, 500, "policy_defect")
	}
	w.clean(t)
}

// Where the call's own terms are at fault, it is the caller who is told, and told
// again.
func TestTermsRefused(t *testing.T) {
	w := newGrantWorld(t)
	id, handle := w.active(t)
	patch := func(terms, key string) call.Request {
		return request("anna", "PATCH", "/grants/"+id, `{"terms": `+terms+`}`, key)
	}
	const daily = `{"kind": "day", "alignment": "calendar", "zone": "UTC"}`
	for name, c := range map[string]struct {
		req  call.Request
		code string
	}{
		"another currency": {patch(strings.Replace(lifetimeTerms, "EUR", "USD", 1), nextKey()), "grant_change_invalid"},
		"another period":   {patch(strings.Replace(lifetimeTerms, `{"kind": "lifetime"}`, daily, 1), nextKey()), "grant_change_invalid"},
	} {
		d := w.decide(c.req)
		want(t, d, decide.Deny, 422, c.code)
		again := w.decide(c.req)
		want(t, again, decide.Deny, 422, c.code)
		var r decide.Record
		if err := json.Unmarshal([]byte(w.kept(t, d.ID)), &r); err != nil || r.Outcome != decide.Deny || r.Status != 422 || r.PublicReasons[0].Code != c.code || !again.Replayed {
			t.Errorf("%s: record %+v, %v, again %+v", name, r, err, again)
		}
	}
	want(t, w.decide(patch(strings.Replace(lifetimeTerms, "2000", "0", 1), nextKey())), decide.Deny, 400, "terms_invalid")
	// An offer in another currency than the account's: the policy should have seen that.
	want(t, w.decide(offerRequest(strings.Replace(lifetimeTerms, "EUR", "USD", 1), nextKey())), decide.Defect, 500, "policy_defect")
	grant, _, _ := w.grant(t, id)
	if grant.Handle != handle || grant.Terms.Currency != "EUR" {
		t.Errorf("grant %+v", grant)
	}
	want(t, w.decide(codePayment(handle+"-1", 100, nextKey())), decide.Allow, 0)
	w.clean(t)
}

// The parameters are handed out once for each credential: under the same key until
// the first code, under another one never.
func TestFetchParameters(t *testing.T) {
	w := newGrantWorld(t)
	d := w.decide(offerRequest(lifetimeTerms, nextKey()))
	id := d.Execution.Grant
	want(t, w.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Defect, 500, "policy_defect") // not accepted
	want(t, w.decide(does("ben", "accept_grant", id, nextKey())), decide.Allow, 0)
	grant, _, _ := w.grant(t, id)
	want(t, w.decide(codePayment(grant.Handle+"-1", 100, nextKey())), decide.Deny, 403, "payment_code_invalid") // nobody has them
	key := nextKey()
	first := w.decide(does("ben", "fetch_parameters", id, key))
	want(t, first, decide.Allow, 0)
	again := w.decide(does("ben", "fetch_parameters", id, key))
	want(t, again, decide.Allow, 0)
	if _, c, _ := w.grant(t, id); !again.Replayed || again.ID != first.ID || c.FetchedBy != first.ID {
		t.Errorf("again %+v, credential %+v", again, c)
	}
	want(t, w.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Deny, 409, "parameters_fetched")
	want(t, w.decide(does("anna", "fetch_parameters", id, nextKey())), decide.Deny, 409, "parameters_fetched")
	want(t, w.decide(codePayment(grant.Handle+"-2", 100, nextKey())), decide.Allow, 0)
	want(t, w.decide(does("ben", "fetch_parameters", id, key)), decide.Deny, 409, "already_allowed")
	// Issued anew, the old key does not get the new ones.
	want(t, w.decide(does("anna", "reissue_parameters", id, nextKey())), decide.Allow, 0)
	want(t, w.decide(does("ben", "fetch_parameters", id, key)), decide.Deny, 409, "already_allowed")
	want(t, w.decide(codePayment(grant.Handle+"-3", 100, nextKey())), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Allow, 0)
	w.clean(t)
}

// What an operation did is shown again only to who has part in the grant.
func TestShownAgainToWhom(t *testing.T) {
	w := newGrantWorld(t)
	id, _ := w.active(t)
	stranger := does("operator", "freeze_grant", id, nextKey())
	want(t, w.decide(stranger), decide.Allow, 0)
	want(t, w.decide(stranger), decide.Deny, 409, "already_allowed")
	owner := does("anna", "unfreeze_grant", id, nextKey())
	want(t, w.decide(owner), decide.Allow, 0)
	sold := anna()
	sold.Owner.Subject = "carla"
	putAccount(t, w.backend, sold)
	want(t, w.decide(owner), decide.Deny, 409, "already_allowed")
}

// Offers at once: each is a grant of its own, and each is counted.
func TestOffersAtOnce(t *testing.T) {
	w := newGrantWorld(t)
	w.use(t, `package payments

decision := {"allow": count(reasons) == 0, "reasons": reasons, "public_reasons": reasons, "effects": []}

reasons contains {"code": "too_many_delegates", "message": "No."} if {
	input.call.operation == "offer_grant"
	input.facts.account.delegates.open >= 3
}
`)
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for range 16 {
		wg.Go(func() {
			if w.decide(offerRequest(lifetimeTerms, nextKey())).Outcome == decide.Allow {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 3 {
		t.Errorf("%d offers were allowed", allowed.Load())
	}
	w.clean(t)
}

// Without a key for credentials nothing can be accepted; a handle that was given
// before is drawn again.
func TestNewCredential(t *testing.T) {
	w := newGrantWorld(t, func(cfg *decide.Config) { cfg.NewCredential = nil })
	d := w.decide(offerRequest(lifetimeTerms, nextKey()))
	want(t, w.decide(does("ben", "accept_grant", d.Execution.Grant, nextKey())), decide.Defect, 500, "internal_error")
	drawn := 0
	w = newGrantWorld(t, func(cfg *decide.Config) {
		cfg.NewCredential = func() (authzstore.Credential, error) {
			c, err := newCredential()
			if drawn++; drawn <= 2 {
				c.Handle = "0123456789"
			}
			return c, err
		}
	})
	w.active(t)
	_, handle := w.active(t)
	if drawn != 3 || handle == "0123456789" {
		t.Errorf("drawn %d times, handle %s", drawn, handle)
	}
	w.clean(t)
}

// A change that is refused has changed nothing, however far it had come: the device
// goes on paying.
func TestRefusedChangeChangesNothing(t *testing.T) {
	w := newGrantWorld(t)
	id, _ := w.active(t)
	// Each change renames all limits, and none may be forgotten: in the end there are too many.
	change := func(n int) decide.Decision {
		var limits []string
		for i := range 16 {
			limits = append(limits, fmt.Sprintf(`{"name": "l%d_%d", "period": {"kind": "lifetime"}, "max_amount_minor": 5000}`, n, i))
		}
		terms := strings.Replace(lifetimeTerms, `{"name": "total", "period": {"kind": "lifetime"}, "max_amount_minor": 5000}`, strings.Join(limits, ", "), 1)
		return w.decide(request("anna", "PATCH", "/grants/"+id, `{"terms": `+terms+`}`, nextKey()))
	}
	for n := range 100 {
		before, credential, _ := w.grant(t, id)
		d := change(n)
		if d.Outcome == decide.Allow {
			continue
		}
		want(t, d, decide.Deny, 422, "grant_change_invalid")
		after, now, _ := w.grant(t, id)
		if n == 0 || now.Ended || !reflect.DeepEqual(before, after) || !reflect.DeepEqual(credential, now) {
			t.Errorf("change %d left %+v with %+v", n, after, now)
		}
		w.clean(t)
		return
	}
	t.Error("no change was refused")
}
