package call_test

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// Calls of one fingerprint are the same call, and only those.
func TestFingerprint(t *testing.T) {
	table := shopTable(t)
	first := mustDecode(t, table, shopRequest())
	same := func(name string, changes ...func(*call.Request)) {
		t.Helper()
		if mustDecode(t, table, shopRequest(changes...)).Fingerprint() != first.Fingerprint() {
			t.Errorf("%s: another call", name)
		}
	}
	same("again")
	same("another key", inBody("r-1", "r-2"))
	same("with a secret", inBody(`"currency"`, `"code":"417223","currency"`))
	same("another spelling", inBody(`"12.50"`, "12.5"))

	seen := map[[32]byte]string{first.Fingerprint(): "the first"}
	for name, changes := range map[string][]func(*call.Request){
		"subject":      {func(r *call.Request) { r.Claims["sub"] = "ben" }},
		"on behalf of": {func(r *call.Request) { r.Claims["act_for"] = "ben" }},
		"account":      {set("x-account", "acc_ben")},
		"payee":        {inBody("mer_bakery", "mer_butcher")},
		"amount":       {inBody("12.50", "12.51")},
		"currency":     {inBody("EUR", "USD")},
		"order":        {path("/orders/8/pay")},
		"table":        {path("/orders/7/pay?table=0")},
		"other table":  {path("/orders/7/pay?table=1")},
		"note":         {path("/orders/7/pay?note=0")},
		"gift":         {inBody(`"currency"`, `"gift":false,"currency"`)},
		"gift, true":   {inBody(`"currency"`, `"gift":true,"currency"`)},
		"pan":          {inBody(`"currency"`, `"pan":"4111","currency"`)},
		"other pan":    {inBody(`"currency"`, `"pan":"4112","currency"`)},
	} {
		c := mustDecode(t, table, shopRequest(changes...))
		if other, dup := seen[c.Fingerprint()]; dup {
			t.Errorf("%s is the same call as %s", name, other)
		}
		seen[c.Fingerprint()] = name
	}
	// What belongs to the one part cannot be moved to the next.
	a, b := first, first
	a.Identity = authzstore.Identity{Kind: "user", Issuer: "ab", Subject: "c"}
	b.Identity = authzstore.Identity{Kind: "user", Issuer: "a", Subject: "bc"}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("issuer ab, subject c is issuer a, subject bc")
	}
	for i := range first.Fields {
		c := first
		c.Fields = slices.Clone(first.Fields)
		c.Fields[i].Absent = !c.Fields[i].Absent
		if c.Fingerprint() == first.Fingerprint() {
			t.Errorf("%s: absent or there is one", c.Route.Fields[i].Name)
		}
	}
}

// Of a personal field nothing but a token is left, the same for the same value of
// the same field under the same key.
func TestPersonal(t *testing.T) {
	table := shopTable(t)
	const pan = "4111111111111111"
	req := shopRequest(inBody(`"currency"`, `"pan":"`+pan+`","currency"`))
	token := mustDecode(t, table, req).Text("pan")
	if !regexp.MustCompile(`^ptk_[a-z2-7]{52}$`).MatchString(token) {
		t.Errorf("token %q", token)
	}
	if again := mustDecode(t, table, req).Text("pan"); again != token {
		t.Error("the same value has another token")
	}
	// The form is fixed: tokens are compared with stored ones.
	if want := "ptk_husoap2pvhr6jlewwflguc5o5k6z4w6fcekmkibja7mn4m3qgkya"; token != want {
		t.Errorf("token %s, want %s", token, want)
	}
	other, err := table.Decode(req, call.Keys{Personal: []byte(strings.Repeat("k", 32))})
	if err != nil || other.Text("pan") == token {
		t.Errorf("another key gives the same token, %v", err)
	}
	for _, key := range []string{"", "short", strings.Repeat("k", 33)} {
		c, err := table.Decode(req, call.Keys{Personal: []byte(key)})
		var r *call.Refusal
		if err == nil || errors.As(err, &r) || c.Route != nil {
			t.Errorf("a key of %d bytes: %v, %+v", len(key), err, c)
		}
	}
	renamed, err := loadWith(strings.Replace(shop, "    pan: {json: /pan", "    iban: {json: /pan", 1), evidence)
	if err != nil {
		t.Fatal(err)
	}
	if mustDecode(t, renamed, req).Text("iban") == token {
		t.Error("another field has the same token")
	}
}

// Which identity counts is the route's word, whatever else a request carries.
func TestIdentities(t *testing.T) {
	table := shopTable(t)
	look := func(principal string) call.Request {
		return call.Request{Method: "GET", Authority: "shop.example", Path: "/machine", Principal: principal}
	}
	both := look("spiffe://shop.example/ns/pay/sa/till")
	both.Claims = claims("anna")
	want := authzstore.Identity{Kind: "merchant", Issuer: "spiffe://shop.example", Subject: "/ns/pay/sa/till"}
	if got := mustDecode(t, table, both).Identity; got != want {
		t.Errorf("certificate and token: %+v, want %+v", got, want)
	}
	for _, principal := range []string{
		"", "spiffe://shop.example", "spiffe://shop.example/", "spiffe://shop.example.evil/till", "spiffe://shop.examplex/till",
		"spiffe://evil.example/till", "SPIFFE://shop.example/till", "spiffe://SHOP.example/till", "https://shop.example/till", "/till", "till",
		"spiffe://shop.example//till", "spiffe://shop.example/a/../till", "spiffe://shop.example/till/", "spiffe://shop.example/till?x",
		"spiffe://shop.example/till#x", "spiffe://shop.example/%74ill", "spiffe://shop.example/till\x00", "spiffe://shop.example:1/till",
		"spiffe://user@shop.example/till", "spiffe://shop.example/" + strings.Repeat("a", 256), "CN=till,O=shop", "shop.example",
	} {
		req := look(principal)
		req.Claims = claims("anna")
		if r := refusal(t, table, req); r.Code != "identity_missing" || r.Status != 401 {
			t.Errorf("%q: %d %s", principal, r.Status, r.Code)
		}
	}
	certificate := shopRequest(func(r *call.Request) {
		r.Claims, r.Principal = nil, "spiffe://shop.example/till"
	})
	if r := refusal(t, table, certificate); r.Code != "identity_missing" {
		t.Errorf("a certificate for a token: %s", r.Code)
	}
	for _, value := range []any{nil, "", 7.0, true, []any{"ben"}, map[string]any{"sub": "ben"}, " ben", "b\x00en"} {
		req := shopRequest(func(r *call.Request) { r.Claims["act_for"] = value })
		if r := refusal(t, table, req); r.Code != "identity_missing" {
			t.Errorf("on behalf of %v: %s", value, r.Code)
		}
	}
	if id := mustDecode(t, builtIn(t), with(func(r *call.Request) { r.Claims["act_for"] = "ben" })).Identity; id.OnBehalfOf != "" {
		t.Errorf("a claim that no route names: %+v", id)
	}
}

// Whatever becomes of a request, no secret and no personal value is left of it but
// in Secrets.
func TestSecretsStayAway(t *testing.T) {
	const canary = "canary4711"
	c := mustDecode(t, shopTable(t), shopRequest(inBody(`"currency"`, `"code":"`+canary+`","pan":"`+canary+`","currency"`)))
	if !slices.Equal(c.Secrets, []string{canary}) {
		t.Errorf("secrets %q", c.Secrets)
	}
	for name, v := range maps.All(values(c)) {
		if strings.Contains(v.Text, canary) {
			t.Errorf("%s is %q", name, v.Text)
		}
	}
}
