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
