package bundle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/policy"
)

const (
	paymentRules  = "systems/direct_payment/direct_payment.rego"
	paymentTests  = "systems/direct_payment/direct_payment_test.rego"
	paymentRoutes = "systems/direct_payment/routes.yaml"
)

const goodInput = `{
	"version": 1,
	"now_ns": 1795532400000000000, "arrived_ns": 1795532400000000000,
	"call": {"system": "direct_payment", "operation": "pay", "account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"facts": {"account": {
		"id": "acc_anna",
		"owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
		"state": "active",
		"currency": "EUR",
		"max_payment_minor": 50000, "limits": [{"name": "total", "period": {"kind": "lifetime"}, "amount": {"mode": "any"}, "count": {"mode": "any"}, "window_full": false}],
	}},
}`

const allowTest = `package payments.systems.direct_payment_test

good := ` + goodInput + `

test_allow if data.payments.decision.allow with input as good
`

// bare is the built-in bundle with one test, the allow: what is refused then is
// refused by the checks and not by its tests.
func bare(t testing.TB) fstest.MapFS {
	t.Helper()
	files := policiestest.Files(t)
	delete(files, "decision_test.rego")
	delete(files, "shared/account/account_test.rego")
	files[paymentTests] = &fstest.MapFile{Data: []byte(allowTest)}
	return files
}

func add(files fstest.MapFS, name, text string) {
	before := ""
	if file := files[name]; file != nil {
		before = string(file.Data)
	}
	files[name] = &fstest.MapFile{Data: []byte(before + text)}
}

// places are FILE:LINE of every line of a file with the text.
func places(t testing.TB, files fstest.MapFS, name, text string) []string {
	t.Helper()
	var found []string
	for i, line := range strings.Split(string(files[name].Data), "\n") {
		if strings.Contains(line, text) {
			found = append(found, fmt.Sprintf("%s:%d: ", name, i+1))
		}
	}
	if found == nil {
		t.Fatalf("%s has no %q", name, text)
	}
	return found
}

func loads(t testing.TB, files fstest.MapFS) error {
	t.Helper()
	_, err := Load(context.Background(), files, Config{})
	return err
}

// wantLines wants an error of these lines, each with a text that it has in it.
func wantLines(t testing.TB, err error, lines ...string) {
	t.Helper()
	if err == nil {
		t.Error("accepted")
		return
	}
	got := slices.DeleteFunc(strings.Split(err.Error(), "\n"), func(line string) bool {
		return strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") // OPA quotes a line, or values
	})
	if len(got) != len(lines) {
		t.Errorf("%d lines of error, want %d: %v", len(got), len(lines), err)
		return
	}
	for i, line := range lines {
		if !strings.Contains(got[i], line) {
			t.Errorf("line %d: %s\nwant %s", i+1, got[i], line)
		}
	}
}

func TestGoodBundles(t *testing.T) {
	if err := loads(t, policiestest.Files(t)); err != nil {
		t.Errorf("built-in: %v", err)
	}
	if err := loads(t, bare(t)); err != nil {
		t.Errorf("bare: %v", err)
	}
	skipped := bare(t)
	add(skipped, paymentTests, "todo_test_later if false\n")
	if err := loads(t, skipped); err != nil {
		t.Errorf("with a test that OPA leaves out: %v", err)
	}
}

const (
	refundRules  = "systems/refunds/refunds.rego"
	refundTests  = "systems/refunds/refunds_test.rego"
	refundRoutes = "systems/refunds/routes.yaml"

	readsAccount = "  facts: {account: read}\n"
)

