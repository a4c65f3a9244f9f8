package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

// Every role against every call: what the table says, and nothing else. The table
// itself is held to what docs/control.md says (TestDocs).
func TestRoles(t *testing.T) {
	w := newWorld(t)
	tokens := map[api.Role]string{}
	for _, role := range api.Roles {
		tokens[role] = w.token(role)
	}
	for _, o := range api.Operations {
		target := strings.ReplaceAll(o.Path, "{id}", "x")
		for _, role := range api.Roles {
			a := w.request(tokens[role], o.Method, target, "")
			refused := a.status == http.StatusForbidden && a.code(t) == "role_insufficient"
			if refused == o.Allows(role) {
				t.Errorf("%s as %s: %d %s", o.ID, role, a.status, a.text)
			}
			if a.status == http.StatusMethodNotAllowed || strings.Contains(a.text, "nothing by that path") {
				t.Errorf("%s is not there", o.ID)
			}
		}
		for name, secret := range map[string]string{"none": "", "unknown": otherSecret, "short": "cst_"} {
			if a := w.request(secret, o.Method, target, ""); a.status != http.StatusUnauthorized || a.header.Get("www-authenticate") == "" {
				t.Errorf("%s with the token %s: %d %s", o.ID, name, a.status, a.text)
			}
		}
	}
	if (api.Operation{}).Allows("") || (api.Operation{For: "viewer"}).Allows("view") {
		t.Error("a role that is none may something")
	}
}

// otherSecret has the form of a secret.
var otherSecret = "cst_" + strings.Repeat("a", 26+52)

func TestTokenForms(t *testing.T) {
	w := newWorld(t)
	for name, headers := range map[string][]string{
		"another scheme":      {"authorization", "Basic " + w.admin},
		"no scheme":           {"authorization", w.admin},
		"in another case":     {"authorization", "Bearer " + strings.ToUpper(w.admin)},
		"one character wrong": {"authorization", "Bearer " + w.admin[:len(w.admin)-1] + "_"},
		"more after it":       {"authorization", "Bearer " + w.admin + " "},
		"another one's ID":    {"authorization", "Bearer " + otherSecret[:30] + w.admin[30:]},
		"as a cookie":         {"cookie", "token=" + w.admin},
	} {
		if a := w.request("", "GET", "/v1/store", "", headers...); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := w.request("", "GET", "/v1/store", "", "authorization", "bearer "+w.admin); a.status != 200 {
		t.Errorf("the scheme in small letters: %d %s", a.status, a.text)
	}
}

func TestTokenExpiryAndRevocation(t *testing.T) {
	w := newWorld(t)
	var short, long api.MadeToken
	w.ask(200, "POST", "/v1/tokens", `{"name": "short", "role": "viewer", "expires_in_seconds": 60}`, &short)
	w.ask(200, "POST", "/v1/tokens", `{"name": "long", "role": "viewer", "expires_in_seconds": 0}`, &long)
	good := func(secret string) bool { return w.request(secret, "GET", "/v1/store", "").status == 200 }
	w.wait(time.Minute)
	if !good(short.Secret) || !good(long.Secret) {
		t.Error("a token is refused at the last instant of its time")
	}
	w.wait(1)
	if good(short.Secret) || !good(long.Secret) {
		t.Error("a token that has expired is good, or one that never does is not")
	}
	var revoked, again api.Token
	w.ask(200, "POST", "/v1/tokens/"+long.ID+"/revoke", "", &revoked)
	if good(long.Secret) || revoked.RevokedAtNanos == 0 {
		t.Error("a token that was revoked is good")
	}
	w.wait(time.Hour)
	if w.ask(200, "POST", "/v1/tokens/"+long.ID+"/revoke", "", &again); again != revoked {
		t.Errorf("revoked again: %+v, want %+v", again, revoked)
	}
	w.ask(404, "POST", "/v1/tokens/tok_other/revoke", "", nil)
	w.err = errors.New("the clock jumped")
	if a := w.request(w.admin, "GET", "/v1/store", ""); a.status != http.StatusServiceUnavailable || a.code(t) != "clock_jumped" {
		t.Errorf("nobody knows the time: %d %s", a.status, a.text)
	}
}

// A store that has somebody who can make tokens gets none; one that has not, does.
func TestBootstrap(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "admin-token")
	actor := authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "test"}
	if made, err := api.Bootstrap(t.Context(), w.store, actor, w.at, file); err != nil || made {
		t.Errorf("beside an admin: %v, %v", made, err)
	}
	var tokens api.Page[api.Token]
	w.ask(200, "GET", "/v1/tokens", "", &tokens)
	w.ask(200, "POST", "/v1/tokens/"+tokens.Items[0].ID+"/revoke", "", nil)
	if made, err := api.Bootstrap(t.Context(), w.store, actor, w.at, file); err != nil || !made {
		t.Errorf("without an admin: %v, %v", made, err)
	}
	if made, err := api.Bootstrap(t.Context(), w.store, actor, w.at, filepath.Join(file, "nowhere")); err != nil || made {
		t.Errorf("again: %v, %v", made, err)
	}
}

