package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	v := value(t, `{"a": 1, "b": {"c": null, "d": [{"e": 2}, 3, [{"f": {}}]]}, "g": []}`)
	want := []struct{ path, removed, null string }{
		{"a", `{"b":{"c":null,"d":[{"e":2},3,[{"f":{}}]]},"g":[]}`, `{"a":null,"b":{"c":null,"d":[{"e":2},3,[{"f":{}}]]},"g":[]}`},
		{"b", `{"a":1,"g":[]}`, `{"a":1,"b":null,"g":[]}`},
		{"b.c", `{"a":1,"b":{"d":[{"e":2},3,[{"f":{}}]]},"g":[]}`, `{"a":1,"b":{"c":null,"d":[{"e":2},3,[{"f":{}}]]},"g":[]}`},
		{"b.d", `{"a":1,"b":{"c":null},"g":[]}`, `{"a":1,"b":{"c":null,"d":null},"g":[]}`},
		{"b.d[0].e", `{"a":1,"b":{"c":null,"d":[{},3,[{"f":{}}]]},"g":[]}`, `{"a":1,"b":{"c":null,"d":[{"e":null},3,[{"f":{}}]]},"g":[]}`},
		{"b.d[2][0].f", `{"a":1,"b":{"c":null,"d":[{"e":2},3,[{}]]},"g":[]}`, `{"a":1,"b":{"c":null,"d":[{"e":2},3,[{"f":null}]]},"g":[]}`},
		{"g", `{"a":1,"b":{"c":null,"d":[{"e":2},3,[{"f":{}}]]}}`, `{"a":1,"b":{"c":null,"d":[{"e":2},3,[{"f":{}}]]},"g":null}`},
	}
	text := func(v Value) string {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := text(v)
	paths := v.Paths()
	if len(paths) != len(want) {
		t.Fatalf("paths %v", paths)
	}
	for i, p := range paths {
		if p.String() != want[i].path || text(v.Without(p)) != want[i].removed || text(v.WithNull(p)) != want[i].null {
			t.Errorf("%s: removed %s, null %s\nwant %+v", p, text(v.Without(p)), text(v.WithNull(p)), want[i])
		}
	}
	if text(v) != before {
		t.Errorf("the document has changed: %s", text(v))
	}
	if paths := value(t, `[1, "x"]`).Paths(); len(paths) != 0 || len((Value{}).Paths()) != 0 {
		t.Errorf("paths %v", paths)
	}
}

func TestText(t *testing.T) {
	v := value(t, `{"a": {"b": "x", "c": 1}}`)
	for path, want := range map[string]string{"a b": "x", "a c": "", "a": "", "a b c": "", "b": "", "a x y": ""} {
		if got := v.Text(strings.Fields(path)...); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := (Value{}).Text("a"); got != "" {
		t.Errorf("%q in nothing", got)
	}
}
