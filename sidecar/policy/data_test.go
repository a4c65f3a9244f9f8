package policy

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestDataIsStrict(t *testing.T) {
	for _, c := range []struct{ file, text, says string }{
		{"data.json", `{"n": 1, "n": 2}`, `key "n" stands twice`},
		{"limits/data.json", `{"a": [{"n": 1, "m": 3, "n": 2}]}`, `limits/data.json: line 1: key "n" stands twice`},
		{"data.json", `{"n": 1e9999999}`, "exponent beyond 30"},
		{"data.json", `{"n": 1e-31}`, "exponent beyond 30"},
		{"data.json", `{"n": 1` + strings.Repeat("0", 40) + `}`, "more than 40 characters"},
		{"data.json", `{"a": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, "levels deep"},
		{"data.json", `{"a": "` + "\xff" + `"}`, "not UTF-8"},
		{"data.json", "{}\n{}", "line 2: more than one document"},
		{"data.json", `[]`, "not an object"},
		{"data.json", ``, "data.json"},
		{"data.yaml", "n: 1\nn: 2", `key "n" stands twice`},
		{"data.yaml", "a:\n  n: 1e9999999", "data.yaml: line 2: a number with an exponent beyond 30"},
		{"data.yaml", "n: .inf", "not a number as JSON writes it"},
		{"data.yaml", "n: 0x1F", "not a number as JSON writes it"},
		{"data.yaml", "n: 1_000", "not a number as JSON writes it"},
		{"data.yaml", "n: 2026-11-24", "quote it"},
		{"data.yaml", "a: &a [x, x]\nb: [*a, *a]", "anchors"},
		{"data.yaml", "a: !!binary aGk=", "tags are not read"},
		{"data.yaml", "1: a", "a key is not a text"},
		{"data.yaml", "a: 1\n---\na: 2", "more than one document"},
		{"data.yaml", "", "data.yaml"},
	} {
		t.Run(c.file+" "+c.says, func(t *testing.T) {
			dir := module("decision := " + denyDecision)
			dir[c.file] = &fstest.MapFile{Data: []byte(c.text)}
			wantLoadError(t, dir, c.file, c.says)
		})
	}
	dir := module("decision := " + denyDecision)
	dir["a/data.json"] = &fstest.MapFile{Data: []byte(`{"b": 1}`)}
	dir["data.yaml"] = &fstest.MapFile{Data: []byte(`a: {b: 2}`)}
	wantLoadError(t, dir, "data.yaml", "another file of data gives data.a.b too")
}

// YAML and JSON say the same, and numbers keep every digit.
func TestDataIsExact(t *testing.T) {
	dir := module(`decision := {"allow": same, "reasons": [], "public_reasons": [], "effects": []}

default same := false

same if {
	data.j == data.y
	data.j.n == 12345678901234567890123
	data.j.list == [1, "1", true, null, {"x": 1.5}]
}`)
	dir["j/data.json"] = &fstest.MapFile{Data: []byte(`{"n": 12345678901234567890123, "list": [1, "1", true, null, {"x": 1.5}]}`)}
	dir["y/data.yaml"] = &fstest.MapFile{Data: []byte("n: 12345678901234567890123\nlist:\n- 1\n- '1'\n- true\n-\n- x: 1.5\n")}
	if d := decideJSON(t, load(t, dir, Config{Budget: longBudget}), map[string]any{}); !d.Allow {
		t.Error("they differ")
	}
}

func TestSchemasStandByThemselves(t *testing.T) {
	twice := &strings.Builder{}
	for i := range 40 {
		fmt.Fprintf(twice, `"x%d": {"properties": {"a": {"$ref": "#/definitions/x%d"}, "b": {"$ref": "#/definitions/x%d"}}}, `, i, i+1, i+1)
	}
	for _, c := range []struct{ schema, says string }{
		{`{"properties": {"a": {"$ref": "file:///etc/passwd"}}}`, "refers only to parts of itself"},
		{`{"properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}`, "refers only to parts of itself"},
		{`{"properties": {"a": {"$ref": "other.json"}}}`, "refers only to parts of itself"},
		{`{"$schema": "file:///etc/passwd"}`, "$schema is not one of"},
		{`{"$id": "file:///etc/"}`, "$id"},
		{`{"id": "file:///etc/"}`, "id"},
		{`{"$ref": 1}`, "$ref"},
		{`{"properties": {"a": {"$ref": "#"}}}`, "refers only to parts of itself"},
		{`{"properties": {"a": {"$ref": "#/properties/a"}}}`, "refers to itself"},
		{`{"allOf": [{"$ref": "#/allOf"}]}`, "refers to itself"},
		{`{"definitions": {"x": {"$ref": "#/definitions/y"}, "y": {"$ref": "#/definitions/x"}}, "properties": {"a": {"$ref": "#/definitions/x"}}}`, "refers to itself"},
		{`{"$ref": "#/definitions/x"}`, "leads to nothing"},
		{`{"definitions": {` + twice.String() + `"x40": {}}}`, "more than 10000 parts"},
		{`{"title": "` + strings.Repeat("a", maxSchemaBytes) + `"}`, "more than 262144 bytes"},
		{`{"type": "object", "type": "array"}`, "stands twice"},
		{`{"maximum": 1e9999999}`, "exponent beyond 30"},
		{`[]`, "a schema is an object"},
	} {
		t.Run(c.says, func(t *testing.T) {
			dir := module("decision := " + denyDecision)
			dir["schemas/input.json"] = &fstest.MapFile{Data: []byte(c.schema)}
			wantLoadError(t, dir, "schemas/input.json", c.says)
		})
	}
	annotated := "# METADATA\n# schemas:\n#   - input: schema.input\npackage payments\n\ndecision := " + allowDecision + " if input.a.b == 1\n"
	load(t, fstest.MapFS{
		"decision.rego":      {Data: []byte(annotated)},
		"schemas/input.json": {Data: []byte(`{"type": "object", "properties": {"id": {"type": "string"}, "a": {"$ref": "#/definitions/x"}}, "definitions": {"x": {"type": "object", "properties": {"b": {"type": "integer"}}}}}`)},
	}, Config{})
}

// A number in a rule has the bounds of one in data.
func TestNumbersInRules(t *testing.T) {
	for _, n := range []string{"1e99999999", "1e-31", "1" + strings.Repeat("0", 40)} {
		wantLoadError(t, module("decision := "+allowDecision+" if {\n\tinput.a == [{\"x\": "+n+"}]\n}"), "decision.rego:4", "number")
	}
	load(t, module("decision := "+allowDecision+" if input.a == 1e30"), Config{})
}
