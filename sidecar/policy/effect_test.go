package policy

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
)

const (
	codes = `{"type": "issue_challenge", "kind": "code", "terminals": ["trm_a", "trm_b"], "expects": "initiator", "expires_at_ns": 9, "max_attempts": 3, "digits": 6, ` +
		`"condition": {"entry": "ascending", "within_ns": 8, "min_gap_ns": 1, "max_gap_ns": 2}, "message": "code", "details": {"shop": "Bakery"}}`
	approval = `{"type": "issue_challenge", "kind": "approval", "terminals": ["trm_a"], "expects": "terminals", "expires_at_ns": 9, "message": "approval_request"}`
	opens    = `{"type": "open_intent", "kind": "order", "state": "open", "expires_at_ns": 9, "terminals": ["trm_b", "trm_a"], "attributes": {"type": "top_up"}, "amount_minor": 5, "currency": "EUR", "payee": "mer_bakery"}`
	advances = `{"type": "advance_intent", "intent": "int_a", "from": "open", "to": "paid", "terminals": [], "parties": {"agent": "acc_ben"}, "close": true}`
	notifies = `{"type": "notify", "terminal": "trm_a", "kind": "deduction_notice", "expires_at_ns": 9, "details": {"shop": "Bakery"}}`
)

// denies writes a denial with these effects in Rego.
func denies(effects ...string) string {
	return `{"allow": false, "reasons": [], "public_reasons": [], "effects": [` + strings.Join(effects, ", ") + `]}`
}

