package policy

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/policies"
)

func wantLoadError(t *testing.T, dir fs.FS, parts ...string) {
	t.Helper()
	_, err := Load(context.Background(), dir, Config{})
	if err == nil {
		t.Fatal("compiled")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// Built-ins that a payments policy must never get, with what each would do.
func TestBuiltinsExcluded(t *testing.T) {
	for name, call := range map[string]string{
		"http.send":            `http.send({"method": "GET", "url": "http://evil.example"})`,
		"net.lookup_ip_addr":   `net.lookup_ip_addr("evil.example")`,
		"net.cidr_expand":      `net.cidr_expand("10.0.0.0/8")`,
		"opa.runtime":          `opa.runtime()`,
		"time.now_ns":          `time.now_ns()`,
		"rand.intn":            `rand.intn("a", 10)`,
		"uuid.rfc4122":         `uuid.rfc4122("a")`,
		"bits.lsh":             `bits.lsh(1, 1000000000)`,
		"to_number":            `to_number("1e9999999")`,
		"json.unmarshal":       `json.unmarshal("1e9999999")`,
		"yaml.unmarshal":       `yaml.unmarshal("1e9999999")`,
		"units.parse":          `units.parse("1e9999999")`,
		"io.jwt.decode_verify": `io.jwt.decode_verify("a", {})`,
		"io.jwt.encode_sign":   `io.jwt.encode_sign({}, {}, {})`,
		"crypto.sha256":        `crypto.sha256("a")`,
		"regex.globs_match":    `regex.globs_match("a*", "a*")`,
		"graphql.parse":        `graphql.parse("a", "b")`,
		"rego.parse_module":    `rego.parse_module("a", "package a")`,
		"trace":                `trace("a")`,
	} {
		t.Run(name, func(t *testing.T) {
			rules := "decision := {\"allow\": true, \"reasons\": [], \"effects\": []} if {\n\tx := " + call + "\n\tx\n}"
			wantLoadError(t, module(rules), "decision.rego:4", "undefined function "+name)
		})
	}
}

// The list is by inclusion: whatever OPA has or gets and is not on it does not
// compile; and what is on it exists and answers alike each time.
func TestBuiltinsByInclusion(t *testing.T) {
	known := map[string]*ast.Builtin{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known[b.Name] = b
	}
	for _, name := range builtins {
		switch b := known[name]; {
		case b == nil:
			t.Errorf("OPA has no %s", name)
		case b.Nondeterministic:
			t.Errorf("%s answers differently each time", name)
		}
	}
	for name := range known {
		if slices.Contains(builtins, name) {
			continue
		}
		wantLoadError(t, module("decision := "+name+"()"), "decision.rego:3", "undefined function "+name)
	}
	if len(known) < 2*len(builtins) {
		t.Errorf("OPA has %d built-ins, of which %d are let in", len(known), len(builtins))
	}
}

func TestCompileErrors(t *testing.T) {
	const decision = "decision := " + allowDecision
	for _, c := range []struct {
		name  string
		rules string
		says  []string
	}{
		{"syntax", decision + "\n\nallow if {", []string{"decision.rego:6", "rego_parse_error"}},
		{"old syntax", "decision = 1 { true }", []string{"decision.rego:3", "`if` keyword is required"}},
		{"unused variable", decision + "\n\nallow if {\n\tx := input.a\n\tinput.b\n}", []string{"decision.rego:6", "assigned var x unused"}},
		{"unused argument", decision + "\n\nf(x) := 1", []string{"decision.rego:5", "unused argument x"}},
		{"unused import", "import data.lib\n\n" + decision, []string{"decision.rego:3", "import data.lib unused"}},
		{"import twice", "import data.lib\nimport data.lib\n\n" + decision + "\n\nx := lib", []string{"decision.rego:4", "import must not shadow"}},
		{"input shadowed", decision + "\n\nallow if {\n\tinput := 1\n\tinput == 1\n}", []string{"decision.rego:6", "variables must not shadow input"}},
		{"unsafe variable", decision + "\n\nallow if x > 1", []string{"decision.rego:5", "var x is unsafe"}},
		{"recursion", decision + "\n\na := b\n\nb := a", []string{"decision.rego:5", "recursive"}},
		{"unknown function", decision + "\n\na := lib.f(1)", []string{"decision.rego:5", "undefined function lib.f"}},
		{"types", decision + "\n\na if 1 == \"1\"", []string{"decision.rego:5", "match error"}},
		{"two defaults", decision + "\n\ndefault a := 1\n\ndefault a := 2", []string{"decision.rego:5", "multiple default rules"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantLoadError(t, module(c.rules), c.says...) })
	}
}

func TestBundleErrors(t *testing.T) {
	decision := "package payments\n\ndecision := " + allowDecision
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, c := range []struct {
		name string
		dir  fstest.MapFS
		says []string
	}{
		{"nothing", fstest.MapFS{}, []string{"data.payments.decision"}},
		{"no entrypoint", fstest.MapFS{"a.rego": file("package payments\n\nallow := true")}, []string{"no rule data.payments.decision"}},
		{"entrypoint of another package", fstest.MapFS{"a.rego": file("package payment\n\ndecision := 1")}, []string{"no rule data.payments.decision"}},
		{"entrypoint in a test alone", fstest.MapFS{"a_test.rego": file(strings.Replace(decision, "payments", "payments_test", 1))}, []string{"no rule data.payments.decision"}},
		{"data where a rule is", fstest.MapFS{"a.rego": file(decision), "payments/decision/data.json": file(`{"allow": true}`)}, []string{"a.rego:3", "conflict"}},
		{"data at the root where a rule is", fstest.MapFS{"a.rego": file(decision), "data.json": file(`{"payments": {"decision": 1}}`)}, []string{"a.rego:3", "conflict"}},
		{"broken data", fstest.MapFS{"a.rego": file(decision), "limits/data.json": file(`{"a": `)}, []string{"limits/data.json"}},
		{"broken schema", fstest.MapFS{"a.rego": file(decision), "schemas/input.json": file(`{`)}, []string{"schemas/input.json"}},
		{"unknown schema", fstest.MapFS{"a.rego": file("# METADATA\n# schemas:\n#   - input: schema.other\n" + decision)}, []string{"a.rego:", "undefined schema"}},
		{"broken metadata", fstest.MapFS{"a.rego": file("# METADATA\n# title: [\n" + decision)}, []string{"a.rego:2", "yaml"}},
		{"schema from elsewhere", fstest.MapFS{
			"a.rego":             file("# METADATA\n# schemas:\n#   - input: schema.input\n" + decision),
			"schemas/input.json": file(`{"$ref": "http://127.0.0.1:1/input.json"}`),
		}, []string{"schemas/input.json", "refers only to parts of itself"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantLoadError(t, c.dir, c.says...) })
	}
}

// A rule that reads a field which the schema does not have is a typo, and would
// be undefined for ever: it does not compile.
func TestSchemaHolds(t *testing.T) {
	for _, ref := range []string{
		"input.cal.amount_minor", "input.call.amount", "input.facts.account.limit", "input.identity.sub", "input.facts.account.owner.name",
	} {
		t.Run(ref, func(t *testing.T) {
			dir := copyFS(t, policies.FS)
			dir["systems/typo/typo.rego"] = &fstest.MapFile{Data: fmt.Appendf(nil,
				"# METADATA\n# schemas:\n#   - input: schema.input\npackage payments.systems.typo\n\npermit if %s\n", ref)}
			wantLoadError(t, dir, "systems/typo/typo.rego:6", "undefined ref: "+ref)
		})
	}
}

// Tests of the bundle stay out of decisions, and nothing else does by its name.
func TestTestsAreNotLoaded(t *testing.T) {
	dir := module("decision := " + denyDecision)
	dir["decision_test.rego"] = &fstest.MapFile{Data: []byte("package payments_test\n\nimport data.payments\n\nanswer := http.send({}) if payments.decision")}
	p := load(t, dir, Config{Budget: longBudget})
	d, err := p.Decide(context.Background(), value(t, "{}"))
	if err != nil || d.Allow || p.Modules() != 1 {
		t.Errorf("allow %v, %d modules, %v", d.Allow, p.Modules(), err)
	}
	for name, pkg := range map[string]string{"b_test.rego": "payments", "ab.rego": "payments_test"} {
		dir := module("decision := " + denyDecision)
		dir[name] = &fstest.MapFile{Data: []byte("package " + pkg + "\n\ndeny contains \"x\"")}
		wantLoadError(t, dir, name+":1", "tests stand in files NAME_test.rego")
	}
}

// The bundle's data is what rules read as data.
func TestData(t *testing.T) {
	dir := module(`decision := {"allow": data.tuning.on, "reasons": [], "public_reasons": [], "effects": []}`)
	for text, want := range map[string]bool{`{"on": true}`: true, `{"on": false}`: false} {
		dir["tuning/data.json"] = &fstest.MapFile{Data: []byte(text)}
		d, err := load(t, dir, Config{Budget: longBudget}).Decide(context.Background(), value(t, "{}"))
		if err != nil || d.Allow != want {
			t.Errorf("%s: allow %v, %v", text, d.Allow, err)
		}
	}
}

func copyFS(t testing.TB, from fs.FS) fstest.MapFS {
	t.Helper()
	to := fstest.MapFS{}
	err := fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, path)
		to[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

type panicFS struct{ fstest.MapFS }

func (panicFS) ReadDir(string) ([]fs.DirEntry, error) { panic("panicFS") }

// Load answers a panic, wherever it comes from, with an error.
func TestLoadDoesNotPanic(t *testing.T) { wantLoadError(t, panicFS{}, "panic: panicFS") }
