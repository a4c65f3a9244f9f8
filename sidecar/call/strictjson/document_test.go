package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func parsed(t testing.TB, text string) *Document {
	t.Helper()
	document, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return document
}

func TestKinds(t *testing.T) {
	cases := []struct {
		text   string
		kind   Kind
		name   string
		truth  bool
		str    string
		number string
		length int
	}{
		{`null`, Null, "null", false, "", "", 0},
		{`true`, Bool, "bool", true, "", "", 0},
		{`false`, Bool, "bool", false, "", "", 0},
		{`12.50`, Number, "number", false, "", "12.50", 0},
		{`"true"`, String, "string", false, "true", "", 0},
		{`"1"`, String, "string", false, "1", "", 0},
		{`{"a":[1,2],"b":2}`, Object, "object", false, "", "", 2},
		{`[[1,2],{"a":1},3]`, Array, "array", false, "", "", 3},
		{`{}`, Object, "object", false, "", "", 0},
		{`[]`, Array, "array", false, "", "", 0},
	}
	for _, c := range cases {
		v := parsed(t, c.text).Root()
		if v.Kind() != c.kind || v.Kind().String() != c.name || v.Bool() != c.truth || v.String() != c.str ||
			v.Number() != c.number || v.Len() != c.length {
			t.Errorf("%s: kind %v, bool %v, string %q, number %q, length %d",
				c.text, v.Kind(), v.Bool(), v.String(), v.Number(), v.Len())
		}
	}
}

func TestZeroValue(t *testing.T) {
	var v Value
	_, isInt := v.Int()
	_, hasMember := v.Member("")
	_, hasElement := v.Index(0)
	if v.Kind() != Invalid || v.Bool() || v.String() != "" || v.Number() != "" || v.Len() != 0 || isInt || hasMember || hasElement {
		t.Error("the zero Value is not empty")
	}
	if Kind(200).String() != "invalid" || Invalid.String() != "invalid" {
		t.Error("unknown kinds have a name")
	}
}

