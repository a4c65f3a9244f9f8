package api

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// A Token is a token as it is shown: never with its secret.
type Token struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	Role           Role   `json:"role"`
	CreatedAtNanos int64  `json:"created_at_ns"`
	ExpiresAtNanos int64  `json:"expires_at_ns,omitempty" doc:"absent: never"`
	RevokedAtNanos int64  `json:"revoked_at_ns,omitempty" doc:"absent: not revoked"`
}

func showToken(_ authzstore.Reader, t authzstore.APIToken, _ int64) (Token, error) {
	return Token{t.ID, t.Name, Role(t.Role), t.CreatedAtNanos, t.ExpiresAtNanos, t.RevokedAtNanos}, nil
}

// A NewToken is what a token is made from.
type NewToken struct {
	Name             string `json:"name" pattern:"^[a-z][a-z0-9-]{0,31}$" patternDescription:"name in small letters, digits and -" doc:"whose it is, such as ledger; records name it"`
	Role             Role   `json:"role" enum:"viewer,support,backend,settlement,policy,admin"`
	ExpiresInSeconds int64  `json:"expires_in_seconds" minimum:"0" maximum:"315360000" doc:"how long it is good; 0: until it is revoked"`
}

// A MadeToken is a new token with its secret, which nobody is told again.
type MadeToken struct {
	Token
	Secret string `json:"secret" doc:"what the holder shows: authorization: Bearer SECRET"`
}

type madeTokenOutput struct{ Body MadeToken }

// A TokenPath is in the path of what is about one.
type TokenPath struct {
	ID string `path:"id" pattern:"^tok_[A-Za-z0-9_-]+$" patternDescription:"tok_ and letters, digits, _ or -" maxLength:"64"`
}

type tokenOutput struct{ Body Token }

func (c *Control) registerTokens() {
	register(c, "list-tokens", func(ctx context.Context, in *PageQuery) (*pageOutput[Token], error) {
		return list(ctx, c, func(s authzstore.Snapshot) ([]authzstore.APIToken, string, error) {
			return s.APITokens(in.After, in.Limit)
		}, showToken)
	})
	register(c, "create-token", func(ctx context.Context, in *struct{ Body NewToken }) (*madeTokenOutput, error) {
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		token, secret := newToken(in.Body.Name, in.Body.Role)
		if in.Body.ExpiresInSeconds > 0 {
			token.ExpiresAtNanos = now.Add(time.Duration(in.Body.ExpiresInSeconds) * time.Second).UnixNano()
		}
		err = c.change(ctx, tokenRefs(token.ID), func(tx *authzstore.Tx) error { return tx.AddAPIToken(token) })
		if err != nil {
			return nil, err
		}
		made, err := c.getToken(ctx, token.ID)
		return &madeTokenOutput{MadeToken{made, secret}}, err
	})
	register(c, "revoke-token", func(ctx context.Context, in *TokenPath) (*tokenOutput, error) {
		err := c.change(kv.Urgent(ctx), tokenRefs(in.ID), func(tx *authzstore.Tx) error {
			return unlessState("revoked", tx.RevokeAPIToken(in.ID))
		})
		if err != nil {
			return nil, err
		}
		token, err := c.getToken(ctx, in.ID)
		return &tokenOutput{token}, err
	})
}

func tokenRefs(id string) []kv.Ref { return []kv.Ref{authzstore.APITokenRef(id, kv.Exclusive)} }

func (c *Control) getToken(ctx context.Context, id string) (Token, error) {
	return show(ctx, c, func(r authzstore.Reader) (authzstore.APIToken, bool, error) { return r.APIToken(id) }, showToken)
}

// firstName is the name of the token that a new store gets.
const firstName = "first"

// Bootstrap makes a token for the role admin, and writes its secret to a file that
// nobody else may read, where the store has no token that could make others. actor
// is who is on record for it.
//
// The file comes first: a process that dies in between has told nobody a secret
// that works, and the next one writes another.
func Bootstrap(ctx context.Context, store *authzstore.Store, actor authzstore.Identity, now time.Time, file string) (made bool, err error) {
	has := false
	err = store.View(ctx, func(s authzstore.Snapshot) (err error) {
		has, err = hasAdmin(s, now.UnixNano())
		return err
	})
	if err != nil || has {
		return false, err
	}
	token, secret := newToken(firstName, Admin)
	err = privatefile.Replace(file, func(f *os.File) error {
		_, err := f.WriteString(secret + "\n")
		return err
	})
	if err != nil {
		return false, fmt.Errorf("the first token: %w", err)
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: actor, NowNanos: now.UnixNano()}
	return true, store.Update(ctx, cause, tokenRefs(token.ID), func(tx *authzstore.Tx) error { return tx.AddAPIToken(token) })
}

func hasAdmin(s authzstore.Snapshot, nowNanos int64) (bool, error) {
	for after := ""; ; {
		tokens, next, err := s.APITokens(after, authzstore.MaxPage)
		if err != nil {
			return false, err
		}
		for _, t := range tokens {
			if Role(t.Role) == Admin && t.Works(nowNanos) {
				return true, nil
			}
		}
		if after = next; after == "" {
			return false, nil
		}
	}
}
