package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/policies"
)

const goodInput = `{
	"version": 1,
	"now_ns": 1795532400000000000,
	"arrived_ns": 1795532400000000000,
	"call": {"system": "direct_payment", "operation": "pay", "account": "acc_anna",
		"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"facts": {"account": {"id": "acc_anna",
		"owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
		"state": "active", "currency": "EUR", "max_payment_minor": 50000,
		"limits": [{"name": "total", "period": {"kind": "lifetime"}, "amount": {"mode": "any"}, "count": {"mode": "any"}, "window_full": false}]}}
}`

// builtInPolicy is the bundle that is built into the binary.
func builtInPolicy(t testing.TB) *Policy {
	t.Helper()
	p, err := Load(context.Background(), policies.FS, Config{Budget: longBudget})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decideJSON decides an input, which must not be a defect.
func decideJSON(t *testing.T, p *Policy, input any) Decision {
	t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Decide(context.Background(), value(t, string(text)))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v map[string]any
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// fields returns the paths of every member at any depth.
func fields(v map[string]any, prefix ...string) [][]string {
	var paths [][]string
	for name, member := range v {
		path := append(append([]string{}, prefix...), name)
		paths = append(paths, path)
		if inner, ok := member.(map[string]any); ok {
			paths = append(paths, fields(inner, path...)...)
		}
	}
	return paths
}

// changed returns a copy of v in which the container of path[len-1] went through
// change.
func changed(v map[string]any, path []string, change func(container map[string]any, name string)) map[string]any {
	v = maps.Clone(v)
	if len(path) == 1 {
		change(v, path[0])
		return v
	}
	v[path[0]] = changed(v[path[0]].(map[string]any), path[1:], change)
	return v
}

func TestBuiltInBundleAllows(t *testing.T) {
	if d := decideJSON(t, builtInPolicy(t), object(t, goodInput)); !d.Allow || len(d.Reasons) > 0 {
		t.Errorf("the good input: allow %v, reasons %v", d.Allow, d.Reasons)
	}
}

// No input that lacks anything is allowed: the good one with each member, at any
// depth, removed or of another kind.
func TestBuiltInBundleIsClosed(t *testing.T) {
	p, good := builtInPolicy(t), object(t, goodInput)
	paths := fields(good)
	if len(paths) != 25 {
		t.Fatalf("%d members, not 25: %v", len(paths), paths)
	}
	replacements := []any{nil, "", 0, -1, true, false, []any{}, map[string]any{}, []any{nil}, "x\x00", "ANNA"}
	for _, path := range paths {
		t.Run(strings.Join(path, "."), func(t *testing.T) {
			removed := changed(good, path, func(c map[string]any, name string) { delete(c, name) })
			if d := decideJSON(t, p, removed); d.Allow {
				t.Error("allowed without it")
			}
			for _, other := range replacements {
				if _, isText := other.(string); isText && path[len(path)-1] == "payee" {
					continue // any text may name a payee
				}
				if list, isList := other.([]any); isList && len(list) == 0 && path[len(path)-1] == "limits" {
					continue // an account may have no limits
				}
				replaced := changed(good, path, func(c map[string]any, name string) { c[name] = other })
				d := decideJSON(t, p, replaced)
				if d.Allow {
					t.Errorf("allowed with %#v", other)
				}
			}
			renamed := changed(good, path, func(c map[string]any, name string) { c[strings.ToUpper(name)] = c[name]; delete(c, name) })
			if d := decideJSON(t, p, renamed); d.Allow {
				t.Error("allowed with its name in capitals")
			}
		})
	}
}

func TestBuiltInBundleOnOtherInputs(t *testing.T) {
	p := builtInPolicy(t)
	for _, text := range []string{"{}", "null", "[]", "0", `""`, "true", "[" + goodInput + "]", `{"input": ` + goodInput + `}`} {
		if d, err := p.Decide(context.Background(), value(t, text)); err != nil || d.Allow {
			t.Errorf("%s: allow %v, %v", text, d.Allow, err)
		}
	}
	if d, err := p.Decide(context.Background(), Value{}); err != nil || d.Allow {
		t.Errorf("no input: allow %v, %v", d.Allow, err)
	}
	for _, system := range []string{"nothing", "", "direct_payment_test", "../systems", "account", "direct_payment.permit"} {
		input := changed(object(t, goodInput), []string{"call", "system"}, func(c map[string]any, name string) { c[name] = system })
		if d := decideJSON(t, p, input); d.Allow {
			t.Errorf("system %q: allowed", system)
		}
	}
}

// The amount passes up to the account's maximum and not above, to the unit.
func TestBuiltInBundleAmounts(t *testing.T) {
	p := builtInPolicy(t)
	const most = 1<<53 - 1
	for _, c := range []struct {
		amount, maximum string
		allow           bool
	}{
		{"1", "1", true}, {"2", "1", false}, {"50000", "50000", true}, {"50001", "50000", false},
		{fmt.Sprint(most), fmt.Sprint(most), true}, {fmt.Sprint(most), fmt.Sprint(most - 1), false},
		{"9007199254740993", "9007199254740992", false}, {"0", "50000", false}, {"-1", "50000", false},
		{`"1"`, "50000", false}, {"1", `"50000"`, false}, {"null", "50000", false}, {"1", "null", false},
	} {
		input := object(t, goodInput)
		input["call"].(map[string]any)["amount_minor"] = json.RawMessage(c.amount)
		input["facts"].(map[string]any)["account"].(map[string]any)["max_payment_minor"] = json.RawMessage(c.maximum)
		if d := decideJSON(t, p, input); d.Allow != c.allow {
			t.Errorf("%s of at most %s: allow %v, want %v", c.amount, c.maximum, d.Allow, c.allow)
		}
	}
}

// TestEveryPackageIsDescribed: a package without a schema annotation is not
// checked against the schema, and one without title and description is not
// policy for people.
func TestEveryPackageIsDescribed(t *testing.T) {
	bundle, err := Read(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	modules, _, err := parseModules(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) < 3 {
		t.Fatalf("only %d modules", len(modules))
	}
	// Of a package in several files, one describes it.
	described := map[string]bool{}
	for _, module := range modules {
		pkg := module.Package.Path.String()
		described[pkg] = described[pkg] || slices.ContainsFunc(module.Annotations, func(a *ast.Annotations) bool {
			return a.Scope == "package" && a.Title != "" && a.Description != "" && len(a.Schemas) > 0
		})
	}
	for pkg, is := range described {
		if !is {
			t.Errorf("%s has no METADATA with title, description and schemas", pkg)
		}
	}
}
