package policy

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The JSON form of a value is what was built, and read back it is the same value
// to OPA: what is recorded is what was decided on.
func TestValueJSON(t *testing.T) {
	key := NewKey("k")
	for _, c := range []struct {
		name  string
		value Value
		want  string
	}{
		{"absent", Value{}, `null`},
		{"text", String("mer_bakery"), `"mer_bakery"`},
		{"empty text", String(""), `""`},
		{"unicode", String("Bäckerei 東京 🥖"), `"Bäckerei 東京 🥖"`},
		{"escapes", String("\"\\/\n\x00\u007f\u2028<&>"), `"\"\\/\n\u0000\u007f\u2028<&>"`},
		{"number as a text", String("1e9999999"), `"1e9999999"`},
		{"zero", Int(0), `0`},
		{"one", Int(1), `1`},
		{"negative", Int(-42), `-42`},
		{"largest amount", Int(1<<53 - 1), `9007199254740991`},
		{"past doubles", Int(1<<53 + 1), `9007199254740993`},
		{"nanoseconds", Int(1795532400123456789), `1795532400123456789`},
		{"largest", Int(math.MaxInt64), `9223372036854775807`},
		{"smallest", Int(math.MinInt64), `-9223372036854775808`},
		{"true", Bool(true), `true`},
		{"false", Bool(false), `false`},
		{"empty object", Object(), `{}`},
		{"only absent members", Object(Member{key, Value{}}), `{}`},
		{"absent member left out", Object(Member{key, Int(1)}, Member{NewKey("gone"), Value{}}), `{"k": 1}`},
		{"absent is not empty", Object(Member{key, Object()}, Member{NewKey("s"), String("")}), `{"k": {}, "s": ""}`},
		{"nested", Object(Member{key, Object(Member{key, Object(Member{key, Int(1 << 60)})})}), `{"k": {"k": {"k": 1152921504606846976}}}`},
		{"unicode key", Object(Member{NewKey("größe"), Bool(true)}), `{"größe": true}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(c.value)
			if err != nil {
				t.Fatal(err)
			}
			got, want := value(t, string(text)), value(t, c.want)
			if got.term.Value.Compare(want.term.Value) != 0 {
				t.Errorf("written as %s, want %s", text, c.want)
			}
			if c.value.term != nil && c.value.term.Value.Compare(want.term.Value) != 0 {
				t.Errorf("built as %v, want %v", c.value.term, want.term)
			}
			parsed, err := ParseValue(text)
			if err != nil || parsed.term.Value.Compare(want.term.Value) != 0 {
				t.Errorf("%s is read as %v, %v, want %v", text, parsed.term, err, want.term)
			}
			if again, err := json.Marshal(parsed); err != nil || string(again) != string(text) {
				t.Errorf("%s is read and written as %s, %v", text, again, err)
			}
		})
	}
}

// What two readers of JSON could read differently is not read.
func TestParseValueRefuses(t *testing.T) {
	for _, text := range []string{
		"", "{", `{"a": 1, "a": 1}`, `{"a": 1} {}`, "\"\xff\"", "1e9999999", "01", strings.Repeat("1", 41), "NaN", "[1,]",
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		if v, err := ParseValue([]byte(text)); err == nil {
			t.Errorf("%.50q is read as %v", text, v.term)
		}
	}
}

// Rego reads a value that was built as it reads the JSON of it, and counts
// without loss.
func TestValueInRego(t *testing.T) {
	p := load(t, module(`decision := {"allow": ok, "reasons": [], "public_reasons": [], "effects": []}

default ok := false

ok if {
	input.big == 9007199254740993
	input.big + 1 == 9007199254740994
	input.text == "é\n"
	input.on == true
	not input.gone
	object.keys(input) == {"big", "text", "on"}
}`), Config{Budget: longBudget})
	built := Object(
		Member{NewKey("big"), Int(1<<53 + 1)}, Member{NewKey("text"), String("é\n")},
		Member{NewKey("on"), Bool(true)}, Member{NewKey("gone"), Value{}})
	for name, input := range map[string]Value{"built": built, "read": value(t, `{"big": 9007199254740993, "text": "é\n", "on": true}`)} {
		if d, err := p.Decide(context.Background(), input); err != nil || !d.Allow {
			t.Errorf("%s: allow %v, %v", name, d.Allow, err)
		}
	}
	absent, err := p.Decide(context.Background(), Value{})
	if err != nil || absent.Allow {
		t.Errorf("no input: allow %v, %v", absent.Allow, err)
	}
}

// A decision's document is the policy's own answer.
func TestDocument(t *testing.T) {
	const decision = `{"allow": false, "reasons": [{"code": "frozen", "message": "Nö."}], "public_reasons": [{"code": "frozen", "message": "Nö."}], "effects": []}`
	d, err := load(t, module("decision := "+decision), Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d.Document)
	if err != nil {
		t.Fatal(err)
	}
	if value(t, string(text)).term.Value.Compare(ast.MustParseTerm(decision).Value) != 0 {
		t.Errorf("document %s, want %s", text, decision)
	}
}
