package strictjson

import (
	"fmt"
	"iter"
	"strconv"
)

// Kind is the type of a value.
type Kind uint8

const (
	Invalid Kind = iota // the zero Value: nothing was found
	Null
	Bool
	Number
	String
	Object
	Array
)

// String returns the kind in lower case, for messages.
func (k Kind) String() string {
	names := [...]string{"invalid", "null", "bool", "number", "string", "object", "array"}
	if int(k) < len(names) {
		return names[k]
	}
	return "invalid"
}

// node is one value. Nodes stand in the order of the text, so the children of a container
// follow it, and each child's end is where the next one begins.
type node struct {
	name   string // member name, unescaped; "" outside objects
	text   string // unescaped string, or the literal of a number or bool
	nameAt uint32 // offset of the name in the text
	end    uint32 // index of the first node after this value
	count  uint32 // children
	hash   uint32 // of the folded name, while duplicates are sought
	kind   Kind
}

// Document is a parsed text. It is immutable and safe for concurrent use.
type Document struct {
	nodes []node
}

// Root returns the value of the whole text.
func (d *Document) Root() Value { return Value{document: d} }

// Format prints no content, whatever the verb: bodies hold secrets.
func (d *Document) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprint(state, "strictjson document")
}

// Value is one value of a document. The zero Value has the kind Invalid and is what lookups
// return that find nothing.
type Value struct {
	document *Document
	at       uint32
}

func (v Value) node() *node {
	if v.document == nil {
		return &node{}
	}
	return &v.document.nodes[v.at]
}

// Format prints the kind and no content, whatever the verb: bodies hold secrets. It takes
// precedence over String when a Value reaches a log by mistake.
func (v Value) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprint(state, "strictjson ", v.Kind().String())
}

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.node().kind }

// Bool returns the truth of a Bool, and false for any other kind.
func (v Value) Bool() bool { return v.Kind() == Bool && v.node().text == "true" }

// String returns a String unescaped, and "" for any other kind: look at Kind first.
func (v Value) String() string { return v.textOf(String) }

// Number returns the literal of a Number as it stands in the text, and "" for any other kind.
func (v Value) Number() string { return v.textOf(Number) }

func (v Value) textOf(kind Kind) string {
	if v.Kind() != kind {
		return ""
	}
	return v.node().text
}

// maxExactInt is the largest integer up to which doubles hold every integer (RFC 7493
// section 2.2).
const maxExactInt = 1<<53 - 1

// Int returns a Number that all parsers read as the same integer: without fraction and
// exponent, not -0, and within ±(2^53-1). It reports false for any other value.
func (v Value) Int() (int64, bool) {
	literal := v.Number()
	// ParseInt refuses "", fractions and exponents; what else it takes is not in the grammar.
	i, err := strconv.ParseInt(literal, 10, 64)
	if err != nil || literal == "-0" || i < -maxExactInt || i > maxExactInt {
		return 0, false
	}
	return i, true
}

// Len returns how many members an Object or elements an Array has, and 0 for other kinds.
func (v Value) Len() int { return int(v.node().count) }

// Member returns the member of an Object with exactly this name.
func (v Value) Member(name string) (Value, bool) {
	for memberName, member := range v.Members() {
		if memberName == name {
			return member, true
		}
	}
	return Value{}, false
}

// Index returns the element i of an Array, counted from 0. It takes time linear in i; to
// visit all, use Elements.
func (v Value) Index(i int) (Value, bool) {
	for at, element := range v.Elements() {
		if at == i {
			return element, true
		}
	}
	return Value{}, false
}

// Members iterates over the members of an Object in the order of the text, and over nothing
// for other kinds.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		nodes := v.document.nodes
		for at := v.at + 1; at < nodes[v.at].end; at = nodes[at].end {
			if !yield(nodes[at].name, Value{document: v.document, at: at}) {
				return
			}
		}
	}
}

// Elements iterates over the elements of an Array with their positions, and over nothing for
// other kinds.
func (v Value) Elements() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		if v.Kind() != Array {
			return
		}
		nodes := v.document.nodes
		for at, i := v.at+1, 0; at < nodes[v.at].end; at, i = nodes[at].end, i+1 {
			if !yield(i, Value{document: v.document, at: at}) {
				return
			}
		}
	}
}