// refunds adds a second system. Its route maps less than a payment's.
func refunds(files fstest.MapFS) {
	files[refundRoutes] = &fstest.MapFile{Data: []byte(`system: refunds
identity: {source: jwt, issuer: "https://id.example", kind: user}
routes:
- match: {method: POST, path: "/v1/refunds/{account}"}
  operation: refund
` + readsAccount + `  fields:
    account: {path: account}
`)}
	files[refundRules] = &fstest.MapFile{Data: []byte(`package payments.systems.refunds

import data.payments.shared.account

permit if {
	input.call.operation == "refund"
	account.owned_by_caller
}

deny contains reason if {
	not account.active
	reason := {"code": "account_frozen", "message": "The account is frozen."}
}
`)}
	files[refundTests] = &fstest.MapFile{Data: []byte(`package payments.systems.refunds_test

good := {
	"version": 1,
	"now_ns": 1795532400000000000, "arrived_ns": 1795532400000000000,
	"call": {"system": "refunds", "operation": "refund", "account": "acc_anna"},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"facts": {"account": {"id": "acc_anna", "owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"}, "state": "active"}},
}

test_refund if data.payments.decision.allow with input as good
`)}
}

// Rules read what the routes of the systems that reach them map, and nothing else.
func TestMapped(t *testing.T) {
	const readsInitiator = "\ndeny contains \"asked\" if input.facts.initiator.open > 7\n"
	const readsPayee = "\ndeny contains \"x\" if input.call.payee == \"x\"\n"
	// unmapped is what each of the places is told.
	unmapped := func(places []string, member, system string) []string {
		part, name, _ := strings.Cut(member, ".")
		for i := range places {
			places[i] += fmt.Sprintf("input.%s is read for the system %s, but no route of systems/%s/routes.yaml has the %s %s: map it there, or do not read it",
				member, system, system, map[string]string{"call": "field", "facts": "fact"}[part], name)
		}
		return places
	}
	for _, c := range []struct {
		name   string
		change func(files fstest.MapFS)
		want   func(files fstest.MapFS) []string // nil where it is good
	}{
		{"a second system", func(fstest.MapFS) {}, nil},
		{"a field of the system's own rules", func(files fstest.MapFS) { add(files, refundRules, readsPayee) }, func(files fstest.MapFS) []string {
			return unmapped(places(t, files, refundRules, "input.call.payee"), "call.payee", "refunds")
		}},
		{"a field that another route of the system maps", func(files fstest.MapFS) {
			add(files, refundRules, readsPayee)
			add(files, refundRoutes, "- match: {method: POST, path: /v1/other}\n  operation: other\n  fields: {payee: {json: /payee}}\n")
		}, func(fstest.MapFS) []string {
			return []string{"systems/refunds: no test has an input of the operation other that data.payments.decision allows"}
		}},
		{"a fact of shared rules", func(files fstest.MapFS) { edit(t, files, refundRoutes, readsAccount, "") }, func(files fstest.MapFS) []string {
			var lines []string
			for _, text := range []string{"input.facts.account.id", "input.facts.account.owner", "payer := input.facts.account"} {
				lines = append(lines, places(t, files, accountRules, text)...)
			}
			return unmapped(lines, "facts.account", "refunds")
		}},
		{"a field of shared rules, in one of two systems", func(files fstest.MapFS) {
			edit(t, files, refundRules, "not account.active", "not account.currency_matches")
		}, func(files fstest.MapFS) []string {
			return unmapped(places(t, files, accountRules, "input.call.currency")[:1], "call.currency", "refunds") // the second is of the effect
		}},
		{"what a challenge brings", func(files fstest.MapFS) {
			add(files, refundRules, readsInitiator)
			edit(t, files, refundRoutes, readsAccount, "  facts: {account: read, challenge: write}\n")
		}, nil},
		{"what only a challenge brings", func(files fstest.MapFS) { add(files, refundRules, readsInitiator) }, func(files fstest.MapFS) []string {
			place := places(t, files, refundRules, "input.facts.initiator")[0]
			return []string{place + "input.facts.initiator is read for the system refunds, but no route of systems/refunds/routes.yaml has the fact challenge: write, which brings it: map it there, or do not read it"}
		}},
		{"a challenge that is entered into, which rules do not see", func(files fstest.MapFS) {
			add(files, refundRules, "\ndeny contains \"x\" if input.facts.challenge.state == \"locked\"\n")
			edit(t, files, refundRoutes, "  operation: refund\n", "  operation: refund\n  does: enter_code\n")
			edit(t, files, refundRoutes, readsAccount, "  facts: {account: read, challenge: write}\n")
			edit(t, files, refundRoutes, "    account: {path: account}\n", "    account: {path: account}\n    challenge: {json: /challenge}\n    code: {json: /code, secret: true, evidence: challenge_code}\n")
		}, func(files fstest.MapFS) []string {
			return unmapped(places(t, files, refundRules, "input.facts.challenge"), "facts.challenge", "refunds")
		}},
		{"an intent, its account and its terminals", func(files fstest.MapFS) {
			add(files, refundRules, "\ndeny contains \"x\" if input.facts.intent.closed == input.facts.intent_account.id\n\ndeny contains \"y\" if input.facts.intent_terminals[_].os == \"x\"\n\ndeny contains \"z\" if input.facts.terminals\n")
			files["schemas/input.json"] = &fstest.MapFile{Data: []byte("{}")}
			edit(t, files, refundRoutes, readsAccount, "  facts: {account: read, intent: read, intent_account: read}\n")
			edit(t, files, refundRoutes, "    account: {path: account}\n", "    account: {path: account}\n    intent: {json: /intent}\n")
		}, func(files fstest.MapFS) []string {
			return append(unmapped(places(t, files, refundRules, "input.facts.intent_terminals"), "facts.intent_terminals", "refunds"),
				unmapped(places(t, files, refundRules, "input.facts.terminals"), "facts.terminals", "refunds")...)
		}},
		{"a shared rule that nobody reads", func(files fstest.MapFS) {
			add(files, "shared/waiting/waiting.rego", "package payments.shared.waiting\n\nrule if input.call.unheard_of\n")
		}, nil},
		{"the decision itself", func(files fstest.MapFS) {
			edit(t, files, "decision.rego", "input.version == 1", "input.version == 1\n\tinput.facts.limits.open")
			files["schemas/input.json"] = &fstest.MapFile{Data: []byte("{}")}
		}, func(files fstest.MapFS) []string {
			place := places(t, files, "decision.rego", "input.facts.limits")
			return append(unmapped(slices.Clone(place), "facts.limits", "direct_payment"), unmapped(place, "facts.limits", "refunds")...)
		}},
		{"a computed name", func(files fstest.MapFS) {
			add(files, paymentRules, "\ndeny contains reason if {\n\tsome name in [\"account\"]\n\treason := input.call[name]\n}\n")
		}, func(files fstest.MapFS) []string {
			return []string{places(t, files, paymentRules, "input.call[name]")[0] + "reads input.call by a computed name: name each member"}
		}},
		{"another input", func(files fstest.MapFS) {
			edit(t, files, paymentRules, "\taccount.active\n", "\taccount.active with input as {\"facts\": {\"account\": {\"state\": \"active\"}}}\n")
		}, func(files fstest.MapFS) []string {
			return []string{places(t, files, paymentRules, "with input as")[0] + "reads input as a whole"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := bare(t)
			refunds(files)
			c.change(files)
			err := loads(t, files)
			if c.want == nil && err == nil {
				return
			}
			if c.want == nil {
				t.Fatal(err)
			}
			wantLines(t, err, c.want(files)...)
		})
	}
}

// A bundle whose own tests do not pass is refused, with the test and its case.
func TestOwnTests(t *testing.T) {
	const noAllow = "systems/direct_payment: no test has an input of the operation pay that data.payments.decision allows: write one"
	const endless = "test_endless if {\n\tsome a in numbers.range(1, 100000)\n\tsome b in numbers.range(1, 100000)\n\ta + b == 0\n}\n"
	for _, c := range []struct {
		name   string
		change func(files fstest.MapFS)
		cfg    Config
		want   []string
	}{
		{"one fails", func(files fstest.MapFS) { add(files, paymentTests, "test_no if false\n") }, Config{}, []string{"tests: " + paymentTests + ":18: test_no failed"}},
		{"not true", func(files fstest.MapFS) { add(files, paymentTests, "test_no := 1\n") }, Config{}, []string{"tests: " + paymentTests + ":18: test_no failed"}},
		{"two fail", func(files fstest.MapFS) { add(files, paymentTests, "test_b if false\n\ntest_a if false\n") }, Config{},
			[]string{"tests: " + paymentTests + ":18: test_b failed", paymentTests + ":20: test_a failed"}},
		{"a case fails", func(files fstest.MapFS) {
			add(files, paymentTests, "test_cases[note] if {\n\tsome note, n in {\"one\": 1, \"two\": 2, \"three\": 3}\n\tn != 2\n}\n")
		}, Config{}, []string{"tests: " + paymentTests + `:18: test_cases failed in "two"`}},
		{"a rule contradicts itself", func(files fstest.MapFS) { add(files, paymentTests, "x := y if some y in [1, 2]\n\ntest_x if x == 1\n") }, Config{},
			[]string{"tests: " + paymentTests + ":20: test_x failed: " + paymentTests + ":18: eval_conflict_error"}},
		{"endless", func(files fstest.MapFS) { add(files, paymentTests, endless) }, Config{Tests: policy.TestBounds{All: 4 * time.Second, Each: time.Second / 2}},
			[]string{"tests: " + paymentTests + ":18: test_endless took longer than 500ms"}},
		{"all together too long", func(files fstest.MapFS) { add(files, paymentTests, endless) }, Config{Tests: policy.TestBounds{All: time.Second, Each: time.Minute}},
			[]string{"tests: all of them took longer than 1s"}},
		{"no time at all", func(fstest.MapFS) {}, Config{Tests: policy.TestBounds{All: 1, Each: time.Minute}}, []string{"tests: all of them took longer than 1ns"}},
		{"out into the world", func(files fstest.MapFS) {
			add(files, paymentTests, "test_web if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1:1\"}).status_code == 200\n")
		}, Config{}, []string{"tests: 1 error occurred: " + paymentTests + ":18: rego_type_error: undefined function http.send"}},
		{"none", func(files fstest.MapFS) { delete(files, paymentTests) }, Config{},
			[]string{noAllow}},
		{"none of one of two systems", func(files fstest.MapFS) {
			refunds(files)
			delete(files, refundTests)
		}, Config{}, []string{"systems/refunds: no test has an input of the operation refund that data.payments.decision allows"}},
		{"none that is allowed", func(files fstest.MapFS) {
			edit(t, files, paymentTests, "if data.payments.decision.allow with", "if not data.payments.decision.allow with")
			edit(t, files, paymentTests, `"state": "active"`, `"state": "frozen"`)
		}, Config{}, []string{noAllow}},
		{"none that asks for the decision", func(files fstest.MapFS) {
			edit(t, files, paymentTests, "data.payments.decision.allow", "data.payments.systems.direct_payment.permit")
		}, Config{}, []string{noAllow}},
		{"allowed only with other rules", func(files fstest.MapFS) {
			edit(t, files, paymentTests, `"state": "active"`, `"state": "frozen"`)
			edit(t, files, paymentTests, "with input as good", "with input as good with data.payments.shared.account.active as true with data.payments.shared.account.deny as set()")
		}, Config{}, []string{noAllow}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := bare(t)
			c.change(files)
			_, err := Load(context.Background(), files, c.cfg)
			wantLines(t, err, c.want...)
		})
	}
}

