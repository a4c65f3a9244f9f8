package issuer

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// claims verifies a token against a JWKS and returns what it says.
func claims(t *testing.T, token string, jwks []byte) (map[string]any, error) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	return got, parsed.Claims(set, &got)
}

func newIssuer(t *testing.T) *Issuer {
	t.Helper()
	i, err := New()
	if err != nil {
		t.Fatal(err)
	}
	i.Now = func() time.Time { return noon }
	return i
}

func TestToken(t *testing.T) {
	i := newIssuer(t)
	token, err := i.Token("merchant-7", time.Minute, map[string]any{"scope": "pay", "iat": nil})
	if err != nil {
		t.Fatal(err)
	}
	got, err := claims(t, token, i.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": "https://id.example", "aud": "payments", "sub": "merchant-7", "scope": "pay",
		"exp": float64(noon.Add(time.Minute).Unix()),
	}
	if len(got) != len(want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("claim %s = %v, want %v", name, got[name], value)
		}
	}
}

func TestTokenOfAnotherIssuer(t *testing.T) {
	token, err := newIssuer(t).Token("merchant-7", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := claims(t, token, newIssuer(t).JWKS()); err == nil {
		t.Errorf("verified under a foreign key: %v", got)
	}
}

// A JWKS is public: it must not hold the private half ("d", RFC 7518, 6.2.2).
func TestJWKSHasNoPrivateKey(t *testing.T) {
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(newIssuer(t).JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != keyID {
		t.Fatalf("keys %v, want one named %q", set.Keys, keyID)
	}
	if _, leaked := set.Keys[0]["d"]; leaked {
		t.Error("the JWKS holds the private key")
	}
}
