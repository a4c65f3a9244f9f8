package authzstore

import (
	"crypto/sha256"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// An APIToken lets a backend or an operator call the control API.
type APIToken struct {
	ID   string `cbor:"1,keyasint" json:"id"` // tok_…
	Name string `cbor:"2,keyasint" json:"name"`
	Role string `cbor:"3,keyasint" json:"role"` // snake_case
	// Hash is the SHA-256 of the token's secret. The secret is stored nowhere.
	Hash           []byte `cbor:"4,keyasint" json:"-"`
	CreatedAtNanos int64  `cbor:"5,keyasint" json:"created_at_ns"`
	// ExpiresAtNanos is the last instant at which it works; 0: for ever.
	ExpiresAtNanos int64 `cbor:"6,keyasint,omitempty" json:"expires_at_ns,omitempty"`
	RevokedAtNanos int64 `cbor:"7,keyasint,omitempty" json:"revoked_at_ns,omitempty"` // 0: not
}

const (
	apiTokenVersion = 1
	apiTokenPrefix  = "api_token/"
)

func (t APIToken) check() error {
	switch {
	case !isName(t.Name):
		return fmt.Errorf("%w: the name of token %s is not a text of 1 to %d bytes", ErrInvalid, t.ID, MaxNameBytes)
	case !IsSnakeCase(t.Role):
		return fmt.Errorf("%w: role %q is not a snake_case name", ErrInvalid, t.Role)
	case len(t.Hash) != sha256.Size:
		return fmt.Errorf("%w: token %s with a hash of %d bytes", ErrInvalid, t.ID, len(t.Hash))
	case t.ExpiresAtNanos != 0 && t.ExpiresAtNanos < t.CreatedAtNanos:
		return fmt.Errorf("%w: token %s expires before it is made", ErrInvalid, t.ID)
	}
	return checkID("token", "tok", t.ID)
}

// Works tells whether the token is in force at nowNanos.
func (t APIToken) Works(nowNanos int64) bool {
	return t.RevokedAtNanos == 0 && (t.ExpiresAtNanos == 0 || nowNanos <= t.ExpiresAtNanos)
}

// APITokenRef declares a token.
func APITokenRef(id string, mode kv.Mode) kv.Ref { return kv.Ref{Key: apiTokenPrefix + id, Mode: mode} }

// APIToken returns a token, revoked or not, and whether it exists.
func (r Reader) APIToken(id string) (APIToken, bool, error) {
	return getOwn(r, apiTokenPrefix, id, apiTokenVersion, func(t APIToken) string { return t.ID })
}

// APITokens lists all tokens, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) APITokens(after string, most int) (tokens []APIToken, next string, err error) {
	return page[APIToken](s, apiTokenPrefix, apiTokenVersion, after, most)
}

// AddAPIToken writes a token under an ID that is new. CreatedAtNanos is filled in.
// The token is declared Exclusive. ErrInvalid.
func (tx *Tx) AddAPIToken(t APIToken) error {
	if _, exists, err := tx.APIToken(t.ID); err != nil || exists {
		return orElse(err, fmt.Errorf("%w: token %s exists", ErrInvalid, t.ID))
	}
	t.CreatedAtNanos, t.RevokedAtNanos = tx.Now(), 0
	return put(tx, apiTokenPrefix+t.ID, apiTokenVersion, t)
}

// RevokeAPIToken ends a token for good. The token is declared Exclusive.
// ErrUnknownID, or a *StateError where it is revoked.
func (tx *Tx) RevokeAPIToken(id string) error {
	t, ok, err := tx.APIToken(id)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: token %s", ErrUnknownID, id)
	case t.RevokedAtNanos != 0:
		return &StateError{"token", "revoked"}
	}
	t.RevokedAtNanos = tx.Now()
	return put(tx, apiTokenPrefix+id, apiTokenVersion, t)
}
