package call_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// servers is a table whose calls come from users, with a token of either of two
// issuers, or from servers, with a certificate.
const servers = `system: pay
identity:
- {source: jwt, issuer: "https://id.example", kind: user}
- {source: mtls, trust_domain: "spiffe://shop.example", kind: merchant}
- {source: jwt, issuer: "https://other.example", kind: user, subject: user_id}
routes:
- match: {method: GET, path: /balance}
  operation: look
  fields:
    caller: {identity: subject}
    proof: {identity: amr, optional: true}
- match: {method: GET, path: /till}
  operation: till
  identity: {source: mtls, trust_domain: "spiffe://shop.example", kind: merchant}
- match: {method: GET, path: /phone}
  operation: phone
  identity: [{source: jwt, issuer: "https://id.example", kind: terminal}]
`

func withToken(path, issuer, subject string) call.Request {
	return call.Request{Method: "GET", Authority: "pay.example", Path: path, Claims: map[string]any{
		"iss": issuer, "sub": subject, "user_id": "u-" + subject, "amr": []any{"pin"}, "exp": 2e9,
	}}
}

// Of the identities that a route lists a call has exactly one; of the others it may
// have what it likes.
func TestAlternatives(t *testing.T) {
	table, err := loadWith(servers, evidence)
	if err != nil {
		t.Fatal(err)
	}
	const cert = "spiffe://shop.example/till"
	merchant := authzstore.Identity{Kind: "merchant", Issuer: "spiffe://shop.example", Subject: "/till"}
	anna := authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}
	for _, c := range []struct {
		name, path, issuer, principal string
		want                          authzstore.Identity
		code                          string
	}{
		{"a token", "/balance", "https://id.example", "", anna, ""},
		{"a certificate", "/balance", "", cert, merchant, ""},
		{"a token of another issuer", "/balance", "https://other.example", "", authzstore.Identity{Kind: "user", Issuer: "https://other.example", Subject: "u-anna"}, ""},
		{"neither", "/balance", "", "", authzstore.Identity{}, "identity_missing"},
		{"both", "/balance", "https://id.example", cert, authzstore.Identity{}, "identity_ambiguous"},
		{"both, of another issuer", "/balance", "https://other.example", cert, authzstore.Identity{}, "identity_ambiguous"},
		{"a token, and a certificate that names nobody", "/balance", "https://id.example", "spiffe://shop.example", authzstore.Identity{}, "identity_ambiguous"},
		{"a token, and a certificate with a path that is none", "/balance", "https://id.example", "spiffe://shop.example/a/../b", authzstore.Identity{}, "identity_ambiguous"},
		{"a certificate that names nobody", "/balance", "", "spiffe://shop.example/", authzstore.Identity{}, "identity_missing"},
		{"a token, and a certificate of a domain that the route does not list", "/balance", "https://id.example", "spiffe://push.example/till", anna, ""},
		{"a token, and a certificate of a domain that starts alike", "/balance", "https://id.example", "spiffe://shop.example.evil/till", anna, ""},
		{"a certificate, and a token of an issuer that the route does not list", "/balance", "https://evil.example", cert, merchant, ""},
		{"an issuer and a domain that the route does not list", "/balance", "https://evil.example", "spiffe://push.example/till", authzstore.Identity{}, "identity_missing"},
		{"both, where certificates alone count", "/till", "https://id.example", cert, merchant, ""},
		{"a token, where certificates alone count", "/till", "https://id.example", "", authzstore.Identity{}, "identity_missing"},
		{"both, where tokens alone count", "/phone", "https://id.example", cert, authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "anna"}, ""},
		{"a certificate, where tokens alone count", "/phone", "", cert, authzstore.Identity{}, "identity_missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := withToken(c.path, c.issuer, "anna")
			if c.issuer == "" {
				req.Claims = nil
			}
			req.Principal = c.principal
			if c.code != "" {
				if r := refusal(t, table, req); r.Code != c.code || r.Status != 401 {
					t.Errorf("%d %s, want 401 %s", r.Status, r.Code, c.code)
				}
				return
			}
			if got := mustDecode(t, table, req).Identity; got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	// A token that says for whom it is in a wrong way is still a token.
	halved := withToken("/balance", "https://id.example", "")
	halved.Principal = cert
	if r := refusal(t, table, halved); r.Code != "identity_ambiguous" {
		t.Errorf("a certificate, and a token without a subject: %s", r.Code)
	}
}

