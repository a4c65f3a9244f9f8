package upstream

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzVerify looks for a token that is taken and says anything but what was
// signed: who does not have the keys cannot make one.
func FuzzVerify(f *testing.F) {
	ours := verifier(sharedKey, edKey)
	good := must(testSigner.Sign(goodClaims()))
	want := must(ours.Verify(good))
	f.Add(good)
	f.Add(must(signerWith(edKey).Sign(goodClaims())))
	f.Add(must(signerWith(otherKey).Sign(goodClaims())))
	f.Add(b64(`{"alg":"none","typ":"countersign+jwt","kid":"`+sharedKey.ID()+`"}`) + "." + strings.Split(good, ".")[1] + ".")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := ours.Verify(token)
		if err == nil && !reflect.DeepEqual(claims, want) {
			t.Errorf("%q says %+v", token, claims)
		}
		var refusal *Refusal
		if err != nil && (!errors.As(err, &refusal) || claims != Claims{}) {
			t.Errorf("%v, %+v", err, claims)
		}
	})
}

// FuzzClaims looks for claims that are taken and break a rule, or that say
// something else when they are signed again.
func FuzzClaims(f *testing.F) {
	f.Add(toJSON(goodPayload()))
	f.Add(toJSON(with(goodPayload(), map[string]any{"amount_minor": 1250})))
	f.Add(strings.Replace(toJSON(goodPayload()), "{", `{"account":"acc_ben",`, 1))
	f.Add(`{"identity":{"kind":null}}`)
	f.Add(toJSON(with(goodPayload(), map[string]any{"intent": "int_1", "grant": "grt_1"})))
	f.Add(toJSON(with(goodPayload(), map[string]any{"intent": "int_1", "reservation_id": "", "amount_minor": ""})))
	builtIn := map[string]any{"amount_minor": "", "currency": "", "payee": "", "reservation_id": "", "does": StreamMessages}
	f.Add(toJSON(with(with(goodPayload(), builtIn), map[string]any{"terminal": "trm_1", "session_exp": noon.Unix()})))
	f.Add(toJSON(with(with(goodPayload(), builtIn), map[string]any{"does": "view_challenge", "challenge": "chl_1", "session_exp": -1})))
	f.Fuzz(func(t *testing.T, payload string) {
		claims, err := parseClaims([]byte(payload))
		if err != nil {
			return
		}
		if err := claims.check(); err != nil {
			t.Errorf("%q: %v", payload, err)
		}
		again, err := parseClaims(must(claims.encode()))
		if err != nil || again != claims {
			t.Errorf("%q: %+v, again %+v, %v", payload, claims, again, err)
		}
	})
}
