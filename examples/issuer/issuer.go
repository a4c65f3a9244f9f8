// Package issuer is a small identity provider for the demo and for tests: it
// signs the access tokens that Envoy's jwt_authn filter verifies. It has no
// login, no storage and no key rotation; production has a real one.
package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// What examples/envoy/envoy.yaml asks of a token.
const (
	URL      = "https://id.example" // the claim "iss"
	Audience = "payments"           // the claim "aud"
)

// keyID names the only key of an issuer, in the JWKS and in token headers.
const keyID = "demo"

// An Issuer signs tokens with one ES256 key (RFC 7518, section 3.4) that lives
// as long as the process.
type Issuer struct {
	// Now is the clock of "iat" and "exp"; New sets time.Now.
	Now func() time.Time

	signer jose.Signer
	jwks   []byte
}

// New makes an issuer with a fresh key.
func New() (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("issuer: make key: %w", err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: key.Public(), KeyID: keyID, Algorithm: string(jose.ES256), Use: "sig"},
	}})
	if err != nil {
		return nil, fmt.Errorf("issuer: encode JWKS: %w", err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: keyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("issuer: make signer: %w", err)
	}
	return &Issuer{Now: time.Now, signer: signer, jwks: jwks}, nil
}

// JWKS returns the public key as a JSON Web Key Set (RFC 7517).
func (i *Issuer) JWKS() []byte { return i.jwks }

// Token returns a signed token for the subject that expires ttl from now; a
// negative ttl makes one that has expired. Claims in extra are added and
// replace the standard ones; a nil value removes the claim. Write amounts as
// strings: Envoy carries the numbers of a payload as doubles (measured:
// 9007199254740993 arrived as 9007199254740992).
func (i *Issuer) Token(subject string, ttl time.Duration, extra map[string]any) (string, error) {
	now := i.Now()
	claims := map[string]any{
		"iss": URL,
		"aud": Audience,
		"sub": subject,
		"iat": now.Unix(),
		"exp": now.Add(ttl).Unix(),
	}
	maps.Copy(claims, extra)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	token, err := jwt.Signed(i.signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("issuer: sign: %w", err)
	}
	return token, nil
}
