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
	// MovesMoney is `moves_money`, by default whether the route maps an amount. An
	// allow of such a route holds one reservation.
	MovesMoney bool
	Identity   IdentitySource
	Fields     []Field  // what the policy sees, in the order of their names
	Secrets    []Secret // in the order of their names
	Facts      []Fact   // in the order of their names
	Upstream   Upstream

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
	Name     string
	Type     Type
	Personal bool               // its value is a token that stands for the personal one
	Optional bool               // it may be absent
	json     strictjson.Pointer // where it stands in the body, or
	segment  int                // in which segment of the path; -1 for the body
}

// A segment of a path template: a literal, or {variable}.
type segment struct {
	text     string
	variable bool
}

// A Secret is a secret field and where it stands. Its value goes to the evidence
// that it is, and never into an input, a record, a log or the fingerprint.
type Secret struct {
	Name     string
	Evidence string // the kind of evidence, from the Vocabulary given to Load
}

// A Fact is something that the store holds about a call.
type Fact struct {
	Name  string
	Write bool // an effect may change it, so it is locked for this call alone
}

// Upstream is what a route promises of the service behind it.
type Upstream struct {
	Audience   string // of the token that goes upstream; a route that moves money has one
	Idempotent bool   // it runs a reservation once, so an allow may be forwarded again
}

// A Type is what values a field has.
type Type int

// The types of fields.
const (
	Text     Type = iota // 1 to 256 bytes without control characters
	Integer              // from −(2^53−1) to 2^53−1
	Boolean              // true or false
	Amount               // minor units, from 1 to 2^53−1
	Currency             // an ISO 4217 alphabetic code
)

func (t Type) String() string {
	return [...]string{"text", "integer", "boolean", "amount", "currency"}[t]
}

// Fields that have one meaning in every system.
const (
	fieldAccount  = "account"
	fieldPayee    = "payee"
	fieldAmount   = "amount_minor"
	fieldCurrency = "currency"
)

// wellKnown are their types.
var wellKnown = map[string]Type{fieldAccount: Text, fieldPayee: Text, fieldAmount: Amount, fieldCurrency: Currency}

// FactNames returns the vocabulary of facts, sorted.
func FactNames() []string { return slices.Sorted(maps.Keys(factFields)) }

// factFields is the vocabulary of facts: each is looked up by a field.
var factFields = map[string]string{
	"account": "account",
}

// A Vocabulary is what route tables may name that other packages know.
type Vocabulary struct {
	Evidence []string // kinds of evidence that a secret field can be
}

// Load reads the route table of every system: systems/NAME/routes.yaml in dir.
// An error names file and line.
func Load(dir fs.FS, v Vocabulary) (*Table, error) {
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

// Routes returns all routes, in the order of systems and files.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }

// NeedsPersonalKey tells whether some field is personal.
func (t *Table) NeedsPersonalKey() bool {
	return slices.ContainsFunc(t.routes, func(r *Route) bool {
		return slices.ContainsFunc(r.Fields, func(f Field) bool { return f.Personal })
	})
}
