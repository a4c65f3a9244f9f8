package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// longBudget is for evaluations that end by themselves, on the slowest machine.
const longBudget = time.Minute

const (
	allowDecision = `{"allow": true, "reasons": [], "public_reasons": [], "effects": []}`
	denyDecision  = `{"allow": false, "reasons": [], "public_reasons": [], "effects": []}`
)

// module returns a bundle of one module, decision.rego in package payments.
func module(rules string) fstest.MapFS {
	return fstest.MapFS{"decision.rego": {Data: []byte("package payments\n\n" + rules + "\n")}}
}

func load(t testing.TB, dir fstest.MapFS, cfg Config) *Policy {
	t.Helper()
	p, err := Load(context.Background(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// value reads a document from JSON.
func value(t testing.TB, text string) Value {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	v, err := ast.InterfaceToValue(plain)
	if err != nil {
		t.Fatal(err)
	}
	return Value{ast.NewTerm(v)}
}

// wantClosed decides and wants the error, and a decision that is none.
func wantClosed(t *testing.T, p *Policy, input Value, want error) {
	t.Helper()
	d, err := p.Decide(context.Background(), input)
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if other := map[error]error{ErrDefect: ErrTimeout, ErrTimeout: ErrDefect}[want]; errors.Is(err, other) {
		t.Errorf("error %v is a %v too", err, other)
	}
	if d.Allow || d.Reasons != nil || d.Document.term != nil {
		t.Errorf("an evaluation that failed gave a decision: %+v", d)
	}
}
