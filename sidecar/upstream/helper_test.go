package upstream

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

const (
	testIssuer   = "sto_test"
	testAudience = "payments.example"
)

// noon is the time of every test.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// Keys that are the same in every run: fuzzing needs that.
var (
	secret  = []byte(strings.Repeat("s", 32))
	other   = []byte(strings.Repeat("o", 32))
	private = ed25519.NewKeyFromSeed([]byte(strings.Repeat("e", ed25519.SeedSize)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	sharedKey  = must(SharedKey(secret))
	otherKey   = must(SharedKey(other))
	edKey      = must(PrivateKey(private))
	testSigner = signerWith(sharedKey)
)

func signerWith(key Key) *Signer {
	s := must(NewSigner(testIssuer, map[string]Key{testAudience: key}))
	s.Now = clock
	return s
}

// verifier takes tokens of both kinds of keys.
func verifier(keys ...Key) *Verifier {
	v := must(NewVerifier(testIssuer, testAudience, keys...))
	v.Now = clock
	return v
}

const goodBody = `{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}`

func goodClaims() Claims {
	return Claims{
		Audience: testAudience,
		Method:   "POST", Authority: "pay.example", Target: "/v1/accounts/acc_anna/payments?x=%20",
		BodySHA256: Digest([]byte(goodBody)),
		Payment: Payment{
			System: "direct_payment", Operation: "pay", Account: "acc_anna", Payee: "Bäckerei <Süß> & \u2028", Currency: "EUR",
			AmountMinor: 1250, ReservationID: "rsv_1", DecisionID: "dec_1",
			Identity: Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
		},
	}
}

// goodPayload is what goodClaims are in a token, as other languages have it.
func goodPayload() map[string]any {
	return map[string]any{
		"iss": testIssuer, "aud": testAudience, "iat": noon.Unix(), "exp": noon.Unix() + 30,
		"method": "POST", "authority": "pay.example", "target": "/v1/accounts/acc_anna/payments?x=%20",
		"body_sha256": Digest([]byte(goodBody)),
		"system":      "direct_payment", "operation": "pay", "account": "acc_anna", "payee": "Bäckerei <Süß> & \u2028", "currency": "EUR",
		"amount_minor": "1250", "reservation_id": "rsv_1", "decision_id": "dec_1", "replayed": false,
		"identity": map[string]any{"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	}
}

func goodHeader() map[string]any {
	return map[string]any{"alg": "HS256", "kid": sharedKey.ID(), "typ": tokenType}
}

// with returns the map with members set, or removed where the value is gone.
func with(m map[string]any, set map[string]any) map[string]any {
	maps.Copy(m, set)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == gone })
	return m
}

var gone = new(int)

func toJSON(v any) string { return string(must(json.Marshal(v))) }

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// forge signs any header and payload with HMAC-SHA-256, without go-jose.
func forge(header, payload string, key []byte) string {
	input := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + b64(string(mac.Sum(nil)))
}

// forgeEd signs with Ed25519.
func forgeEd(header, payload string) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(string(ed25519.Sign(private, []byte(input))))
}

func sign(t testing.TB, c Claims) string {
	t.Helper()
	token, err := testSigner.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
