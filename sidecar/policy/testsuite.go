package policy

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
)

// A testSuite is the compiled rules and tests of a bundle. OPA's tester compiles
// them, but does not run them: to know the cases of a test, it has the evaluator
// trace every step with all its variables, for more than half of the time (measured
// with OPA 1.22). Here two functions tell what is to be known, and nothing traces.
type testSuite struct {
	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction
	rules    []testRule // in the order of their places
}

// A testRule is one test.
type testRule struct {
	rule *ast.Rule
	ref  ast.Ref // of its value
	name string  // of that in its package
}

func (t testRule) place() string {
	return fmt.Sprintf("%s:%d", t.rule.Loc().File, t.rule.Loc().Row)
}

// A testResult is what came of one test.
type testResult struct {
	passed bool
	err    error       // errTimeout, or one of the evaluation
	cases  []string    // those that failed, quoted and in order
	asked  []*ast.Term // the inputs with which it entered the entrypoint
}

const (
	// askedName is a function that the entrypoint calls with its input.
	askedName = "internal.asked"
	// caseName is in the place of OPA's internal.test_case. A test of several cases
	// calls it with the names of a case, an array, before it looks at the case.
	caseName = "internal.asked_case"
)

// newTestSuite compiles. Where there is no error, it must be closed.
func newTestSuite(ctx context.Context, s *Snapshot) (*testSuite, error) {
	modules, tests, err := parseModules(s)
	if err != nil {
		return nil, err
	}
	maps.Copy(modules, tests)
	for _, module := range modules {
		for _, rule := range module.Rules {
			if rule.Ref().Equal(entrypointRef) {
				tellInput(rule)
			}
		}
	}
	data, err := readData(s)
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	suite := &testSuite{store: store, txn: txn}
	if err := suite.compile(ctx, modules); err != nil {
		suite.close(ctx)
		return nil, err
	}
	return suite, nil
}

func (s *testSuite) close(ctx context.Context) { s.store.Abort(ctx, s.txn) }

// tellInput has a rule begin with a call of askedName. Whatever comes of the call,
// and also where there is no input, the rule goes on.
func tellInput(rule *ast.Rule) {
	for ; rule != nil; rule = rule.Else {
		body := ast.MustParseBody("[true | " + askedName + "(input)]")
		for _, expr := range rule.Body {
			body.Append(expr)
		}
		rule.Body = body
	}
}

// compile has the tester compile: it gives tests of one name names of their own,
// and has tests tell their cases.
func (s *testSuite) compile(ctx context.Context, modules map[string]*ast.Module) error {
	known := capabilities()
	known.Builtins = append(known.Builtins, &ast.Builtin{Name: askedName, Decl: types.NewFunction(types.Args(types.A), types.B)})
	s.compiler = ast.NewCompiler().WithCapabilities(known)
	none, err := tester.NewRunner().
		SetCompiler(s.compiler).
		SetStore(s.store).
		SetModules(modules).
		Filter("^$"). // no test has such a name
		RunTests(ctx, s.txn)
	if err != nil {
		return err
	}
	for range none {
	}
	for _, module := range s.compiler.Modules {
		for _, rule := range module.Rules {
			if n := testName(rule); n > 0 {
				ref := rule.Head.Ref()[:n]
				s.rules = append(s.rules, testRule{rule, module.Package.Path.Extend(ref), ref.String()})
				tellCases(rule)
			}
		}
	}
	slices.SortFunc(s.rules, func(a, b testRule) int { return a.rule.Loc().Compare(b.rule.Loc()) })
	return nil
}

// testName returns how many parts of a rule's name are the name of a test, as both
// parts of account.test_frozen: up to the first that begins with test_. Zero is for
// what is no test, or one that the tester leaves out.
func testName(rule *ast.Rule) int {
	for i, term := range rule.Head.Ref().GroundPrefix() {
		var name string
		switch part := term.Value.(type) {
		case ast.Var:
			name = string(part)
		case ast.String:
			name = string(part)
		}
		switch {
		case strings.HasPrefix(name, tester.TestPrefix):
			return i + 1
		case strings.HasPrefix(name, tester.SkipTestPrefix):
			return 0
		}
	}
	return 0
}

