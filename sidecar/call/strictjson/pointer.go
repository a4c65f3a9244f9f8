package strictjson

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pointer is a JSON Pointer (RFC 6901) to a value in a document. The zero Pointer is the
// empty one and means the whole document.
type Pointer struct {
	text  string
	steps []step
}

// step goes from a container to one of its children.
type step struct {
	name  string // of a member
	index int    // of an element; -1 if name is no index
}

var (
	errPointerStart = errors.New("a JSON Pointer is empty or starts with '/'")
	errPointerTilde = errors.New("in a JSON Pointer '~' is followed by 0 or 1")
	errPointerDash  = errors.New("the step '-' of a JSON Pointer means an element that does not exist")
	errPointerUTF8  = errors.New("a JSON Pointer is valid UTF-8")
)

// ParsePointer reads a JSON Pointer in its string form. Unlike RFC 6901 it refuses the step
// "-", which stands behind the last element of an array and so never finds a value.
func ParsePointer(text string) (Pointer, error) {
	if text == "" {
		return Pointer{}, nil
	}
	if text[0] != '/' {
		return Pointer{}, errPointerStart
	}
	if !utf8.ValidString(text) {
		return Pointer{}, errPointerUTF8
	}
	pointer := Pointer{text: text}
	for token := range strings.SplitSeq(text[1:], "/") {
		name, err := unescapeToken(token)
		if err != nil {
			return Pointer{}, err
		}
		if name == "-" {
			return Pointer{}, errPointerDash
		}
		pointer.steps = append(pointer.steps, step{name: name, index: arrayIndex(name)})
	}
	return pointer, nil
}

// String returns the pointer as it was parsed.
func (p Pointer) String() string { return p.text }

// Names returns the names of the members on the way to the value, its own last.
func (p Pointer) Names() []string {
	var names []string
	for _, s := range p.steps {
		names = append(names, s.name)
	}
	return names
}

// HasIndex tells whether a step could pick an element of an array.
func (p Pointer) HasIndex() bool {
	for _, s := range p.steps {
		if s.index >= 0 {
			return true
		}
	}
	return false
}

// unescapeToken turns ~1 into / and then ~0 into ~, in the order of RFC 6901 section 4.
func unescapeToken(token string) (string, error) {
	for i := 0; i < len(token); i++ {
		if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
			return "", errPointerTilde
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"), nil
}

// arrayIndex returns the index that a token means in an array: digits without leading zeros.
func arrayIndex(name string) int {
	if name == "" || name[0] == '0' && len(name) > 1 {
		return -1
	}
	for i := range len(name) {
		if !isDigit(name[i]) {
			return -1
		}
	}
	index, err := strconv.Atoi(name)
	if err != nil {
		return -1
	}
	return index
}

// Lookup returns the value that the pointer means. Names are compared exactly; see
// CheckSpelling for the members that only a lenient parser finds.
func (d *Document) Lookup(pointer Pointer) (Value, bool) {
	v := d.Root()
	for _, s := range pointer.steps {
		var found bool
		if v, found = v.child(s); !found {
			return Value{}, false
		}
	}
	return v, true
}

func (v Value) child(s step) (Value, bool) {
	if v.Kind() == Array {
		return v.Index(s.index)
	}
	return v.Member(s.name)
}

// CheckSpelling returns an *Error if the pointer finds nothing here but may find something in
// a lenient parser, which takes Amount or AMOUNT for amount. Whoever treats a missing value as
// absent, or falls back on a default, must refuse such a text instead.
func (d *Document) CheckSpelling(pointer Pointer) error {
	v := d.Root()
	for _, s := range pointer.steps {
		next, found := v.child(s)
		if !found {
			return v.checkMissing(s.name)
		}
		v = next
	}
	return nil
}

func (v Value) checkMissing(name string) error {
	for memberName, member := range v.Members() {
		if foldAlike(memberName, name) {
			return fail(CodeMisspelledMember, int(member.node().nameAt),
				"a member is spelled differently from the one expected")
		}
	}
	return nil
}
