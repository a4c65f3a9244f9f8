package policy

import (
	"context"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The examples of the reference are one bundle here, whose decision has all of their
// effects that go with the verdict.
const examplesDecision = `
asks := true

effects contains effect if {
	input.allow
	some effect in on_allow
}

effects contains effect if {
	not input.allow
	some effect in on_deny
}

decision := {"allow": input.allow, "reasons": set(), "public_reasons": set(), "effects": effects}
`

// The example of each effect in the reference is one.
func TestEffectExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "## Effects")
	chapter, _, _ = strings.Cut(chapter, "### How codes must be")
	rules := examplesDecision
	for _, example := range regexp.MustCompile("(?s)```rego\n(.*?)```").FindAllStringSubmatch(chapter, -1) {
		rules += example[1] + "\n"
	}
	files := module(rules)
	files["systems/shop/data.yaml"] = codesBundle(t, "{entry: ascending, digits: 6, max_attempts: 3, expires_seconds: 300}")["systems/shop/data.yaml"]
	policy := load(t, files, Config{Budget: longBudget})

	shown := map[string]bool{}
	for _, verdict := range []string{`"allow": false`, `"allow": true`} {
		for _, operation := range []string{"request", "execute"} {
			d, err := policy.Decide(context.Background(), value(t, `{`+verdict+`, "now_ns": 1795532400000000000,
				"call": {"operation": "`+operation+`", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR", "place": "Berlin"},
				"facts": {"account": {"id": "acc_anna"}, "intent": {"id": "int_a"},
					"terminals": [{"id": "trm_a"}, {"id": "trm_b"}], "intent_terminals": [{"id": "trm_c"}]}}`))
			if err != nil || d.CheckEffects() != nil {
				t.Errorf("%s, %s: %v, %v", operation, verdict, err, d.CheckEffects())
			}
			for _, e := range d.Effects {
				shown[e.Type()] = true
			}
		}
	}
	want := []string{typeAdvanceIntent, typeIssueChallenge, typeNotify, typeOpenIntent, typeReserve}
	if got := slices.Sorted(maps.Keys(shown)); !slices.Equal(got, want) {
		t.Errorf("the reference shows %v, want %v", got, want)
	}
}