// What a token says beside its subject counts where the call came by it, and not where
// it came by a certificate and the token is of an issuer that the route does not list.
func TestAlternativeClaims(t *testing.T) {
	table, err := loadWith(servers, evidence)
	if err != nil {
		t.Fatal(err)
	}
	byToken := mustDecode(t, table, withToken("/balance", "https://id.example", "anna"))
	if byToken.Text("proof") != "pin" || byToken.ExpiresAtNanos != 2e18 {
		t.Errorf("by token: proof %q, until %d", byToken.Text("proof"), byToken.ExpiresAtNanos)
	}
	req := withToken("/balance", "https://evil.example", "anna")
	req.Principal = "spiffe://shop.example/till"
	byCertificate := mustDecode(t, table, req)
	if byCertificate.Text("proof") != "" || byCertificate.ExpiresAtNanos != 0 || byCertificate.Text("caller") != "/till" {
		t.Errorf("by certificate: %+v", byCertificate)
	}
	mustDiffer(t, byToken, mustDecode(t, table, call.Request{Method: "GET", Path: "/balance", Principal: "spiffe://shop.example/anna"}))
}

// mustDiffer fails where two calls are one for a retry.
func mustDiffer(t *testing.T, one, other call.Call) {
	t.Helper()
	if one.Fingerprint() == other.Fingerprint() {
		t.Errorf("%+v and %+v have one fingerprint", one.Identity, other.Identity)
	}
}

// Lists that nobody could mean.
func TestAlternativeMistakes(t *testing.T) {
	const first, second = `- {source: jwt, issuer: "https://id.example", kind: user}`, `- {source: mtls, trust_domain: "spiffe://shop.example", kind: merchant}`
	for _, c := range []struct{ name, old, replacement, line, says string }{
		{"an issuer twice", second, strings.Replace(first, "kind: user", "kind: agent", 1), "4", "two identities of https://id.example: nobody could tell which a call has, so keep one"},
		{"an issuer twice, by different claims", `"https://other.example"`, `"https://id.example"`, "5", "two identities of https://id.example"},
		{"a trust domain twice", `- {source: jwt, issuer: "https://other.example", kind: user, subject: user_id}`, strings.Replace(second, "kind: merchant", "kind: agent", 1), "5", "two identities of spiffe://shop.example"},
		{"an issuer that is a trust domain", `"https://other.example"`, `"spiffe://shop.example"`, "5", "two identities of spiffe://shop.example"},
		{"five", second, strings.Repeat(second+"\n", 3), "2", "identity: 5 alternatives: write 1 to 4"},
		{"none", `[{source: jwt, issuer: "https://id.example", kind: terminal}]`, "[]", "17", "identity: 0 alternatives: write 1 to 4"},
		{"one of a list without a kind", `"spiffe://shop.example", kind: merchant}` + "\n- {source: jwt, issuer", `"spiffe://shop.example"}` + "\n- {source: jwt, issuer", "4", `identity kind "" is not a snake_case name`},
		{"one of a list without a source", second, `- {trust_domain: "spiffe://shop.example", kind: merchant}`, "4", `identity source "": write jwt or mtls`},
		{"a key that is none, in a list", second, `- {source: mtls, trust_domains: "spiffe://shop.example", kind: merchant}`, "4", `unknown key "trust_domains"`},
		{"a key that is none, alone", "  identity: {source: mtls,", "  identity: {source: mtls, realm: x,", "14", `unknown key "realm"`},
		{"a text", `[{source: jwt, issuer: "https://id.example", kind: terminal}]`, "jwt", "17", "cannot unmarshal !!str `jwt`"},
		{"a list of texts", `[{source: jwt, issuer: "https://id.example", kind: terminal}]`, "[jwt, mtls]", "17", "cannot unmarshal !!str `jwt`"},
		{"methods of certificates", `{source: jwt, issuer: "https://id.example", kind: user}
- {source: mtls, trust_domain: "spiffe://shop.example", kind: merchant}
- {source: jwt, issuer: "https://other.example", kind: user, subject: user_id}`, `{source: mtls, trust_domain: "spiffe://shop.example", kind: merchant}
- {source: mtls, trust_domain: "spiffe://push.example", kind: merchant}`, "10", "field proof: amr is a claim of a token, and mtls has none: leave it out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadWith(replaceIn(t, servers, c.old, c.replacement), evidence)
			wantError(t, err, "systems/pay/routes.yaml:"+c.line+": ", c.says)
		})
	}
}

// A list may be written once and named where else it stands.
func TestAlternativesByAlias(t *testing.T) {
	text := strings.Replace(servers, "identity:\n", "identity: &callers\n", 1)
	text = strings.Replace(text, `[{source: jwt, issuer: "https://id.example", kind: terminal}]`, "*callers", 1)
	table, err := loadWith(text, evidence)
	if err != nil {
		t.Fatal(err)
	}
	if id := mustDecode(t, table, call.Request{Method: "GET", Path: "/phone", Principal: "spiffe://shop.example/till"}).Identity; id.Kind != "merchant" {
		t.Errorf("%+v", id)
	}
	if _, err := loadWith(strings.Replace(text, "kind: merchant}\n- {source: jwt", "kind: \"\"}\n- {source: jwt", 1), evidence); err == nil {
		t.Error("a mistake in it passes")
	}
}
