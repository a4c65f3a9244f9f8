package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/upstream"
)

const (
	audience = "countersign"
	uri      = "otpauth://totp/x?secret=CANARY4711"
)

var (
	annasID = upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}
	carlsID = upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "carl"}
	evesID  = upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "eve"}
)

// terminals is the terminal API of a world, with the sidecar's part of a call: what
// it signs after a check.
type terminals struct {
	*world
	api    *api.TerminalAPI
	signer *upstream.Signer
}

func newTerminals(t *testing.T) *terminals {
	t.Helper()
	w := newWorld(t)
	key, err := upstream.SharedKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := upstream.NewSigner("sto_test", map[string]upstream.Key{audience: key})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := upstream.NewVerifier("sto_test", audience, key)
	if err != nil {
		t.Fatal(err)
	}
	return &terminals{w, api.NewTerminalAPI(api.TerminalConfig{
		Store: w.store, Verifier: verifier, Now: w.now, Log: slog.New(slog.NewJSONHandler(w.log, nil)),
		ParametersURI: func(authzstore.Credential) (string, error) { return uri, nil },
	}), signer}
}

// claims are those of a GET of a path.
func claims(does string, who upstream.Identity, account, grant string) upstream.Claims {
	return upstream.Claims{
		Audience: audience, Method: "GET", Authority: "example.com", Target: "/countersign/v1/x", BodySHA256: upstream.Digest(nil), Does: does,
		Payment: upstream.Payment{System: "s", Operation: does, Account: account, Grant: grant, DecisionID: "dec_1", Identity: who},
	}
}

