package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"
)

// Each of these tests is one for OPA's tester too, or none for it either.
const testsOfAllKinds = `
test_true if true

test_false if false

test_value := 1

test_text := "true"

test_set contains "a"

test_undefined if input.nothing

test_false_value := false

todo_test_later if false

helper if false

account.test_ref if true

account.test_ref_fails if false

account.todo_test_ref if false

test_twice if true

test_twice if false

test_error if {
	x == 1
}

x := y if some y in [1, 2]

test_builtin_error if not 1 / 0 == 1

test_cases[note] if {
	some note, n in {"one": 1, "two": 2, "three": 3}
	n != 2
}

test_cases_pass[note] if {
	some note, n in {"one": 1, "two": 2}
	n > 0
}

test_no_cases[note] if some note in []

test_case_values[note] := n if some note, n in {"a": true, "b": false, "c": 1}

test_case_numbers[n] if {
	some n in [1, 2, 3]
	n != 3
}

test_deep_cases[a][b] if {
	some a in ["x", "y"]
	some b in ["1", "2"]
	concat("", [a, b]) != "y2"
}

account.test_cases[note] if {
	some note, n in {"one": 1, "two": 2}
	n == 1
}

test_asked if data.payments.decision.allow with input as {"a": 1}

test_asked_without_input if data.payments.decision.allow

test_not_asked_in_vain if not data.payments.decision.allow with input as {"a": 2}

test_mocked if data.payments.decision == 1 with data.payments.decision as 1
`

// What fails here fails in OPA's tester, with the same cases, and nothing else does.
func TestLikeOPA(t *testing.T) {
	s, err := Read(tested(testsOfAllKinds))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	suite, err := newTestSuite(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer suite.close(t.Context())
	for _, test := range suite.rules {
		r := suite.run(t.Context(), test, minuteEach.Each)
		got[fmt.Sprint(test.name, " in line ", test.rule.Loc().Row)] = fmt.Sprintf("passed: %t, error: %v, cases: %v", r.passed, r.err, r.cases)
	}
	want := opaTests(t, s)
	if len(want) < 20 {
		t.Fatalf("only %d tests", len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s, OPA: %s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tests, OPA has %d", len(got), len(want))
	}
}

// opaTests is what OPA's tester says of the tests that it does not leave out.
func opaTests(t *testing.T, s *Snapshot) map[string]string {
	t.Helper()
	modules, tests, err := parseModules(s)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(modules, tests)
	results, err := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities())).
		SetModules(modules).
		RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := range results {
		if r.Skip {
			continue
		}
		var cases []string
		for name, sub := range r.SubResults.Iter {
			if sub.Fail && len(sub.SubResults) == 0 {
				cases = append(cases, fmt.Sprintf("%q", strings.Join(name, " ")))
			}
		}
		slices.Sort(cases)
		all[fmt.Sprint(r.Name, " in line ", r.Location.Row)] = fmt.Sprintf("passed: %t, error: %v, cases: %v", r.Pass(), r.Error, cases)
	}
	return all
}
