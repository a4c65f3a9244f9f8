package evidence

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
)

const (
	second = int64(time.Second)
	minute = int64(time.Minute)
)

// issued is when the challenges of these tests were.
var issued = noon.UnixNano()

// An entered is an entry as a test writes it: whose code, and how long after issue.
type entered struct {
	terminal int
	after    int64
}

// judged is a challenge of as many terminals as ranks has, of whose codes those are
// the ranks, with what was entered.
func judged(c authzstore.Condition, ranks []int, entries ...entered) authzstore.Challenge {
	ch := authzstore.Challenge{
		Kind: authzstore.ChallengeCode, Condition: c, IssuedAtNanos: issued, Terminals: make([]authzstore.ChallengeTerminal, len(ranks)),
	}
	for _, e := range entries {
		entry := authzstore.Entry{Terminal: e.terminal, ArrivedNanos: issued + e.after}
		if e.terminal >= 0 && c.Entry != authzstore.EntrySum {
			entry.Rank = ranks[e.terminal]
		}
		ch.Entries = append(ch.Entries, entry)
	}
	return ch
}

// The five kinds of condition and the combinations of them that make sense, exactly at
// each bound and one nanosecond beyond.
func TestJudge(t *testing.T) {
	anyOrder := authzstore.Condition{Entry: authzstore.EntryAny}
	terminals := authzstore.Condition{Entry: authzstore.EntryTerminals}
	ascending := authzstore.Condition{Entry: authzstore.EntryAscending}
	descending := authzstore.Condition{Entry: authzstore.EntryDescending}
	sum := authzstore.Condition{Entry: authzstore.EntrySum}
	within := func(c authzstore.Condition) authzstore.Condition { c.WithinNanos = minute; return c }
	gaps := func(c authzstore.Condition) authzstore.Condition {
		c.MinGapNanos, c.MaxGapNanos = 2*second, 10*second
		return c
	}
	ranks := []int{1, 2, 0} // the code of terminal 2 is the least, that of terminal 1 the greatest
	for _, c := range []struct {
		name      string
		condition authzstore.Condition
		entries   []entered
		want      bool
	}{
		{"any order", anyOrder, []entered{{2, 1}, {0, 2}, {1, 3}}, true},
		{"any order, a year later", anyOrder, []entered{{2, 1}, {0, 2}, {1, 365 * 24 * 60 * minute}}, true},
		{"any order, one wrong", anyOrder, []entered{{2, 1}, {-1, 2}, {1, 3}}, false},
		{"any order, all wrong", anyOrder, []entered{{-1, 1}, {-1, 2}, {-1, 3}}, false},
		{"any order, one code twice", anyOrder, []entered{{2, 1}, {0, 2}, {2, 3}}, false},
		{"any order, one missing", anyOrder, []entered{{2, 1}, {0, 2}}, false},
		{"any order, one too many", anyOrder, []entered{{2, 1}, {0, 2}, {1, 3}, {1, 4}}, false},
		{"nothing", anyOrder, nil, false},

		{"a: in order", terminals, []entered{{0, 1}, {1, 2}, {2, 3}}, true},
		{"a: at one instant", terminals, []entered{{0, 1}, {1, 1}, {2, 1}}, true},
		{"a: two swapped", terminals, []entered{{0, 1}, {2, 2}, {1, 3}}, false},
		{"a: backwards", terminals, []entered{{2, 1}, {1, 2}, {0, 3}}, false},
		{"a: by rank", terminals, []entered{{2, 1}, {0, 2}, {1, 3}}, false},
		{"a: arrivals run backwards by a nanosecond", terminals, []entered{{0, 1}, {1, 3}, {2, 2}}, false},

		{"b: ascending", ascending, []entered{{2, 1}, {0, 2}, {1, 3}}, true},
		{"b: ascending, two swapped", ascending, []entered{{2, 1}, {1, 2}, {0, 3}}, false},
		{"b: ascending, but descending", ascending, []entered{{1, 1}, {0, 2}, {2, 3}}, false},
		{"b: ascending, arrivals run backwards", ascending, []entered{{2, 2}, {0, 1}, {1, 3}}, false},
		{"b: descending", descending, []entered{{1, 1}, {0, 2}, {2, 3}}, true},
		{"b: descending, two swapped", descending, []entered{{0, 1}, {1, 2}, {2, 3}}, false},
		{"b: descending, but ascending", descending, []entered{{2, 1}, {0, 2}, {1, 3}}, false},

		{"c: the sum", sum, []entered{{0, 1}}, true},
		{"c: not the sum", sum, []entered{{-1, 1}}, false},
		{"c: the sum twice", sum, []entered{{0, 1}, {0, 2}}, false},
		{"c: the sum and more", sum, []entered{{0, 1}, {1, 2}}, false},
		{"c: another terminal's", sum, []entered{{1, 1}}, false},

		{"d: at the end", within(anyOrder), []entered{{2, 1}, {0, 2}, {1, minute}}, true},
		{"d: a nanosecond after the end", within(anyOrder), []entered{{2, 1}, {0, 2}, {1, minute + 1}}, false},
		{"d: at the issue", within(anyOrder), []entered{{2, 0}, {0, 0}, {1, 0}}, true},
		{"d: a nanosecond before the issue", within(anyOrder), []entered{{2, -1}, {0, 0}, {1, 0}}, false},
		{"d: the first one late, taken first", within(anyOrder), []entered{{2, minute + 1}, {0, 2}, {1, 3}}, false},

		{"e: at the least", gaps(anyOrder), []entered{{2, 1}, {0, 1 + 2*second}, {1, 1 + 4*second}}, true},
		{"e: a nanosecond too soon", gaps(anyOrder), []entered{{2, 1}, {0, 1 + 2*second}, {1, 4 * second}}, false},
		{"e: at the most", gaps(anyOrder), []entered{{2, 1}, {0, 1 + 10*second}, {1, 1 + 20*second}}, true},
		{"e: a nanosecond too late", gaps(anyOrder), []entered{{2, 1}, {0, 1 + 10*second}, {1, 2 + 20*second}}, false},
		{"e: the first gap too short", gaps(anyOrder), []entered{{2, 1}, {0, 2 * second}, {1, 5 * second}}, false},
		{"e: the first one whenever", gaps(anyOrder), []entered{{2, 60 * minute}, {0, 60*minute + 3*second}, {1, 60*minute + 6*second}}, true},
		{"e: no least, at one instant", authzstore.Condition{Entry: authzstore.EntryAny, MaxGapNanos: second}, []entered{{2, 1}, {0, 1}, {1, 1}}, true},
		{"e: no least, backwards", authzstore.Condition{Entry: authzstore.EntryAny, MaxGapNanos: second}, []entered{{2, 2}, {0, 1}, {1, 3}}, false},
		{"e: no most, an hour", authzstore.Condition{Entry: authzstore.EntryAny, MinGapNanos: second}, []entered{{2, 1}, {0, 60 * minute}, {1, 120 * minute}}, true},

		{"b+d", within(ascending), []entered{{2, 1}, {0, 2}, {1, minute}}, true},
		{"b+d, late", within(ascending), []entered{{2, 1}, {0, 2}, {1, minute + 1}}, false},
		{"b+d, another order", within(ascending), []entered{{0, 1}, {2, 2}, {1, minute}}, false},
		{"b+d, one wrong", within(ascending), []entered{{2, 1}, {-1, 2}, {1, minute}}, false},

		{"a+d+e", within(gaps(terminals)), []entered{{0, 40 * second}, {1, 50 * second}, {2, 60 * second}}, true},
		{"a+d+e, all in time but late", within(gaps(terminals)), []entered{{0, 40*second + 1}, {1, 50*second + 1}, {2, 60*second + 1}}, false},
		{"a+d+e, at the least", within(gaps(terminals)), []entered{{0, 40 * second}, {1, 42 * second}, {2, 44 * second}}, true},
		{"a+d+e, a nanosecond too late", within(gaps(terminals)), []entered{{0, 40 * second}, {1, 50*second + 1}, {2, 60 * second}}, false},
		{"a+d+e, too soon", within(gaps(terminals)), []entered{{0, 40 * second}, {1, 42*second - 1}, {2, 50 * second}}, false},
		{"a+d+e, another order", within(gaps(terminals)), []entered{{1, 40 * second}, {0, 50 * second}, {2, 60 * second}}, false},

		{"c+d", within(sum), []entered{{0, minute}}, true},
		{"c+d, late", within(sum), []entered{{0, minute + 1}}, false},
		{"c+d, not the sum", within(sum), []entered{{-1, minute}}, false},

		{"no order", authzstore.Condition{}, []entered{{0, 1}, {1, 2}, {2, 3}}, false},
		{"an order that is unknown", authzstore.Condition{Entry: "random"}, []entered{{0, 1}, {1, 2}, {2, 3}}, false},
	} {
		if got := Judge(judged(c.condition, ranks, c.entries...)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	beyond := judged(anyOrder, ranks, entered{0, 1}, entered{1, 2}, entered{2, 3})
	beyond.Entries[2].Terminal = 3
	if Judge(beyond) {
		t.Error("a terminal that the challenge has not is one of it")
	}
	for _, c := range []authzstore.Condition{ascending, descending} {
		if Judge(judged(c, []int{1, 1}, entered{0, 1}, entered{1, 2})) {
			t.Errorf("%s: the same twice is an order", c.Entry)
		}
	}
	for name, ch := range map[string]authzstore.Challenge{
		"no codes":         judged(anyOrder, nil),
		"an approval":      {Kind: authzstore.ChallengeApproval, Terminals: make([]authzstore.ChallengeTerminal, 1)},
		"an approval, sum": {Kind: authzstore.ChallengeApproval, Condition: sum, Entries: make([]authzstore.Entry, 1)},
	} {
		if Judge(ch) {
			t.Errorf("%s passes", name)
		}
	}
	if Complete(authzstore.Challenge{Kind: authzstore.ChallengeApproval}) {
		t.Error("an approval is a complete set")
	}
}

func TestComplete(t *testing.T) {
	for entry, want := range map[authzstore.EntryOrder]int{
		authzstore.EntryAny: 3, authzstore.EntryTerminals: 3, authzstore.EntryAscending: 3, authzstore.EntryDescending: 3, authzstore.EntrySum: 1,
	} {
		ch := judged(authzstore.Condition{Entry: entry}, []int{0, 1, 2})
		for n := range 5 {
			if got := Complete(ch); got != (n >= want) {
				t.Errorf("%s: complete with %d entries is %v", entry, n, got)
			}
			ch.Entries = append(ch.Entries, authzstore.Entry{Terminal: -1}) // also of wrong ones
		}
	}
}

// drawCondition draws a condition that makes sense for n terminals.
func drawCondition(t *rapid.T, n int) authzstore.Condition {
	orders := []authzstore.EntryOrder{authzstore.EntryAny, authzstore.EntrySum}
	if n > 1 {
		orders = append(orders, authzstore.EntryTerminals, authzstore.EntryAscending, authzstore.EntryDescending)
	}
	c := authzstore.Condition{Entry: rapid.SampledFrom(orders).Draw(t, "order")}
	if n > 1 && c.Entry != authzstore.EntrySum {
		c.MinGapNanos = rapid.SampledFrom([]int64{0, 1, second}).Draw(t, "min gap")
		if rapid.Bool().Draw(t, "has a max gap") {
			c.MaxGapNanos = max(1, c.MinGapNanos+rapid.Int64Range(0, minute).Draw(t, "max gap"))
		}
	}
	if rapid.Bool().Draw(t, "has a period") {
		c.WithinNanos = int64(n)*c.MinGapNanos + 1 + rapid.Int64Range(0, 10*minute).Draw(t, "period")
	}
	return c
}

// drawMeeting draws a challenge with a set of entries that meets its condition.
func drawMeeting(t *rapid.T) authzstore.Challenge {
	n := rapid.IntRange(1, authzstore.MaxTerminals).Draw(t, "terminals")
	c := drawCondition(t, n)
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	ranks := rapid.Permutation(all).Draw(t, "ranks")
	order := rapid.Permutation(all).Draw(t, "entered")
	switch c.Entry {
	case authzstore.EntryTerminals:
		order = all
	case authzstore.EntryAscending:
		slices.SortFunc(order, func(a, b int) int { return ranks[a] - ranks[b] })
	case authzstore.EntryDescending:
		slices.SortFunc(order, func(a, b int) int { return ranks[b] - ranks[a] })
	case authzstore.EntrySum:
		order = []int{0}
	}
	// What the period has beside the least gaps is spread over the gaps.
	spare := 60 * minute
	if c.WithinNanos > 0 {
		spare = c.WithinNanos - int64(len(order)-1)*c.MinGapNanos
	}
	var entries []entered
	after := int64(0)
	for i, terminal := range order {
		most := spare
		if i > 0 && c.MaxGapNanos > 0 {
			most = min(spare, c.MaxGapNanos-c.MinGapNanos)
		}
		wait := rapid.OneOf(rapid.Int64Range(0, most), rapid.SampledFrom([]int64{0, most})).Draw(t, fmt.Sprintf("wait %d", i))
		spare -= wait
		after += wait
		if i > 0 {
			after += c.MinGapNanos
		}
		entries = append(entries, entered{terminal, after})
	}
	return judged(c, ranks, entries...)
}

// A perturbation breaks a set that meets its condition, where it can.
type perturbation func(t *rapid.T, ch *authzstore.Challenge) (broken bool)

var perturbations = map[string]perturbation{
	"a wrong code": func(t *rapid.T, ch *authzstore.Challenge) bool {
		e := &ch.Entries[rapid.IntRange(0, len(ch.Entries)-1).Draw(t, "which")]
		e.Terminal, e.Rank = -1, 0
		return true
	},
	"a code twice": func(t *rapid.T, ch *authzstore.Challenge) bool {
		if len(ch.Entries) < 2 {
			return false
		}
		i := rapid.IntRange(1, len(ch.Entries)-1).Draw(t, "which")
		ch.Entries[i].Terminal, ch.Entries[i].Rank = ch.Entries[i-1].Terminal, ch.Entries[i-1].Rank
		return true
	},
	"one missing": func(t *rapid.T, ch *authzstore.Challenge) bool {
		i := rapid.IntRange(0, len(ch.Entries)-1).Draw(t, "which")
		ch.Entries = slices.Delete(ch.Entries, i, i+1)
		return true
	},
	"one more": func(_ *rapid.T, ch *authzstore.Challenge) bool {
		ch.Entries = append(ch.Entries, ch.Entries[len(ch.Entries)-1])
		return true
	},
	"two swapped": func(t *rapid.T, ch *authzstore.Challenge) bool {
		if len(ch.Entries) < 2 || ch.Condition.Entry == authzstore.EntryAny {
			return false
		}
		i := rapid.IntRange(1, len(ch.Entries)-1).Draw(t, "which")
		a, b := &ch.Entries[i-1], &ch.Entries[i]
		a.Terminal, a.Rank, b.Terminal, b.Rank = b.Terminal, b.Rank, a.Terminal, a.Rank
		return true
	},
	"the last one late for the period": func(_ *rapid.T, ch *authzstore.Challenge) bool {
		ch.Entries[len(ch.Entries)-1].ArrivedNanos = ch.IssuedAtNanos + ch.Condition.WithinNanos + 1
		return ch.Condition.WithinNanos > 0
	},
	"one late after the one before": func(t *rapid.T, ch *authzstore.Challenge) bool {
		return shift(t, ch, ch.Condition.MaxGapNanos+1) && ch.Condition.MaxGapNanos > 0
	},
	"one soon after the one before": func(t *rapid.T, ch *authzstore.Challenge) bool {
		return shift(t, ch, ch.Condition.MinGapNanos-1) && ch.Condition.MinGapNanos > 0
	},
}

// shift moves one entry, and all that come after it, to a gap after the one before.
func shift(t *rapid.T, ch *authzstore.Challenge, gap int64) bool {
	if len(ch.Entries) < 2 {
		return false
	}
	i := rapid.IntRange(1, len(ch.Entries)-1).Draw(t, "which")
	by := ch.Entries[i-1].ArrivedNanos + gap - ch.Entries[i].ArrivedNanos
	for ; i < len(ch.Entries); i++ {
		ch.Entries[i].ArrivedNanos += by
	}
	return true
}

// A set that meets its condition passes, and fails once one thing about it is wrong.
func TestJudgeAnySet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ch := drawMeeting(t)
		if !Complete(ch) || !Judge(ch) {
			t.Fatalf("fails: %+v", ch)
		}
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(perturbations))).Draw(t, "perturbation")
		if perturbations[name](t, &ch) && Judge(ch) {
			t.Fatalf("%s: passes: %+v", name, ch)
		}
	})
}
