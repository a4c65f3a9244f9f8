package call_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/call"
)

// body returns the good body with one member as given, in JSON.
func body(name, value string) string {
	members := map[string]string{"payee": `"mer_bakery"`, "amount_minor": "1250", "currency": `"EUR"`}
	members[name] = value
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		parts = append(parts, fmt.Sprintf("%q:%s", name, members[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestAmounts(t *testing.T) {
	for value, want := range map[string]int64{
		"1": 1, "1250": 1250, "9007199254740991": 1<<53 - 1, " 7 ": 7,
	} {
		t.Run(value, func(t *testing.T) {
			c, err := decode(builtIn(t), post(goodPath, body("amount_minor", value)))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Fields[1].Int; got != want {
				t.Errorf("read as %d, want %d", got, want)
			}
		})
	}
	for _, value := range []string{
		"0", "-0", "-1", "-1250", "9007199254740992", "9223372036854775807", "9223372036854775808",
		"18446744073709551617", "1.0", "1.5", "0.1", "1e3", "1E3", "1e0", "1e-3", "1250e30",
		`"100"`, `""`, "null", "true", "[100]", "[]", "{}", `{"amount":100}`,
	} {
		t.Run("refused "+value, func(t *testing.T) {
			wantRefusal(t, post(goodPath, body("amount_minor", value)), 400, "field_invalid")
		})
	}
}

func TestTexts(t *testing.T) {
	for _, value := range []string{
		"m", "mer_bakery", "Bäckerei 東京 🥖", strings.Repeat("a", 256), strings.Repeat("é", 128), `a"b\c/d`, "<script>", "a b", "null",
	} {
		t.Run(value, func(t *testing.T) {
			quoted, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			c, err := decode(builtIn(t), post(goodPath, body("payee", string(quoted))))
			if err != nil {
				t.Fatal(err)
			}
			if c.Text("payee") != value {
				t.Errorf("read as %q, want %q", c.Text("payee"), value)
			}
		})
	}
	for _, value := range []string{
		`""`, `"` + strings.Repeat("a", 257) + `"`, `"` + strings.Repeat("é", 129) + `"`,
		`"a\nb"`, `"a\rb"`, `"\t"`, `"\u0001"`, `"\u007f"`, `"\u0085"`,
		`" m"`, `"m "`, `"m\u00a0"`, `"m\u2028"`, `"m\u200b"`, `"\u202em"`, `"m\ufeff"`, `"e\u0301"`, `" "`,
		"null", "7", "true", `["mer_bakery"]`, `{"id":"mer_bakery"}`,
	} {
		t.Run("refused "+value, func(t *testing.T) {
			wantRefusal(t, post(goodPath, body("payee", value)), 400, "field_invalid")
		})
	}
	// A field of the path is held to the same rules.
	long := "/v1/accounts/" + strings.Repeat("a", 257) + "/payments"
	wantRefusal(t, post(long, goodBody), 400, "field_invalid")
	if _, err := decode(builtIn(t), post(long[:13]+long[14:], goodBody)); err != nil {
		t.Errorf("256 bytes: %v", err)
	}
}

func TestCurrencies(t *testing.T) {
	for _, value := range []string{"EUR", "JPY", "TND"} {
		if _, err := decode(builtIn(t), post(goodPath, body("currency", `"`+value+`"`))); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, value := range []string{
		`""`, `"eur"`, `"Eur"`, `"EU"`, `"EURO"`, `"EU1"`, `" EUR"`, `"EUR "`, `"ΕUR"`, `"€"`, `"XXX"`, `"XAU"`, `"DEM"`, "978", "null", `["EUR"]`,
	} {
		t.Run("refused "+value, func(t *testing.T) {
			wantRefusal(t, post(goodPath, body("currency", value)), 400, "field_invalid")
		})
	}
}

// Every field that a route maps from the body must be there, under exactly its
// name and where the pointer says.
func TestFieldsMissing(t *testing.T) {
	var members map[string]any
	if err := json.Unmarshal([]byte(goodBody), &members); err != nil {
		t.Fatal(err)
	}
	c, err := decode(builtIn(t), good())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, field := range c.Route.Fields {
		if _, inBody := members[field.Name]; !inBody {
			continue
		}
		seen++
		without := maps.Clone(members)
		delete(without, field.Name)
		nested, renamed := maps.Clone(without), maps.Clone(without)
		nested["payment"] = map[string]any{field.Name: members[field.Name]}
		renamed[strings.ToUpper(field.Name)] = members[field.Name]
		for name, changed := range map[string]map[string]any{"absent": without, "one level down": nested, "in capitals": renamed} {
			t.Run(field.Name+" "+name, func(t *testing.T) {
				text, err := json.Marshal(changed)
				if err != nil {
					t.Fatal(err)
				}
				wantRefusal(t, post(goodPath, string(text)), 400, "field_missing")
			})
		}
	}
	if seen != len(members) {
		t.Errorf("%d of the %d members of the body are fields of the route", seen, len(members))
	}
	for _, text := range []string{"{}", "[]", "null", "0", `"payee"`, "[" + goodBody + "]"} {
		t.Run(text, func(t *testing.T) { wantRefusal(t, post(goodPath, text), 400, "field_missing") })
	}
}

// A route whose fields all stand in the path takes no body at all.
func TestRouteWithoutBody(t *testing.T) {
	table := mustLoadYAML(t, strings.Replace(goodTable, `method: POST
    path: /v1/accounts/{account}/payments`, `method: GET
    path: /v1/accounts/{account}`, 1))
	get := call.Request{Method: "GET", Authority: "pay.example", Path: "/v1/accounts/acc_anna", Claims: claims("anna")}
	c, err := decode(table, get)
	if err != nil {
		t.Fatal(err)
	}
	if c.Text("account") != "acc_anna" {
		t.Errorf("account %q", c.Text("account"))
	}
	zero := get
	zero.Headers = []call.Header{{Name: "content-length", Value: []byte("0")}}
	if _, err := decode(table, zero); err != nil {
		t.Errorf("content-length 0: %v", err)
	}
	filled := get
	filled.Body = []byte("{}")
	if r := refusal(t, table, filled); r.Status != 400 || r.Code != "body_unexpected" {
		t.Errorf("with a body: %d %s", r.Status, r.Code)
	}
	promised := get
	promised.Headers = []call.Header{{Name: "content-length", Value: []byte("2")}}
	if r := refusal(t, table, promised); r.Code != "body_length_mismatch" {
		t.Errorf("with a body promised: %d %s", r.Status, r.Code)
	}
}

// Fields may stand deep in a body, and pointers are read as RFC 6901 has them.
func TestPointers(t *testing.T) {
	table := mustLoadYAML(t, `system: pay
identity: {source: jwt, issuer: "https://id.example", kind: user}
routes:
- match: {method: PUT, path: /orders}
  operation: order
  moves_money: false
  fields:
    account: {json: /from/first/id}
    amount_minor: {json: /total~1minor}
`)
	req := post("/orders", `{"from":{"first":{"id":"acc_a"},"second":{"id":"acc_b"}},"total/minor":5,"total":{"minor":6}}`)
	req.Method = "PUT"
	c, err := decode(table, req)
	if err != nil {
		t.Fatal(err)
	}
	if c.Text("account") != "acc_a" || c.Fields[1].Int != 5 {
		t.Errorf("read as %+v", c.Fields)
	}
}
