package policy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// chain writes rules x0 to xN, each made of the one before by a step.
func chain(first, step string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "x0 := %s\n\n", first)
	for i := range n {
		fmt.Fprintf(&b, "x%d := %s\n\n", i+1, strings.ReplaceAll(step, "X", fmt.Sprintf("x%d", i)))
	}
	return b.String()
}

// Policies that make much of little, or give a function more than it can do in
// time. Each would allow once it is done.
var bombs = map[string]string{
	"concat":          chain(`"aaaaaaaaaaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 9) + `decision := D if count(x9) > 1`,
	"concat of one":   `decision := D if { a := concat("", [x | some i in numbers.range(1, 60000); x := "a"]); count(concat(a, ["", "", ""])) > 1 }`,
	"replace":         chain(`"aaaaaaaa"`, `replace(X, "a", "aaaaaaaa")`, 9) + `decision := D if count(x9) > 1`,
	"replace once":    chain(`"aaaaaaaa"`, `replace(X, "a", "aaaaaaaa")`, 4) + `decision := D if count(replace(x4, "a", x4)) > 1`,
	"sprintf":         chain(`"aaaaaaaa"`, `sprintf("%s%s%s%s%s%s%s%s", [X, X, X, X, X, X, X, X])`, 9) + `decision := D if count(x9) > 1`,
	"sprintf index":   chain(`"%[1]s%[1]s%[1]s%[1]s"`, `concat("", [X, X, X, X, X, X, X, X])`, 3) + `decision := D if count(sprintf(x3, [x3])) > 1`,
	"sprintf width":   `decision := D if count(sprintf("` + strings.Repeat("%[1]999999d", 2000) + `", [1])) > 1`,
	"sprintf star":    `decision := D if count(sprintf("` + strings.Repeat("%[1]*[2]d", 2000) + `", [999999, 1])) > 1`,
	"sprintf tree":    chain(`[input.zero]`, `[X, X, X, X]`, 14) + `decision := D if sprintf("%v", [x14]) != ""`,
	"template":        chain(`"aaaaaaaa"`, "$\"{X}{X}{X}{X}{X}{X}{X}{X}\"", 9) + `decision := D if count(x9) > 1`,
	"template tree":   chain(`[input.zero]`, `[X, X, X, X]`, 14) + "decision := D if $\"{x14}\" != \"\"",
	"mul":             chain(`7777777777777777777`, `X * X`, 26) + `decision := D if x26 > 1`,
	"plus":            chain(`9999999999999999999999999999999999999999`, `X + X`, 2) + `decision := D if x2 > 1`,
	"sum":             `decision := D if sum([9999999999999999999999999999999999999999, 9999999999999999999999999999999999999999]) > 1`,
	"array.concat":    chain(`[1, 2, 3, 4, 5, 6, 7, 8]`, `array.concat(X, X)`, 26) + `decision := D if count(x26) > 1`,
	"array.flatten":   chain(`[1, 2, 3, 4, 5, 6, 7, 8]`, `[X, X, X, X, X, X, X, X]`, 9) + `decision := D if count(array.flatten(x9)) > 1`,
	"json.patch":      `decision := D if { a := numbers.range(1, 30000); p := [{"op": "add", "path": "/0", "value": i} | some i in a]; count(json.patch(a, p)) > 1 }`,
	"json.patch tree": chain(`[1]`, `[X, X, X, X]`, 14) + `decision := D if json.patch(x14, [{"op": "add", "path": "/0", "value": input.zero}]) != 1`,
	"sort":            `decision := D if count(sort(numbers.range(1, 100000))) > 1`,
	"union_n":         `decision := D if { o := [{format_int(i, 10): i} | some i in numbers.range(1, 3000)]; count(object.union_n(o)) > 1 }`,
	"object.subset":   `decision := D if { a := [1 | some _ in numbers.range(1, 20000)]; b := [1 | some i in numbers.range(1, 20000); i < 10000]; object.subset(a, array.concat(b, [2])) == false }`,
	"split":           chain(`"aaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 7) + `decision := D if count(split(x7, "")) > 1`,
	"upper":           chain(`"\u0149\u0149\u0149\u0149"`, `concat("", [upper(X), lower(X), X, X, X, X, X, X])`, 8) + `decision := D if count(x8) > 1`,
	"indexof":         chain(`"éééééééé"`, `concat("", [X, X, X, X, X, X, X, X])`, 4) + `decision := D if indexof(x4, concat("", [x3, "b"])) < 1`,
	"trim":            chain(`"éééééééé"`, `concat("", [X, X, X, X, X, X, X, X])`, 4) + `decision := D if trim(x4, concat("", [x3, "b"])) == ""`,
	"regex text":      chain(`"aaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 4) + `decision := D if not regex.match("(a?){100}(a?){100}b", x4)`,
	"regex size":      `decision := D if not regex.match("((a{1,10}){1,10}){1,10}$", "b")`,
	"regex pattern":   chain(`"(a|b)*ccc"`, `concat("", [X, X, X, X, X, X, X, X])`, 3) + `decision := D if not regex.match(x3, "b")`,
	"regex often":     chain(`"aaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 2) + `decision := D if { some i in numbers.range(1, 100000); regex.match("(a?){100}b", concat("", [x2, format_int(i, 10)])) } else := D`,
	"set of sets":     `decision := D if { s := {numbers.range(1, i) | some i in numbers.range(1, 2000)}; count(union({s, {1}})) > 1 }`,
	"time layout":     `decision := D if time.format([1, "UTC", "` + strings.Repeat("2006", 1000) + `"]) != ""`,
}

// Every bomb ends as a defect or a timeout, soon after the budget, in little
// memory, and is not counted as stuck.
func TestBombs(t *testing.T) {
	const budget = 50 * time.Millisecond
	for name, rules := range bombs {
		t.Run(name, func(t *testing.T) {
			p := load(t, module(strings.ReplaceAll(rules, "= D", "= "+allowDecision)),
				Config{Budget: budget, Concurrent: 1, Stuck: func() { t.Error("counted as stuck") }})
			var before, after runtime.MemStats
			took, err := time.Hour, error(nil)
			for range 3 { // the machine may be busy with something else, once
				runtime.ReadMemStats(&before)
				start := time.Now()
				var d Decision
				d, err = p.Decide(context.Background(), value(t, `{"zero": 0}`))
				took = min(took, time.Since(start))
				runtime.ReadMemStats(&after)
				if d.Allow || !errors.Is(err, ErrDefect) && !errors.Is(err, ErrTimeout) {
					t.Errorf("allow %v, error %v", d.Allow, err)
				}
			}
			late := budget
			if raceEnabled {
				late *= 10 // the race detector makes an evaluation ten times slower
			}
			if took > budget+late {
				t.Errorf("took %v with a budget of %v: %v", took, budget, err)
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 256<<20 {
				t.Errorf("made %d MiB of memory", made>>20)
			}
		})
	}
}

// Within the bounds, functions answer as OPA's own do.
func TestBoundsChangeNoAnswer(t *testing.T) {
	const rules = `x := [
	concat(", ", ["a", "b", input.text]), concat("", {"a", "b"}), contains("abc", "b"), startswith("abc", "a"), endswith("abc", "c"),
	format_int(255, 16), indexof("aé", "é"), lower("AÉ"), upper("aé"), replace(input.text, "a", "bb"), replace("abc", "", "x"),
	regex.match("^[a-z]{1,3}$", "abc"), regex.match("\\pL+", "é"), split("a,b", ","), sprintf("%s %5d %.2f %v %q %%", [input.text, 7, 1.5, [1, {"a": {2}}], "x"]),
	sprintf("%d of %d", [3, 4]), strings.any_prefix_match("abc", ["b", "a"]), strings.any_suffix_match("abc", {"c"}), strings.count("aaa", "a"),
	substring("abc", 1, -1), trim("  a ", " "), trim_left("xxa", "x"), trim_right("axx", "x"), trim_prefix("ab", "a"), trim_suffix("ab", "b"),
	trim_space(" a "), $"{input.text} has {input.n}", array.concat([1], [2]), array.flatten([[1], [2, [3]]]), array.reverse([1, 2]), array.slice([1, 2, 3], 1, 2),
	json.filter(input, ["text"]), json.patch(input, [{"op": "replace", "path": "/n", "value": 5}]), json.remove(input, ["n"]),
	object.filter(input, ["n"]), object.keys(input), object.remove(input, ["n"]), object.subset(input, {"n": 4}), object.union({"a": 1}, {"b": 2}),
	object.union_n([{"a": 1}, {"a": 2}]), sort([3, 1, 2]), {1, 2} & {2}, {1} | {2}, {1, 2} - {2}, intersection({{1, 2}, {2}}), union({{1}, {2}}),
	1 / 3, 7 % 4, 2 * 3.5, 1e15 + 1, abs(-1), ceil(1.2), floor(1.7), round(1.5), sum([1, 2.5]), max([1, 2]), min({1, 2}),
	time.add_date(input.now, 0, 1, 0), time.clock([input.now, "UTC"]), time.date(input.now), time.diff(input.now, [0, ""]), time.format([input.now, "UTC", "RFC3339"]),
	time.weekday(input.now), time.parse_duration_ns("1h"), time.parse_rfc3339_ns("2026-11-24T00:00:00Z"),
	[y | some y in [1, 2]; y + 1 == 3], f(3), [z | some z in [1]; every v in [1, 2] { v * 2 < 5 }], x1,
]

x1 := concat("-", ["a", g("+", ["b"])])

g(a, b) := concat(a, array.concat(b, b))

f(a) := a + 1 if a < 1

else := a * a if a > 1
`
	const document = `{"text": "banana", "n": 4, "now": 1795532400000000000}`
	s, err := Read(module(rules + "\n\ndecision := x"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := newTopdownEngine(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	input := value(t, document)
	ours, err := engine.eval(context.Background(), input, longBudget, func() {})
	if err != nil {
		t.Fatal(err)
	}
	results, err := rego.New(rego.Module("decision.rego", string(s.files["decision.rego"])), rego.ParsedInput(input.term.Value),
		rego.Query(entrypoint), rego.StrictBuiltinErrors(true)).Eval(context.Background())
	if err != nil || len(results) != 1 {
		t.Fatalf("%v, %v", results, err)
	}
	theirs := ast.MustInterfaceToValue(results[0].Expressions[0].Value)
	plain, err := ast.JSON(ours.term.Value)
	if err != nil {
		t.Fatal(err)
	}
	if got := ast.MustInterfaceToValue(plain); got.Compare(theirs) != 0 {
		t.Errorf("ours:   %v\ntheirs: %v", got, theirs)
	}
	used := map[string]bool{}
	ast.WalkTerms(engine.compiler.Modules["decision.rego"], func(term *ast.Term) bool {
		if ref, ok := term.Value.(ast.Ref); ok {
			name := ref.String()
			used[strings.TrimPrefix(name, boundedPrefix)] = true
			if _, ok := bounded[name]; ok {
				t.Errorf("%v: %s without bounds", term.Location, name)
			}
		}
		return false
	})
	for name := range bounded {
		if !used[name] && name != "set_diff" { // which is minus
			t.Errorf("%s was not tried", name)
		}
	}
}

// Functions with bounds are functions that a policy may call.
func TestBoundedIsOnTheList(t *testing.T) {
	for name := range bounded {
		if !slices.Contains(builtins, name) {
			t.Errorf("%s", name)
		}
	}
	wantLoadError(t, module("decision := d if d := x with concat as f\n\nx := concat(\"\", [])\n\nf(a, b) := [a, b]"), "decision.rego:3: `with` exchanges")
	wantLoadError(t, module("decision := d if d := x with f as concat\n\nx := f(\"\", [])\n\nf(a, b) := [a, b]"), "decision.rego:3: `with` exchanges")
	wantLoadError(t, module("decision := bounded.concat(\"\", [])"), "undefined function bounded.concat")
}

// A zone's rules are the host's: only UTC is read.
func TestZones(t *testing.T) {
	for _, zone := range []string{"Local", "Europe/Berlin", "utc", "UTC ", "../../etc/passwd"} {
		for _, call := range []string{"time.clock(T)", "time.date(T)", "time.weekday(T)", "time.diff(0, T)", "time.diff(T, 0)", "time.format(T)"} {
			call = strings.ReplaceAll(call, "T", fmt.Sprintf("[0, %q]", zone))
			p := load(t, module("decision := "+allowDecision+" if not is_null("+call+")"), Config{Budget: longBudget})
			wantClosed(t, p, value(t, "{}"), ErrDefect)
		}
	}
}

// What an error says is for the log, where the values of a call must not be.
func TestErrorsQuoteNothing(t *testing.T) {
	const secret = "mer_4021887630"
	for _, c := range []struct{ rules, says string }{
		{`decision := D if not time.parse_rfc3339_ns(input.payee)`, "decision.rego:3: eval_builtin_error"},
		{`decision := D if not time.parse_duration_ns(input.payee)`, "eval_builtin_error"},
		{`decision := D if not time.clock([0, input.payee])`, "a time zone that is not UTC"},
		{`decision := D if not regex.match(concat("", ["(", input.payee]), "a")`, "eval_builtin_error"},
		{`decision := D if not input.any + 1 == 2`, "eval_type_error"},
		{`decision := D if test.panic(input.payee)`, "panicked with a string"},
		{"x[\"a\"] := v if some v in [1, input.payee]\n\ndecision := D if x.a", "eval_conflict_error"},
		{`decision := {"allow": false, "reasons": [{"code": input.payee, "message": "x"}], "public_reasons": [{"code": input.payee, "message": "x"}], "effects": []} if input.payee`, "code is not"},
		{`decision := {"allow": false, "reasons": [{"code": 1, "message": input.payee}], "public_reasons": [{"code": 1, "message": input.payee}], "effects": []}`, "code of reason is not"},
		{`decision := {"allow": true, "reasons": [{"code": lower(input.code), "message": "x"}], "public_reasons": [{"code": lower(input.code), "message": "x"}], "effects": []}`, "contradicts 2 reasons"},
		{`decision := {"allow": false, "reasons": [{"code": lower(input.code), "message": ""}], "public_reasons": [{"code": lower(input.code), "message": ""}], "effects": []}`, "message of reason is not"},
		{`decision := {"allow": true, "reasons": [], "public_reasons": [], "effects": [], input.payee: 1}`, "1 members that are not read"},
		{`decision := input.payee`, "not an object"},
	} {
		t.Run(c.rules, func(t *testing.T) {
			p := load(t, module(strings.ReplaceAll(c.rules, "= D", "= "+allowDecision)), Config{Budget: longBudget})
			_, err := p.Decide(context.Background(), value(t, fmt.Sprintf(`{"payee": %q, "any": %q, "code": %q}`, strings.Replace(secret, "mer_", "MER-", 1), secret, secret)))
			if !errors.Is(err, ErrDefect) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v does not say %q", err, c.says)
			}
			if strings.Contains(err.Error(), secret[4:]) {
				t.Errorf("it quotes the call: %v", err)
			}
		})
	}
}

// Each bound says which it is.
func TestBoundsSay(t *testing.T) {
	for rules, says := range map[string]string{
		chain(`"aaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 4) + `decision := D if not regex.match("(a?){40}b", x4)`:                                           "instructions on a text of 32768 bytes",
		chain(`"aaaaaaaa"`, `concat("", [X, X, X, X, X, X, X, X])`, 4) + `decision := D if count([i | some i in numbers.range(1, 5000); startswith(x4, "a")]) == 5000`: "more work in built-in functions",
	} {
		p := load(t, module(strings.ReplaceAll(rules, "= D", "= "+allowDecision)), Config{Budget: longBudget})
		if _, err := p.Decide(context.Background(), value(t, "{}")); !errors.Is(err, ErrDefect) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}
