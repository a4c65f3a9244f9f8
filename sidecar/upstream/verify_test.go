package upstream

import (
	"crypto/ed25519"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is signed is what is verified, with either algorithm, and the token is
// plain JWS: made by hand from the table of claims, it is the same.
func TestSignVerify(t *testing.T) {
	want := goodClaims()
	want.Issuer, want.IssuedAt, want.Expiry = testIssuer, noon.Unix(), noon.Unix()+30
	edHeader := toJSON(with(goodHeader(), map[string]any{"alg": "EdDSA", "kid": edKey.ID()}))
	for name, token := range map[string]string{
		"HS256":          must(testSigner.Sign(goodClaims())),
		"EdDSA":          must(signerWith(edKey).Sign(goodClaims())),
		"HS256, by hand": forge(toJSON(goodHeader()), toJSON(goodPayload()), secret),
		"EdDSA, by hand": forgeEd(edHeader, toJSON(goodPayload())),
		"a new claim":    forge(toJSON(goodHeader()), toJSON(with(goodPayload(), map[string]any{"later": 1})), secret),
	} {
		t.Run(name, func(t *testing.T) {
			public := must(ParseJWKS(must(JWKS(edKey))))
			got, err := verifier(append(public, sharedKey)...).Verify(token)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func wantRefusal(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

// Whatever a header says, a token is good only if the key that it names has
// signed it, with that key's algorithm.
func TestVerifyRefusesHeaders(t *testing.T) {
	payload := toJSON(goodPayload())
	header := func(set map[string]any) string { return toJSON(with(goodHeader(), set)) }
	unsigned := func(set map[string]any) string { return b64(header(set)) + "." + b64(payload) + "." }
	good := forge(header(nil), payload, secret)
	for name, token := range map[string]string{
		"none":                       unsigned(map[string]any{"alg": "none"}),
		"none, signed":               forge(header(map[string]any{"alg": "none"}), payload, secret),
		"None":                       unsigned(map[string]any{"alg": "None"}),
		"no algorithm":               unsigned(map[string]any{"alg": gone}),
		"no signature":               unsigned(nil),
		"HS256 with the public key":  forge(header(map[string]any{"kid": edKey.ID()}), payload, edKey.public.(ed25519.PublicKey)),
		"HS256 named EdDSA":          forge(header(map[string]any{"alg": "EdDSA"}), payload, secret),
		"EdDSA named HS256":          forgeEd(header(map[string]any{"kid": edKey.ID()}), payload),
		"EdDSA with the other kid":   forgeEd(header(map[string]any{"alg": "EdDSA"}), payload),
		"HS384":                      forge(header(map[string]any{"alg": "HS384"}), payload, secret),
		"HS512":                      forge(header(map[string]any{"alg": "HS512"}), payload, secret),
		"RS256":                      forge(header(map[string]any{"alg": "RS256"}), payload, secret),
		"hs256":                      forge(header(map[string]any{"alg": "hs256"}), payload, secret),
		"algorithm a list":           forge(header(map[string]any{"alg": []string{"HS256"}}), payload, secret),
		"no kid":                     forge(header(map[string]any{"kid": gone}), payload, secret),
		"empty kid":                  forge(header(map[string]any{"kid": ""}), payload, secret),
		"unknown kid":                forge(header(map[string]any{"kid": must(SharedKey([]byte(strings.Repeat("u", 32)))).ID()}), payload, secret),
		"kid of another of our keys": forge(header(map[string]any{"kid": otherKey.ID()}), payload, secret),
		"signed by another key":      forge(header(nil), payload, other),
		"kid a path":                 forge(header(map[string]any{"kid": "../../dev/null"}), payload, nil),
		"kid a number":               forge(header(map[string]any{"kid": 1}), payload, secret),
		"no type":                    forge(header(map[string]any{"typ": gone}), payload, secret),
		"type JWT":                   forge(header(map[string]any{"typ": "JWT"}), payload, secret),
		"type in capitals":           forge(header(map[string]any{"typ": "COUNTERSIGN+JWT"}), payload, secret),
		"own key in the header":      forge(header(map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(string(edKey.public.(ed25519.PublicKey)))}}), payload, secret),
		"key set in the header":      forge(header(map[string]any{"jku": "https://evil.example"}), payload, secret),
		"certificate in the header":  forge(header(map[string]any{"x5u": "https://evil.example"}), payload, secret),
		"critical":                   forge(header(map[string]any{"crit": []string{"exp"}}), payload, secret),
		"critical, known to go-jose": forge(header(map[string]any{"crit": []string{"b64"}, "b64": true}), payload, secret),
		"nonce":                      forge(header(map[string]any{"nonce": "x"}), payload, secret),
		"algorithm twice":            forge(strings.Replace(header(nil), "{", `{"alg":"none",`, 1), payload, secret),
		"kid twice":                  forge(strings.Replace(header(nil), "{", `{"kid":"x",`, 1), payload, secret),
		"header no object":           forge(`"HS256"`, payload, secret),
		"header null":                forge("null", payload, secret),
		"empty":                      "",
		"two dots":                   "..",
		"text":                       "token",
		"two parts":                  good[:strings.LastIndex(good, ".")],
		"four parts":                 good + ".x",
		"two tokens in one":          good + "," + good,
		"space before":               " " + good,
		"space after":                good + " ",
		"line end inside":            good[:20] + "\n" + good[20:],
		"padded":                     good + "=",
		"JSON serialization":         `{"payload":"` + b64(payload) + `"}`,
		"too long":                   forge(header(nil), payload+strings.Repeat(" ", maxTokenBytes), secret),
		"payload of another":         good[:strings.Index(good, ".")] + "." + b64(strings.Replace(payload, "1250", "9999", 1)) + good[strings.LastIndex(good, "."):],
		"signature cut":              good[:len(good)-4],
		"signature of zeros":         good[:strings.LastIndex(good, ".")+1] + b64(strings.Repeat("\x00", 32)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifier(sharedKey, otherKey, edKey).Verify(token)
			wantRefusal(t, err, "token_invalid")
		})
	}
}

// Every claim is checked, though a good key has signed it.
func TestVerifyRefusesClaims(t *testing.T) {
	now := noon.Unix()
	type set = map[string]any
	for name, c := range map[string]struct {
		set  set
		code string
	}{
		"another issuer":       {set{"iss": "sto_other"}, "token_not_for_us"},
		"issuer with a suffix": {set{"iss": testIssuer + "x"}, "token_not_for_us"},
		"another audience":     {set{"aud": "refunds.example"}, "token_not_for_us"},
		"audience in capitals": {set{"aud": "Payments.example"}, "token_not_for_us"},
		"audiences":            {set{"aud": []string{testAudience, "x"}}, "token_invalid"},
		"no issuer":            {set{"iss": gone}, "token_invalid"},
		"no audience":          {set{"aud": gone}, "token_invalid"},
		"null audience":        {set{"aud": nil}, "token_invalid"},

		"expired":                {set{"iat": now - 36, "exp": now - 6}, "token_expired"},
		"expired, at the skew":   {set{"iat": now - 35, "exp": now - 5}, "token_expired"},
		"from the future":        {set{"iat": now + 6, "exp": now + 36}, "token_not_yet_valid"},
		"no expiry":              {set{"exp": gone}, "token_invalid"},
		"no issued-at":           {set{"iat": gone}, "token_invalid"},
		"expiry a text":          {set{"exp": "1"}, "token_invalid"},
		"expiry a fraction":      {set{"exp": float64(now) + 0.5}, "token_invalid"},
		"too long a life":        {set{"exp": now + 31}, "token_invalid"},
		"life from long ago":     {set{"iat": now - 1000, "exp": now + 30}, "token_invalid"},
		"expires before issue":   {set{"exp": now - 1}, "token_invalid"},
		"expires at its issue":   {set{"exp": now}, "token_invalid"},
		"expiry past all ranges": {set{"iat": -1 << 62, "exp": 1 << 62}, "token_invalid"},

		"amount a number":           {set{"amount_minor": 1250}, "token_invalid"},
		"amount zero":               {set{"amount_minor": "0"}, "token_invalid"},
		"amount negative":           {set{"amount_minor": "-1250"}, "token_invalid"},
		"amount with a plus":        {set{"amount_minor": "+1250"}, "token_invalid"},
		"amount with a zero":        {set{"amount_minor": "01250"}, "token_invalid"},
		"amount a fraction":         {set{"amount_minor": "1250.0"}, "token_invalid"},
		"amount with an exponent":   {set{"amount_minor": "1e3"}, "token_invalid"},
		"amount with a space":       {set{"amount_minor": " 1250"}, "token_invalid"},
		"amount with an underscore": {set{"amount_minor": "1_250"}, "token_invalid"},
		"amount empty":              {set{"amount_minor": ""}, "token_invalid"},
		"amount null":               {set{"amount_minor": nil}, "token_invalid"},
		"amount missing":            {set{"amount_minor": gone}, "token_invalid"},
		"amount 2^53":               {set{"amount_minor": "9007199254740992"}, "token_invalid"},
		"amount 2^64+1":             {set{"amount_minor": "18446744073709551617"}, "token_invalid"},

		"no account":             {set{"account": gone}, "token_invalid"},
		"account in capitals":    {set{"account": gone, "Account": "acc_anna"}, "token_invalid"},
		"account a number":       {set{"account": 1}, "token_invalid"},
		"no currency":            {set{"currency": gone}, "token_invalid"},
		"currency in small type": {set{"currency": "eur"}, "token_invalid"},
		"no operation":           {set{"operation": gone}, "token_invalid"},
		"no system":              {set{"system": gone}, "token_invalid"},
		"no reservation":         {set{"reservation_id": ""}, "token_invalid"},
		"no decision":            {set{"decision_id": gone}, "token_invalid"},
		"no identity":            {set{"identity": gone}, "token_invalid"},
		"identity a text":        {set{"identity": "anna"}, "token_invalid"},
		"no subject":             {set{"identity": set{"kind": "user", "issuer": "i"}}, "token_invalid"},
		"replayed a text":        {set{"replayed": "true"}, "token_invalid"},
		"no method":              {set{"method": gone}, "token_invalid"},
		"no authority":           {set{"authority": gone}, "token_invalid"},
		"no target":              {set{"target": gone}, "token_invalid"},
		"target an URL":          {set{"target": "http://pay.example/"}, "token_invalid"},
		"no digest":              {set{"body_sha256": gone}, "token_invalid"},
		"digest in capitals":     {set{"body_sha256": strings.ToUpper(Digest([]byte(goodBody)))}, "token_invalid"},
		"digest of another hash": {set{"body_sha256": "d41d8cd98f00b204e9800998ecf8427e"}, "token_invalid"},
		"intent a number":        {set{"intent": 1}, "token_invalid"},
		"a challenge":            {set{"challenge": "chl_1"}, "token_invalid"},
		"a terminal":             {set{"terminal": "trm_1"}, "token_invalid"},
		"a session":              {set{"session_exp": now + 60}, "token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifier(sharedKey).Verify(forge(toJSON(goodHeader()), toJSON(with(goodPayload(), c.set)), secret))
			wantRefusal(t, err, c.code)
		})
	}
	for name, payload := range map[string]string{
		"account twice":  strings.Replace(toJSON(goodPayload()), "{", `{"account":"acc_ben",`, 1),
		"something more": toJSON(goodPayload()) + "{}",
		"a list":         "[" + toJSON(goodPayload()) + "]",
		"empty":          "",
		"null":           "null",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifier(sharedKey).Verify(forge(toJSON(goodHeader()), payload, secret))
			wantRefusal(t, err, "token_invalid")
		})
	}
}

