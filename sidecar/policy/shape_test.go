package policy

import (
	"context"
	"encoding/json"
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
	all := strings.Join(reasons, ", ")
	return `{"allow": false, "reasons": [` + all + `], "public_reasons": [` + all + `], "effects": []}`
}

const reserveEffect = `{"type": "reserve", "account": "acc_anna", "payee": "bakery", "currency": "EUR", "amount_minor": 1250}`

// effects writes an allow with these effects in Rego.
func effects(effects ...string) string {
	return `{"allow": true, "reasons": [], "public_reasons": [], "effects": [` + strings.Join(effects, ", ") + `]}`
}

func thirtyThree() (effects []string) {
	for i := range 33 {
		effects = append(effects, strings.Replace(reserveEffect, "1250", fmt.Sprint(i+1), 1))
	}
	return effects
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
		"null":                                    `null`,
		"true":                                    `true`,
		"number":                                  `1`,
		"text":                                    `"allow"`,
		"array":                                   `[` + allowDecision + `]`,
		"set":                                     `{` + allowDecision + `, 1}`,
		"empty object":                            `{}`,
		"allow alone":                             `{"allow": true}`,
		"no allow":                                `{"reasons": [], "public_reasons": [], "effects": []}`,
		"no reasons":                              `{"allow": true, "public_reasons": [], "effects": []}`,
		"no public reasons":                       `{"allow": true, "reasons": [], "effects": []}`,
		"reasons that nobody is told":             `{"allow": false, "reasons": [` + reason("frozen", "No.") + `], "public_reasons": [], "effects": []}`,
		"told without reasons":                    `{"allow": false, "reasons": [], "public_reasons": [` + reason("frozen", "No.") + `], "effects": []}`,
		"allow that tells a reason":               `{"allow": true, "reasons": [], "public_reasons": [` + reason("frozen", "No.") + `], "effects": []}`,
		"no effects":                              `{"allow": true, "reasons": []}`,
		"extra member":                            `{"allow": true, "reasons": [], "public_reasons": [], "effects": [], "note": 1}`,
		"member in other case":                    `{"Allow": true, "reasons": [], "public_reasons": [], "effects": []}`,
		"member in both cases":                    `{"allow": true, "Allow": false, "reasons": [], "public_reasons": [], "effects": []}`,
		"allow a text":                            `{"allow": "true", "reasons": [], "public_reasons": [], "effects": []}`,
		"allow a number":                          `{"allow": 1, "reasons": [], "public_reasons": [], "effects": []}`,
		"allow null":                              `{"allow": null, "reasons": [], "public_reasons": [], "effects": []}`,
		"allow an object":                         `{"allow": {}, "reasons": [], "public_reasons": [], "effects": []}`,
		"allow an array":                          `{"allow": [true], "reasons": [], "public_reasons": [], "effects": []}`,
		"reasons null":                            `{"allow": true, "reasons": null, "public_reasons": [], "effects": []}`,
		"reasons an object":                       `{"allow": true, "reasons": {}, "public_reasons": [], "effects": []}`,
		"reasons a text":                          `{"allow": true, "reasons": "", "public_reasons": [], "effects": []}`,
		"reasons a number":                        `{"allow": true, "reasons": 0, "public_reasons": [], "effects": []}`,
		"effects null":                            `{"allow": true, "reasons": [], "public_reasons": [], "effects": null}`,
		"effects an object":                       `{"allow": true, "reasons": [], "public_reasons": [], "effects": {}}`,
		"effects a boolean":                       `{"allow": true, "reasons": [], "public_reasons": [], "effects": false}`,
		"an effect without members":               effects(`{"type": "reserve"}`),
		"an effect in words":                      effects(`"reserve"`),
		"an effect that there is not":             effects(`{"type": "transfer", "account": "a", "payee": "p", "currency": "EUR", "amount_minor": 1}`),
		"effect without a type":                   effects(`{"account": "a", "payee": "p", "currency": "EUR", "amount_minor": 1}`),
		"effect with another member":              effects(strings.Replace(reserveEffect, "{", `{"note": 1, `, 1)),
		"reserve in words":                        effects(strings.Replace(reserveEffect, "1250", `"1250"`, 1)),
		"reserve part of a unit":                  effects(strings.Replace(reserveEffect, "1250", "12.5", 1)),
		"reserve nothing":                         effects(strings.Replace(reserveEffect, "1250", "0", 1)),
		"reserve less than nothing":               effects(strings.Replace(reserveEffect, "1250", "-1", 1)),
		"reserve past an int64":                   effects(strings.Replace(reserveEffect, "1250", "9223372036854775808", 1)),
		"reserve by no grant":                     effects(strings.Replace(reserveEffect, "{", `{"grant": "", `, 1)),
		"reserve by a grant that is null":         effects(strings.Replace(reserveEffect, "{", `{"grant": null, `, 1)),
		"reserve for nobody":                      effects(strings.Replace(reserveEffect, "bakery", "", 1)),
		"33 effects":                              effects(thirtyThree()...),
		"effects on a denial too":                 `{"allow": false, "reasons": [], "public_reasons": [], "effects": [{"type": "notify"}]}`,
		"allow with a reason":                     `{"allow": true, "reasons": [` + reason("frozen", "No.") + `], "public_reasons": [], "effects": []}`,
		"reason a text":                           deny(`"frozen"`),
		"reason null":                             deny(`null`),
		"reason an array":                         deny(`["frozen", "No."]`),
		"reason empty":                            deny(`{}`),
		"reason without code":                     deny(`{"message": "No."}`),
		"reason without message":                  deny(`{"code": "frozen"}`),
		"reason with another member":              deny(`{"code": "frozen", "message": "No.", "note": 1}`),
		"limit a number":                          deny(`{"code": "frozen", "message": "No.", "limit": 1}`),
		"remaining a text":                        deny(`{"code": "frozen", "message": "No.", "remaining_minor": "1"}`),
		"remaining below zero":                    deny(`{"code": "frozen", "message": "No.", "remaining_minor": -1}`),
		"part of a minor unit":                    deny(`{"code": "frozen", "message": "No.", "remaining_minor": 1.5}`),
		"part of a payment":                       deny(`{"code": "frozen", "message": "No.", "remaining_count": 0.5}`),
		"reset at null":                           deny(`{"code": "frozen", "message": "No.", "resets_at_ns": null}`),
		"rank over 1000":                          deny(`{"code": "frozen", "message": "No.", "rank": 1001}`),
		"code in capitals":                        deny(reason("Frozen", "No.")),
		"code with a dash":                        deny(reason("is-frozen", "No.")),
		"code with a space":                       deny(reason("is frozen", "No.")),
		"code with a line feed":                   deny(reason("frozen\n", "No.")),
		"code that starts with digit":             deny(reason("1frozen", "No.")),
		"code not ASCII":                          deny(reason("gefröstelt", "No.")),
		"code empty":                              deny(reason("", "No.")),
		"code of 65 bytes":                        deny(reason(long[:65], "No.")),
		"code a number":                           deny(`{"code": 1, "message": "No."}`),
		"message empty":                           deny(reason("frozen", "")),
		"message of 257 bytes":                    deny(reason("frozen", long)),
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
		{"allow with sets", `{"allow": true, "reasons": set(), "public_reasons": set(), "effects": set()}`, true, []Reason{}},
		{"deny", denyDecision, false, []Reason{}},
		{"deny with a reason", deny(reason("frozen", "No.")), false, []Reason{{Code: "frozen", Message: "No."}}},
		{"set in order", `{"allow": false, "reasons": {` + reason("b", "B.") + `, ` + reason("a", "Z.") + `}, "public_reasons": [` + reason("x", "X.") + `], "effects": []}`, false, []Reason{{Code: "a", Message: "Z."}, {Code: "b", Message: "B."}}},
		{"longest code and message", deny(reason(strings.Repeat("a", 64), strings.Repeat("é", 128))), false, []Reason{{Code: strings.Repeat("a", 64), Message: strings.Repeat("é", 128)}}},
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

// What a limit has to say, ranks before codes, and an effect.
func TestDetails(t *testing.T) {
	limit := `{"code": "z", "message": "No.", "rank": -1, "limit": "total", "remaining_minor": 0, "remaining_count": 3, "resets_at_ns": 1795532400000000000}`
	p := load(t, module("decision := "+deny(reason("a", "A."), limit)), Config{Budget: longBudget})
	d, err := p.Decide(context.Background(), value(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d.Public)
	const want = `[{"code":"z","message":"No.","rank":-1,"limit":"total","remaining_minor":0,"remaining_count":3,"resets_at_ns":1795532400000000000},{"code":"a","message":"A."}]`
	if err != nil || string(text) != want {
		t.Errorf("public reasons %s, %v; want %s", text, err, want)
	}

	d, err = load(t, module("decision := "+effects(reserveEffect)), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
	if err != nil || !slices.Equal(d.Effects, []Effect{Reserve{"acc_anna", "", "bakery", 1250, "EUR"}}) {
		t.Errorf("effects %+v, %v", d.Effects, err)
	}
	byGrant := strings.Replace(reserveEffect, "{", `{"grant": "grt_ben", `, 1)
	d, err = load(t, module("decision := "+effects(byGrant)), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
	if err != nil || !slices.Equal(d.Effects, []Effect{Reserve{"acc_anna", "grt_ben", "bakery", 1250, "EUR"}}) {
		t.Errorf("effects %+v, %v", d.Effects, err)
	}
}
