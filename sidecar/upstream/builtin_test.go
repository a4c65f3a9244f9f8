package upstream

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// builtInClaims are what the token of a built-in operation says.
func builtInClaims() Claims {
	c := goodClaims()
	c.Does = "offer_grant"
	c.Payment = Payment{System: "delegation", Operation: "offer", Account: "acc_anna", Grant: "grt_1", DecisionID: "dec_1", Identity: c.Identity}
	return c
}

// A built-in operation has a token without a payment, which is admitted with the
// request that it is for, and by no Guard.
func TestBuiltInToken(t *testing.T) {
	request := func(token string) *http.Request {
		c := builtInClaims()
		r := httptest.NewRequest(c.Method, c.Target, strings.NewReader(goodBody))
		r.Host = c.Authority
		if token != "" {
			r.Header.Set(HeaderToken, token)
		}
		return r
	}
	good := sign(t, builtInClaims())
	v := verifier(sharedKey)
	claims, body, err := v.Admit(httptest.NewRecorder(), request(good), 1<<10)
	if err != nil || claims.Does != "offer_grant" || claims.Grant != "grt_1" || claims.AmountMinor != 0 || string(body) != goodBody {
		t.Fatalf("%+v, %q, %v", claims, body, err)
	}
	changed := request(good)
	changed.Host = "other.example"
	twice := request(good)
	twice.Header.Add(HeaderToken, good)
	for code, r := range map[string]*http.Request{"token_missing": request(""), "call_changed": changed, "token_invalid": twice} {
		claims, body, err := v.Admit(httptest.NewRecorder(), r, 1<<10)
		wantRefusal(t, err, code)
		if claims != (Claims{}) || body != nil {
			t.Errorf("%s: %+v, %q", code, claims, body)
		}
	}
	_, _, err = v.Admit(httptest.NewRecorder(), request(good), 8)
	wantRefusal(t, err, "body_too_big")

	s := serve(t, nil)
	r := s.request(t)
	r.Header.Set(HeaderToken, good)
	if got := s.send(t, r); got.status != 403 || got.Code != "token_not_for_us" || s.runs() != 0 {
		t.Errorf("a guard lets it pass: %d %s", got.status, got.body)
	}
}

// What a built-in operation was done on and from is in its token; when the caller's
// session ends, only for the operation that goes on until then.
func TestBuiltInClaims(t *testing.T) {
	for _, does := range []string{"enter_code", StreamMessages} {
		for seconds, good := range map[int64]bool{0: true, 1: does == StreamMessages, maxSeconds: does == StreamMessages, maxSeconds + 1: false, -1: false} {
			c := builtInClaims()
			c.Does, c.Challenge, c.Terminal, c.Intent, c.SessionExp = does, "chl_1", "trm_1", "int_1", seconds
			token, err := testSigner.Sign(c)
			if (err == nil) != good {
				t.Errorf("%s with session_exp %d: %v", does, seconds, err)
			}
			if err != nil {
				continue
			}
			got, err := verifier(sharedKey).Verify(token)
			if err != nil || got.Challenge != "chl_1" || got.Terminal != "trm_1" || got.Intent != "int_1" || got.SessionExp != seconds {
				t.Errorf("%+v, %v", got, err)
			}
		}
	}
}

// openingClaims are what the token of a call that opened an intent says.
func openingClaims() Claims {
	c := goodClaims()
	c.ReservationID, c.Intent = "", "int_1"
	return c
}

// A call that opened an intent has a token without a reservation, with or without an
// amount, and every other rule of a payment's.
func TestOpeningToken(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Claims)
		good   bool
	}{
		"as the intent is":       {func(*Claims) {}, true},
		"without an amount":      {func(c *Claims) { c.AmountMinor, c.Currency, c.Payee = 0, "", "" }, true},
		"a currency alone":       {func(c *Claims) { c.AmountMinor = 0 }, true},
		"in no currency":         {func(c *Claims) { c.Currency = "" }, false},
		"a negative amount":      {func(c *Claims) { c.AmountMinor = -1 }, false},
		"too large an amount":    {func(c *Claims) { c.AmountMinor = 1 << 53 }, false},
		"another currency":       {func(c *Claims) { c.Currency = "eur" }, false},
		"of no account":          {func(c *Claims) { c.Account = "" }, false},
		"of no intent":           {func(c *Claims) { c.Intent = "" }, false},
		"with a challenge":       {func(c *Claims) { c.Challenge = "chl_1" }, false},
		"from a terminal":        {func(c *Claims) { c.Terminal = "trm_1" }, false},
		"with a session":         {func(c *Claims) { c.SessionExp = 1 }, false},
		"of a built-in":          {func(c *Claims) { c.Does = "view_intent" }, false},
		"a payment of no amount": {func(c *Claims) { c.ReservationID, c.AmountMinor = "rsv_1", 0 }, false},
		"a payment of nothing":   {func(c *Claims) { c.ReservationID, c.AmountMinor, c.Currency = "rsv_1", 0, "" }, false},
	} {
		claims := openingClaims()
		c.change(&claims)
		token, err := testSigner.Sign(claims)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		got, err := verifier(sharedKey).Verify(token)
		claims.Issuer, claims.IssuedAt, claims.Expiry = got.Issuer, got.IssuedAt, got.Expiry
		if err != nil || got != claims {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for amount, code := range map[string]string{"0": "token_invalid", "-1": "token_invalid"} {
		payload := with(goodPayload(), map[string]any{"reservation_id": "", "intent": "int_1", "amount_minor": amount})
		_, err := verifier(sharedKey).Verify(forge(toJSON(goodHeader()), toJSON(payload), secret))
		wantRefusal(t, err, code)
	}
}

// A handler that pays does not run for an intent, and one that goes on with an intent
// runs once for each, and for no payment.
func TestGuardOpens(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		pays, opens := serve(t, nil), serve(t, func(s *service) { s.guard.Opens, s.guard.Executions = true, executions })
		with := func(s *service, change func(*Claims)) *http.Request {
			r := s.request(t)
			c := openingClaims()
			change(&c)
			r.Header.Set(HeaderToken, sign(t, c))
			return r
		}
		same := func(*Claims) {}
		if got := pays.send(t, with(pays, same)); got.status != 403 || got.Code != "token_not_for_us" || pays.runs() != 0 {
			t.Errorf("a handler that pays: %d %s", got.status, got.body)
		}
		if got := opens.send(t, opens.request(t)); got.status != 403 || got.Code != "token_not_for_us" || opens.runs() != 0 {
			t.Errorf("a handler of intents, for a payment: %d %s", got.status, got.body)
		}
		first, again := opens.send(t, with(opens, same)), opens.send(t, with(opens, func(c *Claims) { c.DecisionID, c.Replayed = "dec_2", true }))
		if first.status != 201 || again.status != 201 || again.header.Get(HeaderReplayed) != "true" || opens.runs() != 1 {
			t.Errorf("%d, again %d, %d runs", first.status, again.status, opens.runs())
		}
		if got := opens.send(t, with(opens, func(c *Claims) { c.AmountMinor++ })); got.status != 422 || got.Code != "reservation_reused" {
			t.Errorf("another one: %d %s", got.status, got.body)
		}
		if got := opens.send(t, with(opens, func(c *Claims) { c.Intent = "int_2" })); got.status != 201 || opens.runs() != 2 || opens.paid[1].payment.Intent != "int_2" {
			t.Errorf("the next one: %d %s", got.status, got.body)
		}
	})
}
