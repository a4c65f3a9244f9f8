package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign/examples/issuer"
	"github.com/countersign/countersign/sidecar/symbol"
)

const self = "127.0.0.1:8081"

// A fixture is the handler before a fake Envoy.
type fixture struct {
	http.Handler
	issuer *issuer.Issuer
	log    bytes.Buffer
}

func newFixture(t *testing.T, envoy http.HandlerFunc) *fixture {
	t.Helper()
	if envoy == nil {
		envoy = func(http.ResponseWriter, *http.Request) { t.Error("Envoy was called") }
	}
	server := httptest.NewServer(envoy)
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{}
	if f.issuer, err = issuer.New(); err != nil {
		t.Fatal(err)
	}
	f.Handler = New(Config{Envoy: at, Issuer: f.issuer, Log: slog.New(slog.NewTextHandler(&f.log, nil)), Personas: []Persona{
		{Name: "phone", Title: "Anna's phone", Pages: []string{"phone"}, Device: "anna-phone", User: "anna", Account: "acc_anna", Currency: "EUR",
			Claims: map[string]any{"amr": []string{"pin"}}},
		{Name: "till", Title: "Bakery", Pages: []string{"till"}, Device: "bakery", Payee: "mer_bakery"},
	}})
	return f
}

// ask sends a request as our own pages would, with changes.
func (f *fixture) ask(method, target, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = self
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func codeOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return p.Code
}

