package policy

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
)

// system returns a bundle with a decision and a system x.
func system(rules string) fstest.MapFS {
	dir := module(`decision := {"allow": true, "reasons": [], "public_reasons": [], "effects": []} if {
	data.payments.systems[input.system].permit
	count(data.payments.systems[input.system].deny) == 0
}`)
	dir["systems/x/x.rego"] = &fstest.MapFile{Data: []byte("package payments.systems.x\n\n" + rules + "\n")}
	dir["systems/x/routes.yaml"] = &fstest.MapFile{Data: []byte("system: x")}
	return dir
}

const goodSystem = "permit if input.good\n\ndeny contains reason if {\n\tbad\n\treason := \"bad\"\n}\n\nbad if input.bad\n"

func TestSystem(t *testing.T) {
	p := load(t, system(goodSystem), Config{Budget: longBudget})
	d, err := p.Decide(context.Background(), value(t, `{"system": "x", "good": true}`))
	if err != nil || !d.Allow || p.Modules() != 2 || !strings.HasPrefix(p.Digest(), "sha256:") {
		t.Errorf("allow %v, %d modules, digest %s, %v", d.Allow, p.Modules(), p.Digest(), err)
	}
	for _, rules := range []string{"denny", "denies", "den1y", "permits", "onallow", "on_denied", "ondeny"} {
		t.Run(rules, func(t *testing.T) {
			wantLoadError(t, system(goodSystem+"\n"+rules+" contains \"x\" if input.bad"), "systems/x/x.rego:12", "nobody reads the rule "+rules)
			wantLoadError(t, system(goodSystem+"\n"+rules+" if input.bad"), "nobody reads the rule "+rules)
			wantLoadError(t, system(goodSystem+"\n"+rules+".x contains \"x\" if input.bad"), "nobody reads the rule "+rules)
			wantLoadError(t, system(goodSystem+"\n"+rules+"(x) if x"), "nobody reads the rule "+rules)
		})
	}
	for _, c := range []struct{ rules, says string }{
		{"permit if input.good", "no rule deny"},
		{"deny contains 1 if input.good", "no rule permit"},
		{strings.Replace(goodSystem, "deny", "denny", 1), "no rule deny"},
		{strings.Replace(goodSystem, "deny contains reason", "deny := reason", 1), "systems/x/x.rego:5: write it as"},
		{strings.Replace(goodSystem, "deny contains reason", "deny.x contains reason", 1), "systems/x/x.rego:5: write it as"},
		{strings.Replace(goodSystem, "deny contains reason", "deny[reason] := 1", 1), "systems/x/x.rego:5: write it as"},
		{strings.Replace(goodSystem, "permit", `permit contains "x"`, 1), "systems/x/x.rego:3: write it as"},
		{goodSystem + "\non_allow := [1] if input.good", "`on_allow contains x if`"},
	} {
		t.Run(c.says, func(t *testing.T) { wantLoadError(t, system(c.rules), c.says) })
	}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct{ name, file, text, says string }{
		{"package of another directory", "systems/x/more.rego", "package payments.systems.y\n\npermit if input.a", "systems/x/more.rego:1: package payments.systems.y in this directory: it must be payments.systems.x"},
		{"package elsewhere", "more.rego", "package payments.systems.x\n\ndeny contains 1 if input.a", "it must be payments"},
		{"package outside", "shared/a/a.rego", "package shared.a\n\nx := 1", "it must be payments.shared.a"},
		{"rules of all systems", "systems/all.rego", "package payments.systems\n\ny.permit := true", "belongs to one"},
		{"system without routes", "systems/y/y.rego", "package payments.systems.y\n\npermit if input.a\n\ndeny contains 1 if input.b", "no systems/y/routes.yaml"},
		{"deeper, without routes", "systems/y/z/y.rego", "package payments.systems.y.z\n\nx := 1", "no systems/y/routes.yaml"},
		{"routes without system", "systems/y/routes.yaml", "system: y", "systems/y/routes.yaml: the system y has no rules: write systems/y/y.rego"},
		{"deny where nobody looks", "systems/x/more/more.rego", "package payments.systems.x.more\n\ndeny contains 1 if input.a", "nobody reads the rule deny"},
		{"beside the decision", "more.rego", "package payments\n\nreason contains 1 if input.a", "more.rego:3: nobody reads the rule reason"},
		{"data as a system", "data.json", `{"payments": {"systems": {"y": {"permit": true}}}}`, "key payments"},
		{"data as a system, by directory", "payments/systems/y/data.yaml", `permit: true`, "key payments"},
		{"empty file", "shared/a/a.rego", "", "shared/a/a.rego"},
		{"schema in METADATA", "shared/a/a.rego", "# METADATA\n# schemas:\n#   - input: {$ref: 'file:///etc/passwd'}\npackage payments.shared.a\n\nx := 1", "put it into schemas/NAME.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := system(goodSystem)
			dir[c.file] = &fstest.MapFile{Data: []byte(c.text)}
			wantLoadError(t, dir, c.says)
		})
	}
	// A reference to a whole package reads none of its rules.
	dir := system(goodSystem + "\ndenny contains 1 if input.a")
	dir["shared/a/a.rego"] = &fstest.MapFile{Data: []byte("package payments.shared.a\n\nx := data.payments.systems.x\n\ny contains data.payments.systems.x[z] if some z in [\"a\"]")}
	wantLoadError(t, dir, "nobody reads the rule denny")
}
