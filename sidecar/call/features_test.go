package call_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// shop is a table in which every place, type and flag is used.
const shop = `system: pay
identity: {source: jwt, issuer: "https://id.example", kind: user, on_behalf_of: {claim: act_for}}
upstream: {audience: shop.example, idempotent: true}
routes:
- match: {method: POST, path: "/orders/{order}/pay", authorities: [pay.example, "pay.example:8443"]}
  operation: pay
  body: {members: closed}
  fields:
    account: {header: x-account}
    payee: {json: /payee/id}
    amount_minor: {json: /payee/total, format: decimal}
    currency: {json: /currency}
    order: {path: order, type: integer}
    gift: {json: /gift, type: boolean, optional: true}
    table: {query: table, type: integer, optional: true}
    note: {query: note, optional: true}
    channel: {constant: shop}
    version: {constant: 2, type: integer}
    caller: {identity: subject}
    acts_for: {identity: on_behalf_of, optional: true}
    pan: {json: /pan, personal: true, optional: true}
    code: {json: /code, secret: true, evidence: code, optional: true}
  idempotency: {json: /request_id}
  facts: {account: write}
- match: {method: POST, path: /forms}
  operation: form
  upstream: {idempotent: false}
  fields:
    account: {form: account}
    payee: {form: "to[name]"}
    amount_minor: {form: amount, format: decimal}
    currency: {constant: JPY}
    express: {form: express, type: boolean, optional: true}
  facts: {account: write}
- match: {method: GET, path: /machine}
  operation: look
  identity: {source: mtls, kind: merchant, trust_domain: "spiffe://shop.example"}
`

var evidence = call.Vocabulary{Evidence: []string{"code"}}

