package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses a member that is there twice
)

const (
	// clockSkew is how far the clocks of sidecar and service may be apart.
	clockSkew = 5 * time.Second

	// maxTokenBytes bounds a token: eight texts of 256 bytes, escaped, a target,
	// and the rest.
	maxTokenBytes = 16 << 10
)

// A Verifier checks the tokens for one service.
type Verifier struct {
	// Now is the clock that "iat" and "exp" are compared with; NewVerifier sets
	// time.Now. 5 s of difference are allowed.
	Now func() time.Time

	issuer, audience string
	keys             map[string]Key // by ID
}

// NewVerifier returns the verifier of tokens by an issuer (the store's ID, sto_…)
// for an audience (the name that the route table gives this service). More than
// one key is for the time in which one is replaced by another.
func NewVerifier(issuer, audience string, keys ...Key) (*Verifier, error) {
	switch {
	case issuer == "":
		return nil, errors.New("upstream: a verifier without an issuer would take anybody's word")
	case audience == "":
		return nil, errors.New("upstream: a verifier without an audience would take another service's tokens")
	case len(keys) == 0:
		return nil, errors.New("upstream: a verifier without a key")
	}
	v := &Verifier{Now: time.Now, issuer: issuer, audience: audience, keys: map[string]Key{}}
	for _, key := range keys {
		if key.public == nil {
			return nil, errors.New("upstream: a key that is none")
		}
		v.keys[key.id] = key
	}
	return v, nil
}

// Verify returns what a token says. The error is a [*Refusal], with what exactly
// is wrong in its Cause. Whether the call is the one that the token is for, the
// caller compares; [Guard] does.
func (v *Verifier) Verify(token string) (Claims, error) {
	payload, err := v.open(token)
	if err != nil {
		return Claims{}, tokenInvalid.because(err)
	}
	c, err := parseClaims(payload)
	if err != nil {
		return Claims{}, tokenInvalid.because(err)
	}
	now := v.Now()
	switch {
	case c.Issuer != v.issuer:
		return Claims{}, tokenNotForUs.because(fmt.Errorf("issuer %q, want %q", c.Issuer, v.issuer))
	case c.Audience != v.audience:
		return Claims{}, tokenNotForUs.because(fmt.Errorf("audience %q, want %q", c.Audience, v.audience))
	case now.Add(clockSkew).Before(time.Unix(c.IssuedAt, 0)):
		return Claims{}, tokenEarly.because(fmt.Errorf("issued at %d, it is %d here", c.IssuedAt, now.Unix()))
	case !now.Add(-clockSkew).Before(time.Unix(c.Expiry, 0)):
		return Claims{}, tokenExpired.because(fmt.Errorf("expired at %d, it is %d here", c.Expiry, now.Unix()))
	}
	return c, nil
}

// open returns the payload of a token that one of the keys has signed. The
// token's header says which key, and nothing else: the algorithm is the key's.
func (v *Verifier) open(token string) ([]byte, error) {
	if len(token) > maxTokenBytes || strings.Trim(token, tokenCharacters) != "" {
		return nil, errors.New("not a token in compact form") // base64 decoders skip line ends
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	header := parsed.Signatures[0].Protected
	key, known := v.keys[header.KeyID]
	switch {
	case !known:
		return nil, errors.New("signed with a key that this service does not have")
	case header.Algorithm != string(key.algorithm):
		return nil, fmt.Errorf("algorithm %q with a key for %s", header.Algorithm, key.algorithm)
	case header.ExtraHeaders[jose.HeaderType] != tokenType:
		return nil, errors.New("a token of another type")
	case len(header.ExtraHeaders) != 1 || header.JSONWebKey != nil || header.Nonce != "":
		return nil, errors.New("a header with more than alg, kid and typ")
	}
	return parsed.Verify(key.public)
}

const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

func parseClaims(payload []byte) (Claims, error) {
	var c claimsJSON
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, fmt.Errorf("claims: %w", err)
	}
	if c.AmountMinor != "" { // which a payment must have is checked below
		var err error
		if c.Claims.AmountMinor, err = parseAmount(c.AmountMinor); err != nil {
			return Claims{}, fmt.Errorf("claims: %w", err)
		}
	}
	if err := c.check(); err != nil {
		return Claims{}, fmt.Errorf("claims: %w", err)
	}
	return c.Claims, nil
}
