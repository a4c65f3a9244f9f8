package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// reason writes a reason in Rego.
func reason(code, message string) string {
	return fmt.Sprintf(`{"code": %q, "message": %q}`, code, message)
}

// deny writes a denial with these reasons in Rego.
func deny(reasons ...string) string {
	return `{"allow": false, "reasons": [` + strings.Join(reasons, ", ") + `], "effects": []}`
}

func reasonsUpTo(n int) []string {
	var reasons []string
	for i := range n {
		reasons = append(reasons, reason(fmt.Sprintf("reason_%02d", i), "No."))
	}
	return reasons
}

// A result that is not exactly a decision is a defect, above all where it says
// allow.
func TestWrongShapes(t *testing.T) {
	long := strings.Repeat("a", 257)
	for name, decision := range map[string]string{
		"null":                        `null`,
		"true":                        `true`,
		"number":                      `1`,
		"text":                        `"allow"`,
		"array":                       `[` + allowDecision + `]`,
		"set":                         `{` + allowDecision + `, 1}`,
		"empty object":                `{}`,
		"allow alone":                 `{"allow": true}`,
		"no allow":                    `{"reasons": [], "effects": []}`,
		"no reasons":                  `{"allow": true, "effects": []}`,
		"no effects":                  `{"allow": true, "reasons": []}`,
		"extra member":                `{"allow": true, "reasons": [], "effects": [], "note": 1}`,
		"member in other case":        `{"Allow": true, "reasons": [], "effects": []}`,
		"member in both cases":        `{"allow": true, "Allow": false, "reasons": [], "effects": []}`,
		"allow a text":                `{"allow": "true", "reasons": [], "effects": []}`,
		"allow a number":              `{"allow": 1, "reasons": [], "effects": []}`,
		"allow null":                  `{"allow": null, "reasons": [], "effects": []}`,
		"allow an object":             `{"allow": {}, "reasons": [], "effects": []}`,
		"allow an array":              `{"allow": [true], "reasons": [], "effects": []}`,
		"reasons null":                `{"allow": true, "reasons": null, "effects": []}`,
		"reasons an object":           `{"allow": true, "reasons": {}, "effects": []}`,
		"reasons a text":              `{"allow": true, "reasons": "", "effects": []}`,
		"reasons a number":            `{"allow": true, "reasons": 0, "effects": []}`,
		"effects null":                `{"allow": true, "reasons": [], "effects": null}`,
		"effects an object":           `{"allow": true, "reasons": [], "effects": {}}`,
		"effects a boolean":           `{"allow": true, "reasons": [], "effects": false}`,
		"an effect":                   `{"allow": true, "reasons": [], "effects": [{"type": "reserve"}]}`,
		"an effect in a set":          `{"allow": true, "reasons": [], "effects": {"reserve"}}`,
		"an effect on a denial":       `{"allow": false, "reasons": [], "effects": [{"type": "notify"}]}`,
		"allow with a reason":         `{"allow": true, "reasons": [` + reason("frozen", "No.") + `], "effects": []}`,
		"reason a text":               deny(`"frozen"`),
		"reason null":                 deny(`null`),
		"reason an array":             deny(`["frozen", "No."]`),
		"reason empty":                deny(`{}`),
		"reason without code":         deny(`{"message": "No."}`),
		"reason without message":      deny(`{"code": "frozen"}`),
		"reason with another member":  deny(`{"code": "frozen", "message": "No.", "limit": 1}`),
		"code in capitals":            deny(reason("Frozen", "No.")),
		"code with a dash":            deny(reason("is-frozen", "No.")),
		"code with a space":           deny(reason("is frozen", "No.")),
		"code with a line feed":       deny(reason("frozen\n", "No.")),
		"code that starts with digit": deny(reason("1frozen", "No.")),
		"code not ASCII":              deny(reason("gefröstelt", "No.")),
		"code empty":                  deny(reason("", "No.")),
		"code of 65 bytes":            deny(reason(long[:65], "No.")),
		"code a number":               deny(`{"code": 1, "message": "No."}`),
		"message empty":               deny(reason("frozen", "")),
		"message of 257 bytes":        deny(reason("frozen", long)),
		"message of 258 bytes, in 129 characters": deny(reason("frozen", strings.Repeat("é", 129))),
		"message a number":                        deny(`{"code": "frozen", "message": 1}`),
		"message null":                            deny(`{"code": "frozen", "message": null}`),
		"second reason wrong":                     deny(reason("frozen", "No."), `{}`),
		"17 reasons":                              deny(reasonsUpTo(17)...),
	} {
		t.Run(name, func(t *testing.T) {
			wantClosed(t, load(t, module("decision := "+decision), Config{Budget: longBudget}), value(t, "{}"), ErrDefect)
		})
	}
	t.Run("partial set", func(t *testing.T) {
		wantClosed(t, load(t, module(`decision contains `+allowDecision), Config{Budget: longBudget}), value(t, "{}"), ErrDefect)
	})
	t.Run("partial object", func(t *testing.T) {
		wantClosed(t, load(t, module(`decision["allow"] := true`), Config{Budget: longBudget}), value(t, "{}"), ErrDefect)
	})
}

func TestRightShapes(t *testing.T) {
	for _, c := range []struct {
		name, decision string
		allow          bool
		reasons        []Reason
	}{
		{"allow", allowDecision, true, []Reason{}},
		{"allow with sets", `{"allow": true, "reasons": set(), "effects": set()}`, true, []Reason{}},
		{"deny", denyDecision, false, []Reason{}},
		{"deny with a reason", deny(reason("frozen", "No.")), false, []Reason{{"frozen", "No."}}},
		{"set in order", `{"allow": false, "reasons": {` + reason("b", "B.") + `, ` + reason("a", "Z.") + `}, "effects": []}`, false, []Reason{{"a", "Z."}, {"b", "B."}}},
		{"longest code and message", deny(reason(strings.Repeat("a", 64), strings.Repeat("é", 128))), false, []Reason{{strings.Repeat("a", 64), strings.Repeat("é", 128)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := load(t, module("decision := "+c.decision), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			if d.Allow != c.allow || !slices.Equal(d.Reasons, c.reasons) {
				t.Errorf("allow %v, reasons %v, want %v, %v", d.Allow, d.Reasons, c.allow, c.reasons)
			}
		})
	}
	t.Run("16 reasons", func(t *testing.T) {
		d, err := load(t, module("decision := "+deny(reasonsUpTo(16)...)), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
		if err != nil || len(d.Reasons) != 16 {
			t.Errorf("%d reasons, %v", len(d.Reasons), err)
		}
	})
}

// Reasons come sorted by code, however the policy lists them.
func TestReasonsSorted(t *testing.T) {
	d, err := load(t, module("decision := "+deny(reason("c", "C."), reason("a", "A."), reason("b", "B."))), Config{Budget: longBudget}).
		Decide(context.Background(), value(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(d.Reasons, func(a, b Reason) int { return strings.Compare(a.Code, b.Code) }) {
		t.Errorf("reasons %v", d.Reasons)
	}
}
