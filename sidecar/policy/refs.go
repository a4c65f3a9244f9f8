package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// An InputRef is a place where a rule reads a member of input.call or of
// input.facts.
type InputRef struct {
	File string
	Line int
	Part string // call or facts
	Name string
}

// InputRefs returns what is read, to decide a call of the system, of input.call and
// input.facts, in the order of files and lines: the decision, the rules of the
// system, and every rule of another package that one of them can reach.
//
// It is complete, because anything but a reference that names the member is an
// error: a computed name, and input, input.call or input.facts as a whole, which
// could go anywhere.
func (p *Policy) InputRefs(system string) ([]InputRef, error) {
	var refs []InputRef
	var fail error
	for _, rule := range rulesOf(p.rules, system) {
		for _, ref := range inputRefs(rule) {
			r, err := readInputRef(ref, rule)
			if err != nil && fail == nil {
				fail = err
			}
			if r.Name != "" {
				refs = append(refs, r)
			}
		}
	}
	slices.SortFunc(refs, func(a, b InputRef) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(refs), fail
}

// rulesOf returns the rules that can have a part in the decision on a call of the
// system, in the order of their places.
func rulesOf(compiler *ast.Compiler, system string) []*ast.Rule {
	seen := map[*ast.Rule]bool{}
	var rules []*ast.Rule
	var visit func(*ast.Rule)
	visit = func(rule *ast.Rule) {
		if seen[rule] {
			return
		}
		seen[rule] = true
		rules = append(rules, rule)
		isTheCalls := readsTheCallsSystem(rule)
		for other := range compiler.Graph.Dependencies(rule) {
			if next := other.(*ast.Rule); !isTheCalls || systemOf(next) == "" {
				visit(next)
			}
		}
	}
	for _, module := range compiler.Modules {
		for _, rule := range module.Rules {
			if len(packagePath(module)) == 1 || systemOf(rule) == system {
				visit(rule)
			}
		}
	}
	slices.SortFunc(rules, func(a, b *ast.Rule) int { return a.Loc().Compare(b.Loc()) })
	return rules
}

var (
	systemsRef    = ast.MustParseRef("data.payments.systems")
	callSystemRef = ast.MustParseRef("input.call.system")
)

// readsTheCallsSystem tells whether a rule reads systems only as
// data.payments.systems[input.call.system]. The compiler gives the name in
// brackets a variable of its own.
func readsTheCallsSystem(rule *ast.Rule) bool {
	names := ast.NewVarSet()
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		if expr.IsEquality() && expr.Operand(1).Value.Compare(callSystemRef) == 0 {
			if name, ok := expr.Operand(0).Value.(ast.Var); ok {
				names.Add(name)
			}
		}
		return false
	})
	only := true
	ast.WalkRefs(rule, func(ref ast.Ref) bool {
		if ref.HasPrefix(systemsRef) {
			name, ok := ast.Var(""), len(ref) > len(systemsRef)
			if ok {
				name, ok = ref[len(systemsRef)].Value.(ast.Var)
			}
			only = only && ok && names.Contains(name)
		}
		return false
	})
	return only
}

// systemOf is x for a rule of payments.systems.x or below, "" for the others.
func systemOf(rule *ast.Rule) string {
	if pkg := packagePath(rule.Module); len(pkg) > 2 && pkg[1] == "systems" {
		return pkg[2]
	}
	return ""
}

// inputRefs returns the references to input in a rule. Those that stood within
// other references have been taken out by the compiler.
func inputRefs(rule *ast.Rule) []*ast.Term {
	var refs []*ast.Term
	ast.NewGenericVisitor(func(x any) bool {
		term, ok := x.(*ast.Term)
		if !ok {
			return false
		}
		if term.Equal(ast.InputRootDocument) {
			refs = append(refs, ast.NewTerm(ast.InputRootRef).SetLocation(term.Location))
			return true
		}
		ref, ok := term.Value.(ast.Ref)
		if !ok || !ref.HasPrefix(ast.InputRootRef) {
			return false
		}
		refs = append(refs, term)
		return true
	}).Walk(rule)
	return refs
}

// readInputRef returns a zero InputRef for what is neither the call nor a fact.
func readInputRef(term *ast.Term, rule *ast.Rule) (InputRef, error) {
	place := term.Location
	if place == nil || place.File == "" { // the compiler has made it
		place = rule.Loc()
	}
	ref := term.Value.(ast.Ref)
	refuse := func(what string) (InputRef, error) {
		return InputRef{}, fmt.Errorf("%s:%d: %s: name each member, as in input.call.amount_minor, so that it can be compared with the route table",
			place.File, place.Row, what)
	}
	if len(ref) == 1 {
		return refuse("reads input as a whole")
	}
	part, named := ref[1].Value.(ast.String)
	switch {
	case !named:
		return refuse("reads input by a computed name")
	case part != "call" && part != "facts":
		return InputRef{}, nil
	case len(ref) == 2:
		return refuse(fmt.Sprintf("reads input.%s as a whole", string(part)))
	}
	name, named := ref[2].Value.(ast.String)
	if !named {
		return refuse(fmt.Sprintf("reads input.%s by a computed name", string(part)))
	}
	return InputRef{File: place.File, Line: place.Row, Part: string(part), Name: string(name)}, nil
}