func TestStringsUnescaped(t *testing.T) {
	cases := map[string]string{
		`""`: "", `"abc"`: "abc", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\u0041\u00e9\u20AC"`: "Aé€",
		`"\ud83d\ude00"`: "😀", `"x\uDBFF\uDFFDy"`: "x\U0010fffdy", `"é\n日本"`: "é\n日本", `"\\u0041"`: `\u0041`,
		`"\u005cn"`: `\n`, `"a\u2028b"`: "a\u2028b",
	}
	for text, want := range cases {
		if got := parsed(t, text).Root().String(); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestInt(t *testing.T) {
	exact := map[string]int64{
		`0`: 0, `1`: 1, `-1`: -1, `9007199254740991`: 1<<53 - 1, `-9007199254740991`: -(1<<53 - 1), `129900`: 129900,
	}
	for text, want := range exact {
		if got, ok := parsed(t, text).Root().Int(); !ok || got != want {
			t.Errorf("%s: got %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		`-0`, `0.0`, `1.0`, `1e2`, `1E0`, `0e0`, `1.5`, `9007199254740992`, `-9007199254740992`, `9007199254740993`,
		`9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `18446744073709551617`,
		`1234567890123456789012345678901234567890`, `"1"`, `""`, `null`, `true`, `[1]`, `{}`,
	} {
		if got, ok := parsed(t, text).Root().Int(); ok || got != 0 {
			t.Errorf("%s: got %d, %v; no two parsers need agree on it", text, got, ok)
		}
	}
}

func TestMembersAndElements(t *testing.T) {
	root := parsed(t, `{"b":{"x":[1,{"y":2}]},"a":[[],[3]],"c":null,"d\n":"e"}`).Root()
	var names []string
	for name, member := range root.Members() {
		names = append(names, name+" "+member.Kind().String())
	}
	if want := []string{"b object", "a array", "c null", "d\n string"}; !slices.Equal(names, want) {
		t.Errorf("members %q, want %q", names, want)
	}
	for range root.Members() {
		break // must not panic: iteration ends when the loop does
	}
	if _, ok := root.Member("B"); ok {
		t.Error("a member was found under another case")
	}
	if _, ok := root.Member("x"); ok {
		t.Error("a member of a member was found")
	}
	if c, ok := root.Member("c"); !ok || c.Kind() != Null {
		t.Error("a null member is not the same as a missing one")
	}

	a, _ := root.Member("a")
	for i, element := range a.Elements() {
		if element.Kind() != Array || element.Len() != i {
			t.Errorf("element %d: %v with %d elements", i, element.Kind(), element.Len())
		}
	}
	for _, i := range []int{-1, 2, 1 << 40} {
		if _, ok := a.Index(i); ok {
			t.Errorf("there is an element %d", i)
		}
	}
	if _, ok := root.Index(0); ok {
		t.Error("an object has an element")
	}
	if _, ok := a.Member("0"); ok {
		t.Error("an array has a member")
	}
}

func TestPointers(t *testing.T) {
	// The examples of RFC 6901 section 5, and some more.
	document := parsed(t, `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
		"~1":9,"deep":[[10,{"x":{"":11}}]],"01":12,"nul":null}`)
	found := map[string]string{
		"": "object", "/foo": "array", "/foo/0": "string", "/foo/1": "string", "/": "0", "/a~1b": "1", "/c%d": "2",
		"/e^f": "3", "/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/ ": "7", "/m~0n": "8", "/~01": "9", "/deep/0/0": "10",
		"/deep/0/1/x/": "11", "/01": "12", "/nul": "null",
	}
	for text, want := range found {
		pointer, err := ParsePointer(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		v, ok := document.Lookup(pointer)
		got := v.Kind().String()
		if v.Kind() == Number {
			got = v.Number()
		}
		if !ok || got != want || pointer.String() != text {
			t.Errorf("%q: found %v, %s, want %s", text, ok, got, want)
		}
	}
	for _, text := range []string{
		"/foo/2", "/foo/00", "/foo/01", "/foo/+1", "/foo/-1", "/foo/1.0", "/foo/1e0", "/foo/", "/foo/ 1", "/foo/x", "/Foo", "/FOO/0",
		"/foo/18446744073709551616", "/foo/4294967296", "/foo/0/0", "/nul/0", "/bar", "//", "/foo/٠", "/a",
	} {
		pointer, err := ParsePointer(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if v, ok := document.Lookup(pointer); ok || v.Kind() != Invalid {
			t.Errorf("%q: found a value", text)
		}
	}
	for _, text := range []string{"foo", " /foo", "#/foo", "/~", "/a~", "/~2", "/~~", "/a~b/c", "/x/~", "/-", "/foo/-", "/\xff", "0"} {
		if _, err := ParsePointer(text); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
	if v, ok := document.Lookup(Pointer{}); !ok || v.Kind() != Object {
		t.Error("the zero Pointer is not the whole document")
	}
}

// Bodies hold secrets, and values reach logs by mistake.
func TestPrintingShowsNoContent(t *testing.T) {
	const canary = "4111111111111111"
	document := parsed(t, `{"`+canary+`":"`+canary+`"}`)
	member, _ := document.Root().Member(canary)
	if member.String() != canary {
		t.Fatal("the test looks at the wrong value")
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("call", "member", member, "document", document, "root", document.Root())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+" "+verb+" "+verb+"\n", member, document, document.Root())
		fmt.Fprintf(&log, verb+"\n", struct{ V any }{member})
	}
	encoded, err := json.Marshal([]any{member, document})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(encoded)
	if hex := fmt.Sprintf("%x", canary); strings.Contains(log.String(), canary) || strings.Contains(log.String(), hex) {
		t.Errorf("content was printed:\n%s", log.String())
	}
}