func tellCases(rule *ast.Rule) {
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		if expr.IsCall() && expr.Operator().Equal(ast.Interned.Refs.InternalTestCase) {
			terms := expr.Terms.([]*ast.Term)
			terms[0] = ast.NewTerm(ast.Ref{ast.VarTerm(caseName)}).SetLocation(terms[0].Location)
		}
		return false
	})
}

// run evaluates one test, for no longer than each.
func (s *testSuite) run(ctx context.Context, t testRule, each time.Duration) (r testResult) {
	defer func() {
		if p := recover(); p != nil {
			r = testResult{err: fmt.Errorf("it panics: %v\n%s", p, debug.Stack())}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	const result = "result"
	query, err := s.compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(t.ref), ast.VarTerm(result))))
	if err != nil {
		return testResult{err: err}
	}
	stop := topdown.NewCancel()
	defer context.AfterFunc(ctx, stop.Cancel)()
	var value *ast.Term // nil where it is undefined
	var cases []*ast.Term
	err = topdown.NewQuery(query).
		WithCompiler(s.compiler).
		WithStore(s.store).
		WithTransaction(s.txn).
		WithCancel(stop).
		WithBuiltins(map[string]*topdown.Builtin{askedName: collector(askedName, &r.asked), caseName: collector(caseName, &cases)}).
		Iter(ctx, func(bindings topdown.QueryResult) error {
			value = bindings[result]
			return nil
		})
	switch {
	case topdown.IsCancel(err):
		r.err = errTimeout
	case err != nil:
		r.err = err
	case value != nil && t.rule.Head.DocKind() == ast.PartialObjectDoc:
		r.cases = failedCases(value, cases)
		r.passed = len(r.cases) == 0
	default:
		r.passed = isTrue(value)
	}
	return r
}

// collector is a function that keeps its one operand in all.
func collector(name string, all *[]*ast.Term) *topdown.Builtin {
	return &topdown.Builtin{
		Decl: &ast.Builtin{Name: name, Decl: types.NewFunction(types.Args(types.A), types.B)},
		Func: func(_ topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
			*all = append(*all, args[0])
			return yield(ast.BooleanTerm(true))
		},
	}
}

func isTrue(value *ast.Term) bool { return value != nil && ast.Boolean(true).Equal(value.Value) }

// failedCases returns the names of those whose value is there and not true, and of
// those that the test began and that have no value.
func failedCases(value *ast.Term, begun []*ast.Term) []string {
	var failed []string
	add := func(names []*ast.Term) {
		var all []string
		for _, name := range names {
			if text, is := name.Value.(ast.String); is {
				all = append(all, string(text))
			} else {
				all = append(all, name.String())
			}
		}
		failed = append(failed, fmt.Sprintf("%q", strings.Join(all, " ")))
	}
	var visit func(value *ast.Term, names []*ast.Term)
	visit = func(value *ast.Term, names []*ast.Term) {
		if cases, is := value.Value.(ast.Object); is {
			cases.Foreach(func(name, value *ast.Term) { visit(value, append(slices.Clone(names), name)) })
		} else if !isTrue(value) {
			add(names)
		}
	}
	visit(value, nil)
	for _, term := range begun {
		names, found := []*ast.Term(nil), value
		term.Value.(*ast.Array).Foreach(func(name *ast.Term) {
			names, found = append(names, name), member(found, name)
		})
		if found == nil {
			add(names)
		}
	}
	slices.Sort(failed)
	return slices.Compact(failed)
}

// member is nil where there is none.
func member(value, name *ast.Term) *ast.Term {
	if value == nil {
		return nil
	}
	if object, is := value.Value.(ast.Object); is {
		return object.Get(name)
	}
	return nil
}
