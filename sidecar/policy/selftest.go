package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// A TestInput is an input for which a test asked the decision.
type TestInput struct {
	Input Value
	Test  string // FILE:LINE of the first that did
}

// TestBounds bound the tests of a bundle, in wall time. Both are needed.
type TestBounds struct{ All, Each time.Duration }

// maxComplaints are told of what may be many.
const maxComplaints = 10

// Test runs the bundle's own tests (test_ rules in files NAME_test.rego) with
// OPA's tester, one after the other. They have the functions that rules have, and
// no others: nothing of a bundle reaches outside. It is an error when one of them
// fails, or all of them take longer than bounds. The inputs are in the order of
// the tests' places.
func Test(ctx context.Context, s *Snapshot, bounds TestBounds) ([]TestInput, error) {
	ctx, cancel := context.WithTimeout(ctx, bounds.All)
	defer cancel()
	rules, tests, err := parseModules(s)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	maps.Copy(rules, tests)
	data, err := readData(s)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	store := inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	defer store.Abort(ctx, txn)
	var watcher inputWatcher
	results, err := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities())).
		SetStore(store).
		SetModules(rules).
		SetParallel(1).
		SetTimeout(bounds.Each).
		CapturePrintOutput(false).
		SetCoverageQueryTracer(&watcher).
		RunTests(ctx, txn)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	var failed []string
	for result := range results {
		if !result.Pass() && !result.Skip {
			failed = append(failed, complaint(result, bounds.Each))
		}
	}
	if ctx.Err() != nil { // the runner leaves out what it has no time for
		return nil, fmt.Errorf("tests: all of them took longer than %v", bounds.All)
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		if n := len(failed) - maxComplaints; n > 0 {
			failed = append(failed[:maxComplaints], fmt.Sprintf("and %d more", n))
		}
		return nil, errors.New("tests: " + strings.Join(failed, "\n"))
	}
	return watcher.inputs(), nil
}

// complaint says which test failed, and which of its cases.
func complaint(r *tester.Result, each time.Duration) string {
	text := fmt.Sprintf("%s:%d: %s ", r.Location.File, r.Location.Row, r.Name)
	switch {
	case topdown.IsCancel(r.Error):
		return text + fmt.Sprintf("took longer than %v", each)
	case r.Error != nil:
		return text + "failed: " + r.Error.Error()
	}
	var cases []string
	for name, sub := range r.SubResults.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			cases = append(cases, fmt.Sprintf("%q", strings.Join(name, " ")))
		}
	}
	if len(cases) == 0 {
		return text + "failed"
	}
	return text + "failed in " + strings.Join(cases[:min(len(cases), maxComplaints)], ", ")
}

// inputWatcher keeps the inputs with which tests enter the entrypoint. Tests run
// one after the other.
type inputWatcher struct {
	test *ast.Location
	seen []seenInput
}

type seenInput struct {
	input *ast.Term
	test  *ast.Location
}

func (*inputWatcher) Enabled() bool               { return true }
func (*inputWatcher) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (w *inputWatcher) TraceEvent(event topdown.Event) {
	rule, ok := event.Node.(*ast.Rule)
	if !ok || event.Op != topdown.EnterOp {
		return
	}
	switch input := event.Input(); {
	case isTest(rule):
		w.test = rule.Loc()
	case input != nil && rule.Ref().Equal(entrypointRef):
		w.seen = append(w.seen, seenInput{input, w.test})
	}
}

// isTest tells whether the tester runs a rule: some name of it, as in
// account.test_frozen, begins with test_.
func isTest(rule *ast.Rule) bool {
	return slices.ContainsFunc(rule.Head.Ref(), func(t *ast.Term) bool {
		switch name := t.Value.(type) {
		case ast.Var:
			return strings.HasPrefix(string(name), tester.TestPrefix)
		case ast.String:
			return strings.HasPrefix(string(name), tester.TestPrefix)
		}
		return false
	})
}

// inputs returns each input once, with the first test that has it.
func (w *inputWatcher) inputs() []TestInput {
	slices.SortStableFunc(w.seen, func(a, b seenInput) int { return a.test.Compare(b.test) })
	var inputs []TestInput
	once := ast.NewSet()
	for _, s := range w.seen {
		if !once.Contains(s.input) {
			once.Add(s.input)
			inputs = append(inputs, TestInput{Value{s.input}, fmt.Sprintf("%s:%d", s.test.File, s.test.Row)})
		}
	}
	return inputs
}
