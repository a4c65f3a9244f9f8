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
