package decide_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// observed is what is seen of the last call, without its times, and which stages
// took any.
type observed struct {
	last   decide.Observation
	stages []string
}

func (o *observed) observe(seen *decide.Observation) {
	o.last, o.stages = *seen, nil
	o.last.Took = [decide.Stages]time.Duration{}
	for stage, took := range seen.Took {
		if took > 0 {
			o.stages = append(o.stages, decide.Stage(stage).String())
		}
	}
}

// What is seen of a call, by what became of it.
func TestObserve(t *testing.T) {
	allow := decide.Observation{System: "direct_payment", Operation: "pay", Outcome: decide.Allow}
	bent := func(bend func(*decide.Observation)) decide.Observation {
		o := allow
		bend(&o)
		return o
	}
	unavailable := func(code string, cause decide.Cause) decide.Observation {
		return bent(func(o *decide.Observation) {
			o.Outcome, o.Status, o.Code, o.Cause = decide.Unavailable, 503, code, cause
		})
	}
	defect := func(code string, cause decide.Cause) decide.Observation {
		return bent(func(o *decide.Observation) { o.Outcome, o.Status, o.Code, o.Cause = decide.Defect, 500, code, cause })
	}
	unread := func(o decide.Observation) decide.Observation {
		o.System, o.Operation = "", ""
		return o
	}
	updating := func(err error) func(*decide.Config) {
		return withFake(t, fakeKV{update: func(context.Context, []kv.Ref, func(kv.Tx) error) error { return err }})
	}
	untouched := func(*decide.Config) {}
	rule := func(rule string) func(*decide.Config) { return withRule(t, rule, policy.Config{Budget: time.Minute}) }
	all := []string{"decode", "locks", "evaluate", "commit", "total"}
	for name, c := range map[string]struct {
		config func(*decide.Config)
		req    call.Request
		want   decide.Observation
		stages []string
	}{
		"allowed": {untouched, good(), allow, all},
		"denied": {untouched, payment(strings.Replace(goodBody, "EUR", "USD", 1)), bent(func(o *decide.Observation) {
			o.Outcome, o.Status, o.Code = decide.Deny, 403, "currency_not_account"
		}), all},
		"refused":          {untouched, payment("{"), decide.Observation{Outcome: decide.Deny, Status: 400, Code: "body_syntax"}, []string{"decode", "total"}},
		"the policy fails": {rule(`{"allow": "yes"}`), good(), defect("policy_defect", decide.CausePolicy), all},
		"the policy contradicts the call": {rule(`{"allow": true, "reasons": [], "public_reasons": [], "effects": []}`), good(),
			defect("policy_defect", decide.CauseContradiction), all},
		"a panic":                          {withBundle(func(b *bundle.Bundle) { b.Policy = nil }), good(), defect("internal_error", decide.CausePanic), all},
		"a panic before anything is known": {withRoutes(nil), good(), unread(defect("internal_error", decide.CausePanic)), []string{"total"}},
		"the clock": {func(cfg *decide.Config) { cfg.Now = func() (time.Time, error) { return noon, errors.New("jumped") } }, good(),
			unread(unavailable("clock_jumped", decide.CauseClock)), []string{"total"}},
		"the store":              {updating(errors.New("broken")), good(), unavailable("store_unavailable", decide.CauseStore), []string{"decode", "total"}},
		"the store is busy":      {updating(kv.ErrOverloaded), good(), unavailable("overloaded", decide.CauseStoreBusy), []string{"decode", "total"}},
		"the outcome is unknown": {updating(kv.ErrUnknown), good(), unavailable("outcome_unknown", decide.CauseUnknown), []string{"decode", "total"}},
		"the caller is gone":     {updating(context.Canceled), good(), unavailable("decision_timeout", decide.CauseTimeout), []string{"decode", "total"}},
		"the locks": {withFake(t, fakeKV{update: func(ctx context.Context, _ []kv.Ref, _ func(kv.Tx) error) error {
			<-ctx.Done()
			return ctx.Err()
		}}), good(), unavailable("overloaded", decide.CauseLocks), []string{"decode", "total"}},
	} {
		t.Run(name, func(t *testing.T) {
			var o observed
			w := newWorld(t, c.config, func(cfg *decide.Config) { cfg.Observe = o.observe })
			w.Decide(t.Context(), c.req)
			if !reflect.DeepEqual(o.last, c.want) {
				t.Errorf("seen   %+v\nwanted %+v", o.last, c.want)
			}
			if !slices.Equal(o.stages, c.stages) {
				t.Errorf("stages %v, want %v", o.stages, c.stages)
			}
		})
	}
}