func shopTable(t testing.TB) *call.Table {
	t.Helper()
	table, err := loadWith(shop, evidence)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

const shopBody = `{"payee":{"id":"mer_bakery","total":"12.50"},"currency":"EUR","request_id":"r-1"}`

func shopRequest(changes ...func(*call.Request)) call.Request {
	req := post("/orders/7/pay", shopBody)
	remove("idempotency-key")(&req)
	add("x-account", "acc_anna")(&req)
	for _, change := range changes {
		change(&req)
	}
	return req
}

func withBody(text string) func(*call.Request) {
	return func(req *call.Request) {
		req.Body = []byte(text)
		remove("content-length")(req)
	}
}

// inBody replaces one text of the shop's body by another.
func inBody(old, replacement string) func(*call.Request) {
	return withBody(strings.Replace(shopBody, old, replacement, 1))
}

func path(p string) func(*call.Request) { return func(req *call.Request) { req.Path = p } }

func formRequest(body string, changes ...func(*call.Request)) call.Request {
	req := post("/forms", body)
	set("content-type", "application/x-www-form-urlencoded")(&req)
	for _, change := range changes {
		change(&req)
	}
	return req
}

const goodForm = "account=acc_anna&to%5Bname%5D=B%C3%A4cker+Nord&amount=1250"

// values are a call's fields by name.
func values(c call.Call) map[string]call.Value {
	all := map[string]call.Value{}
	for i, f := range c.Route.Fields {
		all[f.Name] = c.Fields[i]
	}
	return all
}

func mustDecode(t testing.TB, table *call.Table, req call.Request) call.Call {
	t.Helper()
	c, err := decode(table, req)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every place and every type is read.
func TestPlaces(t *testing.T) {
	c := mustDecode(t, shopTable(t), shopRequest(
		path("/orders/7/pay?note=zwei%20St%C3%BCck&table=12"),
		inBody(`"currency"`, `"gift":true,"pan":"4111111111111111","code":"417 223","currency"`),
		func(req *call.Request) { req.Claims["act_for"] = "ben" }))
	got := values(c)
	for name, want := range map[string]call.Value{
		"account": {Text: "acc_anna"}, "payee": {Text: "mer_bakery"}, "amount_minor": {Int: 1250}, "currency": {Text: "EUR"},
		"order": {Int: 7}, "gift": {Bool: true}, "table": {Int: 12}, "note": {Text: "zwei Stück"},
		"channel": {Text: "shop"}, "version": {Int: 2}, "caller": {Text: "anna"}, "acts_for": {Text: "ben"},
	} {
		if got[name] != want {
			t.Errorf("%s is %+v, want %+v", name, got[name], want)
		}
	}
	if want := (authzstore.Identity{Kind: "user", Issuer: issuer, Subject: "anna", OnBehalfOf: "ben"}); c.Identity != want {
		t.Errorf("identity %+v", c.Identity)
	}
	if c.IdempotencyKey != "r-1" || len(c.Secrets) != 1 || c.Secrets[0] != "417 223" || c.AmountMinor() != 1250 {
		t.Errorf("key %q, secrets %q, amount %d", c.IdempotencyKey, c.Secrets, c.AmountMinor())
	}
	if s := c.Route.Secrets[0]; s.Name != "code" || s.Evidence != "code" || !s.Optional {
		t.Errorf("secret %+v", s)
	}
	if want := (call.Upstream{Audience: "shop.example", Idempotent: true, Expires: call.DefaultExpires}); c.Route.Upstream != want || !c.Route.MovesMoney {
		t.Errorf("upstream %+v, moves money %t", c.Route.Upstream, c.Route.MovesMoney)
	}
}

// What is optional may be absent, and is not the same as anything there.
func TestOptional(t *testing.T) {
	table := shopTable(t)
	c := mustDecode(t, table, shopRequest())
	for _, name := range []string{"gift", "table", "note", "acts_for", "pan"} {
		if v := values(c)[name]; v != (call.Value{Absent: true}) {
			t.Errorf("%s is %+v", name, v)
		}
	}
	if c.Secrets[0] != "" {
		t.Error("a secret out of nothing")
	}
	for name, change := range map[string]func(*call.Request){
		"another case":       inBody(`"currency"`, `"Gift":true,"currency"`),
		"another separator":  inBody(`"currency"`, `"g_ift":true,"currency"`),
		"secret in capitals": inBody(`"currency"`, `"CODE":"1","currency"`),
	} {
		// Closed members refuse it first; so does an open body.
		for _, text := range []string{shop, strings.Replace(shop, "members: closed", "members: open", 1)} {
			open, err := loadWith(text, evidence)
			if err != nil {
				t.Fatal(err)
			}
			if r := refusal(t, open, shopRequest(change)); r.Code != "body_member_unknown" && r.Code != "body_misspelled_member" {
				t.Errorf("%s: %s", name, r.Code)
			}
		}
	}
	for _, value := range []string{"null", `"true"`, "0", "{}", "[]"} {
		if r := refusal(t, table, shopRequest(inBody(`"currency"`, `"gift":`+value+`,"currency"`))); r.Code != "field_invalid" {
			t.Errorf("gift %s: %s", value, r.Code)
		}
	}
}

// Everything that the shop's routes refuse beside what every route does.
func TestFeatureRefusals(t *testing.T) {
	table := shopTable(t)
	for _, c := range []struct {
		name string
		req  call.Request
		code string
	}{
		{"other host", shopRequest(func(r *call.Request) { r.Authority = "evil.example" }), "no_route"},
		{"other port", shopRequest(func(r *call.Request) { r.Authority = "pay.example:9" }), "no_route"},
		{"host in capitals", shopRequest(func(r *call.Request) { r.Authority = "PAY.example" }), "no_route"},
		{"no host", shopRequest(func(r *call.Request) { r.Authority = "" }), "no_route"},
		{"unknown parameter", shopRequest(path("/orders/7/pay?admin=1")), "parameter_unknown"},
		{"parameter in capitals", shopRequest(path("/orders/7/pay?Note=1")), "parameter_unknown"},
		{"parameter twice", shopRequest(path("/orders/7/pay?note=a&note=a")), "parameter_duplicate"},
		{"parameter twice, once encoded", shopRequest(path("/orders/7/pay?note=a&not%65=a")), "query_invalid"},
		{"empty query", shopRequest(path("/orders/7/pay?")), "query_invalid"},
		{"ampersand at the end", shopRequest(path("/orders/7/pay?note=a&")), "query_invalid"},
		{"no =", shopRequest(path("/orders/7/pay?note")), "query_invalid"},
		{"second =", shopRequest(path("/orders/7/pay?note=a=b")), "query_invalid"},
		{"semicolon", shopRequest(path("/orders/7/pay?note=a;table=1")), "query_invalid"},
		{"plus", shopRequest(path("/orders/7/pay?note=a+b")), "query_invalid"},
		{"small hex", shopRequest(path("/orders/7/pay?note=%c3%bc")), "query_invalid"},
		{"needless encoding", shopRequest(path("/orders/7/pay?note=%61")), "query_invalid"},
		{"cut encoding", shopRequest(path("/orders/7/pay?note=%C")), "query_invalid"},
		{"not UTF-8", shopRequest(path("/orders/7/pay?note=%FF")), "field_invalid"},
		{"NUL", shopRequest(path("/orders/7/pay?note=a%00b")), "field_invalid"},
		{"raw UTF-8", shopRequest(path("/orders/7/pay?note=ü")), "query_invalid"},
		{"empty value", shopRequest(path("/orders/7/pay?note=")), "field_invalid"},
		{"integer with a zero", shopRequest(path("/orders/7/pay?table=07")), "field_invalid"},
		{"integer with a sign", shopRequest(path("/orders/7/pay?table=%2B7")), "field_invalid"},
		{"minus zero", shopRequest(path("/orders/7/pay?table=-0")), "field_invalid"},
		{"integer in hex", shopRequest(path("/orders/7/pay?table=0x7")), "field_invalid"},
		{"integer too big", shopRequest(path("/orders/7/pay?table=9007199254740992")), "field_invalid"},
		{"integer of the path", shopRequest(path("/orders/seven/pay")), "field_invalid"},
		{"no header", shopRequest(remove("x-account")), "field_missing"},
		{"header twice", shopRequest(add("x-account", "acc_ben")), "header_duplicate"},
		{"header joined", shopRequest(set("x-account", "acc_anna,acc_ben")), "header_duplicate"},
		{"header empty", shopRequest(set("x-account", "")), "field_invalid"},
		{"header in UTF-8", shopRequest(set("x-account", "acc_ännä")), "header_invalid"},
		{"header in Latin-1", shopRequest(set("x-account", "acc_\xe4")), "header_invalid"},
		{"header with a tab", shopRequest(set("x-account", "acc\tanna")), "header_invalid"},
		{"unknown member", shopRequest(inBody(`"currency"`, `"x":1,"currency"`)), "body_member_unknown"},
		{"unknown member below", shopRequest(inBody(`"id"`, `"x":1,"id"`)), "body_member_unknown"},
		{"a list for an object", shopRequest(withBody(`[` + shopBody + `]`)), "body_member_unknown"},
		{"a list on the way", shopRequest(inBody(`{"id":"mer_bakery","total":"12.50"}`, `[]`)), "body_member_unknown"},
		{"JSON for a form", formRequest(goodForm, set("content-type", "application/json")), "media_type_unsupported"},
		{"a form for JSON", shopRequest(set("content-type", "application/x-www-form-urlencoded")), "media_type_unsupported"},
		{"form in Latin-1", formRequest(goodForm, set("content-type", "application/x-www-form-urlencoded; charset=iso-8859-1")), "media_type_unsupported"},
		{"form with an unknown parameter", formRequest(goodForm + "&x=1"), "parameter_unknown"},
		{"form with a parameter twice", formRequest(goodForm + "&amount=1250"), "parameter_duplicate"},
		{"form with %20", formRequest(strings.Replace(goodForm, "+", "%20", 1)), "form_invalid"},
		{"form with a line feed", formRequest(goodForm + "\n"), "form_invalid"},
		{"form with raw brackets", formRequest(strings.NewReplacer("%5B", "[", "%5D", "]").Replace(goodForm)), "form_invalid"},
		{"form in small hex", formRequest(strings.Replace(goodForm, "%C3", "%c3", 1)), "form_invalid"},
		{"form with a BOM", formRequest("\ufeff" + goodForm), "form_invalid"},
		{"empty form", formRequest(""), "field_missing"},
		{"form with a query", formRequest(goodForm, path("/forms?amount=1")), "query_unexpected"},
		{"form too long", formRequest(goodForm + "&express=" + strings.Repeat("a", 64<<10)), "body_too_big"},
		{"boolean in capitals", formRequest(goodForm + "&express=True"), "field_invalid"},
		{"boolean as a number", formRequest(goodForm + "&express=1"), "field_invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := refusal(t, table, c.req); r.Code != c.code {
				t.Errorf("refused with %s, want %s", r.Code, c.code)
			}
		})
	}
}

