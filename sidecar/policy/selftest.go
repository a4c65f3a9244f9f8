package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
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

// Test runs the bundle's own tests (test_ rules in files NAME_test.rego), one after
// the other. They pass where they pass in OPA's tester, and have the functions that
// rules have, and no others: nothing of a bundle reaches outside. It is an error when
// one of them fails, or all of them take longer than bounds. The inputs are in the
// order of the tests' places.
func Test(ctx context.Context, s *Snapshot, bounds TestBounds) ([]TestInput, error) {
	ctx, cancel := context.WithTimeout(ctx, bounds.All)
	defer cancel()
	tests, err := newTestSuite(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	defer tests.close(ctx)
	var failed []string
	var inputs []TestInput
	once := ast.NewSet()
	for _, test := range tests.rules {
		result := tests.run(ctx, test, bounds.Each)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("tests: all of them took longer than %v", bounds.All)
		}
		if !result.passed {
			failed = append(failed, complaint(test, result, bounds.Each))
		}
		for _, input := range result.asked {
			if !once.Contains(input) {
				once.Add(input)
				inputs = append(inputs, TestInput{Value{input}, test.place()})
			}
		}
	}
	if n := len(failed) - maxComplaints; n > 0 {
		failed = append(failed[:maxComplaints], fmt.Sprintf("and %d more", n))
	}
	if len(failed) > 0 {
		return nil, errors.New("tests: " + strings.Join(failed, "\n"))
	}
	return inputs, nil
}

// complaint says which test failed, and which of its cases.
func complaint(t testRule, r testResult, each time.Duration) string {
	text := fmt.Sprintf("%s: %s ", t.place(), t.name)
	switch {
	case errors.Is(r.err, errTimeout):
		return text + fmt.Sprintf("took longer than %v", each)
	case r.err != nil:
		return text + "failed: " + r.err.Error()
	case len(r.cases) == 0:
		return text + "failed"
	}
	cases := r.cases[:min(len(r.cases), maxComplaints)]
	return text + "failed in " + strings.Join(cases, ", ")
}
