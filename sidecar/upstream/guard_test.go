package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// service is a payment service behind a Guard, on a real socket.
type service struct {
	*httptest.Server
	guard Guard
	log   *bytes.Buffer
	pay   http.HandlerFunc // what the handler does; nil: answer 201

	mu   sync.Mutex
	paid []paid
}

// paid is what one run of the handler saw.
type paid struct {
	payment Payment
	body    string
	header  http.Header
}

func serve(t *testing.T, change func(*service)) *service {
	t.Helper()
	s := &service{log: &bytes.Buffer{}}
	s.guard = Guard{Verifier: verifier(sharedKey), Executions: &MemoryExecutions{}, Log: slog.New(slog.NewTextHandler(s.log, nil))}
	if change != nil {
		change(s)
	}
	s.Server = httptest.NewServer(s.guard.Handler(s))
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	payment, _ := FromContext(r.Context())
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.paid = append(s.paid, paid{payment, string(body), r.Header})
	pay := s.pay
	s.mu.Unlock()
	if pay != nil {
		pay(w, r)
		return
	}
	w.Header().Set("Location", "/v1/payments/1")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, "paid")
}

func (s *service) runs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paid)
}

// mend makes the handler answer 201 from now on.
func (s *service) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pay = nil
}

// request is the good call, with a good token.
func (s *service) request(t *testing.T) *http.Request {
	t.Helper()
	c := goodClaims()
	r, err := http.NewRequest(c.Method, s.URL+c.Target, strings.NewReader(goodBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = c.Authority
	r.Header.Set(HeaderToken, sign(t, c))
	return r
}

type answered struct {
	status int
	header http.Header
	body   string
	problemJSON
}

func (s *service) send(t *testing.T, r *http.Request) answered {
	t.Helper()
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(body, &a.problemJSON); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if a.Status != a.status || a.Detail == "" || a.Title == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("problem %s with status %d, %v", body, a.status, a.header)
		}
	}
	return a
}

// The handler gets the payment, the whole body, and every header as it came.
func TestGuardPasses(t *testing.T) {
	s := serve(t, nil)
	r := s.request(t)
	r.Header.Set("Countersign-Account", "acc_anna")
	got := s.send(t, r)
	if got.status != 201 || got.body != "paid" || got.header.Get("Location") != "/v1/payments/1" {
		t.Fatalf("%+v", got)
	}
	p := s.paid[0]
	if !reflect.DeepEqual(p.payment, goodClaims().Payment) || p.body != goodBody {
		t.Errorf("paid %+v", p)
	}
	if p.header.Get(HeaderToken) == "" || p.header.Get("Countersign-Account") != "acc_anna" {
		t.Errorf("headers %v", p.header)
	}
}

// changed is the good call, and what somebody made of it.
var changed = []struct {
	name   string
	change func(*testing.T, *http.Request)
	status int
	code   string
}{
	{"no token", func(_ *testing.T, r *http.Request) { r.Header.Del(HeaderToken) }, 403, "token_missing"},
	{"empty token", func(_ *testing.T, r *http.Request) { r.Header.Set(HeaderToken, "") }, 403, "token_invalid"},
	{"two tokens", func(t *testing.T, r *http.Request) { r.Header.Add(HeaderToken, "x") }, 403, "token_invalid"},
	{"the same token twice", func(t *testing.T, r *http.Request) { r.Header.Add(HeaderToken, r.Header.Get(HeaderToken)) }, 403, "token_invalid"},
	{"two tokens in one line", func(t *testing.T, r *http.Request) {
		r.Header.Set(HeaderToken, r.Header.Get(HeaderToken)+", "+r.Header.Get(HeaderToken))
	}, 403, "token_invalid"},
	{"token elsewhere", func(_ *testing.T, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+r.Header.Get(HeaderToken))
		r.Header.Del(HeaderToken)
	}, 403, "token_missing"},
	{"foreign issuer", resigned(func(s *Signer) { s.issuer = "sto_other" }), 403, "token_not_for_us"},
	{"foreign audience", func(t *testing.T, r *http.Request) {
		c := goodClaims()
		c.Audience = "refunds.example"
		s := must(NewSigner(testIssuer, map[string]Key{c.Audience: sharedKey}))
		s.Now = clock
		r.Header.Set(HeaderToken, must(s.Sign(c)))
	}, 403, "token_not_for_us"},
	{"expired", resigned(func(s *Signer) { s.Now = clockAt(-40) }), 503, "token_expired"},
	{"from the future", resigned(func(s *Signer) { s.Now = clockAt(40) }), 503, "token_not_yet_valid"},
	{"foreign key", resigned(func(s *Signer) { *s = *signerWith(otherKey) }), 403, "token_invalid"},

	{"another method", func(_ *testing.T, r *http.Request) { r.Method = "PUT" }, 403, "call_changed"},
	{"no method of the body's", func(_ *testing.T, r *http.Request) { r.Method = "DELETE" }, 403, "call_changed"},
	{"another host", func(_ *testing.T, r *http.Request) { r.Host = "evil.example" }, 403, "call_changed"},
	{"host with a port", func(_ *testing.T, r *http.Request) { r.Host += ":80" }, 403, "call_changed"},
	{"host in capitals", func(_ *testing.T, r *http.Request) { r.Host = "PAY.example" }, 403, "call_changed"},
	{"another path", target("/v1/accounts/acc_ben/payments?x=%20"), 403, "call_changed"},
	{"path with a slash", target("/v1/accounts/acc_anna/payments/?x=%20"), 403, "call_changed"},
	{"path with a dot", target("/v1/./accounts/acc_anna/payments?x=%20"), 403, "call_changed"},
	{"path, encoded", target("/v1/accounts/acc%5Fanna/payments?x=%20"), 403, "call_changed"},
	{"no query", target("/v1/accounts/acc_anna/payments"), 403, "call_changed"},
	{"more query", target("/v1/accounts/acc_anna/payments?x=%20&amount_minor=1"), 403, "call_changed"},
	{"query, decoded", target("/v1/accounts/acc_anna/payments?x=+"), 403, "call_changed"},
	{"another body", body(strings.Replace(goodBody, "1250", "9999", 1)), 403, "call_changed"},
	{"body with a space", body(goodBody + " "), 403, "call_changed"},
	{"body cut", body(goodBody[:10]), 403, "call_changed"},
	{"no body", body(""), 403, "call_changed"},
	{"body over the limit", body(goodBody + strings.Repeat(" ", DefaultMaxBodyBytes)), 413, "body_too_big"},
}

