package envoy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/examples/issuer"
)

// A token that does not prove an identity, or none: 401 before the sidecar is asked, and
// what to show (RFC 9110, 11.6.1). Something else in its place: 403.
func TestBadToken(t *testing.T) {
	good := token(t, time.Minute, nil)
	head, sig, _ := strings.Cut(good, ".")
	stranger, err := issuer.New()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Token("merchant-7", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	const none = "eyJhbGciOiJub25lIn0" // {"alg":"none"}
	for _, test := range []struct {
		name, path, authorization string
		other                     bool
	}{
		{"missing", "/", "", false},
		{"empty", "/", "Bearer ", true},
		{"not a token", "/", "Bearer hello", false},
		{"basic", "/", "Basic aGVsbG86d29ybGQ=", true},
		{"other key, same key id", "/", "Bearer " + foreign, false},
		{"unsigned", "/", "Bearer " + none + "." + strings.Split(sig, ".")[0] + ".", false},
		{"signature cut", "/", "Bearer " + head + "." + strings.Split(sig, ".")[0] + ".", false},
		{"other issuer", "/", "Bearer " + token(t, time.Minute, map[string]any{"iss": "https://evil.example"}), false},
		{"no issuer", "/", "Bearer " + token(t, time.Minute, map[string]any{"iss": nil}), false},
		{"expired an hour ago", "/", "Bearer " + token(t, -time.Hour, nil), false},
		{"no expiry", "/", "Bearer " + token(t, time.Minute, map[string]any{"exp": nil}), false},
		{"not yet valid", "/", "Bearer " + token(t, 2*time.Hour, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), false},
		{"in the query", "/?access_token=" + good, "", false},
		{"in the query, dot segments", "/a/../?access_token=" + good, "", false},
		{"two bearers", "/", "Bearer " + good + ",Bearer " + good, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(allow)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, edge.URL()+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.authorization != "" {
				req.Header.Set("Authorization", test.authorization)
			}
			want := http.StatusUnauthorized
			if test.other {
				want = http.StatusForbidden
			}
			resp := send(t, req)
			expect(t, resp, want, 0, 0)
			if got := resp.Header.Get("Www-Authenticate"); strings.HasPrefix(got, "Bearer realm=") == test.other {
				t.Errorf("www-authenticate %q", got)
			}
			if test.authorization == "" && resp.body != "no bearer token" {
				t.Errorf("body %q", resp.body)
			}
		})
	}
}

// A token for another service is no question of identity: 403.
func TestOtherAudience(t *testing.T) {
	for name, audience := range map[string]any{"other": "mail", "none": nil, "longer": "payments2", "empty": ""} {
		t.Run(name, func(t *testing.T) {
			script(allow)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, edge.URL(), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token(t, time.Minute, map[string]any{"aud": audience}))
			expect(t, send(t, req), http.StatusForbidden, 0, 0)
		})
	}
}

// A good token with something around it that an upstream might read instead.
// The filter "well-formed" refuses it.
func TestTokenAndMore(t *testing.T) {
	for _, test := range []struct{ name, lines string }{
		{"basic before", "Authorization: Basic abc, Bearer $TOKEN"},
		{"basic before, two headers", "Authorization: Basic abc\r\nAuthorization: Bearer $TOKEN"},
		{"longer scheme", "Authorization: XBearer $TOKEN"},
		{"two spaces", "Authorization: Bearer  $TOKEN"},
		{"junk glued on", "Authorization: x=Bearer $TOKEN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(allow)
			text := "POST / HTTP/1.1\r\nHost: pay.example\r\nConnection: close\r\n" + test.lines + "\r\n\r\n"
			expect(t, raw(t, edge, text), http.StatusForbidden, 0, 0)
		})
	}
}

// The sidecar gets the verified claims and not the credentials; the upstream
// gets the credentials.
func TestIdentity(t *testing.T) {
	script(allow)
	resp := post(t, edge, "/v1/payments", "{}", "Cookie", "session=1")
	expect(t, resp, 200, 1, 1)
	if t.Failed() {
		return
	}
	check, call := asked()[0].GetAttributes(), paid()[0]
	payload := check.GetMetadataContext().GetFilterMetadata()["envoy.filters.http.jwt_authn"].
		GetFields()["jwt_payload"].GetStructValue().GetFields()
	for name, want := range map[string]string{"sub": "merchant-7", "iss": issuer.URL, "aud": issuer.Audience} {
		if got := payload[name].GetStringValue(); got != want {
			t.Errorf("claim %s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"authorization", "cookie"} {
		if got := header(check, name); got != nil {
			t.Errorf("the sidecar got %s: %q", name, got)
		}
	}
	if got := call.Header.Get("Authorization"); !strings.HasPrefix(got, "Bearer ey") {
		t.Errorf("the upstream got authorization %q", got)
	}
	if got := call.Header.Get("Cookie"); got != "session=1" {
		t.Errorf("the upstream got cookie %q", got)
	}
}