// No two programs read a request differently.
func TestStrictRequests(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{
		"duplicate":        strings.Replace(anna, `"currency"`, `"currency": "USD", "currency"`, 1),
		"duplicate inside": strings.Replace(anna, `"subject"`, `"subject": "bob", "subject"`, 1),
		"taken for equal":  strings.Replace(anna, `"currency"`, `"Currency": "USD", "currency"`, 1),
		"wrong case":       strings.Replace(anna, `"currency"`, `"Currency"`, 1),
		"wrong case deep":  strings.Replace(anna, `"subject"`, `"Subject"`, 1),
		"unknown":          strings.Replace(anna, `"currency"`, `"state": "active", "currency"`, 1),
		"missing":          strings.Replace(anna, `, "limits": []`, ``, 1),
		"trailing":         anna + `{}`,
		"null":             strings.Replace(anna, `[]`, `null`, 1),
		"null text":        strings.Replace(anna, `"EUR"`, `null`, 1),
		"text for number":  strings.Replace(anna, `50000`, `"50000"`, 1),
		"fraction":         strings.Replace(anna, `50000`, `50000.5`, 1),
		"exponent":         strings.Replace(anna, `50000`, `5e4`, 1),
		"point zero":       strings.Replace(anna, `50000`, `50000.0`, 1),
		"zero":             strings.Replace(anna, `50000`, `0`, 1),
		"2^53":             strings.Replace(anna, `50000`, `9007199254740992`, 1),
		"2^53+1":           strings.Replace(anna, `50000`, `9007199254740993`, 1),
		"huge":             strings.Replace(anna, `50000`, `1e9999999`, 1),
		"array":            `[` + anna + `]`,
		"lone surrogate":   strings.Replace(anna, `anna`, `\ud800`, 1),
		"control":          strings.Replace(anna, `anna`, `an\u0007na`, 1),
		"prototype":        strings.Replace(anna, `"currency"`, `"__proto__": {}, "currency"`, 1),
		"byte order mark":  "\ufeff" + anna,
		"not JSON":         `currency=EUR`,
		"long":             strings.Replace(anna, `anna`, strings.Repeat("a", 64<<10), 1),
	} {
		a := w.request(w.admin, "PUT", "/v1/accounts/acc_anna", body)
		if a.status != 400 && a.status != 413 && a.status != 422 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		a.code(t)
	}
	for name, c := range map[string]struct {
		target  string
		headers []string
		status  int
	}{
		"form":             {"/v1/accounts/acc_anna", []string{"content-type", "application/x-www-form-urlencoded"}, 415},
		"no type":          {"/v1/accounts/acc_anna", []string{"content-type", ""}, 415},
		"another charset":  {"/v1/accounts/acc_anna", []string{"content-type", "application/json; charset=utf-16"}, 415},
		"suffix":           {"/v1/accounts/acc_anna", []string{"content-type", "application/problem+json"}, 415},
		"encoded":          {"/v1/accounts/acc_anna", []string{"content-encoding", "gzip"}, 415},
		"precondition":     {"/v1/accounts/acc_anna", []string{"if-none-match", `"etag"`}, 422},
		"unknown query":    {"/v1/accounts/acc_anna?force=1", nil, 422},
		"escaped path":     {"/v1/accounts/acc%5Fanna", nil, 404},
		"double slash":     {"/v1//accounts/acc_anna", nil, 404},
		"dots":             {"/v1/x/../accounts/acc_anna", nil, 404},
		"trailing slash":   {"/v1/accounts/acc_anna/", nil, 404},
		"another noun's":   {"/v1/accounts/grt_anna", nil, 422},
		"a long ID":        {"/v1/accounts/acc_" + strings.Repeat("a", 61), nil, 422},
		"case of the path": {"/v1/Accounts/acc_anna", nil, 404},
	} {
		if a := w.request(w.admin, "PUT", c.target, anna, c.headers...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.text, c.status)
		} else {
			a.code(t)
		}
	}
	for _, target := range []string{"/v1/accounts?limit=1&limit=2", "/v1/accounts?limit=0", "/v1/accounts?limit=201", "/v1/accounts?limit=x", "/v1/accounts?Limit=1", "/v1/accounts?a;b"} {
		if a := w.request(w.admin, "GET", target, ""); a.status != 400 && a.status != 422 {
			t.Errorf("%s: %d %s", target, a.status, a.text)
		}
	}
	if a := w.request(w.admin, "POST", "/v1/accounts/acc_anna/freeze", `{}`); a.status != 400 {
		t.Errorf("a body where there is none: %d %s", a.status, a.text)
	}
	w.ask(404, "GET", "/v1/accounts/acc_anna", "", nil)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, target string
		status         int
		code, allow    string
	}{
		{"GET", "/", 404, "not_found", ""},
		{"GET", "/openapi.yaml", 404, "not_found", ""},
		{"GET", "/docs", 404, "not_found", ""},
		{"GET", "/schemas/Account.json", 404, "not_found", ""},
		{"GET", "/v1/accounts/acc_anna/limits", 404, "not_found", ""},
		{"DELETE", "/v1/accounts/acc_anna", 405, "method_not_allowed", "GET, HEAD, PUT"},
		{"POST", "/v1/accounts", 405, "method_not_allowed", "GET, HEAD"},
		{"GET", "/v1/accounts/acc_anna/freeze", 405, "method_not_allowed", "POST"},
	} {
		a := w.request(w.admin, c.method, c.target, "")
		if a.status != c.status || a.code(t) != c.code || a.header.Get("allow") != c.allow {
			t.Errorf("%s %s: %d %s, allow %q", c.method, c.target, a.status, a.text, a.header.Get("allow"))
		}
	}
}