// Each of these is one slip in the rules. The tests of the bundle pass all the
// same: it is refused for the part of the input that no longer matters.
func TestClosed(t *testing.T) {
	const from = "systems/direct_payment: pay does not need input."
	const test = ": what the test " + paymentTests + ":17 allows is allowed with it "
	drop := func(name, text string) func(fstest.MapFS) {
		return func(files fstest.MapFS) { edit(t, files, name, text, "") }
	}
	for _, c := range []struct {
		name   string
		change []func(files fstest.MapFS)
		want   []string
	}{
		{"the payee is forgotten", []func(fstest.MapFS){drop(paymentRules, "\tis_string(input.call.payee)\n")}, []string{from + "call.payee" + test + "removed"}},
		{"the same in two tests", []func(fstest.MapFS){drop(paymentRules, "\tis_string(input.call.payee)\n"), func(files fstest.MapFS) {
			add(files, paymentTests, "test_more if data.payments.decision.allow with input as json.patch(good, [{\"op\": \"replace\", \"path\": \"/call/amount_minor\", \"value\": 1}])\n")
		}}, []string{from + "call.payee" + test + "removed"}},
		{"null is not looked at", []func(fstest.MapFS){func(files fstest.MapFS) {
			edit(t, files, "shared/limit/limit.rego", "is_string(limit.name)", `limit.name != ""`)
		}}, []string{from + "facts.account.limits[0].name" + test + "null"}},
		{"a denial alone fails open", []func(fstest.MapFS){
			drop(paymentRules, "\taccount.within_payment_maximum\n"),
			func(files fstest.MapFS) {
				edit(t, files, lettingRules, "\t\tnot is_within_maximum(payer, payment)\n", "\t\tpayment.amount_minor > payer.max_payment_minor\n")
			},
		}, []string{from + "facts.account.max_payment_minor" + test + "removed"}},
		{"the currency is not compared", []func(fstest.MapFS){
			drop(paymentRules, "\taccount.currency_matches\n"),
			drop(lettingRules, "\t{currency_reason | not is_in_currency(payer, payment)},\n"),
		}, []string{from + "call.currency" + test + "removed", from + "facts.account.currency" + test + "removed"}},
		{"the issuer is not compared", []func(fstest.MapFS){
			drop(accountRules, "\tis_string(input.identity.issuer)\n"),
			drop(accountRules, "\tinput.facts.account.owner.issuer == input.identity.issuer\n"),
		}, []string{from + "facts.account.owner.issuer" + test + "removed", from + "identity.issuer" + test + "removed"}},
		{"every operation", []func(fstest.MapFS){drop(paymentRules, "permit if {\n\tinput.call.operation == \"pay\"\n"), func(files fstest.MapFS) {
			edit(t, files, paymentRules, "\tis_string(input.call.payee)", "permit if {\n\tis_string(input.call.payee)")
		}}, []string{from + "call.operation" + test + "removed"}},
		{"the test forgets the payee too", []func(fstest.MapFS){drop(paymentRules, "\tis_string(input.call.payee)\n"), drop(paymentTests, `"payee": "mer_bakery", `)},
			[]string{from + "call.payee" + test + "missing. Every call has it"}},
		{"nobody need call", []func(fstest.MapFS){func(files fstest.MapFS) {
			edit(t, files, paymentTests, `"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},`, "")
			edit(t, files, paymentRules, "\taccount.owned_by_caller\n", "\taccount.known\n\tinput.facts.account.owner.kind == \"user\"\n\tinput.facts.account.owner.issuer == \"https://id.example\"\n\tinput.facts.account.owner.subject == \"anna\"\n")
			edit(t, files, paymentRules, "\tnot account.owned_by_caller\n", "\tnot account.known\n")
		}}, []string{from + "identity.kind" + test + "missing", from + "identity.issuer" + test + "missing", from + "identity.subject" + test + "missing"}},
		{"everything", []func(fstest.MapFS){func(files fstest.MapFS) {
			files[paymentRules] = &fstest.MapFile{Data: []byte("package payments.systems.direct_payment\n\npermit if input.version == 1\n\ndeny contains 1 if false\n")}
		}}, []string{
			from + "call.account" + test, from + "call.amount_minor" + test, from + "call.currency" + test, from + "call.operation" + test, from + "call.payee" + test,
			from + "facts.account" + test, from + "facts.account.currency" + test, from + "facts.account.id" + test, from + "facts.account.limits" + test,
			from + "facts.account.limits[0].amount" + test, "and 16 more",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := bare(t)
			for _, change := range c.change {
				change(files)
			}
			err := loads(t, files)
			if c.want == nil && err == nil {
				return
			}
			wantLines(t, err, c.want...)
		})
	}
}

