package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var minuteEach = TestBounds{All: time.Minute, Each: time.Minute}

// tested is a bundle of a decision with these tests.
func tested(tests string) fstest.MapFS {
	files := module("decision := {\"allow\": allow, \"reasons\": [], \"effects\": []}\n\ndefault allow := false\n\nallow if input.a == 1\n\nother := input")
	files["decision_test.rego"] = &fstest.MapFile{Data: []byte("package payments_test\n\n" + tests)}
	return files
}

func runTests(t *testing.T, files fstest.MapFS) ([]TestInput, error) {
	t.Helper()
	s, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	return Test(t.Context(), s, minuteEach)
}

// What the decision was asked about is seen, however a test asks, once, with the
// first test that did.
func TestTestInputs(t *testing.T) {
	inputs, err := runTests(t, tested(`
test_one if not data.payments.decision.allow with input as {"a": 2}

test_again if not data.payments.decision.allow with input as {"a": 2}

test_cases[note] if {
	some note, n in {"x": 3, "y": 4}
	asked(n) == false
}

asked(n) := allow if allow := data.payments.decision.allow with input as {"a": n}

test_every if {
	every n in [5, 6] { not data.payments.decision.allow with input.a as n }
}

account.test_ref if data.payments.decision.allow with input as {"a": 1}

test_mocked if data.payments.decision.allow with input as {"a": 7} with data.payments.allow as true

test_part if not data.payments.allow with input as {"a": 8}

test_other if data.payments.other.a == 9 with input as {"a": 9}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range inputs {
		text, err := json.Marshal(in.Input)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, in.Test+" "+string(text))
	}
	want := `decision_test.rego:4 {"a":2}
decision_test.rego:8 {"a":3}
decision_test.rego:8 {"a":4}
decision_test.rego:15 {"a":5}
decision_test.rego:15 {"a":6}
decision_test.rego:19 {"a":1}
decision_test.rego:21 {"a":7}`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("inputs\n%s\nwant\n%s", text, want)
	}
}

// Tests have no other functions than rules, in whatever they look like.
func TestTestsStayInside(t *testing.T) {
	for _, call := range []string{`http.send({"url": "x", "method": "get"})`, "opa.runtime()", "time.now_ns()", `rand.intn("x", 5)`} {
		if _, err := runTests(t, tested("test_x if "+call)); err == nil || !strings.Contains(err.Error(), "decision_test.rego:3: rego_type_error: undefined function") {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestNoTests(t *testing.T) {
	files := tested("")
	delete(files, "decision_test.rego")
	if inputs, err := runTests(t, files); err != nil || len(inputs) != 0 {
		t.Errorf("%v, %v", inputs, err)
	}
}

// Only so many failures are told.
func TestManyFailures(t *testing.T) {
	_, err := runTests(t, tested(strings.Repeat("test_x if false\n\n", 30)))
	if err == nil || strings.Count(err.Error(), "\n") != maxComplaints || !strings.HasSuffix(err.Error(), "\nand 20 more") {
		t.Errorf("%v", err)
	}
}