// An answer holds no value of a body that it refuses.
func TestRefusalsHoldNoValues(t *testing.T) {
	w := newWorld(t)
	for _, canary := range []string{"canary4711", "4711471147", "47.11"} {
		for _, at := range []string{`"user"`, `"https://id.example"`, `"anna"`, `"EUR"`, `50000`, `[]`, `"subject"`} {
			for _, quote := range []string{"", `"`} {
				body := strings.Replace(anna, at, quote+canary+quote, 1)
				a := w.request(w.admin, "PUT", "/v1/accounts/acc_anna", body)
				if a.status == 200 {
					continue // a good value
				}
				// The name of a member is not a value, and says where it is.
				if strings.Contains(a.text, canary) && at != `"subject"` {
					t.Errorf("%s: %s", body, a.text)
				}
			}
		}
	}
}

// However many calls there are, only so many are answered at once, and what stops
// something finds a place.
func TestControlInFlight(t *testing.T) {
	w := newWorld(t)
	w.control = api.NewControl(api.ControlConfig{Store: w.store, Now: w.now, MaxInFlight: 2})
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	var bodies []*io.PipeWriter
	answered := make(chan int, 2)
	for range 2 { // two who are slow to say what they want
		body, writer := io.Pipe()
		bodies = append(bodies, writer)
		r := httptest.NewRequest("PUT", "/v1/accounts/acc_slow", body)
		r.Header.Set("content-type", "application/json")
		r.Header.Set("authorization", "Bearer "+w.admin)
		go func() {
			rec := httptest.NewRecorder()
			w.control.ServeHTTP(rec, r)
			answered <- rec.Code
		}()
		if _, err := writer.Write([]byte(anna[:1])); err != nil { // it is being read: the call has its place
			t.Fatal(err)
		}
	}
	for _, full := range []answer{
		w.request(w.admin, "GET", "/v1/accounts", ""),
		w.request(w.admin, "POST", "/v1/accounts/acc_anna/unfreeze", ""),
	} {
		if full.status != 503 || full.code(t) != "overloaded" || full.header.Get("retry-after") != "1" {
			t.Errorf("answered %d %s", full.status, full.text)
		}
	}
	w.ask(200, "POST", "/v1/accounts/acc_anna/freeze", "", nil)
	for _, body := range bodies {
		if _, err := body.Write([]byte(anna[1:])); err != nil {
			t.Error(err)
		}
		body.Close()
		if status := <-answered; status != 200 {
			t.Errorf("answered %d", status)
		}
	}
	w.ask(200, "GET", "/v1/accounts", "", nil)
}

// What stops something is what the roles say it is.
func TestStops(t *testing.T) {
	var stops []string
	for _, o := range api.Operations {
		if o.Stops() {
			stops = append(stops, o.ID)
		}
	}
	if want := []string{"freeze-account", "freeze-grant", "revoke-grant", "revoke-token"}; !slices.Equal(stops, want) {
		t.Errorf("%q, want %q", stops, want)
	}
}
