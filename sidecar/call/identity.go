package call

import (
	"strings"

	"github.com/countersign/countersign/authzstore"
)

// An IdentitySource says which verified identity a route takes. What the source
// does not name is not looked at: a certificate beside a token changes nothing
// for a route that takes tokens.
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

// read returns the identity of a request.
func (s IdentitySource) read(req Request) (authzstore.Identity, error) {
	id := authzstore.Identity{Kind: s.Kind, Issuer: s.Issuer}
	ok := false
	switch s.Source {
	case sourceJWT:
		ok = req.Claims["iss"] == any(s.Issuer)
		id.Subject, _ = req.Claims[s.subject].(string)
		if claim, has := req.Claims[s.onBehalfOf]; has && s.onBehalfOf != "" {
			id.OnBehalfOf, _ = claim.(string)
			ok = ok && checkText(id.OnBehalfOf) == ""
		}
	case sourceMTLS:
		id.Subject, ok = strings.CutPrefix(req.Principal, s.Issuer)
		_, err := splitPath(id.Subject) // it starts with /, and nobody could write it otherwise
		ok = ok && err == nil && id.Subject != "/"
	}
	if !ok || checkText(id.Subject) != "" {
		return authzstore.Identity{}, errIdentity
	}
	return id, nil
}

// The parts of an identity that a field can be.
var identityParts = []string{"subject", "issuer", "on_behalf_of"}

func identityPart(id authzstore.Identity, name string) string {
	switch name {
	case "subject":
		return id.Subject
	case "issuer":
		return id.Issuer
	default:
		return id.OnBehalfOf
	}
}
