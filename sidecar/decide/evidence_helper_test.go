package decide_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// testCode is a kind of evidence for tests: a code that begins with "right" is
// right for the account, once; one that begins with "right once" is used up by a
// denial too. An account expects its codes from Anna, and gives her three attempts
// an hour.
type testCode struct{}

var codeAllowance = authzstore.Allowance{Max: 3, WindowNanos: int64(time.Hour)}

func codeThing(c call.Call, secret string) string { return "code/" + c.Text("account") + "/" + secret }
func codeBudget(c call.Call) string               { return "codes/" + c.Text("account") }

func (testCode) Lead(authzstore.Reader, call.Call, string) (string, error) { return "", nil }

func (testCode) Refs(a evidence.About, secret string) []kv.Ref {
	return []kv.Ref{authzstore.UseRef(codeThing(a.Call, secret)), authzstore.AttemptsRef(codeBudget(a.Call))}
}

func (testCode) Check(_ *authzstore.Tx, a evidence.About, secret string) (evidence.Finding, error) {
	f := evidence.Finding{
		Matched:        strings.HasPrefix(secret, "right"),
		Thing:          codeThing(a.Call, secret),
		UsedWhenDenied: strings.HasPrefix(secret, "right once"),
	}
	if a.Identity.Subject == "anna" {
		f.Budgets = []evidence.Budget{{Name: codeBudget(a.Call), Allowance: codeAllowance}}
	}
	return f, nil
}

// codeBundle is the bundle whose direct payments may bring a code, in code or in
// second, and are denied if it does not match. edit changes it further.
func codeBundle(t testing.TB, edit func(files fstest.MapFS)) *bundle.Bundle {
	t.Helper()
	files := policiestest.Files(t)
	const routes, rules = "systems/direct_payment/routes.yaml", "systems/direct_payment/direct_payment.rego"
	replace(t, files, routes, "    currency: {json: /currency}\n", `    currency: {json: /currency}
    code: {json: /code, secret: true, evidence: test_code, optional: true}
    second: {json: /second, secret: true, evidence: test_code, optional: true}
`)
	replace(t, files, rules, "on_allow contains account.reserve\n", `on_allow contains account.reserve

deny contains reason if {
	some finding in input.evidence
	finding.matched == false
	reason := {"code": "payment_code_invalid", "message": "The payment code is not valid."}
}
`)
	if edit != nil {
		edit(files)
	}
	snapshot, err := policy.Read(files)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{Digest: snapshot.Digest(), Snapshot: snapshot}
	if b.Routes, err = call.Load(snapshot, call.Vocabulary{Evidence: []string{"test_code"}}); err != nil {
		t.Fatal(err)
	}
	if b.Policy, err = policy.Load(context.Background(), snapshot, policy.Config{Budget: time.Minute}); err != nil {
		t.Fatal(err)
	}
	return b
}

// replace changes a text that stands once in a file.
func replace(t testing.TB, files fstest.MapFS, name, old, new string) {
	t.Helper()
	text := string(files[name].Data)
	if strings.Count(text, old) != 1 {
		t.Fatalf("%s has %q %d times", name, old, strings.Count(text, old))
	}
	files[name] = &fstest.MapFile{Data: []byte(strings.Replace(text, old, new, 1))}
}

// withCodes lets payments bring codes; edit changes the bundle further.
func withCodes(t testing.TB, edit func(fstest.MapFS)) func(*decide.Config) {
	b := codeBundle(t, edit)
	return func(cfg *decide.Config) {
		cfg.Bundle = func() *bundle.Bundle { return b }
		cfg.Evidence = map[string]evidence.Kind{"test_code": testCode{}}
	}
}