func resigned(bend func(*Signer)) func(*testing.T, *http.Request) {
	return func(t *testing.T, r *http.Request) {
		s := signerWith(sharedKey)
		bend(s)
		r.Header.Set(HeaderToken, must(s.Sign(goodClaims())))
	}
}

func clockAt(seconds int) func() time.Time {
	return func() time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
}

func target(target string) func(*testing.T, *http.Request) {
	return func(t *testing.T, r *http.Request) {
		path, query, _ := strings.Cut(target, "?")
		r.URL.Opaque, r.URL.RawQuery = path, query
	}
}

func body(text string) func(*testing.T, *http.Request) {
	return func(_ *testing.T, r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.GetBody = nil
	}
}

// A call that is not the one that was allowed costs nothing: no run, nothing
// begun, and the true call passes after it.
func TestGuardRefuses(t *testing.T) {
	for _, c := range changed {
		t.Run(c.name, func(t *testing.T) {
			executions := &MemoryExecutions{}
			s := serve(t, func(s *service) { s.guard.Executions = executions })
			r := s.request(t)
			token := r.Header.Get(HeaderToken)
			c.change(t, r)
			got := s.send(t, r)
			if got.status != c.status || got.Code != c.code {
				t.Errorf("%d %s, want %d %s", got.status, got.body, c.status, c.code)
			}
			if (got.header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("retry-after %q", got.header.Get("Retry-After"))
			}
			if s.runs() != 0 || len(executions.entries) != 0 {
				t.Errorf("%d runs, begun %v", s.runs(), executions.entries)
			}
			log := s.log.String()
			if !strings.Contains(log, c.code) || strings.Contains(log, token[len(token)-20:]) || strings.Contains(log, "/v1/") {
				t.Errorf("log %s", log)
			}
			if got := s.send(t, s.request(t)); got.status != 201 || s.runs() != 1 {
				t.Errorf("the true call after it: %+v, %d runs", got, s.runs())
			}
		})
	}
}

// What counts is the request line, as it came: not what something before the
// guard has made of the path.
func TestGuardReadsRequestLine(t *testing.T) {
	s := serve(t, nil)
	rewriting := httptest.NewServer(http.StripPrefix("/internal", s.guard.Handler(s)))
	defer rewriting.Close()
	r := s.request(t)
	u, err := r.URL.Parse(rewriting.URL + "/internal" + goodClaims().Target)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	if got := s.send(t, r); got.Code != "call_changed" || s.runs() != 0 {
		t.Errorf("%+v, %d runs", got, s.runs())
	}
}

// A chunked body is the same body.
func TestGuardChunked(t *testing.T) {
	s := serve(t, nil)
	r := s.request(t)
	r.ContentLength, r.GetBody = -1, nil
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(goodBody[:5]), strings.NewReader(goodBody[5:])))
	if got := s.send(t, r); got.status != 201 || s.paid[0].body != goodBody {
		t.Errorf("%+v", got)
	}
}

// A body at the limit passes; a body that breaks off does not.
func TestGuardBodyBounds(t *testing.T) {
	s := serve(t, func(s *service) { s.guard.MaxBodyBytes = int64(len(goodBody)) })
	if got := s.send(t, s.request(t)); got.status != 201 {
		t.Errorf("%+v", got)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "http://pay.example"+goodClaims().Target, io.MultiReader(strings.NewReader(goodBody), failing{}))
	r.RequestURI = goodClaims().Target
	r.Header.Set(HeaderToken, sign(t, goodClaims()))
	s.guard.MaxBodyBytes = 1000
	s.guard.Handler(s).ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "body_unreadable") || s.runs() != 1 {
		t.Errorf("%d %s, %d runs", w.Code, w.Body, s.runs())
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken off") }

// A Guard without its parts does not start.
func TestGuardNeedsParts(t *testing.T) {
	whole := Guard{Verifier: verifier(sharedKey), Executions: InHandler}
	for name, use := range map[string]func(){
		"no verifier":   func() { Guard{Executions: InHandler}.Handler(http.NotFoundHandler()) },
		"no executions": func() { Guard{Verifier: whole.Verifier}.Handler(http.NotFoundHandler()) },
		"no handler":    func() { whole.Handler(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			use()
		})
	}
	if _, ok := FromContext(context.Background()); ok {
		t.Error("a payment out of nothing")
	}
}
