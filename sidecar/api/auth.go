package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/countersign/countersign/authzstore"
)

// A secret is what the holder of a token shows: cst_, the 26 characters of the
// token's ID after tok_, and 256 random bits in base32. The store knows it by its
// SHA-256: a secret like this needs no slow hash, because nobody can try them all.
const (
	secretPrefix = "cst_"
	idCharacters = 26
	secretBytes  = 32
	secretLength = len(secretPrefix) + idCharacters + 52
)

var secretEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// newToken returns a token and its secret.
func newToken(name string, role Role) (token authzstore.APIToken, secret string) {
	random := make([]byte, secretBytes)
	rand.Read(random) // never fails
	id := authzstore.NewID("tok")
	secret = secretPrefix + strings.TrimPrefix(id, "tok_") + strings.ToLower(secretEncoding.EncodeToString(random))
	return authzstore.APIToken{ID: id, Name: name, Role: string(role), Hash: hashSecret(secret)}, secret
}

func hashSecret(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}

// tokenOf returns the token that a secret is of, if it is good at a time.
func tokenOf(r authzstore.Reader, secret string, nowNanos int64) (authzstore.APIToken, bool, error) {
	if len(secret) != secretLength {
		return authzstore.APIToken{}, false, nil
	}
	token, ok, err := r.APIToken("tok_" + secret[len(secretPrefix):][:idCharacters])
	good := ok && subtle.ConstantTimeCompare(token.Hash, hashSecret(secret)) == 1 && token.Works(nowNanos)
	return token, good, err
}

type callerKey struct{}

// A principal is the token that a call was made with.
type principal struct{ token authzstore.APIToken }

// caller is who made a call that authenticate let through.
func caller(ctx context.Context) principal {
	p, _ := ctx.Value(callerKey{}).(principal)
	return p
}

// actor is the principal as records name it: never by the secret.
func (p principal) actor() authzstore.Identity {
	return authzstore.Identity{Kind: "operator", Issuer: "countersign", Subject: p.token.ID + "/" + p.token.Name}
}

var (
	errNoToken  = problem(http.StatusUnauthorized, "token_missing", "The call needs a token: authorization: Bearer cst_…")
	errBadToken = problem(http.StatusUnauthorized, "token_invalid", "The token is unknown, has expired or was revoked.")
)

// authenticate returns the request's context with its caller. What is wrong with a
// token that is not good is not told.
func (c *Control) authenticate(r *http.Request) (context.Context, *Problem) {
	headers := r.Header.Values("authorization")
	if len(headers) == 0 {
		return nil, errNoToken
	}
	scheme, secret, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "bearer") {
		return nil, errBadToken
	}
	now, err := c.now()
	if err != nil {
		p, _ := errors.AsType[*Problem](err)
		return nil, p
	}
	var token authzstore.APIToken
	var known bool
	err = c.Store.View(r.Context(), func(s authzstore.Snapshot) (err error) {
		token, known, err = tokenOf(s.Reader, secret, now.UnixNano())
		return err
	})
	switch {
	case err != nil:
		c.Log.Error("a token cannot be read", "error", err)
		return nil, problem(http.StatusServiceUnavailable, "store_unavailable", "The store cannot answer now.")
	case !known:
		return nil, errBadToken
	}
	return context.WithValue(r.Context(), callerKey{}, principal{token}), nil
}

// authorize lets a call through whose caller's role may make it. It is the one
// place that asks the table.
func (c *Control) authorize(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	o, known := operation(ctx.Operation().OperationID)
	if !known || !o.Allows(Role(caller(ctx.Context()).token.Role)) {
		problem(http.StatusForbidden, "role_insufficient", "The token's role does not allow this call.").write(w)
		return
	}
	if ctx.Operation().RequestBody == nil && r.ContentLength != 0 {
		problem(http.StatusBadRequest, "request_malformed", "This call has no body.").write(w)
		return
	}
	next(ctx)
}