func TestEffects(t *testing.T) {
	shop := map[string]string{"shop": "Bakery"}
	for _, c := range []struct {
		decision string
		want     []Effect
	}{
		{denies(codes), []Effect{IssueChallenge{
			Kind: authzstore.ChallengeCode, Terminals: []string{"trm_a", "trm_b"}, Expects: authzstore.ExpectsInitiator, ExpiresAtNanos: 9, Message: "code", Details: shop,
			MaxAttempts: 3, Digits: 6, Condition: authzstore.Condition{Entry: "ascending", WithinNanos: 8, MinGapNanos: 1, MaxGapNanos: 2},
		}}},
		{denies(strings.Replace(codes, `"ascending", "within_ns": 8, "min_gap_ns": 1, "max_gap_ns": 2`, `"sum"`, 1)), []Effect{IssueChallenge{
			Kind: authzstore.ChallengeCode, Terminals: []string{"trm_a", "trm_b"}, Expects: authzstore.ExpectsInitiator, ExpiresAtNanos: 9, Message: "code", Details: shop,
			MaxAttempts: 3, Digits: 6, Condition: authzstore.Condition{Entry: "sum"},
		}}},
		{denies(approval, notifies, advances), []Effect{
			IssueChallenge{Kind: authzstore.ChallengeApproval, Terminals: []string{"trm_a"}, Expects: authzstore.ExpectsTerminals, ExpiresAtNanos: 9, Message: "approval_request"},
			Notify{Terminal: "trm_a", Kind: "deduction_notice", ExpiresAtNanos: 9, Details: shop},
			AdvanceIntent{Intent: "int_a", From: "open", To: "paid", Terminals: []string{}, Parties: map[string]string{"agent": "acc_ben"}, Close: true},
		}},
		{effects(opens, reserveEffect, `{"type": "notify", "terminal": "trm_a", "kind": "closed"}`, `{"type": "advance_intent", "intent": "int_a", "from": "open", "to": "seen"}`), []Effect{
			OpenIntent{
				Kind: "order", State: "open", ExpiresAtNanos: 9, Terminals: []string{"trm_b", "trm_a"}, Attributes: map[string]string{"type": "top_up"},
				AmountMinor: 5, Currency: "EUR", Payee: "mer_bakery",
			},
			Reserve{Account: "acc_anna", Payee: "bakery", AmountMinor: 1250, Currency: "EUR"},
			Notify{Terminal: "trm_a", Kind: "closed"},
			AdvanceIntent{Intent: "int_a", From: "open", To: "seen"},
		}},
		{effects(`{"type": "open_intent", "kind": "order", "state": "open", "expires_at_ns": 9}`), []Effect{OpenIntent{Kind: "order", State: "open", ExpiresAtNanos: 9}}},
		{effects(`{"type": "open_intent", "kind": "order", "state": "` + strings.Repeat("o", 64) + `", "expires_at_ns": 9}`),
			[]Effect{OpenIntent{Kind: "order", State: strings.Repeat("o", 64), ExpiresAtNanos: 9}}},
		{effects(many(32, notifies)...), nil},
	} {
		d, err := load(t, module("decision := "+c.decision), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
		if err != nil {
			t.Errorf("%s: %v", c.decision, err)
			continue
		}
		if c.want == nil && len(d.Effects) == 32 {
			continue
		}
		if !reflect.DeepEqual(d.Effects, c.want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", c.decision, d.Effects, c.want)
		}
	}
}

// What the archive has is read by the names that members had when it was written.
func TestFormerNames(t *testing.T) {
	decide := func(effect string) []Effect {
		t.Helper()
		d, err := load(t, module("decision := "+denies(effect)), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		return d.Effects
	}
	want := decide(codes)
	for name, formerly := range map[string]string{"digits": "length", "max_attempts": "attempts"} {
		effect := strings.Replace(codes, `"`+name+`": `, `"`+formerly+`": `, 1)
		if got := decide(effect); effect == codes || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", effect, got, want)
		}
	}
}

// many returns so many effects that differ.
func many(n int, effect string) (all []string) {
	for i := range n {
		all = append(all, strings.Replace(effect, "trm_a", fmt.Sprintf("trm_%d", i), 1))
	}
	return all
}

// entries writes an object of n texts in Rego.
func entries(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d": "x"`, i))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func terminals(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"trm_%d"`, i))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// Everything about an effect is bounded, and what is one too many makes the whole
// decision a defect.
func TestWrongEffects(t *testing.T) {
	long := `"` + strings.Repeat("a", 257) + `"`
	for name, c := range map[string]struct{ effect, old, replacement string }{
		"challenge of no kind":             {codes, `"kind": "code", `, ""},
		"challenge of another kind":        {codes, `"kind": "code"`, `"kind": "gesture"`},
		"challenge without terminals":      {codes, `"terminals": ["trm_a", "trm_b"], `, ""},
		"challenge of no terminals":        {codes, `["trm_a", "trm_b"]`, `[]`},
		"challenge of a terminal twice":    {codes, `["trm_a", "trm_b"]`, `["trm_a", "trm_a"]`},
		"challenge of 17 terminals":        {codes, `["trm_a", "trm_b"]`, terminals(17)},
		"challenge of a terminal in words": {codes, `["trm_a", "trm_b"]`, `"trm_a"`},
		"challenge of a number":            {codes, `["trm_a", "trm_b"]`, `["trm_a", 5]`},
		"challenge of an empty terminal":   {codes, `["trm_a", "trm_b"]`, `["trm_a", ""]`},
		"challenge that expects nobody":    {codes, `"expects": "initiator", `, ""},
		"challenge that expects others":    {codes, `"initiator"`, `"anybody"`},
		"challenge without an end":         {codes, `"expires_at_ns": 9, `, ""},
		"challenge that ends at 0":         {codes, `"expires_at_ns": 9`, `"expires_at_ns": 0`},
		"challenge that ends in words":     {codes, `"expires_at_ns": 9`, `"expires_at_ns": "9"`},
		"challenge without attempts":       {codes, `"max_attempts": 3, `, ""},
		"challenge of no attempt":          {codes, `"max_attempts": 3`, `"max_attempts": 0`},
		"challenge of 6 attempts":          {codes, `"max_attempts": 3`, `"max_attempts": 6`},
		"challenge without digits":         {codes, `"digits": 6, `, ""},
		"codes of 5 digits":                {codes, `"digits": 6`, `"digits": 5`},
		"codes of 9 digits":                {codes, `"digits": 6`, `"digits": 9`},
		"codes of digits by two names":     {codes, `"digits": 6`, `"digits": 6, "length": 6`},
		"codes of half a digit":            {codes, `"digits": 6`, `"digits": 6.5`},
		"challenge without a condition":    {codes, `"condition": {"entry": "ascending", "within_ns": 8, "min_gap_ns": 1, "max_gap_ns": 2}, `, ""},
		"condition null":                   {codes, `{"entry": "ascending", "within_ns": 8, "min_gap_ns": 1, "max_gap_ns": 2}`, `null`},
		"condition without an order":       {codes, `"entry": "ascending", `, ""},
		"condition in another order":       {codes, `"ascending"`, `"random"`},
		"condition within no time":         {codes, `"within_ns": 8`, `"within_ns": 0`},
		"condition with a gap of nothing":  {codes, `"min_gap_ns": 1`, `"min_gap_ns": 0`},
		"condition with no longest gap":    {codes, `"max_gap_ns": 2`, `"max_gap_ns": null`},
		"condition with another member":    {codes, `"within_ns": 8`, `"within_ns": 8, "note": 1`},
		"challenge without a message":      {codes, `"message": "code", `, ""},
		"message not in snake case":        {codes, `"message": "code"`, `"message": "A code"`},
		"nine details":                     {codes, `{"shop": "Bakery"}`, entries(9)},
		"a detail that is a number":        {codes, `{"shop": "Bakery"}`, `{"shop": 5}`},
		"an empty detail":                  {codes, `{"shop": "Bakery"}`, `{"shop": ""}`},
		"a long detail":                    {codes, `{"shop": "Bakery"}`, `{"shop": ` + long + `}`},
		"a detail not in snake case":       {codes, `{"shop": "Bakery"}`, `{"Shop": "Bakery"}`},
		"details that are a list":          {codes, `{"shop": "Bakery"}`, `["shop"]`},
		"challenge with another member":    {codes, `"kind": "code"`, `"kind": "code", "note": 1`},
		"approval of the initiator":        {approval, `"terminals", "expires`, `"initiator", "expires`},
		"approval with attempts":           {approval, `"kind": "approval"`, `"kind": "approval", "max_attempts": 1`},
		"approval with a condition":        {approval, `"kind": "approval"`, `"kind": "approval", "condition": {"entry": "any"}`},

		"intent of no kind":             {opens, `"kind": "order", `, ""},
		"intent of no state":            {opens, `"state": "open", `, ""},
		"intent in capitals":            {opens, `"open"`, `"OPEN"`},
		"intent in a state of 65 bytes": {opens, `"open"`, `"` + strings.Repeat("o", 65) + `"`},
		"intent without an end":         {opens, `"expires_at_ns": 9, `, ""},
		"intent of a terminal twice":    {opens, `["trm_b", "trm_a"]`, `["trm_b", "trm_b"]`},
		"intent of 17 terminals":        {opens, `["trm_b", "trm_a"]`, terminals(17)},
		"seventeen attributes":          {opens, `{"type": "top_up"}`, entries(17)},
		"intent over no amount":         {opens, `"amount_minor": 5`, `"amount_minor": 0`},
		"intent over more than is paid": {opens, `"amount_minor": 5`, `"amount_minor": 9007199254740992`},
		"intent in no currency":         {opens, `"EUR"`, `""`},
		"intent for nobody":             {opens, `"mer_bakery"`, `null`},
		"intent of an account":          {opens, `"kind": "order"`, `"kind": "order", "account": "acc_anna"`},

		"advance of no intent":         {advances, `"intent": "int_a", `, ""},
		"advance from nothing":         {advances, `"from": "open", `, ""},
		"advance to nothing":           {advances, `"to": "paid"`, `"to": ""`},
		"nine parties":                 {advances, `{"agent": "acc_ben"}`, entries(9)},
		"close in words":               {advances, `"close": true`, `"close": "yes"`},
		"advance to 17 terminals":      {advances, `"terminals": []`, `"terminals": ` + terminals(17)},
		"advance with another member":  {advances, `"from"`, `"amount_minor": 1, "from"`},
		"notice to nobody":             {notifies, `"terminal": "trm_a", `, ""},
		"notice of no kind":            {notifies, `"kind": "deduction_notice", `, ""},
		"notice not in snake case":     {notifies, `"deduction_notice"`, `"Deduction"`},
		"notice that ended before":     {notifies, `"expires_at_ns": 9`, `"expires_at_ns": -1`},
		"notice with a code":           {notifies, `"kind"`, `"code": "123456", "kind"`},
		"notice with an intent of its": {notifies, `"kind"`, `"intent": "int_a", "kind"`},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(c.effect, c.old) != 1 {
				t.Fatalf("%q stands %d times in the effect", c.old, strings.Count(c.effect, c.old))
			}
			effect := strings.Replace(c.effect, c.old, c.replacement, 1)
			decision := denies(effect)
			if c.effect == opens {
				decision = effects(effect)
			}
			wantClosed(t, load(t, module("decision := "+decision), Config{Budget: longBudget}), value(t, "{}"), ErrDefect)
		})
	}
	for name, decision := range map[string]string{
		"33 effects":                       effects(many(33, notifies)...),
		"an effect in another letter case": denies(strings.Replace(notifies, "notify", "Notify", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			wantClosed(t, load(t, module("decision := "+decision), Config{Budget: longBudget}), value(t, "{}"), ErrDefect)
		})
	}
}

// Effects go with the verdict.
func TestCheckEffects(t *testing.T) {
	reserve, opens, asks := Reserve{}, OpenIntent{}, IssueChallenge{}
	for _, c := range []struct {
		allow   bool
		effects []Effect
		says    string // "" where they go with it
	}{
		{true, []Effect{reserve, opens, AdvanceIntent{}, AdvanceIntent{}, Notify{}, Notify{}}, ""},
		{false, []Effect{asks, AdvanceIntent{}, Notify{}, Notify{}}, ""},
		{false, nil, ""},
		{false, []Effect{Notify{}, reserve}, "a denial that reserves"},
		{false, []Effect{Notify{}, opens}, "a denial that opens an intent"},
		{true, []Effect{Notify{}, asks}, "an allow that issues a challenge"},
		{false, []Effect{asks, asks}, "2 challenges and 0 intents: at most one of each"},
		{true, []Effect{opens, opens}, "0 challenges and 2 intents: at most one of each"},
	} {
		err := Decision{Allow: c.allow, Effects: c.effects}.CheckEffects()
		if (err == nil) != (c.says == "") || err != nil && err.Error() != c.says {
			t.Errorf("%t, %+v: %v, want %q", c.allow, c.effects, err, c.says)
		}
	}
}
