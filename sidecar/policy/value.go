package policy

import (
	"fmt"
	"math"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A Value is a piece of the document that a policy reads as `input`. It is built
// in the evaluator's own form: there is no JSON on the way. The zero Value is
// "absent".
type Value struct{ term *ast.Term }

// A Key is the name of an object's member, made once and used in every document.
type Key struct{ term *ast.Term }

// NewKey returns the Key for a name.
func NewKey(name string) Key { return Key{ast.StringTerm(name)} }

// A Member is a key and a value of an object.
type Member struct {
	Key   Key
	Value Value
}

// String is a string, which must be valid UTF-8.
func String(s string) Value { return Value{ast.StringTerm(s)} }

// Where int has 32 bits, amounts and times would be cut: do not compile there.
const _ int = math.MaxInt64

// Int is an integer.
func Int(n int64) Value { return Value{ast.IntNumberTerm(int(n))} }

// Bool is a boolean.
func Bool(b bool) Value { return Value{ast.BooleanTerm(b)} }

// Object is an object of the members given, without those whose value is absent.
func Object(members ...Member) Value {
	pairs := make([][2]*ast.Term, 0, len(members))
	for _, m := range members {
		if m.Value.term != nil {
			pairs = append(pairs, [2]*ast.Term{m.Key.term, m.Value.term})
		}
	}
	return Value{ast.NewTerm(ast.NewObject(pairs...))}
}

// Array is an array of the values given.
func Array(values ...Value) Value {
	terms := make([]*ast.Term, 0, len(values))
	for _, v := range values {
		terms = append(terms, v.term)
	}
	return Value{ast.ArrayTerm(terms...)}
}

// ParseValue reads what MarshalJSON wrote, or any other document of JSON that two
// readers cannot read differently: no key twice, UTF-8, numbers of at most 40
// characters. Numbers stay as they are written, so integers are exact. A set comes
// back as an array.
func ParseValue(text []byte) (Value, error) {
	plain, err := readJSON(text)
	if err != nil {
		return Value{}, fmt.Errorf("JSON: %w", err)
	}
	value, err := ast.InterfaceToValue(plain)
	if err != nil {
		return Value{}, fmt.Errorf("JSON: %w", err)
	}
	return Value{ast.NewTerm(value)}, nil
}
