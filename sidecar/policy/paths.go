package policy

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A Path leads from a document to a member of an object in it: names, and indexes
// of arrays.
type Path struct{ steps []*ast.Term }

// String is a path as Rego writes it: facts.account.owner, facts.grants[0].state.
func (p Path) String() string {
	var b strings.Builder
	for i, step := range p.steps {
		name, isText := step.Value.(ast.String)
		switch {
		case !isText:
			fmt.Fprintf(&b, "[%v]", step)
		case i > 0:
			b.WriteString("." + string(name))
		default:
			b.WriteString(string(name))
		}
	}
	return b.String()
}

// Paths returns the paths of all members of all objects in v, at any depth, an
// object before its members. Elements of arrays are none, but their members are.
func (v Value) Paths() []Path {
	var paths []Path
	var walk func(t *ast.Term, at []*ast.Term)
	walk = func(t *ast.Term, at []*ast.Term) {
		at = at[:len(at):len(at)] // each appends to a copy
		switch v := t.Value.(type) {
		case ast.Object:
			v.Foreach(func(key, value *ast.Term) {
				paths = append(paths, Path{append(at, key)})
				walk(value, append(at, key))
			})
		case *ast.Array:
			for i := range v.Len() {
				walk(v.Elem(i), append(at, ast.IntNumberTerm(i)))
			}
		}
	}
	if v.term != nil {
		walk(v.term, nil)
	}
	return paths
}

// Without returns v without the member at p.
func (v Value) Without(p Path) Value { return Value{replaced(v.term, p.steps, nil)} }

// WithNull returns v with null at p.
func (v Value) WithNull(p Path) Value { return Value{replaced(v.term, p.steps, ast.NullTerm())} }

// replaced returns t with another term at the end of steps, or without any.
func replaced(t *ast.Term, steps []*ast.Term, other *ast.Term) *ast.Term {
	if len(steps) == 0 {
		return other
	}
	switch v := t.Value.(type) {
	case ast.Object:
		copied := ast.NewObject()
		v.Foreach(func(key, value *ast.Term) {
			if key.Equal(steps[0]) {
				value = replaced(value, steps[1:], other)
			}
			if value != nil {
				copied.Insert(key, value)
			}
		})
		return ast.NewTerm(copied)
	case *ast.Array:
		elements := make([]*ast.Term, v.Len())
		for i := range elements {
			elements[i] = v.Elem(i)
			if ast.IntNumberTerm(i).Equal(steps[0]) {
				elements[i] = replaced(elements[i], steps[1:], other)
			}
		}
		return ast.NewTerm(ast.NewArray(elements...))
	default:
		return t
	}
}

// Text returns the text at a path of names, "" where there is none.
func (v Value) Text(names ...string) string {
	t := v.term
	for _, name := range names {
		if t == nil {
			return ""
		}
		object, ok := t.Value.(ast.Object)
		if !ok {
			return ""
		}
		t = object.Get(ast.StringTerm(name))
	}
	if t == nil {
		return ""
	}
	text, _ := t.Value.(ast.String)
	return string(text)
}