func TestForm(t *testing.T) {
	c := mustDecode(t, shopTable(t), formRequest(goodForm+"&express=false"))
	got := values(c)
	if got["payee"].Text != "Bäcker Nord" || got["amount_minor"].Int != 1250 || got["express"] != (call.Value{}) {
		t.Errorf("read as %+v", got)
	}
	if c.IdempotencyKey != "key-1" || c.Route.Upstream != (call.Upstream{Audience: "shop.example", Expires: call.DefaultExpires}) {
		t.Errorf("key %q, upstream %+v", c.IdempotencyKey, c.Route.Upstream)
	}
}

// Amounts in major units become minor ones exactly, by the currency's own scale.
func TestDecimals(t *testing.T) {
	table := shopTable(t)
	request := func(currency, token string) call.Request {
		body := strings.NewReplacer("EUR", currency, `"12.50"`, token).Replace(shopBody)
		return shopRequest(withBody(body))
	}
	for _, c := range []struct {
		currency, token string
		want            int64
	}{
		{"EUR", `"12.50"`, 1250}, {"EUR", "12.50", 1250}, {"EUR", `"12.5"`, 1250}, {"EUR", "12", 1200}, {"EUR", `"0.01"`, 1},
		{"EUR", "0.29", 29}, {"EUR", "1.15", 115}, {"EUR", `"90071992547409.91"`, 1<<53 - 1}, {"EUR", "1234567890123.45", 123456789012345},
		{"JPY", `"1250"`, 1250}, {"JPY", "1", 1}, {"TND", `"1.234"`, 1234}, {"TND", `"1.2"`, 1200}, {"UYW", "0.0001", 1}, {"UYW", "1", 10000},
	} {
		got := mustDecode(t, table, request(c.currency, c.token))
		if got.AmountMinor() != c.want {
			t.Errorf("%s %s is %d, want %d", c.token, c.currency, got.AmountMinor(), c.want)
		}
	}
	for _, c := range [][2]string{
		{"EUR", `"12.505"`}, {"EUR", "12.500"}, {"JPY", `"12.0"`}, {"JPY", "12.5"}, {"TND", `"1.2345"`}, {"UYW", "0.00001"},
		{"EUR", `"0"`}, {"EUR", "0.00"}, {"EUR", `"-1"`}, {"EUR", "-1"}, {"EUR", `"+1"`}, {"EUR", `"012"`}, {"EUR", `"00.5"`}, {"EUR", `".5"`},
		{"EUR", `"5."`}, {"EUR", `"."`}, {"EUR", `""`}, {"EUR", `"1e2"`}, {"EUR", "1e2"}, {"EUR", "1E2"}, {"EUR", `"1,50"`}, {"EUR", `"1 000"`},
		{"EUR", `"1.2.3"`}, {"EUR", `"١"`}, {"EUR", `"0x1"`}, {"EUR", `"1_0"`}, {"EUR", `" 1"`}, {"EUR", `"NaN"`}, {"EUR", "null"}, {"EUR", "true"},
		{"EUR", `"90071992547409.92"`}, {"EUR", `"92233720368547758.08"`}, {"EUR", "90071992547409.91"}, // a double has 15 digits
		{"UYW", `"9007199254740991"`}, {"EUR", `"99999999999999999999999"`},
	} {
		if r := refusal(t, table, request(c[0], c[1])); r.Code != "field_invalid" {
			t.Errorf("%s %s: %s", c[1], c[0], r.Code)
		}
	}
}

