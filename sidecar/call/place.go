package call

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// A place is where a value stands.
type place struct {
	in       string             // json, header, path, query, form, identity or constant
	name     string             // of the header, variable, parameter or part of the identity
	pointer  strictjson.Pointer // of json
	constant Value              // of constant
}

// The places; each is a key of the route table.
const (
	inJSON     = "json"
	inHeader   = "header"
	inPath     = "path"
	inQuery    = "query"
	inForm     = "form"
	ofIdentity = "identity"
	isConstant = "constant"
)

func (p place) String() string {
	if p.in == isConstant {
		return p.in
	}
	return p.in + " " + p.name
}

// chosen tells whether the caller chooses what stands there.
func (p place) chosen() bool { return p.in != isConstant && p.in != ofIdentity }

// reads tells whether it is this part of the identity.
func (p place) reads(part string) bool { return p.in == ofIdentity && p.name == part }

// parts are a request, taken apart as its route says.
type parts struct {
	route    *Route
	identity authzstore.Identity
	expires  int64  // see readExpiry
	amr      string // see readAMR
	segments []string
	headers  []headerValue // as route.headers
	query    params
	form     params
	body     *strictjson.Document // nil where the route has no fields in JSON
}

// found is what stands at a place: a value of JSON, or a text without a type.
type found struct {
	json strictjson.Value // Invalid for a text
	text string
}

// isJSON tells whether the value has a type of its own.
func (f found) isJSON() bool { return f.json.Kind() != strictjson.Invalid }

// find returns what stands at a place. Where the value may be absent, another
// spelling of it that a lenient parser takes for it is an error.
func (p *parts) find(at place, optional bool) (found, bool, error) {
	var text string
	ok := true
	switch at.in {
	case inJSON:
		v, ok := p.body.Lookup(at.pointer)
		if !ok && optional {
			if err := p.body.CheckSpelling(at.pointer); err != nil {
				return found{}, false, bodyRefusal(err)
			}
		}
		return found{json: v}, ok, nil
	case inHeader:
		h := p.headers[slices.Index(p.route.headers, at.name)]
		if h.set && !isPlainASCII(h.text) {
			return found{}, false, errHeaderText
		}
		text, ok = h.text, h.set
	case inPath:
		text = p.segments[slices.Index(p.route.match.segments, segment{text: at.name, variable: true})]
	case inQuery:
		text, ok = p.query.get(at.name)
	case inForm:
		text, ok = p.form.get(at.name)
	case ofIdentity:
		text = p.identityPart(at.name)
		ok = text != ""
	}
	return found{text: text}, ok, nil
}

// isPlainASCII: outside ASCII, one reader of a header takes UTF-8 and another
// Latin-1.
func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
