package envoy

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Each condition on the codes, alone and combined: what meets it pays, what does not
// costs one attempt, and nobody is told what was wrong. Times are from issue.

// A codeSet is a set of codes that is entered, and whether it pays.
type codeSet struct {
	name   string
	amount int64 // picks the rule
	set    func(codes []string) []string
	at     []time.Duration // of each entry, after issue; nil means at once
	paid   bool
}

const sec = time.Second

var codeSets = []codeSet{
	{name: "within, all at the last instant", amount: 1, set: asBound, at: []time.Duration{60 * sec, 60 * sec, 60 * sec}, paid: true},
	{name: "within, the last one too late", amount: 1, set: asBound, at: []time.Duration{0, 0, 60*sec + 1}},
	{name: "within, in any order", amount: 999, set: reversed, paid: true},
	{name: "within, one wrong digit", amount: 999, set: oneWrong},
	{name: "within, one code twice", amount: 999, set: oneTwice},
	{name: "within, one without its last digit", amount: 999, set: oneShort},
	{name: "in the order of binding", amount: 1000, set: asBound, paid: true},
	{name: "in the order of binding, long after", amount: 1999, set: asBound, at: []time.Duration{0, 150 * sec, 300 * sec}, paid: true},
	{name: "against the order of binding", amount: 1000, set: reversed},
	{name: "two of the order of binding changed", amount: 1999, set: lastSwapped},
	{name: "ascending", amount: 2000, set: ascending, paid: true},
	{name: "ascending where it ends", amount: 2999, set: ascending, paid: true},
	{name: "descending where ascending is wanted", amount: 2999, set: descending},
	{name: "ascending, one wrong digit", amount: 2000, set: func(codes []string) []string { return oneWrong(ascending(codes)) }},
	{name: "descending", amount: 3000, set: descending, paid: true},
	{name: "descending where it ends", amount: 3999, set: descending, paid: true},
	{name: "ascending where descending is wanted", amount: 3000, set: ascending},
	{name: "the sum", amount: 4000, set: sumPlus(0), paid: true},
	{name: "the sum and one", amount: 4000, set: sumPlus(1)},
	{name: "the sum less one", amount: 4999, set: sumPlus(-1)},
	{name: "the sum with a zero in front", amount: 4999, set: func(codes []string) []string { return []string{"0" + sumPlus(0)(codes)[0]} }},
	{name: "the sum of two of three", amount: 4999, set: func(codes []string) []string { return sumPlus(0)(codes[1:]) }},
	{name: "a code where the sum is wanted", amount: 4999, set: func(codes []string) []string { return codes[:1] }},
	{name: "the shortest gap, and the longest", amount: 5000, set: reversed, at: []time.Duration{200 * sec, 202 * sec, 232 * sec}, paid: true},
	{name: "a gap too short", amount: 5000, set: asBound, at: []time.Duration{0, 2*sec - 1, 20 * sec}},
	{name: "the last gap too short", amount: 5999, set: asBound, at: []time.Duration{0, 20 * sec, 22*sec - 1}},
	{name: "a gap too long", amount: 5999, set: asBound, at: []time.Duration{0, 30*sec + 1, 40 * sec}},
	{name: "ascending within", amount: 6000, set: ascending, at: []time.Duration{0, 0, 60 * sec}, paid: true},
	{name: "ascending, too late", amount: 6000, set: ascending, at: []time.Duration{0, 0, 60*sec + 1}},
	{name: "in time, descending", amount: 6999, set: descending},
	{name: "by terminals, gaps and time", amount: 7000, set: asBound, at: []time.Duration{0, 30 * sec, 60 * sec}, paid: true},
	{name: "by terminals, in time, a gap too short", amount: 7000, set: asBound, at: []time.Duration{0, 2 * sec, 4*sec - 1}},
	{name: "by terminals, in time, a gap too long", amount: 7000, set: asBound, at: []time.Duration{0, 30*sec + 1, 40 * sec}},
	{name: "by terminals, with gaps, too late", amount: 7999, set: asBound, at: []time.Duration{1, 30*sec + 1, 60*sec + 1}},
	{name: "against terminals, with gaps and in time", amount: 7999, set: reversed, at: []time.Duration{0, 30 * sec, 60 * sec}},
	{name: "the sum within", amount: 8000, set: sumPlus(0), at: []time.Duration{60 * sec}, paid: true},
	{name: "the sum, too late", amount: 8000, set: sumPlus(0), at: []time.Duration{60*sec + 1}},
}