func TestIdempotencyKeys(t *testing.T) {
	table := builtIn(t)
	for value, want := range map[string]string{
		"k": "k", strings.Repeat("k", 128): strings.Repeat("k", 128), `"k"`: "k", `"a\"b"`: `a"b`, `a"b`: `a"b`, `"a\\b"`: `a\b`, `a\b`: `a\b`,
		"0b9c6f4e-7f6b-4f0e-9d3a-5f6f0c1d2e3f": "0b9c6f4e-7f6b-4f0e-9d3a-5f6f0c1d2e3f", "!~": "!~", "'k'": "'k'",
	} {
		if got := mustDecode(t, table, with(set("idempotency-key", value))); got.IdempotencyKey != want {
			t.Errorf("%q is read as %q, want %q", value, got.IdempotencyKey, want)
		}
	}
	for value, code := range map[string]string{
		"": "invalid", `""`: "invalid", `"`: "invalid", `"k`: "invalid", `"k"x`: "invalid", `"a"b"`: "invalid", `"a\k"`: "invalid", `"a\"`: "invalid",
		"a b": "invalid", `"a b"`: "invalid", "a\tb": "invalid", "é": "invalid", "\xff": "invalid", "a\x00": "invalid", strings.Repeat("k", 129): "invalid",
	} {
		wantRefusal(t, with(set("idempotency-key", value)), 400, "idempotency_key_"+code)
	}
	wantRefusal(t, with(remove("idempotency-key")), 400, "idempotency_key_missing")
	for _, second := range []string{"key-1", "key-2", ""} {
		wantRefusal(t, with(add("idempotency-key", second)), 400, "header_duplicate")
	}
	wantRefusal(t, with(set("idempotency-key", "a,b")), 400, "header_duplicate")
	for _, c := range [][2]string{
		{`,"request_id":"r-1"`, ""}, {`"request_id"`, `"requestId"`}, {`"r-1"`, "1"}, {`"r-1"`, "null"}, {`"r-1"`, `"a b"`},
	} {
		if r := refusal(t, shopTable(t), shopRequest(inBody(c[0], c[1]))); !strings.HasPrefix(r.Code, "idempotency_key_") && r.Code != "body_member_unknown" {
			t.Errorf("%s → %s: %s", c[0], c[1], r.Code)
		}
	}
}
