package call_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/sidecar/call"
)

const goodTable = `system: pay
identity:
  source: jwt
  issuer: https://id.example
  kind: user
routes:
- match:
    method: POST
    path: /v1/accounts/{account}/payments
  operation: pay
  fields:
    account: {path: account}
  facts: {account: write}
`

const identityLines = "identity: {source: jwt, issuer: x, kind: user}\n"

// edit replaces one text of the good table by another.
func edit(t *testing.T, old, replacement string) string {
	t.Helper()
	return replaceIn(t, goodTable, old, replacement)
}

// replaceIn replaces one text of a table by another.
func replaceIn(t *testing.T, table, old, replacement string) string {
	t.Helper()
	if strings.Count(table, old) != 1 {
		t.Fatalf("%q stands %d times in the table", old, strings.Count(table, old))
	}
	return strings.Replace(table, old, replacement, 1)
}

func TestGoodTable(t *testing.T) { mustLoadYAML(t, goodTable) }

// Every mistake in a route table is refused with file, line and what is wrong.
func TestTableErrors(t *testing.T) {
	for _, c := range []struct {
		name, old, replacement string
		line                   string
		says                   string
	}{
		{"unknown key", "system: pay", "system: pay\nregion: eu", "2", `unknown key "region"`},
		{"unknown key of a route", "  operation: pay", "  operation: pay\n  region: x", "11", `unknown key "region"`},
		{"unknown key of a match", "    method: POST", "    method: POST\n    host: x", "9", `unknown key "host"`},
		{"unknown key of a field", "{path: account}", "{path: account, cookie: x}", "12", `unknown key "cookie"`},
		{"key twice", "  operation: pay", "  operation: pay\n  operation: refund", "11", `"operation" already defined at line 10`},
		{"field twice", "    account: {path: account}", "    account: {path: account}\n    account: {json: /a}", "13", `"account" already defined at line 12`},
		{"list for a map", "fields:\n    account: {path: account}", "fields: [account]", "11", "cannot unmarshal"},
		{"not YAML", "system: pay", "system: [pay", "1", "yaml"},
		{"tab", "  source: jwt", "\tsource: jwt", "3", "yaml"},
		{"two documents", "facts: {account: write}\n", "facts: {account: write}\n---\nsystem: pay\n", "14", "more than one document"},
		{"wrong system directory", "system: pay", "system: other", "1", `system "other" stands in the directory of "pay"`},
		{"no system", "system: pay\n", "", "1", `system "" stands in the directory of "pay"`},
		{"unknown identity source", "source: jwt", "source: header", "3", `"header"`},
		{"no issuer", "  issuer: https://id.example\n", "", "2", "no issuer"},
		{"no identity kind", "  kind: user\n", "", "2", "kind"},
		{"bad identity kind", "kind: user", "kind: User", "5", `"User"`},
		{"bad method", "method: POST", "method: post", "8", `"post" is not one of DELETE, GET, PATCH, POST, PUT`},
		{"unusual method", "method: POST", "method: CONNECT", "8", `"CONNECT"`},
		{"no method", "    method: POST\n", "", "7", `method ""`},
		{"no path", "    path: /v1/accounts/{account}/payments\n", "", "7", "no / at its start"},
		{"relative path", "path: /v1", "path: v1", "9", "no / at its start"},
		{"empty segment", "path: /v1/", "path: /v1//", "9", "not a segment"},
		{"dot segment", "path: /v1/", "path: /v1/../", "9", "not a segment"},
		{"trailing slash", "/payments", "/payments/", "9", "not a segment"},
		{"encoded path", "path: /v1/", "path: /v%31/", "9", "not a segment"},
		{"wildcard", "path: /v1/", "path: /*/", "9", "not a segment"},
		{"query", "/payments", "/payments?a", "9", "not a segment"},
		{"variable not closed", "{account}/payments", "{account/payments", "9", "is not {name}"},
		{"variable without a name", "{account}/payments", "{}/payments", "9", "is not {name}"},
		{"variable inside a segment", "{account}/payments", "acc-{account}/payments", "9", "not a segment"},
		{"variable twice", "/payments", "/{account}", "9", "{account} twice"},
		{"unread variable", "/payments", "/{rail}", "9", "no field reads {rail}"},
		{"no operation", "  operation: pay\n", "", "7", `operation ""`},
		{"bad operation", "operation: pay", "operation: Pay-it", "10", `operation "Pay-it"`},
		{"field without a place", "    account: {path: account}", "    account: {path: account}\n    payee: {}", "13", "field payee: name one place"},
		{"field with two places", "{path: account}", "{path: account, json: /a}", "12", "field account: name one place"},
		{"field of an absent variable", "    account: {path: account}", "    account: {path: account}\n    payee: {path: payee}", "13", "field payee: the path has no {payee}"},
		{"field of a literal", "    account: {path: account}", "    account: {path: account}\n    payee: {path: v1}", "13", "field payee: the path has no {v1}"},
		{"pointer without slash", "{path: account}", "{json: account}", "12", `field account: json "account": a JSON Pointer`},
		{"pointer with a bad escape", "{path: account}", "{json: /a~2}", "12", `field account: json "/a~2": in a JSON Pointer`},
		{"pointer past the end", "{path: account}", "{json: /a/-}", "12", `field account: json "/a/-": the step '-'`},
		{"pointer to an element", "{path: account}", "{json: /transfers/0/from}", "12", "field account: json pointer /transfers/0/from picks an element of a list"},
		{"two fields in one place of the path", "    account: {path: account}", "    account: {path: account}\n    payee: {path: account}", "13", `field payee: another field stands in path account too`},
		{"two fields in one place of the body", "    account: {path: account}", "    account: {json: /a}\n    payee: {json: /a}", "13", `field payee: another field stands in json /a too`},
		{"unknown fact", "facts: {account: write}", "facts: {account: write, weather: read}", "13", `fact "weather" is not one of grant, intent, terminal, account`},
		{"fact without its field", "    account: {path: account}", "    payee: {path: account}", "13", "fact account is looked up by the field account"},
		{"overlap", "facts: {account: write}\n", "facts: {account: write}\n" + secondRoute, "14", "POST /v1/accounts/{account}/payments overlaps with POST /v1/accounts/{account}/payments of system pay"},
		{"overlap by variables", "facts: {account: write}\n", "facts: {account: write}\n" + strings.Replace(secondRoute, "/v1/accounts", "/v1/cards", 1) +
			strings.Replace(secondRoute, "/v1/accounts/{account}/payments", "/v1/{account}/acc_bob/payments", 1), "18", "overlaps with"},
		{"no routes", "routes:\n" + goodTable[strings.Index(goodTable, "- match"):], "routes: []\n", "6", "no routes"},
		{"routes without a list", goodTable[strings.Index(goodTable, "- match"):], "", "6", "no routes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadYAML(edit(t, c.old, c.replacement))
			wantError(t, err, "systems/pay/routes.yaml:"+c.line, c.says)
		})
	}
}

