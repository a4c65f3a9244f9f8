package call_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/sidecar/call"
)

// Every mistake that a table of many features can have, and the mend that its
// error names.
func TestFeatureMistakes(t *testing.T) {
	const anyField = "    note: {query: note, optional: true}"
	for _, c := range []struct{ name, old, replacement, line, says string }{
		{"unknown type", anyField, "    note: {query: note, type: number}", "16", `field note: type "number": write text, integer or boolean`},
		{"type of a well-known field", "{json: /payee/id}", "{json: /payee/id, type: text}", "10", "field payee: its type is text: leave type out"},
		{"a name that is taken", anyField, "    operation: {query: note}", "16", "field operation: not a snake_case name of its own"},
		{"a name in camel case", anyField, "    theNote: {query: note}", "16", "field theNote: not a snake_case name"},
		{"unknown format", "format: decimal}\n    currency: {json", "format: euros}\n    currency: {json", "11", `format "euros": only amount_minor has one, decimal`},
		{"decimal text", anyField, "    note: {query: note, format: decimal}", "16", `format "decimal": only amount_minor`},
		{"optional constant", "{constant: shop}", "{constant: shop, optional: true}", "17", "field channel: constant is always there: leave optional out"},
		{"optional path", "{path: order, type: integer}", "{path: order, type: integer, optional: true}", "13", "field order: path order is always there"},
		{"optional subject", "{identity: subject}", "{identity: subject, optional: true}", "19", "field caller: identity subject is always there"},
		{"on behalf of, always", "{identity: on_behalf_of, optional: true}", "{identity: on_behalf_of}", "20", "field acts_for: most callers act for nobody else: write optional: true"},
		{"unknown part of an identity", "{identity: subject}", "{identity: sub}", "19", `identity "sub" is not one of subject, issuer, on_behalf_of`},
		{"personal integer", "type: integer, optional: true}", "type: integer, optional: true, personal: true}", "15", "field table: personal and secret are for texts that the caller sends"},
		{"personal constant", "{constant: shop}", "{constant: shop, personal: true}", "17", "field channel: personal and secret are for texts"},
		{"personal secret", "secret: true,", "secret: true, personal: true,", "22", "field code: a secret is never seen"},
		{"secret payee", "{json: /payee/id}", "{json: /payee/id, secret: true, evidence: code}", "10", "field payee: a policy must see it"},
		{"unknown evidence", "evidence: code,", "evidence: sign,", "22", `field code: evidence "sign" is not a kind of evidence that this version knows (payment_code, stored_code, intent_token, challenge_code, code)`},
		{"secret without evidence", "evidence: code, ", "", "22", `field code: evidence "" is not a kind`},
		{"evidence without secret", "secret: true, ", "", "22", "field code: evidence is of a secret field: write secret: true"},
		{"constant of another type", "{constant: 2, type: integer}", `{constant: "2", type: integer}`, "18", "field version: the constant is not of the type integer"},
		{"text that looks like a number", "{constant: shop}", "{constant: 12}", "17", "field channel: the constant is not of the type text (a text that looks like another type stands in quotes)"},
		{"constant list", "{constant: shop}", "{constant: [shop]}", "17", "field channel: the constant is not of the type text"},
		{"constant null", "{constant: shop}", "{constant: null}", "17", "field channel: the constant is not of the type text"},
		{"constant in octal", "{constant: 2,", "{constant: 0o2,", "18", "field version: the constant must be an integer"},
		{"constant currency that is none", "{constant: JPY}", "{constant: XXX}", "32", "field currency: the constant must be the ISO 4217 code"},
		{"two places", "{header: x-account}", "{header: x-account, query: account}", "9", "field account: name one place: json, header, path, query, form, identity or constant"},
		{"header in capitals", "{header: x-account}", "{header: X-Account}", "9", `header "X-Account": write it in lower-case`},
		{"header with an underscore", "{header: x-account}", "{header: x_account}", "9", `header "x_account": write it in lower-case`},
		{"header of ours", "{header: x-account}", "{header: countersign-account}", "9", "only the sidecar sets countersign-*"},
		{"header of Envoy's", "{header: x-account}", "{header: x-forwarded-for}", "9", "Envoy removes what a client sends there"},
		{"credentials", "{header: x-account}", "{header: authorization}", "9", "Envoy does not show it to the sidecar"},
		{"header of the connection", "{header: x-account}", "{header: te}", "9", "belongs to the connection"},
		{"header of the body", "{header: x-account}", "{header: content-type}", "9", "it says how the request is read"},
		{"header that overrides", "{header: x-account}", "{header: x-http-method}", "9", "it says how the request is read"},
		{"empty parameter", "{query: table,", `{query: "",`, "15", `query "" is not a name of 1 to 64 visible ASCII characters`},
		{"one place twice", "{query: table,", "{query: note,", "15", "field table: another field stands in query note too: one place is one field"},
		{"JSON and a form", anyField, "    note: {form: note}", "8", "some fields stand in json and some in a form: a body is one of them"},
		{"closed form", "  upstream: {idempotent: false}", "  body: {members: closed}", "27", "members are of a JSON body"},
		{"unknown members", "members: closed", "members: some", "7", `members "some": write closed, or open`},
		{"idempotency in two places", "{json: /request_id}", "{json: /request_id, header: idempotency-key}", "23", "idempotency: name one place"},
		{"idempotency of a constant", "{json: /request_id}", "{constant: x}", "23", "idempotency: constant is no key: the caller chooses it"},
		{"idempotency of an identity", "{json: /request_id}", "{identity: subject}", "23", "idempotency: identity subject is no key"},
		{"fact in another mode", "  facts: {account: write}\n- match: {method: POST, path: /forms}", "  facts: {account: change}\n- match: {method: POST, path: /forms}", "24", `fact account: "change": write read, or write where an effect may change it`},
		{"money, and the account is read", "  facts: {account: write}\n- match: {method: POST, path: /forms}", "  facts: {account: read}\n- match: {method: POST, path: /forms}", "24", "the route moves money, so it changes the account: write facts: {account: write}"},
		{"money, and no facts", "  facts: {account: write}\n- match: {method: POST, path: /forms}", "- match: {method: POST, path: /forms}", "5", "the route moves money, so it changes the account"},
		{"money, and no audience", "upstream: {audience: shop.example, idempotent: true}", "upstream: {idempotent: true}", "5", "the route moves money: write upstream: {audience: NAME}"},
		{"money without an amount", "  operation: look", "  operation: look\n  moves_money: true", "35", "the route moves money: map amount_minor, and not as optional, or write moves_money: false"},
		{"money without a payee", `    payee: {form: "to[name]"}`, `    shop: {form: "to[name]"}`, "25", "the route moves money: map payee"},
		{"money with an optional account", "    account: {form: account}", "    account: {form: account, optional: true}", "25", "the route moves money: map account, and not as optional"},
		{"a decimal without a currency", "    currency: {constant: JPY}", "    money: {constant: JPY}", "31", "a decimal amount needs the currency"},
		{"host in capitals", "authorities: [pay.example,", "authorities: [Pay.example,", "5", `authority "Pay.example" is not a host in lower case`},
		{"host with a scheme", "authorities: [pay.example,", `authorities: ["https://pay.example",`, "5", "is not a host in lower case"},
		{"on behalf of no claim", "on_behalf_of: {claim: act_for}", "on_behalf_of: {}", "2", "on_behalf_of has no claim: write {claim: NAME}"},
		{"on behalf of the subject", "on_behalf_of: {claim: act_for}", "on_behalf_of: {claim: sub}", "2", "issuer, subject and on_behalf_of are three different claims"},
		{"subject that is the issuer", "kind: user,", "kind: user, subject: iss,", "2", "three different claims"},
		{"jwt with a trust domain", "kind: user,", "kind: user, trust_domain: x,", "2", "trust_domain is of mtls"},
		{"mtls without a trust domain", `, trust_domain: "spiffe://shop.example"`, "", "37", `trust_domain "" is not spiffe:// and a name`},
		{"trust domain with a path", `"spiffe://shop.example"`, `"spiffe://shop.example/x"`, "37", "is not spiffe:// and a name"},
		{"mtls with an issuer", "source: mtls,", "source: mtls, issuer: x,", "37", "issuer, subject and on_behalf_of are of jwt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadWith(replaceIn(t, shop, c.old, c.replacement), evidence)
			wantError(t, err, "systems/pay/routes.yaml:"+c.line+": ", c.says)
		})
	}
}