// Calls that are turned away at once are seen too, each with its cause.
func TestObserveTurnedAway(t *testing.T) {
	var o observed
	w := newWorld(t, func(cfg *decide.Config) { cfg.Observe = o.observe })
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	w.Decide(late, good())
	if o.last.Cause != decide.CauseLate {
		t.Errorf("too late: seen %+v", o.last)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	for _, c := range []struct {
		places int
		cause  decide.Cause
	}{{1, decide.CauseFull}, {2, decide.CauseIdentity}} {
		var o observed
		w := newWorld(t, withFake(t, fakeKV{view: func(context.Context, func(kv.Snap) error) error {
			entered <- struct{}{}
			<-release
			return errors.New("given up")
		}}), func(cfg *decide.Config) { cfg.Observe, cfg.MaxInFlight = o.observe, c.places })
		ended := make(chan struct{})
		go func() {
			w.Decide(t.Context(), good())
			close(ended)
		}()
		<-entered
		if n := w.InFlight(); n != 1 {
			t.Errorf("%d in flight, want 1", n)
		}
		w.Decide(t.Context(), good())
		if o.last.Cause != c.cause {
			t.Errorf("%d places: seen %+v, want %s", c.places, o.last, c.cause)
		}
		release <- struct{}{}
		<-ended
		if n := w.InFlight(); n != 0 {
			t.Errorf("%d in flight, want none", n)
		}
	}
}

// The course of a call that was asked before.
func TestObserveCourses(t *testing.T) {
	var o observed
	w := newWorld(t, func(cfg *decide.Config) { cfg.Observe = o.observe })
	next := func(name string, want decide.Course, req call.Request) {
		t.Helper()
		w.Decide(t.Context(), req)
		if o.last.Course != want {
			t.Errorf("%s: course %q, want %q", name, o.last.Course, want)
		}
	}
	asked := good()
	asked.CheckID = "10.0.0.1:4711/1"
	next("the first", "", asked)
	next("Envoy asks again", decide.CourseAskedAgain, asked)
	asked.CheckID = ""
	next("the same call", decide.CourseForwarded, asked)
	other := payment(strings.Replace(goodBody, "1250", "1251", 1))
	other.Headers = asked.Headers
	next("another call", decide.CourseOtherCall, other)
	frozen := anna()
	frozen.State = authzstore.AccountFrozen
	putAccount(t, w.backend, frozen)
	next("its account is frozen", decide.CourseConflict, asked)
	denied := good()
	next("a denial", "", denied)
	next("the same denial", decide.CourseToldAgain, denied)

	w = newWorld(t, withRule(t, `{"allow": "yes"}`, policy.Config{Budget: time.Minute}), func(cfg *decide.Config) { cfg.Observe = o.observe })
	failed := good()
	next("a defect", "", failed)
	next("the same call", decide.CourseEvaluated, failed)
}

// matches is evidence of one right secret.
type matches struct{}

func (matches) Lead(authzstore.Reader, call.Call, string) (string, error) { return "", nil }

func (matches) Refs(evidence.About, string) []kv.Ref {
	return []kv.Ref{authzstore.UseRef("tst_right"), authzstore.AttemptsRef("tst_right")}
}

func (matches) Check(_ *authzstore.Tx, _ evidence.About, secret string) (evidence.Finding, error) {
	return evidence.Finding{Matched: secret == "right", Thing: "tst_right", Budgets: []evidence.Budget{{Name: "tst_right", Allowance: authzstore.Allowance{Max: 3}}}}, nil
}

// Evidence is seen where the decision that spent it was kept, and only there.
func TestObserveEvidence(t *testing.T) {
	table, err := call.Load(fstest.MapFS{"systems/direct_payment/routes.yaml": {Data: []byte(strings.Replace(routesText(t),
		"  facts:", "    code: {json: /code, secret: true, evidence: test_code, optional: true}\n  facts:", 1))}},
		call.Vocabulary{Evidence: []string{"test_code"}})
	if err != nil {
		t.Fatal(err)
	}
	var o observed
	w := newWorld(t, withRoutes(table), withRule(t, `{"allow": false, "reasons": [], "public_reasons": [], "effects": []}`, policy.Config{Budget: time.Minute}),
		func(cfg *decide.Config) {
			cfg.Observe, cfg.Evidence = o.observe, map[string]evidence.Kind{"test_code": matches{}}
		})
	shows := func(code string) call.Request {
		return payment(strings.Replace(goodBody, "{", `{"code": "`+code+`", `, 1))
	}
	right := shows("right")
	for _, c := range []struct {
		name string
		req  call.Request
		want []decide.EvidenceRecord
	}{
		{"wrong", shows("wrong"), []decide.EvidenceRecord{{Field: "code", Kind: "test_code", Budgets: []string{"tst_right"}}}},
		{"right", right, []decide.EvidenceRecord{{Field: "code", Kind: "test_code", Matched: true, Budgets: []string{"tst_right"}}}},
		{"right, told again", right, nil},
	} {
		w.Decide(t.Context(), c.req)
		if !reflect.DeepEqual(o.last.Evidence, c.want) {
			t.Errorf("%s: seen %+v, want %+v", c.name, o.last.Evidence, c.want)
		}
	}
}

// Codes has the code of every reason that stands in this package.
func TestCodes(t *testing.T) {
	codes := decide.Codes()
	found := 0
	for _, name := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			var code ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					code = n.Value
				}
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && fn.Name == "unavailable" {
					code = n.Args[0]
				}
			}
			if literal, ok := code.(*ast.BasicLit); ok {
				found++
				if text, _ := strconv.Unquote(literal.Value); !slices.Contains(codes, text) {
					t.Errorf("Codes has no %s", literal.Value)
				}
			}
			return true
		})
	}
	if found < 11 {
		t.Errorf("only %d codes found", found)
	}
	for _, code := range []string{"no_route", "body_syntax"} {
		if !slices.Contains(codes, code) {
			t.Errorf("Codes has no %s of package call", code)
		}
	}
}

func sources(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) < 5 {
		t.Fatalf("sources %v: %v", names, err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}
