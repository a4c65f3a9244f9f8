package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
)

// refsBundle has two systems, a rule that both share and one that only one does.
func refsBundle() fstest.MapFS {
	routes := &fstest.MapFile{Data: []byte("x")} // this package does not read it
	return fstest.MapFS{
		"decision.rego": {Data: []byte(`package payments
decision := {"allow": allow, "reasons": set(), "effects": set()}
default allow := false
allow if {
	input.version == 1
	data.payments.systems[input.call.system].permit
	data.payments.systems[input.call.system].deny == set()
}
`)},
		"shared/money/money.rego": {Data: []byte(`package payments.shared.money
positive if input.call.amount_minor > 0
small if input.call.amount_minor < limit(input.facts.account.state)
limit(state) := 5 if state == input.call.mood
limit(state) := 6 if state != input.call.mood
nobody if input.call.unheard_of
`)},
		"systems/a/routes.yaml": routes,
		"systems/a/a.rego": {Data: []byte(`package payments.systems.a
import data.payments.shared.money
import data.payments.systems.a.deeper
permit if {
	money.small
	deeper.fine
	"x" in {y | some y in [input.call.in_comprehension]}
}
deny contains "x" if not money.positive
`)},
		"systems/a/deeper/deeper.rego": {Data: []byte(`package payments.systems.a.deeper
fine if {
	false
} else if {
	input["call"]["in_else"] == data.x[input.call.within_a_reference]
}
`)},
		"systems/b/routes.yaml": routes,
		"systems/b/b.rego": {Data: []byte(`package payments.systems.b
import input.facts.grant
permit if {
	data.payments.shared.money.positive
	grant.x
	every x in [1] { x < input.call.in_every }
	input.identity[input.call.within_the_input]
	count(input.identity) == 3
}
deny contains "x" if data.payments.shared.money.positive with input.call.replaced as input.call.replacing
`)},
	}
}

func TestInputRefs(t *testing.T) {
	p := load(t, refsBundle(), Config{})
	for system, want := range map[string]string{
		"a": `decision.rego:6 call.system
decision.rego:7 call.system
shared/money/money.rego:2 call.amount_minor
shared/money/money.rego:3 call.amount_minor
shared/money/money.rego:3 facts.account
shared/money/money.rego:4 call.mood
shared/money/money.rego:5 call.mood
systems/a/a.rego:7 call.in_comprehension
systems/a/deeper/deeper.rego:5 call.in_else
systems/a/deeper/deeper.rego:5 call.within_a_reference
`,
		"b": `decision.rego:6 call.system
decision.rego:7 call.system
shared/money/money.rego:2 call.amount_minor
systems/b/b.rego:5 facts.grant
systems/b/b.rego:6 call.in_every
systems/b/b.rego:7 call.within_the_input
systems/b/b.rego:10 call.replaced
systems/b/b.rego:10 call.replacing
`,
	} {
		refs, err := p.InputRefs(system)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, r := range refs {
			fmt.Fprintf(&got, "%s:%d %s.%s\n", r.File, r.Line, r.Part, r.Name)
		}
		if got.String() != want {
			t.Errorf("%s reads\n%swant\n%s", system, &got, want)
		}
	}
}

// A decision, or a rule, that reads another system than the call's reaches it.
func TestInputRefsOfOtherSystems(t *testing.T) {
	const rule = "data.payments.systems[input.call.system].permit"
	for name, other := range map[string]string{
		"every system":        "some s; data.payments.systems[s].permit",
		"a named one":         "data.payments.systems.b.permit",
		"one by another name": "s := input.call.operation; data.payments.systems[s].permit",
	} {
		files := refsBundle()
		text := string(files["decision.rego"].Data)
		for _, c := range []struct {
			text string
			want bool
		}{{text, false}, {strings.Replace(text, rule, other, 1), true}, {text + "\nallow if {\n" + other + "\n}\n", true}} {
			files["decision.rego"] = &fstest.MapFile{Data: []byte(c.text)}
			refs, err := load(t, files, Config{}).InputRefs("a")
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(refs, func(r InputRef) bool { return r.File == "systems/b/b.rego" }); got != c.want {
				t.Errorf("%s: b is reached %v, want %v", name, got, c.want)
			}
		}
	}
}

// Whatever could read a member without naming it is an error with its place.
func TestInputRefsComputed(t *testing.T) {
	for body, want := range map[string]string{
		`some x; input.call[x] == 1`:                            "input.call by a computed name",
		`some x in input.call; x == 1`:                          "input.call by a computed name",
		`x := "account"; input.call[x] == 1`:                    "input.call by a computed name",
		`x := input.call; x.account == 1`:                       "input.call as a whole",
		`object.get(input.call, "account", 0) == 1`:             "input.call as a whole",
		`f(input.call) == 1`:                                    "input.call as a whole",
		`[1 | input.facts] == [1]`:                              "input.facts as a whole",
		`input.facts[input.call.operation].x == 1`:              "input.facts by a computed name",
		`x := input; x.call.account == 1`:                       "input as a whole",
		`walk(input, [["call", "account"], 1])`:                 "input as a whole",
		`some x; input[x].account == 1`:                         "input by a computed name",
		`f(1) with input as {"call": {"account": 1}}`:           "input as a whole",
		`f(1) with input.call as {"account": 1}`:                "input.call as a whole",
		`data.x[input.call] == 1`:                               "input.call as a whole",
		`not input.call == {"account": 1}`:                      "input.call as a whole",
		`x := {"a": [{input.call}]}; x.a`:                       "input.call as a whole",
		`$"{input.facts}" == "x"`:                               "input.facts as a whole",
		`some k, v in input.facts; k == v`:                      "input.facts by a computed name",
		`false` + "\n} else if {\n\tinput.call":                 "input.call as a whole",
		`every x in input.call { x > 1 }`:                       "input.call as a whole",
		`count({x | x := input.facts[_]}) == 1`:                 "input.facts by a computed name",
		`f(1) with data.x as input.call`:                        "input.call as a whole",
		`x := [input.call.account, input.facts]; count(x) == 1`: "input.facts as a whole",
	} {
		files := refsBundle()
		delete(files, "systems/a/deeper/deeper.rego")
		maps.Copy(files, fstest.MapFS{"systems/a/a.rego": {Data: []byte("package payments.systems.a\n\nf(x) := x\n\npermit if {\n\t" + body + "\n}\ndeny contains 1 if f(1) == 2\n")}})
		p := load(t, files, Config{})
		_, err := p.InputRefs("a")
		if err == nil || !strings.HasPrefix(err.Error(), "systems/a/a.rego:") || !strings.Contains(err.Error(), ": reads "+want+": name each member") {
			t.Errorf("%s: %v", body, err)
		}
		if _, err := p.InputRefs("b"); err != nil {
			t.Errorf("%s: the other system: %v", body, err)
		}
	}
}

func TestInputRefsOfBuiltIn(t *testing.T) {
	p, err := Load(context.Background(), policies.FS, Config{})
	if err != nil {
		t.Fatal(err)
	}
	refs, err := p.InputRefs("direct_payment")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range refs {
		names[r.Part+"."+r.Name] = true
	}
	want := map[string]bool{"call.system": true, "call.operation": true, "call.account": true, "call.payee": true, "call.amount_minor": true, "call.currency": true, "facts.account": true}
	if !maps.Equal(names, want) {
		t.Errorf("it reads %v", names)
	}
}