// Every answer has the policy, the pages need nothing that it forbids, and they are what
// they say they are.
func TestPages(t *testing.T) {
	f := newFixture(t, nil)
	for _, file := range pageFiles(t) {
		w := f.ask("GET", "/"+strings.Replace(file, "index.html", "", 1), "", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") })
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: status %d", file, w.Code)
		}
		kind := map[string]string{"html": "text/html", "css": "text/css", "js": "text/javascript"}[file[strings.LastIndex(file, ".")+1:]]
		if got := w.Header().Get("Content-Type"); kind == "" || !strings.HasPrefix(got, kind) {
			t.Errorf("%s: content type %q", file, got)
		}
		wantSecured(t, file, w)
	}
	for _, path := range []string{"/nothing", "/static/", "/terminal.go", "/../terminal.go"} {
		if w := f.ask("GET", path, "", nil); w.Code == http.StatusOK {
			t.Errorf("%s: status %d", path, w.Code)
		} else if got := w.Header().Get("Content-Security-Policy"); got != contentPolicy {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func wantSecured(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
			"media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := w.Header().Values(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
}

func pageFiles(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(static, "static/*")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i := range files {
		files[i] = strings.TrimPrefix(files[i], "static/")
	}
	return files
}

// forbidden is what puts text into a page as markup, or needs what the policy forbids.
var forbidden = regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|` +
	`\son[a-z]+\s*=\s*"|<style|\sstyle\s*=|<script(?:\s[^>]*)?>[^<]|javascript:|localStorage|https?://`)

func TestPagesShowTextOnly(t *testing.T) {
	for _, file := range pageFiles(t) {
		text, err := fs.ReadFile(static, "static/"+file)
		if err != nil {
			t.Fatal(err)
		}
		// The one address is what turns an otpauth URI into something that URL parses.
		if found := forbidden.FindString(strings.ReplaceAll(string(text), "https://totp.invalid/", "")); found != "" {
			t.Errorf("%s has %q", file, found)
		}
	}
	for _, bad := range []string{`e.innerHTML = x`, `<p style="x">`, `<a onclick="x">`, `<script>x</script>`, `https://cdn.example/x.js`} {
		if !forbidden.MatchString(bad) {
			t.Errorf("%q is not found", bad)
		}
	}
}

func TestHosts(t *testing.T) {
	f := newFixture(t, nil)
	for host, allowed := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8081": true, "localhost:8081": true, "[::1]:8081": true, "[::1]": true, "127.8.8.8:1": true,
		"": false, "evil.example": false, "evil.example:8081": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"192.168.0.1:8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "evil.localhost": false, "127.0.0.1,evil.example": false, "[fe80::1%lo]": false,
	} {
		for _, path := range []string{"/", "/personas", "/page.js"} {
			w := f.ask("GET", path, "", func(r *http.Request) { r.Host = host })
			if got := w.Code == http.StatusOK; got != allowed || !allowed && codeOf(t, w) != "host_not_loopback" {
				t.Errorf("%s at host %q: status %d", path, host, w.Code)
			}
		}
	}
}

// Only the pages themselves get tokens, read pictures and call Envoy.
func TestOrigins(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, c := range []struct {
		site, origin []string
		allowed      bool
	}{
		{site: []string{"same-origin"}, allowed: true},
		{site: []string{"same-origin"}, origin: []string{"http://" + self}, allowed: true},
		{origin: []string{"http://" + self}, allowed: true},
		{},
		{site: []string{"none"}},
		{site: []string{"same-site"}},
		{site: []string{"cross-site"}},
		{site: []string{"same-origin", "cross-site"}},
		{site: []string{"cross-site"}, origin: []string{"http://" + self}},
		{site: []string{"same-origin"}, origin: []string{"http://evil.example"}},
		{origin: []string{"http://evil.example"}},
		{origin: []string{"null"}},
		{origin: []string{"http://127.0.0.1:9999"}},
		{origin: []string{"https://" + self}},
		{origin: []string{"http://" + self, "http://evil.example"}},
	} {
		for _, call := range [][3]string{
			{"GET", "/personas", ""}, {"POST", "/token", `{"persona": "phone", "as": "device"}`}, {"POST", "/decode", "x"}, {"GET", "/envoy/v1/x", ""},
		} {
			w := f.ask(call[0], call[1], call[2], func(r *http.Request) {
				r.Header.Del("Sec-Fetch-Site")
				if c.site != nil {
					r.Header["Sec-Fetch-Site"] = c.site
				}
				if c.origin != nil {
					r.Header["Origin"] = c.origin
				}
			})
			refused := w.Code == http.StatusForbidden && codeOf(t, w) == "cross_origin"
			if refused == c.allowed {
				t.Errorf("%s from %q, %q: status %d", call[1], c.site, c.origin, w.Code)
			}
		}
	}
}

func TestPersonas(t *testing.T) {
	w := newFixture(t, nil).ask("GET", "/personas", "", nil)
	want := `[{"name":"phone","title":"Anna's phone","pages":["phone"],"account":"acc_anna","currency":"EUR","calls_as":["device","user"]},` +
		`{"name":"till","title":"Bakery","pages":["till"],"payee":"mer_bakery","calls_as":["device"]}]`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("%s", got)
	}
}

func TestToken(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct {
		body    string
		status  int
		code    string
		subject string
	}{
		{`{"persona": "phone", "as": "device"}`, 200, "", "anna-phone"},
		{`{"persona": "phone", "as": "user"}`, 200, "", "anna"},
		{`{"persona": "till", "as": "device"}`, 200, "", "bakery"},
		{`{"persona": "till", "as": "user"}`, 404, "persona_unknown", ""},
		{`{"persona": "phone", "as": "operator"}`, 404, "persona_unknown", ""},
		{`{"persona": "phone"}`, 404, "persona_unknown", ""},
		{`{"persona": "nobody", "as": "device"}`, 404, "persona_unknown", ""},
		{`{"persona": "phone", "as": "device", "sub": "anna"}`, 400, "request_invalid", ""},
		{`{`, 400, "request_invalid", ""},
		{`{"persona": "` + strings.Repeat("a", maxTokenRequestBytes) + `"}`, 400, "request_invalid", ""},
	} {
		w := f.ask("POST", "/token", c.body, nil)
		if w.Code != c.status {
			t.Errorf("%.60s: status %d, %s", c.body, w.Code, w.Body)
			continue
		}
		if c.code != "" {
			if got := codeOf(t, w); got != c.code {
				t.Errorf("%.60s: %s", c.body, got)
			}
			continue
		}
		var answer tokenAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !strings.Contains(answer.Notice, "demo") {
			t.Fatalf("%v, notice %q", err, answer.Notice)
		}
		if got := claimsOf(t, f.issuer, answer.Token); got.Subject != c.subject || got.Expiry.Time().After(time.Now().Add(tokenLife)) {
			t.Errorf("%s: a token for %q until %v", c.body, got.Subject, got.Expiry.Time())
		}
		if strings.Contains(f.log.String(), answer.Token) {
			t.Error("the token is in the log")
		}
	}
	if w := f.ask("GET", "/token", "", nil); w.Code == http.StatusOK {
		t.Error("a token for a GET")
	}
}

func claimsOf(t *testing.T, by *issuer.Issuer, token string) jwt.Claims {
	t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(by.JWKS(), &keys); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys.Keys[0].Key, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// What a page sends arrives at Envoy as an app would send it, and nothing of the browser.
func TestForward(t *testing.T) {
	var got *http.Request
	var body []byte
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Countersign-Intent-Id", "int_1")
		w.Header().Set("Content-Security-Policy", "default-src *")
		w.Header().Set("Set-Cookie", "a=b")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("short and stout"))
	})
	w := f.ask("POST", "/envoy/v1/a%2Fb/c?limit=2&x=%20", `{"a": 1}`, func(r *http.Request) {
		for name, value := range map[string]string{
			"Authorization": "Bearer t", "Idempotency-Key": "k", "Content-Type": "application/json", "Last-Event-ID": "7", "Accept": "text/event-stream",
			"Cookie": "a=b", "Referer": "http://" + self, "Origin": "http://" + self, "X-Forwarded-For": "10.0.0.1", "Countersign-Grant": "grt_1",
		} {
			r.Header.Set(name, value)
		}
	})
	if got == nil {
		t.Fatal("Envoy was not called")
	}
	if got.Method != "POST" || got.RequestURI != "/v1/a%2Fb/c?limit=2&x=%20" || got.Host == self || string(body) != `{"a": 1}` {
		t.Errorf("%s %s of %s: %s", got.Method, got.RequestURI, got.Host, body)
	}
	names := []string{}
	for name := range got.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "Idempotency-Key", "Last-Event-Id", "User-Agent"}
	if !slices.Equal(names, want) {
		t.Errorf("headers %v", names)
	}
	if w.Code != http.StatusTeapot || w.Body.String() != "short and stout" || w.Header().Get("Countersign-Intent-Id") != "int_1" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("status %d, %v: %s", w.Code, w.Header(), w.Body)
	}
	wantSecured(t, "an answer of Envoy's", w)
}