const secondRoute = `- match: {method: POST, path: "/v1/accounts/{account}/payments"}
  operation: pay
  fields:
    account: {path: account}
`

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "call.") {
		t.Errorf("error %q tells an operator about our types", err)
	}
}

func TestTableFiles(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		_, err := call.Load(fstest.MapFS{"decision.rego": {}}, call.Vocabulary{})
		wantError(t, err, "no systems/NAME/routes.yaml")
	})
	for name, text := range map[string]string{"empty": "", "only a comment": "# routes\n", "null": "null\n"} {
		t.Run(name, func(t *testing.T) {
			_, err := loadYAML(text)
			wantError(t, err, "systems/pay/routes.yaml:1")
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		_, err := call.Load(fstest.MapFS{"systems/pay/routes.yaml": {Mode: fs.ModeDir}}, call.Vocabulary{})
		wantError(t, err, "systems/pay/routes.yaml")
	})
	t.Run("overlap of two systems", func(t *testing.T) {
		_, err := call.Load(fstest.MapFS{
			"systems/pay/routes.yaml":   {Data: []byte(goodTable)},
			"systems/trust/routes.yaml": {Data: []byte("system: trust\n" + identityLines + "routes:\n" + secondRoute)},
		}, call.Vocabulary{})
		wantError(t, err, "systems/trust/routes.yaml:4", "overlaps with POST /v1/accounts/{account}/payments of system pay")
	})
	t.Run("two systems", func(t *testing.T) {
		table, err := call.Load(fstest.MapFS{
			"systems/trust/routes.yaml": {Data: []byte("system: trust\n" + identityLines + "routes:\n" + strings.Replace(secondRoute, "POST", "PUT", 1))},
			"systems/pay/routes.yaml":   {Data: []byte(goodTable)},
		}, call.Vocabulary{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"pay", "trust"}; !slices.Equal(table.Systems(), want) {
			t.Errorf("systems %v, want %v", table.Systems(), want)
		}
		put := call.Request{Method: "PUT", Path: goodPath, Claims: map[string]any{"iss": "x", "sub": "anna"}}
		if c, err := decode(table, put); err != nil || c.Route.System != "trust" {
			t.Errorf("PUT: %v, %v", c.Route, err)
		}
		put.Claims["iss"] = issuer // the issuer of the other system
		if r := refusal(t, table, put); r.Code != "identity_missing" {
			t.Errorf("PUT with an identity of another system: %s", r.Code)
		}
	})
}

// Routes that differ in a literal, the length or the method stand side by side,
// and each request finds its own.
func TestNoOverlap(t *testing.T) {
	table := mustLoadYAML(t, "system: pay\n"+identityLines+`routes:
- {match: {method: POST, path: /a/x}, operation: literal}
- {match: {method: POST, path: /b/x}, operation: other_literal}
- {match: {method: POST, path: /a/x/x}, operation: longer}
- {match: {method: PUT, path: /a/x}, operation: put}
- {match: {method: POST, path: "/c/{account}"}, operation: variable, fields: {account: {path: account}}}
`)
	for _, c := range []struct{ method, path, operation string }{
		{"POST", "/a/x", "literal"}, {"POST", "/b/x", "other_literal"}, {"POST", "/a/x/x", "longer"},
		{"PUT", "/a/x", "put"}, {"POST", "/c/x", "variable"}, {"POST", "/c/c", "variable"},
	} {
		got, err := decode(table, call.Request{Method: c.method, Path: c.path, Claims: map[string]any{"iss": "x", "sub": "anna"}})
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		} else if got.Route.Operation != c.operation {
			t.Errorf("%s %s is %s, want %s", c.method, c.path, got.Route.Operation, c.operation)
		}
	}
}
