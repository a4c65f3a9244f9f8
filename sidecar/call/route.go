package call

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// A Table holds the routes of every system. It never changes.
type Table struct{ routes []*Route }

// A Route says what the requests of one method and path mean.
type Route struct {
	System    string
	Operation string
	Identity  IdentitySource
	Fields    []Field // in the order of their names
	Facts     []string

	method   string
	template string
	segments []segment
	hasBody  bool // some field stands in the body
}

// An IdentitySource says which verified identity a route takes.
type IdentitySource struct {
	Issuer string // the token's `iss`
	Kind   string
}

// A Field is one field of the canonical call and where it stands.
type Field struct {
	Name    string
	kind    kind
	json    strictjson.Pointer // where it stands in the body, or
	segment int                // in which segment of the path; -1 for the body
}

// A segment of a path template: a literal, or {variable}.
type segment struct {
	text     string
	variable bool
}

type kind int

const (
	text     kind = iota // 1 to 256 bytes without control characters
	amount               // an integer from 1 to 2^53−1
	currency             // an ISO 4217 alphabetic code
)

// fieldKinds is the vocabulary of the canonical call.
var fieldKinds = map[string]kind{
	"account":      text,
	"payee":        text,
	"amount_minor": amount,
	"currency":     currency,
}

// FieldNames returns the vocabulary of the canonical call, sorted.
func FieldNames() []string { return slices.Sorted(maps.Keys(fieldKinds)) }

// FactNames returns the vocabulary of facts, sorted.
func FactNames() []string { return slices.Sorted(maps.Keys(factFields)) }

// factFields is the vocabulary of facts: each is looked up by a field.
var factFields = map[string]string{
	"account": "account",
}

// Load reads the route table of every system: systems/NAME/routes.yaml in dir.
// An error names file and line.
func Load(dir fs.FS) (*Table, error) {
	names, err := fs.Glob(dir, "systems/*/routes.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("routes: no systems/NAME/routes.yaml found")
	}
	table := &Table{}
	for _, name := range names {
		source, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		if err := table.add(name, path.Base(path.Dir(name)), source); err != nil {
			return nil, err
		}
	}
	return table, nil
}

// Systems returns the systems that have routes, sorted.
func (t *Table) Systems() []string {
	var systems []string
	for _, r := range t.routes {
		systems = append(systems, r.System)
	}
	slices.Sort(systems)
	return slices.Compact(systems)
}

// match returns the route of a method and a canonical path, nil where there is
// none. At most one matches: Load refuses overlaps.
func (t *Table) match(method string, segments []string) *Route {
	for _, r := range t.routes {
		if r.method == method && r.fits(segments) {
			return r
		}
	}
	return nil
}

func (r *Route) fits(segments []string) bool {
	if len(segments) != len(r.segments) {
		return false
	}
	for i, s := range r.segments {
		if !s.variable && s.text != segments[i] {
			return false
		}
	}
	return true
}

// overlaps tells whether some request would match both routes.
func (r *Route) overlaps(other *Route) bool {
	if r.method != other.method || len(r.segments) != len(other.segments) {
		return false
	}
	for i, s := range r.segments {
		o := other.segments[i]
		if !s.variable && !o.variable && s.text != o.text {
			return false
		}
	}
	return true
}

// parseTemplate reads /v1/accounts/{account}/payments.
func parseTemplate(template string) ([]segment, error) {
	rest, ok := strings.CutPrefix(template, "/")
	if !ok {
		return nil, fmt.Errorf("path %q has no / at its start", template)
	}
	var segments []segment
	for part := range strings.SplitSeq(rest, "/") {
		s := segment{text: part}
		if name, ok := strings.CutPrefix(part, "{"); ok {
			name, ok = strings.CutSuffix(name, "}")
			if !ok || name == "" {
				return nil, fmt.Errorf("path %q: %q is not {name}", template, part)
			}
			s = segment{text: name, variable: true}
		}
		if !isSegment(s.text) {
			return nil, fmt.Errorf("path %q: %q is not a segment of letters, digits and - . : _ ~", template, part)
		}
		if s.variable && slices.Contains(segments, s) {
			return nil, fmt.Errorf("path %q has {%s} twice", template, s.text)
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// IsAmount tells whether the field's Value is its Int.
func (f Field) IsAmount() bool { return f.kind == amount }
