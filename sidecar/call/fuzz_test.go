package call_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// Whatever Decode accepts keeps the rules of the fields, whatever the request
// was; whatever it refuses, it refuses with a complete refusal.
func FuzzDecode(f *testing.F) {
	f.Add("POST", goodPath, "application/json", "", []byte(goodBody), "anna")
	f.Add("POST", goodPath+"?a", "application/json; charset=utf-8", "59", []byte(goodBody), "anna")
	f.Add("POST", "/v1/accounts/../payments", "text/json", "0", []byte(body("amount_minor", "1e9999999")), "")
	f.Add("GET", "*", "", "-1", []byte("{"), "\x00")
	for _, path := range paths[:20] {
		f.Add("POST", path, "application/json", "", []byte(body("payee", `"\u00e9"`)), "bob")
	}
	table := builtIn(f)
	f.Fuzz(func(t *testing.T, method, path, contentType, contentLength string, text []byte, subject string) {
		req := call.Request{Method: method, Authority: "pay.example", Path: path, Body: text, Claims: claims(subject)}
		add("content-type", contentType)(&req)
		add("idempotency-key", "key-1")(&req)
		if contentLength != "" {
			add("content-length", contentLength)(&req)
		}
		c, err := decode(table, req)
		var r *call.Refusal
		switch {
		case err == nil:
			checkCall(t, req, c)
		case !errors.As(err, &r):
			t.Fatalf("the error is a %T: %v", err, err)
		case r.Status < 400 || r.Status > 499 || r.Code == "" || r.Message == "":
			t.Fatalf("the refusal is not complete: %+v", r)
		}
	})
}

var mistakeAt = regexp.MustCompile(`^systems/pay/routes\.yaml:[0-9]+: .`)

// A table is refused with file and line, or every route of it keeps what a plan of its
// calls relies on.
func FuzzLoad(f *testing.F) {
	for _, table := range []string{goodTable, shop, grants, intents, "", "system: pay\nroutes: [{}]", strings.ReplaceAll(intents, "write", "read")} {
		f.Add(table)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := loadWith(text, evidence)
		if err != nil {
			if !mistakeAt.MatchString(err.Error()) {
				t.Errorf("a mistake without a place: %v", err)
			}
			return
		}
		for _, r := range table.Routes() {
			checkRoute(t, r)
		}
	})
}

func checkRoute(t *testing.T, r *call.Route) {
	t.Helper()
	has := func(fact string) bool { _, ok := r.Fact(fact); return ok }
	mapped := func(field string) bool { f, ok := r.Field(field); return ok && !f.Optional }
	hasAccount := has("account") || has("grant")
	for what, sound := range map[string]bool{
		"the account is found":           !has("account") || !has("grant") && (mapped("account") || has("terminal") || has("intent")),
		"the intent is found":            !has("intent") || mapped("intent"),
		"what is the intent's is found":  !has("intent_account") && !has("intent_terminals") || has("intent"),
		"what is the account's is found": !has("terminals") && !has("open_intents") || hasAccount,
		"the people are found":           !r.AsksPeople() || hasAccount && r.KeyFrom() != "",
		"no merchant is changed":         !r.Writes("merchant"),
		"money has a key":                !r.MovesMoney || r.KeyFrom() != "" && r.Does == "" && r.Upstream.Audience != "",
		"money has an owner":             !r.MovesMoney || r.PaysByGrant() || r.Writes("account") || r.Writes("intent_account"),
		"money has an amount":            !r.MovesMoney || mapped("amount_minor") && mapped("currency") && mapped("payee") || r.Writes("intent"),
	} {
		if !sound {
			t.Errorf("not so, that %s: %+v", what, r)
		}
	}
}

func checkCall(t *testing.T, req call.Request, c call.Call) {
	t.Helper()
	if req.Method != "POST" || strings.ContainsAny(req.Path, `?#%\;`) || strings.Count(req.Path, "/") != 4 {
		t.Errorf("%s %q is a %s", req.Method, req.Path, c.Route.Operation)
	}
	if c.Identity.Subject != req.Claims["sub"] || !textIsSound(c.Identity.Subject) {
		t.Errorf("identity %+v", c.Identity)
	}
	for i, field := range c.Route.Fields {
		switch v := c.Fields[i]; {
		case (field.Type == call.Amount):
			if v.Int < 1 || v.Int > authzstore.MaxAmountMinor || v.Text != "" {
				t.Errorf("%s is %+v", field.Name, v)
			}
		case v.Int != 0 || !textIsSound(v.Text):
			t.Errorf("%s is %+v", field.Name, v)
		case field.Name == "currency" && (len(v.Text) != 3 || strings.Trim(v.Text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
			t.Errorf("currency is %q", v.Text)
		case field.Name == "account" && req.Path != "/v1/accounts/"+v.Text+"/payments":
			t.Errorf("account %q of path %q", v.Text, req.Path)
		}
	}
}

func textIsSound(s string) bool {
	return s != "" && len(s) <= 256 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