// A field that a call may come without is not missed: here one of two routes of
// the operation has no payee.
func TestOptionalField(t *testing.T) {
	const withPayee = "- match: {method: PUT, path: /v1/refunds}\n  operation: refund\n  fields: {account: {json: /account}, payee: {json: /payee}}\n"
	inTest := func(files fstest.MapFS) {
		edit(t, files, refundTests, `"account": "acc_anna"}`, `"account": "acc_anna", "payee": "mer_bakery"}`)
	}
	for _, c := range []struct {
		name   string
		change func(fstest.MapFS)
		want   []string
	}{
		{"it may be absent", func(files fstest.MapFS) {
			inTest(files)
			add(files, refundRoutes, withPayee)
		}, nil},
		{"it is not in the test", func(files fstest.MapFS) { add(files, refundRoutes, withPayee) }, nil},
		{"every route maps it", func(files fstest.MapFS) {
			inTest(files)
			add(files, refundRoutes, "    payee: {json: /payee}\n"+withPayee)
		}, []string{"systems/refunds: refund does not need input.call.payee: what the test " + refundTests + ":11 allows is allowed with it removed"}},
		{"another field may not", func(files fstest.MapFS) {
			add(files, refundRoutes, withPayee)
			edit(t, files, refundRules, "\tinput.call.operation == \"refund\"\n", "")
		}, []string{"systems/refunds: refund does not need input.call.operation"}},
		{"nor in another operation", func(files fstest.MapFS) {
			inTest(files)
			add(files, refundRoutes, "    payee: {json: /payee}\n"+strings.Replace(strings.Replace(withPayee, "operation: refund", "operation: other", 1), ", payee: {json: /payee}", "", 1))
		}, []string{"systems/refunds: refund does not need input.call.payee", "no test has an input of the operation other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := bare(t)
			refunds(files)
			c.change(files)
			err := loads(t, files)
			if c.want == nil && err == nil {
				return
			}
			wantLines(t, err, c.want...)
		})
	}
}

