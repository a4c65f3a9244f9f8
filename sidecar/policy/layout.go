package policy

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// systemRules are the rules of a system that decision.rego reads. All but the
// complete ones are partial sets.
var systemRules = []string{"permit", "deny", "audience", "on_allow", "on_deny"}

var completeRules = []string{"permit", "audience"}

// parseModules parses every file of Rego. Those of tests stand apart: their
// helpers have no business in a decision.
func parseModules(s *Snapshot) (rules, tests map[string]*ast.Module, err error) {
	rules, tests = map[string]*ast.Module{}, map[string]*ast.Module{}
	for _, name := range s.names {
		if path.Ext(name) != ".rego" {
			continue
		}
		isTest := strings.HasSuffix(name, "_test.rego")
		options := ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: capabilities()}
		module, err := ast.ParseModuleWithOpts(name, string(s.files[name]), options)
		if err != nil {
			return nil, nil, err
		}
		if module == nil {
			return nil, nil, fmt.Errorf("%s: no package in the file", name)
		}
		pkg := strings.Join(packagePath(module), ".")
		if isTest != strings.HasSuffix(pkg, "_test") {
			return nil, nil, fmt.Errorf("%v: package %s in the file %s: tests stand in files NAME_test.rego and in packages NAME_test, rules in neither",
				module.Package.Location, pkg, path.Base(name))
		}
		if err := checkText(module); err != nil {
			return nil, nil, err
		}
		if isTest {
			tests[name] = module
		} else {
			rules[name] = module
		}
	}
	return rules, tests, nil
}

// checkText refuses what a policy may write and OPA would choke on: a number
// without bounds, and a schema beside those of the bundle.
func checkText(module *ast.Module) (err error) {
	for _, a := range module.Annotations {
		for _, schema := range a.Schemas {
			if schema.Definition != nil {
				return fmt.Errorf("%v: a schema in the METADATA is not read: put it into schemas/NAME.json", a.Location)
			}
		}
	}
	ast.WalkTerms(module, func(term *ast.Term) bool {
		if number, ok := term.Value.(ast.Number); ok && err == nil {
			if complaint := checkNumber(string(number)); complaint != nil {
				err = fmt.Errorf("%v: %w", term.Location, complaint)
			}
		}
		return err != nil
	})
	return err
}

// packagePath returns payments, systems, x of package payments.systems.x.
func packagePath(module *ast.Module) []string {
	var parts []string
	for _, term := range module.Package.Path[1:] {
		part, _ := term.Value.(ast.String)
		parts = append(parts, string(part))
	}
	return parts
}

// checkLayout looks at what compiles and would still decide nothing: a package
// elsewhere than its directory says, a system without routes or routes without a
// system, a rule that nobody reads, data in the place of rules.
func checkLayout(s *Snapshot, modules map[string]*ast.Module, data map[string]any) error {
	if _, ok := data["payments"]; ok {
		return errors.New("the bundle's data has a key payments: that is where the rules are, name it otherwise")
	}
	systems := map[string][]*ast.Rule{}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		module := modules[name]
		want := append([]string{"payments"}, strings.Split(path.Dir(name), "/")...)
		if want[1] == "." {
			want = want[:1]
		}
		if !slices.Equal(packagePath(module), want) {
			return fmt.Errorf("%v: package %s in this directory: it must be %s",
				module.Package.Location, strings.Join(packagePath(module), "."), strings.Join(want, "."))
		}
		switch {
		case len(want) == 2 && want[1] == "systems":
			return fmt.Errorf("%v: a rule of systems belongs to one: move it to systems/NAME", module.Package.Location)
		case len(want) > 2 && want[1] == "systems":
			system := want[2]
			if _, ok := s.files["systems/"+system+"/routes.yaml"]; !ok {
				return fmt.Errorf("%s: the system %s has no systems/%s/routes.yaml: no call can reach it", name, system, system)
			}
			if len(want) == 3 {
				systems[system] = append(systems[system], module.Rules...)
			}
		}
	}
	routes, err := s.Glob("systems/*/routes.yaml")
	if err != nil {
		return err
	}
	for _, file := range routes {
		if err := checkSystem(file, systems[path.Base(path.Dir(file))]); err != nil {
			return err
		}
	}
	return checkRead(modules)
}

// checkSystem wants permit and deny of a system, in the form in which they are
// read.
func checkSystem(routes string, rules []*ast.Rule) error {
	defined := map[string]bool{}
	for _, rule := range rules {
		name := ruleName(rule)
		if !slices.Contains(systemRules, name) {
			continue
		}
		defined[name] = true
		isSet := rule.Head.RuleKind() == ast.MultiValue
		isComplete := slices.Contains(completeRules, name)
		if len(rule.Head.Ref()) != 1 || len(rule.Head.Args) > 0 || isSet == isComplete {
			form := name + " contains x if"
			if isComplete {
				form = name + " if"
			}
			return fmt.Errorf("%v: write it as `%s`", rule.Location, form)
		}
	}
	if len(rules) == 0 {
		system := path.Base(path.Dir(routes))
		return fmt.Errorf("%s: the system %s has no rules: write systems/%s/%s.rego with permit and deny", routes, system, system, system)
	}
	for _, name := range []string{"permit", "deny"} {
		if !defined[name] {
			return fmt.Errorf("%s: package payments.systems.%s has no rule %s: misspelt?", routes, path.Base(path.Dir(routes)), name)
		}
	}
	return nil
}

// ruleName is the first name of a rule: a of a, a.b, a[x] and a(x).
func ruleName(rule *ast.Rule) string {
	ref := rule.Head.Ref()
	name, _ := ref[0].Value.(ast.Var)
	return string(name)
}

// checkRead refuses a rule of a system, or beside the decision, that no rule
// names. A `denny` denies nothing, and nothing else would tell.
func checkRead(modules map[string]*ast.Module) error {
	read := referred(modules)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		pkg := packagePath(modules[name])
		roots := []string{}
		switch {
		case len(pkg) == 1:
			roots = []string{"decision"}
		case pkg[1] != "systems":
			continue // shared rules wait for their systems
		case len(pkg) == 3:
			roots = systemRules
		}
		for _, rule := range modules[name].Rules {
			if own := ruleName(rule); !slices.Contains(roots, own) && !read(append(slices.Clone(pkg), own)) {
				return fmt.Errorf("%v: nobody reads the rule %s: misspelt?", rule.Location, own)
			}
		}
	}
	return nil
}

// referred returns a function that tells whether some reference names the rule
// at a path below data. One that takes a whole package with it names none.
func referred(modules map[string]*ast.Module) func(path []string) bool {
	var refs []ast.Ref
	for _, module := range modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			if ref.HasPrefix(ast.DefaultRootRef) {
				refs = append(refs, ref)
			}
			return false
		})
	}
	return func(path []string) bool {
		return slices.ContainsFunc(refs, func(ref ast.Ref) bool { return names(ref[1:], path) })
	}
}

func names(ref ast.Ref, path []string) bool {
	if len(ref) < len(path) {
		return false
	}
	for i, part := range path {
		text, isText := ref[i].Value.(ast.String)
		if isText && string(text) != part || !isText && i == len(path)-1 {
			return false
		}
	}
	return true
}