// Clocks may be 5 s apart, in both directions, and no more.
func TestVerifyClock(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration // the service's clock
		code  string
	}{
		{-6 * time.Second, "token_not_yet_valid"}, {-5 * time.Second, ""}, {0, ""}, {34 * time.Second, ""}, {35 * time.Second, "token_expired"},
		{24 * time.Hour, "token_expired"},
	} {
		v := verifier(sharedKey)
		v.Now = func() time.Time { return noon.Add(c.ahead) }
		_, err := v.Verify(sign(t, goodClaims()))
		if c.code != "" {
			wantRefusal(t, err, c.code)
		} else if err != nil {
			t.Errorf("%s ahead: %v", c.ahead, err)
		}
	}
}

// A signer signs nothing that a verifier would refuse, and only for those for
// whom it has a key.
func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*Claims){
		"unknown audience":                    func(c *Claims) { c.Audience = "refunds.example" },
		"no audience":                         func(c *Claims) { c.Audience = "" },
		"no amount":                           func(c *Claims) { c.AmountMinor = 0 },
		"amount too big":                      func(c *Claims) { c.AmountMinor = 1 << 53 },
		"no reservation":                      func(c *Claims) { c.ReservationID = "" },
		"no subject":                          func(c *Claims) { c.Identity.Subject = "" },
		"no digest":                           func(c *Claims) { c.BodySHA256 = "" },
		"a built-in operation with a payment": func(c *Claims) { c.Does = "view_grant" },
		"a payment with a challenge":          func(c *Claims) { c.Challenge = "chl_1" },
		"a payment with a terminal":           func(c *Claims) { c.Terminal = "trm_1" },
		"a payment with a session":            func(c *Claims) { c.SessionExp = noon.Unix() + 60 },
		"too long a token":                    func(c *Claims) { c.Target += strings.Repeat("x", maxTokenBytes) },
	} {
		t.Run(name, func(t *testing.T) {
			c := goodClaims()
			change(&c)
			if token, err := testSigner.Sign(c); err == nil || token != "" {
				t.Errorf("signed %q", token)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, err := range map[string]error{
		"signer without issuer":     second(NewSigner("", nil)),
		"signer without audience":   second(NewSigner("i", map[string]Key{"": sharedKey})),
		"signer with a public key":  second(NewSigner("i", map[string]Key{"a": must(ParseJWKS(must(JWKS(edKey))))[0]})),
		"signer with no key":        second(NewSigner("i", map[string]Key{"a": {}})),
		"two with one secret":       second(NewSigner("i", map[string]Key{"a": sharedKey, "b": sharedKey})),
		"verifier without issuer":   second(NewVerifier("", "a", sharedKey)),
		"verifier without audience": second(NewVerifier("i", "", sharedKey)),
		"verifier without key":      second(NewVerifier("i", "a")),
		"verifier with no key":      second(NewVerifier("i", "a", Key{})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewSigner("i", map[string]Key{"a": edKey, "b": edKey, "c": sharedKey, "d": otherKey}); err != nil {
		t.Errorf("nobody can sign for another: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// A fingerprint is that of a payment: each part changes it, and the two that
// differ from one try to the next do not.
func TestFingerprint(t *testing.T) {
	seen := map[string]string{goodClaims().Fingerprint(): "the good one"}
	for name, change := range map[string]func(*Payment){
		"system":      func(p *Payment) { p.System += "x" },
		"operation":   func(p *Payment) { p.Operation += "x" },
		"account":     func(p *Payment) { p.Account += "x" },
		"payee":       func(p *Payment) { p.Payee = "" },
		"moved":       func(p *Payment) { p.Account, p.Payee = p.Account+p.Payee[:1], p.Payee[1:] },
		"currency":    func(p *Payment) { p.Currency = "USD" },
		"amount":      func(p *Payment) { p.AmountMinor++ },
		"reservation": func(p *Payment) { p.ReservationID += "x" },
		"kind":        func(p *Payment) { p.Identity.Kind += "x" },
		"issuer":      func(p *Payment) { p.Identity.Issuer += "x" },
		"subject":     func(p *Payment) { p.Identity.Subject += "x" },
		"for whom":    func(p *Payment) { p.Identity.OnBehalfOf = "x" },
		"grant":       func(p *Payment) { p.Grant = "x" },
		"for grant":   func(p *Payment) { p.Identity.OnBehalfOf = "grant" },
		"intent":      func(p *Payment) { p.Intent = "x" },
		"both":        func(p *Payment) { p.Grant, p.Intent = "x", "x" },
		"for intent":  func(p *Payment) { p.Identity.OnBehalfOf, p.Grant = "intent", "x" },
	} {
		p := goodClaims().Payment
		change(&p)
		if same, twice := seen[p.Fingerprint()]; twice {
			t.Errorf("%s: the fingerprint of %s", name, same)
		}
		seen[p.Fingerprint()] = name
	}
	again := goodClaims().Payment
	again.DecisionID, again.Replayed = "dec_2", true
	if _, same := seen[again.Fingerprint()]; !same {
		t.Error("a repeated call has another fingerprint")
	}
}
