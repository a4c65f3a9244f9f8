package call

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// A compiler turns one file into routes of the table.
type compiler struct {
	table      *Table
	vocabulary Vocabulary
	system     string // the file's directory
}

var (
	authorityPattern   = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?$|^\[[0-9a-f:.]+\](:[0-9]+)?$`)
	trustDomainPattern = regexp.MustCompile(`^spiffe://[a-z0-9._-]+$`) // SPIFFE-ID, 2.1
)

func (c compiler) compile(file tableYAML, s scope) {
	if file.System != c.system {
		s.at("system").fail("system %q stands in the directory of %q: name them alike", file.System, c.system)
	}
	identities := compileIdentities(file.Identity, s.at("identity"))
	checkExpires(file.Upstream, s.at("upstream"))
	if len(file.Routes) == 0 {
		s.at("routes").fail("no routes: list at least one under routes")
	}
	for i, y := range file.Routes {
		s := s.at("routes", i)
		before := len(s.problems.all)
		route := &Route{System: c.system, Operation: y.Operation, Does: y.Does, Identities: identities}
		if y.Identity != nil {
			route.Identities = compileIdentities(*y.Identity, s.at("identity"))
		}
		sound := func() bool { return len(s.problems.all) == before }
		c.compileFields(route, y, s)
		if sound() { // else what follows is wrong for the same reason
			c.compileRest(route, y, file.Upstream, s)
		}
		if sound() {
			c.insert(route, s)
		}
	}
}

func (c compiler) insert(route *Route, s scope) {
	for _, other := range c.table.routes {
		if route.match.overlaps(&other.match) {
			s.at("match").fail("%s overlaps with %s of system %s: a request must match one route", route.Match(), other.Match(), other.System)
			return
		}
	}
	c.table.routes = append(c.table.routes, route)
}

// compileIdentities reads what a call's identity can be.
func compileIdentities(y identitiesYAML, s scope) []IdentitySource {
	if n := len(y.all); n == 0 || n > maxIdentities {
		s.fail("identity: %d alternatives: write 1 to %d", n, maxIdentities)
		return nil
	}
	if !y.list {
		return []IdentitySource{compileIdentity(y.all[0], s)}
	}
	var all []IdentitySource
	for i, one := range y.all {
		s := s.at(i)
		id := compileIdentity(one, s)
		if slices.ContainsFunc(all, func(other IdentitySource) bool { return id.Issuer != "" && other.Issuer == id.Issuer }) {
			s.fail("two identities of %s: nobody could tell which a call has, so keep one", id.Issuer)
		}
		all = append(all, id)
	}
	return all
}

func compileIdentity(y identityYAML, s scope) IdentitySource {
	id := IdentitySource{Source: y.Source, Kind: y.Kind}
	if !authzstore.IsSnakeCase(y.Kind) {
		s.at("kind").fail("identity kind %q is not a snake_case name: write one such as user or merchant", y.Kind)
	}
	switch y.Source {
	case sourceJWT:
		id.Issuer, id.subject = y.Issuer, y.Subject
		if id.subject == "" {
			id.subject = "sub"
		}
		if y.OnBehalfOf != nil {
			id.onBehalfOf = y.OnBehalfOf.Claim
		}
		switch {
		case checkText(y.Issuer) != "":
			s.at("issuer").fail("identity has no issuer: write the `iss` of the tokens")
		case y.TrustDomain != "":
			s.at("trust_domain").fail("trust_domain is of mtls: a jwt has an issuer")
		case y.OnBehalfOf != nil && id.onBehalfOf == "":
			s.at("on_behalf_of").fail("on_behalf_of has no claim: write {claim: NAME}")
		case id.onBehalfOf == id.subject, id.onBehalfOf == "iss", id.subject == "iss":
			s.fail("issuer, subject and on_behalf_of are three different claims")
		}
	case sourceMTLS:
		id.Issuer = y.TrustDomain
		if !trustDomainPattern.MatchString(y.TrustDomain) {
			s.at("trust_domain").fail("trust_domain %q is not spiffe:// and a name", y.TrustDomain)
		}
		if y.Issuer != "" || y.Subject != "" || y.OnBehalfOf != nil {
			s.fail("issuer, subject and on_behalf_of are of jwt: mtls has a trust_domain, and the rest of the certificate's URI is the subject")
		}
	default:
		s.at("source").fail("identity source %q: write jwt or mtls", y.Source)
	}
	return id
}

var methods = []string{"DELETE", "GET", "PATCH", "POST", "PUT"}

func (c compiler) compileFields(r *Route, y routeYAML, s scope) {
	before := len(s.problems.all)
	r.match = compileMatch(y, s.at("match"))
	if !authzstore.IsSnakeCase(r.Operation) {
		s.at("operation").fail("operation %q is not a snake_case name: write one such as pay", r.Operation)
	}
	if len(s.problems.all) > before {
		return
	}
	for _, name := range sortedKeys(y.Fields) {
		c.compileField(r, name, y.Fields[name], s.at("fields", name))
	}
}