// An evaluation that does not answer in time proves nothing.
func TestClosedInTime(t *testing.T) {
	files := bare(t)
	add(files, paymentRules, "\npermit if {\n\tnot input.call.currency\n\tsome a in numbers.range(1, 100000)\n\tsome b in numbers.range(1, 100000)\n\ta + b == 0\n}\n")
	snapshot := read(t, files)
	inputs, err := policy.Test(t.Context(), snapshot, DefaultTests)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Load(t.Context(), snapshot, policy.Config{Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = checkClosed(t.Context(), rules, []*operation{{"direct_payment", "pay", []string{"currency"}}}, inputs)
	if !errors.Is(err, policy.ErrTimeout) || !strings.Contains(err.Error(), paymentTests+":17: the decision on its input without input.call.currency") {
		t.Errorf("%v", err)
	}
}

// A panic of the check is an error, wherever it is at work.
func TestClosedPanics(t *testing.T) {
	inputs, err := policy.Test(t.Context(), read(t, bare(t)), DefaultTests)
	if err != nil {
		t.Fatal(err)
	}
	err = checkClosed(t.Context(), nil, []*operation{{"direct_payment", "pay", nil}}, inputs)
	if err == nil || !strings.HasPrefix(err.Error(), paymentTests+":17: the policy makes its check panic: ") {
		t.Errorf("%v", err)
	}
}

// Judging ends with its limit, and with whoever asked for it.
func TestLoadInTime(t *testing.T) {
	if _, err := Load(context.Background(), policiestest.Files(t), Config{Limit: 1}); err == nil || err.Error() != "the policy could not be judged within 1ns" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, policiestest.Files(t), Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
