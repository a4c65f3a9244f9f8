package policy

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"
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

// What is written is byte for byte what encoding/json writes of what OPA makes of
// it, whatever it is.
func TestValueJSONBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := anyTerm(4).Draw(t, "term")
		plain, err := ast.JSON(term.Value)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := (Value{term}).MarshalJSON(); err != nil || string(got) != string(want) {
			t.Fatalf("%s\n%s\nnot\n%s", err, got, want)
		}
	})
	for _, text := range []string{"a<b", "a>b", "a&b", `a"b`, `a\b`, "a\x7fb", "a\xffb", "a\u2028b", "a\nb"} {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := String(text).MarshalJSON(); err != nil || string(got) != string(want) {
			t.Errorf("%v: %s, not %s", err, got, want)
		}
	}
	if got, err := (Value{ast.ArrayTerm(ast.VarTerm("x"))}).MarshalJSON(); err == nil {
		t.Errorf("a variable is written as %s", got)
	}
}

// anyTerm draws values, with keys of any type and texts of any bytes.
func anyTerm(depth int) *rapid.Generator[*ast.Term] {
	number := func(s string) *ast.Term { return ast.NewTerm(ast.Number(s)) }
	leaf := rapid.OneOf(
		rapid.Map(rapid.String(), ast.StringTerm),
		rapid.Map(rapid.StringMatching(`[a-z0-9_ "\\<>&/]{0,9}`), ast.StringTerm),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 9), func(b []byte) *ast.Term { return ast.StringTerm(string(b)) }),
		rapid.Map(rapid.Int64(), func(n int64) *ast.Term { return number(strconv.FormatInt(n, 10)) }),
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`), number),
		rapid.Map(rapid.Bool(), ast.BooleanTerm),
		rapid.Just(ast.NullTerm()),
	)
	if depth == 0 {
		return leaf
	}
	below := anyTerm(depth - 1)
	few := rapid.SliceOfN(below, 0, 4)
	object := rapid.Custom(func(t *rapid.T) *ast.Term {
		key := rapid.Map(rapid.String(), ast.StringTerm)
		if rapid.Bool().Draw(t, "any keys") {
			key = below
		}
		o := ast.NewObject()
		for _, v := range few.Draw(t, "values") {
			o.Insert(key.Draw(t, "key"), v) // a key once
		}
		return ast.NewTerm(o)
	})
	return rapid.OneOf(leaf, object,
		rapid.Map(few, func(all []*ast.Term) *ast.Term { return ast.ArrayTerm(all...) }),
		rapid.Map(few, func(all []*ast.Term) *ast.Term { return ast.SetTerm(all...) }))
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
