package call

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// An IdentitySource says which verified identity a route takes. What none of a
// route's sources names is not looked at: a certificate beside a token changes
// nothing for a route that takes tokens.
type IdentitySource struct {
	Source string // jwt or mtls
	Kind   string
	Issuer string // the token's `iss`, or the trust domain, spiffe://…

	subject    string // the claim of the token; not of mtls
	onBehalfOf string // the claim, "" for none
}

const (
	sourceJWT  = "jwt"
	sourceMTLS = "mtls"
)

// maxIdentities bounds the sources of one route.
const maxIdentities = 4

// readIdentity returns the identity of a request, and the source that it is of. Of
// several sources exactly one must be presented, whole or not: a caller who shows two
// would choose whom the call counts for.
func (r *Route) readIdentity(req Request) (authzstore.Identity, *IdentitySource, error) {
	var source *IdentitySource
	for i := range r.Identities {
		switch s := &r.Identities[i]; {
		case !s.presented(req):
		case source != nil:
			return authzstore.Identity{}, nil, errIdentities
		default:
			source = s
		}
	}
	if source == nil {
		return authzstore.Identity{}, nil, errIdentity
	}
	id, err := source.read(req)
	return id, source, err
}

// presented tells whether a request has a token of the issuer, or a certificate of
// the trust domain, whatever else they say.
func (s *IdentitySource) presented(req Request) bool {
	if s.Source == sourceJWT {
		return req.Claims["iss"] == any(s.Issuer)
	}
	path, ok := strings.CutPrefix(req.Principal, s.Issuer)
	return ok && (path == "" || path[0] == '/') // else it is another domain that starts alike
}

// read returns the identity of a request that presents one.
func (s *IdentitySource) read(req Request) (authzstore.Identity, error) {
	id := authzstore.Identity{Kind: s.Kind, Issuer: s.Issuer}
	ok := true
	switch s.Source {
	case sourceJWT:
		id.Subject, _ = req.Claims[s.subject].(string)
		if claim, has := req.Claims[s.onBehalfOf]; has && s.onBehalfOf != "" {
			id.OnBehalfOf, _ = claim.(string)
			ok = checkText(id.OnBehalfOf) == ""
		}
	case sourceMTLS:
		id.Subject = strings.TrimPrefix(req.Principal, s.Issuer)
		_, err := splitPath(id.Subject) // it starts with /, and nobody could write it otherwise
		ok = err == nil && id.Subject != "/"
	}
	if !ok || checkText(id.Subject) != "" {
		return authzstore.Identity{}, errIdentity
	}
	return id, nil
}

// readExpiry returns when a token ends, in nanoseconds since 1970-01-01 UTC, from its
// `exp` (RFC 7519, 4.1.4: seconds, perhaps with a fraction, which is cut off). 0 where
// it does not say. Envoy has refused what has ended.
func readExpiry(exp any) int64 {
	const most = math.MaxInt64 / int64(time.Second)
	seconds, _ := exp.(float64)
	switch {
	case !(seconds >= 1): // NaN too
		return 0
	case seconds >= float64(most):
		return most * int64(time.Second)
	}
	return int64(seconds) * int64(time.Second)
}

const maxMethods = 16

var methodPattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)

// readAMR returns how the subject of a token was authenticated: the methods of its
// `amr` (RFC 8176), sorted, each once, with a space between; "" where it names none,
// or in a way that could be read in two.
func readAMR(amr any) string {
	claims, _ := amr.([]any)
	if len(claims) > maxMethods {
		return ""
	}
	var methods []string
	for _, claim := range claims {
		method, _ := claim.(string)
		if !methodPattern.MatchString(method) {
			return ""
		}
		methods = append(methods, method)
	}
	slices.Sort(methods)
	text := strings.Join(slices.Compact(methods), " ")
	if len(text) > maxTextBytes {
		return ""
	}
	return text
}

// The parts of an identity that a field can be.
const (
	partSubject    = "subject"
	partIssuer     = "issuer"
	partOnBehalfOf = "on_behalf_of"
	partAMR        = "amr"
)

var identityParts = []string{partSubject, partIssuer, partOnBehalfOf, partAMR}

func (p *parts) identityPart(name string) string {
	switch name {
	case partSubject:
		return p.identity.Subject
	case partIssuer:
		return p.identity.Issuer
	case partOnBehalfOf:
		return p.identity.OnBehalfOf
	default:
		return p.amr
	}
}