// All mistakes of all files are told at once, in the order of the files.
func TestAllMistakes(t *testing.T) {
	_, err := call.Load(fstest.MapFS{
		"systems/a/routes.yaml": {Data: []byte("system: a\nrutes: []\nkind: x\n")},
		"systems/b/routes.yaml": {Data: []byte("system: c\nidentity: {source: jwt, issuer: x, kind: U}\nroutes:\n" +
			"- {match: {method: got, path: /x}, operation: A}\n- {match: {method: GET, path: /x}, operation: look, fields: {a: {}, b: {query: q, type: date}}}\n")},
	}, call.Vocabulary{})
	if err == nil {
		t.Fatal("accepted")
	}
	var starts []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		place, _, _ := strings.Cut(line, ": ")
		starts = append(starts, strings.TrimPrefix(place, "systems/"))
	}
	want := "a/routes.yaml:2 a/routes.yaml:3 b/routes.yaml:1 b/routes.yaml:2 b/routes.yaml:4 b/routes.yaml:4 b/routes.yaml:5 b/routes.yaml:5"
	if got := strings.Join(starts, " "); got != want {
		t.Errorf("got  %s\nwant %s\n%v", got, want, err)
	}
}

// Routes of one path at different hosts stand side by side.
func TestAuthorities(t *testing.T) {
	table := func(first, second string) (*call.Table, error) {
		return loadYAML("system: pay\n" + identityLines + `routes:
- {match: {method: GET, path: /x` + first + `}, operation: one}
- {match: {method: GET, path: /x` + second + `}, operation: two}
`)
	}
	both, err := table(", authorities: [a.example]", ", authorities: [b.example, 'c.example:8443', '[::1]:80']")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"a.example": "one", "b.example": "two", "c.example:8443": "two", "[::1]:80": "two"} {
		c := mustDecode(t, both, call.Request{Method: "GET", Authority: host, Path: "/x", Claims: map[string]any{"iss": "x", "sub": "anna"}})
		if c.Route.Operation != want {
			t.Errorf("%s is %s, want %s", host, c.Route.Operation, want)
		}
	}
	for _, c := range [][2]string{{"", ""}, {", authorities: [a.example]", ""}, {", authorities: [a.example]", ", authorities: [b.example, a.example]"}} {
		_, err := table(c[0], c[1])
		wantError(t, err, "routes.yaml:5", "overlaps with")
	}
}
