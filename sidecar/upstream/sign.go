package upstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Signer makes tokens. The sidecar has one; payment services have a use for it
// in their tests.
type Signer struct {
	// Now is the clock of "iat" and "exp"; NewSigner sets time.Now.
	Now func() time.Time

	issuer  string
	signers map[string]jose.Signer // by audience
}

// NewSigner returns the signer of a store's tokens, with one key per audience. Two
// audiences do not share a secret: either could sign for the other.
func NewSigner(issuer string, keys map[string]Key) (*Signer, error) {
	if issuer == "" {
		return nil, errors.New("upstream: a signer without an issuer")
	}
	s := &Signer{Now: time.Now, issuer: issuer, signers: map[string]jose.Signer{}}
	secrets := map[string]string{} // key ID → audience
	for audience, key := range keys {
		if audience == "" {
			return nil, errors.New("upstream: a key for no audience")
		}
		if key.private == nil {
			return nil, fmt.Errorf("upstream: %s for %s cannot sign", key, audience)
		}
		if other, twice := secrets[key.id]; twice && key.algorithm == jose.HS256 {
			return nil, fmt.Errorf("upstream: %s and %s share a secret: either could sign for the other", other, audience)
		}
		secrets[key.id] = audience
		options := (&jose.SignerOptions{}).WithType(tokenType).WithHeader("kid", key.id)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.algorithm, Key: key.private}, options)
		if err != nil {
			return nil, fmt.Errorf("upstream: %s for %s: %w", key, audience, err)
		}
		s.signers[audience] = signer
	}
	return s, nil
}

// Sign returns the token of one call. It sets issuer, issued-at and expiry.
func (s *Signer) Sign(c Claims) (string, error) {
	signer := s.signers[c.Audience]
	if signer == nil {
		return "", fmt.Errorf("upstream: no key for the audience %q", c.Audience)
	}
	now := s.Now()
	c.Issuer, c.IssuedAt, c.Expiry = s.issuer, now.Unix(), now.Add(MaxLife).Unix()
	payload, err := c.encode()
	if err != nil {
		return "", fmt.Errorf("upstream: sign: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("upstream: sign: %w", err)
	}
	token, err := signed.CompactSerialize()
	if err == nil && len(token) > maxTokenBytes {
		return "", fmt.Errorf("upstream: a token of %d bytes, at most %d", len(token), maxTokenBytes)
	}
	return token, err
}
