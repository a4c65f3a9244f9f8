package call

import (
	"slices"
	"strings"
)

// A match says which requests a route takes.
type match struct {
	method      string
	template    string
	segments    []segment
	authorities []string // none means any
}

// A segment of a path template: a literal, or {variable}.
type segment struct {
	text     string
	variable bool
}

// Match says which requests the route takes: "POST /v1/accounts/{account}/payments".
func (r *Route) Match() string {
	text := r.match.method + " " + r.match.template
	if len(r.match.authorities) > 0 {
		text += " at " + strings.Join(r.match.authorities, ", ")
	}
	return text
}

// find returns the route of a request, nil where there is none. At most one
// matches: Load refuses overlaps.
func (t *Table) find(method, authority string, segments []string) *Route {
	for _, r := range t.routes {
		if r.match.fits(method, authority, segments) {
			return r
		}
	}
	return nil
}

func (m *match) fits(method, authority string, segments []string) bool {
	if m.method != method || len(m.segments) != len(segments) {
		return false
	}
	if len(m.authorities) > 0 && !slices.Contains(m.authorities, authority) {
		return false
	}
	for i, s := range m.segments {
		if !s.variable && s.text != segments[i] {
			return false
		}
	}
	return true
}

// overlaps tells whether some request would match both.
func (m *match) overlaps(other *match) bool {
	if m.method != other.method || len(m.segments) != len(other.segments) {
		return false
	}
	if len(m.authorities) > 0 && len(other.authorities) > 0 &&
		!slices.ContainsFunc(m.authorities, func(a string) bool { return slices.Contains(other.authorities, a) }) {
		return false
	}
	for i, s := range m.segments {
		o := other.segments[i]
		if !s.variable && !o.variable && s.text != o.text {
			return false
		}
	}
	return true
}

// splitPath returns the segments of a path in its one canonical form. Paths
// that name the same resource in two ways are where gateways and services come
// to disagree (Envoy CVE-2021-29492, CVE-2021-32779), so a path that could be
// written otherwise is refused rather than normalised.
func splitPath(path string) ([]string, error) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, errPath
	}
	if rest == "" {
		return nil, nil
	}
	segments := strings.Split(rest, "/")
	for _, s := range segments {
		if !isSegment(s) {
			return nil, errPath
		}
	}
	return segments, nil
}

// isSegment tells whether s is a path segment of unreserved characters and the
// colon.
func isSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !isUnreserved(s[i]) && s[i] != ':' {
			return false
		}
	}
	return true
}

// isUnreserved: RFC 3986, 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