func (c compiler) compileRest(r *Route, y routeYAML, upstream upstreamYAML, s scope) {
	_, hasAmount := r.Field(fieldAmount)
	if r.MovesMoney = hasAmount; y.MovesMoney != nil {
		r.MovesMoney = *y.MovesMoney
	}
	r.needsKey = needsKey(r, y.Facts)
	compileIdempotency(r, y.Idempotency, s.at("idempotency"))
	compileBody(r, y.Body.Members, s)
	compileFacts(r, y.Facts, s.at("facts"))
	compileUpstream(r, upstream, y.Upstream, s.at("upstream"))
	checkVariables(r, s)
	checkDecimal(r, s)
	c.checkMoney(r, s)
	checkEvidence(r, s)
	checkBuiltIn(r, y, s)
}

func compileMatch(y routeYAML, s scope) match {
	m := match{method: y.Match.Method, template: y.Match.Path, authorities: y.Match.Authorities}
	if !slices.Contains(methods, m.method) {
		s.at("method").fail("method %q is not one of %s", m.method, list(methods))
	}
	for i, a := range m.authorities {
		if !authorityPattern.MatchString(a) {
			s.at("authorities", i).fail("authority %q is not a host in lower case, with :port where clients send one", a)
		}
	}
	var err error
	if m.segments, err = parseTemplate(m.template); err != nil {
		s.at("path").fail("%v", err)
	}
	return m
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

func compileIdempotency(r *Route, y *placeYAML, s scope) {
	at := place{in: inHeader, name: "idempotency-key"}
	switch {
	case y != nil:
		var err error
		if at, err = compilePlace(*y, Text, &r.match); err != nil {
			s.fail("idempotency: %v", err)
			return
		}
		if !at.chosen() {
			s.fail("idempotency: %s is no key: the caller chooses it", at)
			return
		}
	case !r.needsKey:
		return
	}
	r.idempotency = &at
	r.note(at)
}

// note keeps where the route reads, so that what it does not read is refused.
func (r *Route) note(at place) {
	add := func(names *[]string) {
		if !slices.Contains(*names, at.name) {
			*names = append(*names, at.name)
		}
	}
	switch at.in {
	case inJSON:
		r.json = true
	case inHeader:
		add(&r.headers)
	case inQuery:
		add(&r.query)
	case inForm:
		add(&r.form)
	}
}

// places are all that the route reads.
func (r *Route) places() []place {
	var all []place
	for _, f := range r.Fields {
		all = append(all, f.at)
	}
	for _, s := range r.Secrets {
		all = append(all, s.at)
	}
	if r.idempotency != nil {
		all = append(all, *r.idempotency)
	}
	return all
}

func compileBody(r *Route, which string, s scope) {
	if r.json && len(r.form) > 0 {
		s.at("fields").fail("some fields stand in json and some in a form: a body is one of them")
	}
	switch which {
	case "", "open":
	case "closed":
		if !r.json {
			s.at("body").fail("members are of a JSON body, and no field stands in one: leave it out (a form is always closed)")
		}
		r.members = &members{}
		for _, at := range r.places() {
			if at.in == inJSON {
				r.members.permit(at.pointer)
			}
		}
	default:
		s.at("body", "members").fail("members %q: write closed, or open for members that no field maps", which)
	}
}

func compileUpstream(r *Route, system, route upstreamYAML, s scope) {
	if r.Does != "" {
		r.Upstream = Upstream{Audience: BuiltInAudience}
		return
	}
	u := &r.Upstream
	if r.MovesMoney {
		u.Expires = DefaultExpires
	}
	for _, y := range []upstreamYAML{system, route} {
		if y.Audience != nil {
			u.Audience = *y.Audience
		}
		if y.Idempotent != nil {
			u.Idempotent = *y.Idempotent
		}
		if y.Expires != nil && r.MovesMoney {
			u.Expires, _ = readExpires(*y.Expires)
		}
	}
	checkExpires(route, s)
}

func readExpires(text string) (time.Duration, bool) {
	expires, err := time.ParseDuration(text)
	return expires, err == nil && expires >= minExpires && expires <= maxExpires
}

func checkExpires(y upstreamYAML, s scope) {
	if y.Expires == nil {
		return
	}
	if _, ok := readExpires(*y.Expires); !ok {
		s.at("expires").fail("expires %q is not from 1m to 2160h: write a duration such as 24h", *y.Expires)
	}
}

// checkVariables refuses a path variable that no field reads: it would choose
// something at the upstream that no policy saw.
func checkVariables(r *Route, s scope) {
	places := r.places()
	for _, seg := range r.match.segments {
		read := slices.ContainsFunc(places, func(at place) bool { return at.in == inPath && at.name == seg.text })
		if seg.variable && !read {
			s.at("match", "path").fail("no field reads {%s} of the path: map it", seg.text)
		}
	}
}

func checkDecimal(r *Route, s scope) {
	f, hasCurrency := r.Field(fieldCurrency)
	if amount, _ := r.Field(fieldAmount); amount.decimal && (!hasCurrency || f.Optional) {
		s.at("fields", fieldAmount).fail("a decimal amount needs the currency, which says how many digits it has: map currency, and not as optional")
	}
}