// call sends what Envoy would after the check with these claims.
func (s *terminals) call(c upstream.Claims) answer {
	s.t.Helper()
	token, err := s.signer.Sign(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send(c.Method, c.Target, token)
}

func (s *terminals) send(method, target string, tokens ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	for _, token := range tokens {
		r.Header.Add(upstream.HeaderToken, token)
	}
	rec := httptest.NewRecorder()
	s.api.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// shown is the answer's document, whose status must be 200 (or 201).
func (s *terminals) shown(c upstream.Claims) map[string]any {
	s.t.Helper()
	a := s.call(c)
	if a.status/100 != 2 {
		s.t.Fatalf("%s: %d %s", c.Does, a.status, a.text)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// granted has an active grant from Anna to Carl, by which 1000 is reserved.
func granted(t *testing.T) *terminals {
	s := newTerminals(t)
	s.ask(200, "PUT", "/v1/accounts/acc_anna", strings.Replace(anna, "[]", `[{"name": "secret_limit", "max_count": 9, "period": {"kind": "day", "alignment": "calendar", "zone": "UTC"}}]`, 1), nil)
	s.ask(200, "PUT", "/v1/grants/grt_1", offer("acc_anna"), nil)
	s.accept("grt_1")
	s.reserve("acc_anna", "grt_1", 1000)
	s.reserve("acc_anna", "", 700)
	return s
}

// Who sees what of a grant: its owner everything, its delegate what it allows, and
// somebody else whom a policy let call that it is there.
func TestGrantViews(t *testing.T) {
	s := granted(t)
	for _, does := range []string{"offer_grant", "accept_grant", "decline_grant", "change_grant", "unfreeze_grant", "view_grant", "reissue_parameters", "freeze_grant", "revoke_grant", "end_grant"} {
		for _, c := range []struct {
			who          upstream.Identity
			has, has_not []string
		}{
			{annasID, []string{`"usage"`, `"remaining_minor":8000`, `"resets_at_ns"`, `"raises"`, `"terms"`, `"subject":"carl"`}, []string{"secret_limit"}},
			{carlsID, []string{`"remaining_minor":8000`, `"remaining_minor":2000`, `"resets_at_ns"`, `"parameters_wait":true`, `"terms"`, `"subject":"anna"`}, []string{`"usage"`, `"raises"`, "secret_limit"}},
			{evesID, []string{`"id":"grt_1"`, `"state":"active"`}, []string{"anna", "carl", "terms", "remaining", "rsv_"}},
			{upstream.Identity{Kind: "agent", Issuer: annasID.Issuer, Subject: "anna"}, []string{`"id":"grt_1"`}, []string{"terms"}},
			{upstream.Identity{Kind: "user", Issuer: annasID.Issuer, Subject: "anna", OnBehalfOf: "bob"}, []string{`"id":"grt_1"`}, []string{"terms"}},
		} {
			a := s.call(claims(does, c.who, "", "grt_1"))
			stops := slices.Contains([]string{"freeze_grant", "revoke_grant", "end_grant"}, does)
			if want := map[bool]int{true: 201, false: 200}[does == "offer_grant"]; a.status != want || a.header.Get("cache-control") != "no-store" {
				t.Errorf("%s: %d, want %d", does, a.status, want)
			}
			for _, text := range c.has {
				if !strings.Contains(a.text, text) {
					t.Errorf("%s by %+v has no %s: %s", does, c.who, text, a.text)
				}
			}
			for _, text := range append(c.has_not, "sealed", "CANARY", "4711000001") {
				if strings.Contains(a.text, text) && !(stops && text == "secret_limit" && c.who == annasID) {
					t.Errorf("%s by %+v has %s: %s", does, c.who, text, a.text)
				}
			}
			if knows := c.who == annasID || c.who == carlsID; stops && strings.Count(a.text, `"rsv_`) != map[bool]int{true: 1, false: 0}[knows] {
				t.Errorf("%s by %+v: %s", does, c.who, a.text)
			}
		}
	}
}

func TestAccountViews(t *testing.T) {
	s := granted(t)
	for _, does := range []string{"view_account", "unfreeze_account", "freeze_account"} {
		owners, others := s.call(claims(does, annasID, "acc_anna", "")), s.call(claims(does, carlsID, "acc_anna", ""))
		if !strings.Contains(owners.text, `"pending_minor":1700`) || !strings.Contains(owners.text, "secret_limit") {
			t.Errorf("%s: %s", does, owners.text)
		}
		if strings.Contains(others.text, "pending") || strings.Contains(others.text, "secret_limit") || !strings.Contains(others.text, `"id":"acc_anna"`) {
			t.Errorf("%s by another: %s", does, others.text)
		}
		if want := map[bool]int{true: 2, false: 0}[does == "freeze_account"]; strings.Count(owners.text, `"rsv_`) != want || strings.Contains(others.text, "rsv_") {
			t.Errorf("%s: %s, by another %s", does, owners.text, others.text)
		}
	}
}

// Parameters are told to the delegate, for the decision that fetched them, until a
// code of them was used.
func TestParameters(t *testing.T) {
	s := granted(t)
	c := claims("fetch_parameters", carlsID, "acc_anna", "grt_1")
	refused := func(what string, c upstream.Claims) {
		t.Helper()
		if a := s.call(c); a.status != http.StatusConflict || a.code(t) != "parameters_fetched" || strings.Contains(a.text, "CANARY") {
			t.Errorf("%s: %d %s", what, a.status, a.text)
		}
	}
	mark := func(fn func(*authzstore.Tx) error) {
		t.Helper()
		cause := authzstore.Cause{ID: authzstore.NewID("dec"), Actor: authzstore.Identity(carlsID), NowNanos: s.at.UnixNano()}
		refs := []kv.Ref{authzstore.CredentialRef("4711000001", kv.Exclusive)}
		if err := s.store.Update(t.Context(), cause, refs, fn); err != nil {
			t.Fatal(err)
		}
	}
	refused("what nobody fetched", c)
	mark(func(tx *authzstore.Tx) error { return tx.MarkParametersFetched("4711000001", "dec_1") })
	for range 2 { // its answer may have been lost
		v := s.shown(c)
		if v["uri"] != uri || !strings.HasPrefix(v["qr_svg"].(string), "<svg ") || v["grant"] != "grt_1" {
			t.Errorf("%v", v)
		}
	}
	another := c
	another.DecisionID = "dec_2"
	refused("another decision", another)
	owners := c
	owners.Identity = annasID
	refused("the owner", owners)
	mark(func(tx *authzstore.Tx) error { return tx.MarkFirstUsed("4711000001") })
	refused("after the first code", c)
	if strings.Contains(s.log.String(), "CANARY") {
		t.Error("the log has a secret")
	}
}

func TestTerminalLists(t *testing.T) {
	s := granted(t)
	want := []string{"grt_1"}
	for i := 2; i < 12; i++ {
		id := fmt.Sprintf("grt_%02d", i)
		s.ask(200, "PUT", "/v1/grants/"+id, offer("acc_anna"), nil)
		want = append(want, id)
	}
	slices.Sort(want)
	for does, who := range map[string]upstream.Identity{"list_grants": annasID, "list_delegations": carlsID} {
		var got []string
		after := ""
		for range 100 {
			c := claims(does, who, "acc_anna", "")
			c.Target += "?limit=3" + after
			page := s.shown(c)
			items := page["items"].([]any)
			if len(items) > 3 {
				t.Errorf("%s: a page of %d", does, len(items))
			}
			for _, item := range items {
				grant := item.(map[string]any)
				got = append(got, grant["id"].(string))
				if _, seesUsage := grant["usage"]; seesUsage != (does == "list_grants") {
					t.Errorf("%s: %v", does, slices.Collect(maps.Keys(grant)))
				}
			}
			if page["next"] == nil {
				break
			}
			after = "&after=" + page["next"].(string)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", does, got, want)
		}
	}
	for who, does := range map[upstream.Identity]string{evesID: "list_delegations"} {
		if page := s.shown(claims(does, who, "", "")); len(page["items"].([]any)) != 0 {
			t.Errorf("%s: %v", does, page)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x"} {
		c := claims("list_grants", annasID, "acc_anna", "")
		c.Target += "?" + query
		if a := s.call(c); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, a.status, a.text)
		}
	}
}

// Whose account it is now sees it, and whose it was does not.
func TestAnotherOwner(t *testing.T) {
	s := granted(t)
	s.ask(200, "PUT", "/v1/accounts/acc_anna", strings.Replace(anna, `"anna"`, `"eve"`, 1), nil)
	if a := s.call(claims("view_grant", evesID, "", "grt_1")); !strings.Contains(a.text, "remaining") {
		t.Errorf("the owner: %s", a.text)
	}
	for _, does := range []string{"view_grant", "view_account"} {
		if a := s.call(claims(does, annasID, "acc_anna", "grt_1")); strings.Contains(a.text, "remaining") {
			t.Errorf("%s by the owner of before: %s", does, a.text)
		}
	}
}

// Nothing is shown without the sidecar's word for this very call.
func TestTerminalTokens(t *testing.T) {
	s := granted(t)
	good := claims("view_grant", annasID, "", "grt_1")
	token, err := s.signer.Sign(good)
	if err != nil {
		t.Fatal(err)
	}
	other := good
	other.Audience = "other"
	payment := good
	payment.Does, payment.Account, payment.Payee, payment.Currency, payment.AmountMinor, payment.ReservationID = "", "acc_anna", "mer_1", "EUR", 1, "rsv_1"
	key, err := upstream.SharedKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	others, err := upstream.NewSigner("sto_test", map[string]upstream.Key{"other": key})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(signer *upstream.Signer, c upstream.Claims) string {
		signed, err := signer.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for name, c := range map[string]struct {
		method, target string
		tokens         []string
		status         int
		code           string
	}{
		"none":             {"GET", good.Target, nil, 403, "token_missing"},
		"two":              {"GET", good.Target, []string{token, token}, 403, "token_invalid"},
		"damaged":          {"GET", good.Target, []string{token[:len(token)-2]}, 403, "token_invalid"},
		"another service":  {"GET", good.Target, []string{sign(others, other)}, 403, "token_not_for_us"},
		"a payment":        {"GET", good.Target, []string{sign(s.signer, payment)}, 403, "token_not_for_us"},
		"another method":   {"POST", good.Target, []string{token}, 403, "call_changed"},
		"another target":   {"GET", good.Target + "y", []string{token}, 403, "call_changed"},
		"another query":    {"GET", good.Target + "?after=x", []string{token}, 403, "call_changed"},
		"outside its path": {"GET", "/v1/accounts", []string{token}, 404, "not_found"},
	} {
		a := s.send(c.method, c.target, c.tokens...)
		if a.status != c.status || a.code(t) != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.text, c.status, c.code)
		}
	}
	if a := s.call(claims("view_grant", annasID, "", "grt_none")); a.status != 404 {
		t.Errorf("a grant that is not there: %d %s", a.status, a.text)
	}
	s.err = http.ErrBodyNotAllowed
	if a := s.call(good); a.status != 503 || a.code(t) != "clock_jumped" {
		t.Errorf("nobody knows the time: %d %s", a.status, a.text)
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the log has a token")
	}
}
