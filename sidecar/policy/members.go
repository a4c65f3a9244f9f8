package policy

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/authzstore"
)

// members reads the members of an object in the policy's answer, each once and
// none left over. The first error stays, and what is read after it is empty. No
// error quotes a value.
type members struct {
	what  string // for errors
	terms ast.Object
	read  int // members read
	err   error
}

func readMembers(t *ast.Term, what string) (*members, error) {
	terms, ok := t.Value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("%s is %s, not an object", what, ast.ValueName(t.Value))
	}
	return &members{what: what, terms: terms}, nil
}

// child reads an object inside; take hands its error on.
func (o *members) child(t *ast.Term, what string) *members {
	c, err := readMembers(t, what)
	if err != nil {
		return &members{what: what, terms: ast.NewObject(), err: err}
	}
	return c
}

// inside reads an object that a member is.
func (o *members) inside(name string) *members {
	v := o.member(name)
	if v == nil {
		v = ast.NewObject()
	}
	return o.child(ast.NewTerm(v), name)
}

func (o *members) take(child *members) {
	if err := child.end(); err != nil && o.err == nil {
		o.err = err
	}
}

// end returns the first error, or that something was left unread.
func (o *members) end() error {
	if o.err == nil && o.read != o.terms.Len() {
		o.err = fmt.Errorf("%s has %d members that are not read", o.what, o.terms.Len()-o.read)
	}
	return o.err
}

func (o *members) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
}

func (o *members) has(name string) bool { return o.terms.Get(ast.InternedTerm(name)) != nil }

// member returns nil, and notes an error, where there is none.
func (o *members) member(name string) ast.Value {
	term := o.terms.Get(ast.InternedTerm(name))
	if term == nil {
		o.fail("%s has no %s", o.what, name)
		return nil
	}
	o.read++
	return term.Value
}

func (o *members) boolean(name string) bool {
	v, ok := o.member(name).(ast.Boolean)
	if !ok {
		o.fail("%s of %s is not a boolean", name, o.what)
	}
	return bool(v)
}

// text is a string of 1 to maxBytes bytes.
func (o *members) text(name string, maxBytes int) string {
	v, ok := o.member(name).(ast.String)
	if !ok || v == "" || len(v) > maxBytes {
		o.fail("%s of %s is not a text of 1 to %d bytes", name, o.what, maxBytes)
	}
	return string(v)
}

// int is an integer from low to high.
func (o *members) int(name string, low, high int64) int64 {
	v, _ := o.member(name).(ast.Number)
	n, ok := v.Int64()
	if !ok || n < low || n > high {
		o.fail("%s of %s is not an integer from %d to %d", name, o.what, low, high)
		return 0
	}
	return n
}

// either is the name of a member or, where only that is there, the one that it had
// before: bundles in the archive say it, and what they decided can be repeated.
func (o *members) either(name, formerly string) string {
	if !o.has(name) && o.has(formerly) {
		return formerly
	}
	return name
}

func (o *members) optionalInt(name string, low, high int64) *int64 {
	if !o.has(name) {
		return nil
	}
	n := o.int(name, low, high)
	return &n
}

// elements returns the elements of a set, in order, or of an array: at most so
// many.
func (o *members) elements(name string, atMost int) []*ast.Term {
	var terms []*ast.Term
	switch v := o.member(name).(type) {
	case nil:
		return nil
	case ast.Set:
		terms = v.Slice()
	case *ast.Array:
		v.Foreach(func(term *ast.Term) { terms = append(terms, term) })
	default:
		o.fail("%s is %s, not a set or an array", name, ast.ValueName(v))
	}
	if len(terms) > atMost {
		o.fail("%d %s, at most %d are read", len(terms), name, atMost)
		return nil
	}
	return terms
}

// optionalText is "" where there is none.
func (o *members) optionalText(name string, maxBytes int) string {
	if !o.has(name) {
		return ""
	}
	return o.text(name, maxBytes)
}

// oneOf is one of these words, "" with an error.
func oneOf[W ~string](o *members, name string, words []W) W {
	v, _ := o.member(name).(ast.String)
	if !slices.Contains(words, W(v)) {
		o.fail("%s of %s is not one of %q", name, o.what, words)
		return ""
	}
	return W(v)
}

// snakeCase is a snake_case name of at most 64 bytes.
func (o *members) snakeCase(name string) string {
	text := o.text(name, maxNameBytes)
	if !authzstore.IsSnakeCase(text) {
		o.fail("%s of %s is not a snake_case name of at most 64 bytes", name, o.what)
	}
	return text
}

// intOr0 is an integer from low to high, 0 where there is none.
func (o *members) intOr0(name string, low, high int64) int64 {
	if n := o.optionalInt(name, low, high); n != nil {
		return *n
	}
	return 0
}

// names are at most so many names, each once, in their order; not nil.
func (o *members) names(name string, atMost int) []string {
	names := []string{}
	for _, term := range o.elements(name, atMost) {
		v, ok := term.Value.(ast.String)
		if !ok || v == "" || len(v) > maxNameBytes || slices.Contains(names, string(v)) {
			o.fail("%s of %s are not texts of 1 to %d bytes, each once", name, o.what, maxNameBytes)
		}
		names = append(names, string(v))
	}
	return names
}

// optionalTexts is an object of at most so many texts under snake_case names; nil where
// there is none.
func (o *members) optionalTexts(name string, atMost int) map[string]string {
	if !o.has(name) {
		return nil
	}
	object, ok := o.member(name).(ast.Object)
	if !ok || object.Len() > atMost {
		o.fail("%s of %s is not an object of at most %d members", name, o.what, atMost)
		return nil
	}
	texts := map[string]string{}
	object.Foreach(func(key, value *ast.Term) {
		k, isText := key.Value.(ast.String)
		v, ok := value.Value.(ast.String)
		if !isText || !authzstore.IsSnakeCase(string(k)) || !ok || v == "" || len(v) > maxNameBytes {
			o.fail("%s of %s are not texts of 1 to %d bytes under snake_case names", name, o.what, maxNameBytes)
		}
		texts[string(k)] = string(v)
	})
	return texts
}