func oneWrong(codes []string) []string {
	wrong := wrongDigit(codes[1])
	if wrong == codes[0] || wrong == codes[2] { // no code of the set is it
		wrong = wrongDigit(wrong)
	}
	return []string{codes[0], wrong, codes[2]}
}

func oneTwice(codes []string) []string { return []string{codes[0], codes[1], codes[0]} }

func oneShort(codes []string) []string { return []string{codes[0], codes[1], codes[2][:5]} }

func lastSwapped(codes []string) []string { return []string{codes[0], codes[2], codes[1]} }

func TestVerifiedConditions(t *testing.T) {
	f := newFamily(t, verifiedRules(t), verifiedAccounts(len(codeSets)))
	answers := map[string][]string{} // to a set that failed, whatever was wrong with it
	for i, c := range codeSets {
		t.Run(c.name, func(t *testing.T) {
			answer := c.run(t, newVerified(t, f, verifiedAccount(i), c.amount, 3))
			if !c.paid {
				answers[answer] = append(answers[answer], c.name)
			}
		})
	}
	if len(answers) != 1 {
		t.Errorf("what was wrong can be told by the answers %q", answers)
	}
}

// run enters the set, and returns how the call is answered then.
func (c codeSet) run(t *testing.T, v *verified) (answer string) {
	codes := v.ask(t)
	asked := withoutIDs(t, v.pay(t))
	issued, attempts := v.f.clock.wall(), int64(3)
	set := c.set(codes)
	for i, code := range set {
		if i > 0 {
			v.wantAsked(t, attempts) // a part of a set says nothing, and costs nothing
		}
		if c.at != nil {
			v.f.clock.move(issued.Add(c.at[i]).Sub(v.f.clock.wall()))
		}
		v.enter(t, code)
	}
	if !c.paid {
		v.wantAsked(t, attempts-1)
		if answer = withoutIDs(t, v.pay(t)); answer != asked {
			t.Errorf("the call is answered %s, and was before a set was entered %s", answer, asked)
		}
		return answer
	}
	v.wantPaid(t)
	// It pays once: what comes again is the same payment, and other payments want codes
	// of their own.
	again := v.pay(t)
	if again.Header.Get("Countersign-Replayed") != "true" || again.StatusCode != http.StatusOK {
		t.Errorf("again: status %d, replayed %q", again.StatusCode, again.Header.Get("Countersign-Replayed"))
	}
	first := v.asked
	v.key += "-again"
	v.wantAskedAnew(t)
	fresh := v.asked
	v.asked = first
	v.enter(t, set...)
	v.asked = fresh
	v.wantAsked(t, 3)
	v.enter(t, set...)
	v.wantAsked(t, 2)
	return ""
}

var (
	anyID   = regexp.MustCompile(`\b(dec|chl)_[a-z2-7]+`)
	anyTime = regexp.MustCompile(`"expires_at_ns":[0-9]+`)
)

// withoutIDs is an answer to the last byte, without what differs from one call to the next:
// IDs, and times.
func withoutIDs(t *testing.T, resp response) string {
	t.Helper()
	header := resp.Header.Clone()
	for _, its := range []string{"Date", "X-Request-Id"} {
		if header.Get(its) == "" {
			t.Errorf("an answer without %s", its)
		}
		header.Del(its)
	}
	text := fmt.Sprint(resp.StatusCode, " ", header, " ", resp.body)
	return anyTime.ReplaceAllString(anyID.ReplaceAllString(text, "$1"), "expires_at_ns")
}

// What is told of a payment that waits says nothing of the condition.
func TestVerifiedConditionIsNotTold(t *testing.T) {
	f := newFamily(t, verifiedRules(t), verifiedAccounts(9))
	answers := map[string]bool{}
	for i := range 9 {
		v := newVerified(t, f, verifiedAccount(i), int64(max(1, i*1000)), 2)
		resp := v.pay(t)
		v.asked = challengeOf(resp)
		for _, header := range []string{"Countersign-Challenge-Kind", "Www-Authenticate"} {
			answers[header+": "+resp.Header.Get(header)] = true
		}
		for _, trm := range v.terminals {
			m := f.about(t, trm.ID, v.asked)
			answers["message: "+m.Kind+" "+strconv.Itoa(len(m.Details))] = true
		}
	}
	if len(answers) != 3 {
		t.Errorf("by the condition they are told %v", answers)
	}
}
