package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
)

// loop never ends.
const loop = `some a in numbers.range(1, 1000)
	some b in numbers.range(1, 1000)
	some c in numbers.range(1, 1000)
	some d in numbers.range(1, 1000)
	((a + b) + c) + d == 0`

// blocked is what test.block waits for, by the name it is called with. It stands
// for a built-in that cannot be cancelled.
var blocked sync.Map // of chan struct{}

// block returns the input on which test.block waits, entered and until released.
func block(t *testing.T) (input Value, entered <-chan struct{}, release func()) {
	t.Helper()
	gate := [2]chan struct{}{make(chan struct{}, 1), make(chan struct{})}
	blocked.Store(t.Name(), gate)
	release = sync.OnceFunc(func() { close(gate[1]) })
	t.Cleanup(release)
	return Object(Member{NewKey("gate"), String(t.Name())}), gate[0], release
}

// Two functions that no OPA has, for the tests of this package alone.
func init() {
	function := types.NewFunction(types.Args(types.A), types.B)
	ast.RegisterBuiltin(&ast.Builtin{Name: "test.panic", Decl: function})
	topdown.RegisterBuiltinFunc("test.panic", func(_ topdown.BuiltinContext, args []*ast.Term, _ func(*ast.Term) error) error {
		panic(fmt.Sprint("test.panic was called with ", args))
	})
	ast.RegisterBuiltin(&ast.Builtin{Name: "test.block", Decl: function})
	topdown.RegisterBuiltinFunc("test.block", func(_ topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
		name := args[0].Value.(ast.String)
		if gate, ok := blocked.Load(string(name)); ok {
			gate := gate.([2]chan struct{})
			gate[0] <- struct{}{}
			<-gate[1]
		}
		return yield(ast.BooleanTerm(true))
	})
	builtins = append(builtins, "test.panic", "test.block")
}

