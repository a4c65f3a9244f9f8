package strictjson

import (
	"strings"
	"unicode/utf8"
)

// Limits bound the work that one text can cause. The zero value of a field, and any negative
// value, means its default.
type Limits struct {
	MaxBytes   int // length of the text; default 64 KiB, at most 16 MiB
	MaxDepth   int // objects and arrays inside each other; default 16, at most 512
	MaxMembers int // values in all, containers and the root included; default 4096, at most 1 Mi
}

const (
	defaultMaxBytes   = 64 << 10
	defaultMaxDepth   = 16
	defaultMaxMembers = 4096

	// The ceilings keep recursion shallow and offsets within 32 bits whatever is configured.
	ceilingBytes   = 16 << 20
	ceilingDepth   = 512
	ceilingMembers = 1 << 20

	maxNameBytes = 256
)

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxBytes:   bound(l.MaxBytes, defaultMaxBytes, ceilingBytes),
		MaxDepth:   bound(l.MaxDepth, defaultMaxDepth, ceilingDepth),
		MaxMembers: bound(l.MaxMembers, defaultMaxMembers, ceilingMembers),
	}
}

func bound(configured, fallback, ceiling int) int {
	if configured <= 0 {
		return fallback
	}
	return min(configured, ceiling)
}

// Parse reads one JSON text under the rules of this package. The error is always an *Error.
// The document does not refer to text, so the caller may reuse it.
func Parse(text []byte, limits Limits) (*Document, error) {
	limits = limits.withDefaults()
	if len(text) > limits.MaxBytes {
		return nil, fail(CodeTooBig, limits.MaxBytes, "the text is longer than the limit")
	}
	// One copy: every string and number of the document is a slice of it, and nobody can
	// change the body between the decision and the signature.
	p := parser{text: string(text), limits: limits}
	if err := p.checkEncoding(); err != nil {
		return nil, err
	}
	p.skipSpace()
	if p.pos == len(p.text) {
		return nil, fail(CodeEmpty, p.pos, "there is no value")
	}
	p.nodes = make([]node, 0, min(p.mostValues(), limits.MaxMembers))
	if err := p.value("", 0, 0); err != nil {
		return nil, err
	}
	p.skipSpace()
	if p.pos != len(p.text) {
		return nil, fail(CodeTrailingData, p.pos, "there is more text after the value")
	}
	return &Document{nodes: p.nodes}, nil
}

// parser goes through the text once. Its recursion is bounded by limits.MaxDepth.
type parser struct {
	text   string
	pos    int // offset of the next byte to read
	limits Limits
	nodes  []node
	seen   nameTable
}

func (p *parser) checkEncoding() error {
	if strings.HasPrefix(p.text, "\ufeff") {
		return fail(CodeByteOrderMark, 0, "the text starts with a byte order mark")
	}
	if utf8.ValidString(p.text) {
		return nil
	}
	for i := 0; i < len(p.text); {
		r, size := utf8.DecodeRuneInString(p.text[i:])
		if r == utf8.RuneError && size == 1 {
			return fail(CodeNotUTF8, i, "the text is not valid UTF-8")
		}
		i += size
	}
	return fail(CodeNotUTF8, 0, "the text is not valid UTF-8")
}

// mostValues returns a number that the values in the text cannot exceed, so that the nodes
// are allocated once: every value but the root follows a comma or opens its container.
func (p *parser) mostValues() int {
	return 1 + strings.Count(p.text, ",") + strings.Count(p.text, "{") + strings.Count(p.text, "[")
}

// peek returns the next byte, or 0 at the end; a real 0 is legal nowhere.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) skipSpace() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// unexpected says that the grammar wants something else at this place.
func (p *parser) unexpected(wanted string) error {
	if p.pos >= len(p.text) {
		return fail(CodeSyntax, p.pos, "the text ends too early")
	}
	return fail(CodeSyntax, p.pos, wanted)
}

// value reads one value and appends its nodes. name and nameAt belong to a member of an
// object; depth counts the containers around the value.
func (p *parser) value(name string, nameAt, depth int) error {
	if len(p.nodes) >= p.limits.MaxMembers {
		return fail(CodeTooManyValues, p.pos, "there are more values than the limit")
	}
	at := len(p.nodes)
	p.nodes = append(p.nodes, node{name: name, nameAt: uint32(nameAt), end: uint32(at + 1)})
	n := &p.nodes[at]
	var err error
	switch c := p.peek(); {
	case c == '{':
		n.kind = Object
		err = p.object(at, depth+1)
	case c == '[':
		n.kind = Array
		err = p.array(at, depth+1)
	case c == '"':
		n.kind = String
		n.text, err = p.string()
	case c == '-' || isDigit(c):
		n.kind = Number
		n.text, err = p.number()
	default:
		n.kind, n.text, err = p.literal()
	}
	return err
}

func (p *parser) literal() (Kind, string, error) {
	rest := p.text[p.pos:]
	for _, l := range [...]struct {
		kind Kind
		text string
	}{{Bool, "true"}, {Bool, "false"}, {Null, "null"}} {
		if strings.HasPrefix(rest, l.text) {
			p.pos += len(l.text)
			return l.kind, l.text, nil
		}
	}
	return Invalid, "", p.unexpected("a value is expected here")
}

func (p *parser) array(at, depth int) error {
	if depth > p.limits.MaxDepth {
		return fail(CodeTooDeep, p.pos, "the nesting is deeper than the limit")
	}
	p.pos++
	p.skipSpace()
	if p.peek() == ']' {
		p.pos++
		return nil
	}
	for {
		if err := p.value("", 0, depth); err != nil {
			return err
		}
		p.nodes[at].count++
		p.skipSpace()
		switch p.peek() {
		case ',':
			p.pos++
			p.skipSpace()
		case ']':
			p.pos++
			p.nodes[at].end = uint32(len(p.nodes))
			return nil
		default:
			return p.unexpected("a comma or the end of the array is expected here")
		}
	}
}

func (p *parser) object(at, depth int) error {
	if depth > p.limits.MaxDepth {
		return fail(CodeTooDeep, p.pos, "the nesting is deeper than the limit")
	}
	p.pos++
	p.skipSpace()
	if p.peek() == '}' {
		p.pos++
		return nil
	}
	for {
		if err := p.member(at, depth); err != nil {
			return err
		}
		p.nodes[at].count++
		p.skipSpace()
		switch p.peek() {
		case ',':
			p.pos++
			p.skipSpace()
		case '}':
			p.pos++
			p.nodes[at].end = uint32(len(p.nodes))
			return p.seen.check(p.nodes, at)
		default:
			return p.unexpected("a comma or the end of the object is expected here")
		}
	}
}

func (p *parser) member(object, depth int) error {
	nameAt := p.pos
	if p.peek() != '"' {
		return p.unexpected("a member name in double quotes is expected here")
	}
	name, err := p.string()
	if err != nil {
		return err
	}
	if len(name) > maxNameBytes {
		return fail(CodeNameTooLong, nameAt, "the member name is longer than 256 bytes")
	}
	if name == "__proto__" || name == "prototype" && p.nodes[object].name == "constructor" {
		return fail(CodeForbiddenMember, nameAt, "the member name changes prototypes in JavaScript")
	}
	p.skipSpace()
	if p.peek() != ':' {
		return p.unexpected("a colon is expected here")
	}
	p.pos++
	p.skipSpace()
	return p.value(name, nameAt, depth)
}