// Paths stay below Envoy's root, whatever they look like.
func TestForwardPaths(t *testing.T) {
	var got string
	f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI })
	for path, want := range map[string]string{
		"/envoy/":                           "/",
		"/envoy/envoy/v1":                   "/envoy/v1",
		"/envoy/v1/@evil.example":           "/v1/@evil.example",
		"/envoy/http:%2F%2Fevil.example/v1": "/http:%2F%2Fevil.example/v1",
	} {
		got = ""
		if w := f.ask("GET", path, "", nil); w.Code != http.StatusOK || got != want {
			t.Errorf("%s: status %d, Envoy got %q", path, w.Code, got)
		}
	}
}

func TestForwardBounds(t *testing.T) {
	f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	if w := f.ask("POST", "/envoy/v1/x", strings.Repeat("a", maxForwardedBytes), nil); w.Code != http.StatusOK {
		t.Errorf("exactly at the bound: status %d", w.Code)
	}
	if w := f.ask("POST", "/envoy/v1/x", strings.Repeat("a", maxForwardedBytes+1), nil); w.Code != http.StatusBadGateway {
		t.Errorf("one byte beyond: status %d", w.Code)
	}
}

func TestEnvoyGone(t *testing.T) {
	f := newFixture(t, nil)
	gone := httptest.NewServer(nil)
	at, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	f.Handler = New(Config{Envoy: at, Issuer: f.issuer, Log: slog.New(slog.DiscardHandler)})
	if w := f.ask("GET", "/envoy/v1/x", "", nil); w.Code != http.StatusBadGateway || codeOf(t, w) != "envoy_unreachable" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// An event of a stream comes while the stream goes on.
func TestForwardStream(t *testing.T) {
	read := make(chan struct{})
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("data: 1\n\n"))
		_ = http.NewResponseController(w).Flush()
		<-read // nothing more before this was read
	})
	server := httptest.NewServer(f)
	defer server.Close()
	defer close(read)
	req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/envoy/countersign/v1/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "data: 1\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestDecode(t *testing.T) {
	qr, err := symbol.QR("int_abc")
	if err != nil {
		t.Fatal(err)
	}
	sharp, err := qr.PNG(8)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(sharp))
	if err != nil {
		t.Fatal(err)
	}
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, img, nil); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, nil)
	for _, c := range []struct {
		name    string
		picture string
		status  int
		text    string // or the code of the refusal
	}{
		{"a PNG", string(sharp), 200, "int_abc"},
		{"a JPEG", photo.String(), 200, "int_abc"},
		{"a picture of nothing", blank(t, 100, 100), 422, "qr_none"},
		{"a single pixel", blank(t, 1, 1), 422, "qr_none"},
		{"the widest", blank(t, maxPictureSide, 1), 422, "qr_none"},
		{"one pixel wider", blank(t, maxPictureSide+1, 1), 413, "picture_too_large"},
		{"one pixel higher", blank(t, 1, maxPictureSide+1), 413, "picture_too_large"},
		{"too many pixels", blank(t, maxPictureSide, maxPicturePixels/maxPictureSide+1), 413, "picture_too_large"},
		{"half a PNG", string(sharp[:len(sharp)/2]), 422, "qr_none"},
		{"no picture", "GIF89a and so on", 415, "picture_unknown"},
		{"nothing", "", 415, "picture_unknown"},
		{"too many bytes", strings.Repeat("a", maxPictureBytes+1), 413, "picture_too_large"},
	} {
		w := f.ask("POST", "/decode", c.picture, nil)
		var got found
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
		} else {
			got.Text = codeOf(t, w)
		}
		if w.Code != c.status || got.Text != c.text {
			t.Errorf("%s: status %d, %q", c.name, w.Code, got.Text)
		}
	}
}

func blank(t *testing.T, width, height int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