// Policies that fail while they are evaluated. Each would allow if it did not.
func TestDefects(t *testing.T) {
	for _, c := range []struct{ name, rules string }{
		{"error of a built-in", `decision := D if not time.parse_rfc3339_ns("yesterday")`},
		{"division by zero", `decision := D if not 1 / input.zero > 1`},
		{"error of a built-in behind a default", "default ok := true\n\nok := false if input.zero % 0 == 1\n\ndecision := D if ok"},
		{"wrong type for a built-in", `decision := D if not startswith(input.zero, "a")`},
		{"wrong number for a built-in", `decision := D if not format_int(1, input.zero) == "1"`},
		{"two values of the decision", "decision := D if input.zero == 0\n\ndecision := E if input.zero < 1"},
		{"two values of a rule", "x := 1 if input.zero == 0\n\nx := 2 if input.zero < 1\n\ndecision := D if not x == 3"},
		{"two values of a function", "f(a) := 1 if a == 0\n\nf(a) := 2 if a < 1\n\ndecision := D if not f(input.zero) == 3"},
		{"two values of a key", "x[\"a\"] := v if some v in [1, 2]\n\ndecision := D if not x.a == 3"},
		{"panic inside OPA", `decision := D if test.panic(1)`},
		{"undefined", `decision := D if input.nothing`},
		{"undefined by a comparison", `decision := D if input.zero > input.nothing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := strings.NewReplacer("= D", "= "+allowDecision, "= E", "= "+denyDecision).Replace(c.rules)
			p := load(t, module(rules), Config{Budget: longBudget, Concurrent: 1})
			for range 3 { // the slot is given back each time
				wantClosed(t, p, value(t, `{"zero": 0}`), ErrDefect)
			}
		})
	}
}

// Policies that would never end are stopped, and give their slot back.
func TestEndless(t *testing.T) {
	for name, rules := range map[string]string{
		"comprehension":  "decision := " + allowDecision + " if count([1 |\n\t" + loop + "\n]) == 0",
		"rule body":      "decision := " + allowDecision + " if {\n\t" + loop + "\n}",
		"negation":       "decision := " + allowDecision + " if not never\n\nnever if {\n\t" + loop + "\n}",
		"behind an else": "decision := " + denyDecision + " if {\n\t" + loop + "\n} else := " + allowDecision,
		"long range":     "decision := " + allowDecision + " if count(numbers.range(1, 1000000000000)) == 0",
		"large concatenation": "decision := " + allowDecision + " if {\n\t" + strings.Replace(loop, "((a + b) + c) + d == 0",
			`concat("", [format_int(a, 2), format_int(b, 2), format_int(c, 2), format_int(d, 2)]) == "x"`, 1) + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, module(rules), Config{Budget: 20 * time.Millisecond, Concurrent: 1, Stuck: func() { t.Error("counted as stuck") }})
			for range 2 {
				wantClosed(t, p, value(t, "{}"), ErrTimeout)
			}
		})
	}
}

// The caller's deadline ends an evaluation before its budget does.
func TestDeadline(t *testing.T) {
	p := load(t, module("decision := "+allowDecision+" if {\n\t"+loop+"\n}"), Config{Budget: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Decide(ctx, value(t, "{}")); !errors.Is(err, ErrTimeout) {
		t.Errorf("error %v, want %v", err, ErrTimeout)
	}
}

// An evaluation that cannot be stopped is reported once. What it says in the end
// is not taken for an answer.
func TestStuck(t *testing.T) {
	calls := make(chan struct{}, 10)
	p := load(t, module("decision := "+allowDecision+" if test.block(input.gate)"),
		Config{Budget: 10 * time.Millisecond, Stuck: func() { calls <- struct{}{} }})
	input, _, release := block(t)
	answered := make(chan error, 1)
	go func() {
		_, err := p.Decide(context.Background(), input)
		answered <- err
	}()
	<-calls
	select {
	case err := <-answered:
		t.Errorf("answered while it was stuck: %v", err)
	default:
	}
	release()
	if err := <-answered; !errors.Is(err, ErrTimeout) {
		t.Errorf("after its budget it answered with error %v, want %v", err, ErrTimeout)
	}
	if len(calls) != 0 {
		t.Errorf("Stuck was called %d times more", len(calls))
	}
}

// While every slot is taken, a call waits for its turn and no longer than its
// deadline; then it is not evaluated at all.
func TestConcurrentBound(t *testing.T) {
	p := load(t, module("decision := "+allowDecision+" if test.block(input.gate)"), Config{Budget: longBudget, Concurrent: 1})
	input, entered, release := block(t)
	answered := make(chan error, 1)
	go func() {
		_, err := p.Decide(context.Background(), input)
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Decide(ctx, value(t, `{"gate": "open"}`))
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "no turn before the caller's deadline") {
		t.Errorf("error %v, want no turn before the deadline", err)
	}
	p.wait = time.Millisecond
	_, err = p.Decide(context.Background(), value(t, `{"gate": "open"}`))
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "no turn within 1ms") {
		t.Errorf("error %v, want no turn within the wait", err)
	}
	release()
	if err := <-answered; err != nil {
		t.Errorf("the evaluation that held the slot: %v", err)
	}
	if d, err := p.Decide(context.Background(), value(t, `{"gate": "open"}`)); err != nil || !d.Allow {
		t.Errorf("after the slot was free: allow %v, %v", d.Allow, err)
	}
}

// Inputs that make a policy loop, fail or panic do no harm to the others that
// are decided at the same time.
func TestOthersUnaffected(t *testing.T) {
	rules := "decision := " + allowDecision + " if input.kind == \"good\"\n\n" +
		"decision := " + denyDecision + " if input.kind == \"bad\"\n\n" +
		"decision := " + allowDecision + " if {\n\tinput.kind == \"loop\"\n\t" + loop + "\n}\n\n" +
		"decision := " + allowDecision + " if {\n\tinput.kind == \"panic\"\n\ttest.panic(1)\n}\n\n" +
		"decision := " + allowDecision + " if {\n\tinput.kind == \"error\"\n\tnot 1 / input.zero > 1\n}"
	p := load(t, module(rules), Config{Budget: 500 * time.Millisecond, Concurrent: 2})
	want := map[string]error{"loop": ErrTimeout, "panic": ErrDefect, "error": ErrDefect}
	var wg sync.WaitGroup
	for i, kind := range slices.Concat([]string{"loop"}, slices.Repeat([]string{"good", "bad", "panic", "error", "good"}, 40)) {
		input := value(t, fmt.Sprintf(`{"kind": %q, "zero": 0}`, kind))
		wg.Go(func() {
			d, err := p.Decide(context.Background(), input)
			if !errors.Is(err, want[kind]) || d.Allow != (kind == "good") {
				t.Errorf("call %d, %s: allow %v, error %v", i, kind, d.Allow, err)
			}
		})
	}
	wg.Wait()
}
