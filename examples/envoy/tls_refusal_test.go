package envoy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/countersign/countersign/authzstore"
)

// tried is a call to the secure Envoy of a family, by any client.
type tried struct {
	client *http.Client
	method string // empty means POST
	path   string // empty means /v1/payments
	body   any
	header []string // names and values
}

func (f *family) try(t *testing.T, c tried) (response, error) {
	t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.path == "" {
		c.path = "/v1/payments"
	}
	text, err := json.Marshal(c.body)
	if err != nil {
		t.Fatal(err)
	}
	if c.method == http.MethodGet {
		text = nil
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, f.edge.URL()+c.path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if c.method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "tried")
	}
	for i := 0; i+1 < len(c.header); i += 2 {
		req.Header.Add(c.header[i], c.header[i+1])
	}
	return answered(c.client, req)
}

// alert is how a handshake of a client ends. It sends nothing: with TLS 1.3 a client may
// do so before it hears that its certificate is refused, and then hear that alone.
func (f *family) alert(t *testing.T, client *http.Client) error {
	t.Helper()
	config := client.Transport.(*http.Transport).TLSClientConfig
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", f.edge.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("it has an answer to no question")
	}
	return err
}

// bearer is the header of a subject's token.
func bearer(t *testing.T, subject string) []string {
	t.Helper()
	token, err := provider.Token(subject, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + token}
}

func withDNS(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// Who shows no certificate that Envoy can verify gets no connection, or is nobody; who
// shows one that says nothing here is nobody; who shows two identities is asked for one.
func TestCertificateRefused(t *testing.T) {
	f := newShop(t, nil, "acc_anna")
	device := f.accept(t, f.offer(t, "acc_anna", freeTerms()))
	good := payment(f.code(t, device, 0))
	s := f.site
	stranger := newAuthority(t, "clients") // of the same name
	by := func(change func(*x509.Certificate), uris ...string) *http.Client {
		return s.client(s.clients.issue(t, change, uris...))
	}
	const nothing, denied, missing, ambiguous = "no bearer token", "RBAC: access denied", "identity_missing", "identity_ambiguous"
	for _, c := range []struct {
		name   string
		call   tried
		alert  string // of the handshake; else
		status int    // with
		says   string // the code, or Envoy's own text
	}{
		{name: "an authority that Envoy does not know", call: tried{client: s.client(stranger.issue(t, nil, certified))}, alert: "unknown certificate authority"},
		{name: "the same, beside a good token", call: tried{client: s.client(stranger.issue(t, nil, certified)), header: bearer(t, "bakery")}, alert: "unknown certificate authority"},
		{name: "Envoy's own authority", call: tried{client: s.client(s.envoy.issue(t, nil, certified))}, alert: "unknown certificate authority"},
		{name: "a certificate that has expired", call: tried{client: by(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, certified)}, alert: "expired certificate"},
		{name: "one that is not valid yet", call: tried{client: by(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * time.Hour) }, certified)}, alert: "expired certificate"}, // so Envoy calls it
		{name: "one for servers alone", call: tried{client: by(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, certified)}, alert: "unsupported certificate"},

		{name: "neither a certificate nor a token", call: tried{client: s.client(nil)}, status: 401, says: nothing},
		{name: "a forwarded certificate in place of one", call: tried{client: s.client(nil), header: []string{"X-Forwarded-Client-Cert", "By=spiffe://pay.example/envoy;URI=" + certified}}, status: 401, says: nothing},
		{name: "a certificate without a name", call: tried{client: by(nil)}, status: 401, says: nothing},
		{name: "the name as that of a host", call: tried{client: by(withDNS(certified))}, status: 401, says: nothing},
		{name: "the name as that of a host, beside a token", call: tried{client: by(withDNS(certified)), header: bearer(t, "bakery")}, status: 403, says: denied},
		{name: "the name as the subject", call: tried{client: by(func(c *x509.Certificate) { c.Subject.CommonName = certified })}, status: 401, says: nothing},
		{name: "a URI of another scheme", call: tried{client: by(nil, "https://shop.example/bakery")}, status: 401, says: nothing},
		{name: "a certificate, and a password", call: tried{client: by(nil, certified), header: []string{"Authorization", "Basic aGVsbG86d29ybGQ="}}, status: 403, says: denied},
		{name: "a certificate, and an empty token", call: tried{client: by(nil, certified), header: []string{"Authorization", ""}}, status: 403, says: denied},
		{name: "a certificate, and a token that is not good", call: tried{client: by(nil, certified), header: []string{"Authorization", "Bearer a.b.c"}}, status: 401, says: "Jwt"},

		{name: "another trust domain", call: tried{client: by(nil, "spiffe://other.example/bakery")}, status: 401, says: missing},
		{name: "that of agents", call: tried{client: by(nil, "spiffe://desk.example/bakery")}, status: 401, says: missing},
		{name: "a domain that starts alike", call: tried{client: by(nil, "spiffe://shop.example.evil.example/bakery")}, status: 401, says: missing},
		{name: "a domain that ends alike", call: tried{client: by(nil, "spiffe://evil-shop.example/bakery")}, status: 401, says: missing},
		{name: "the domain alone", call: tried{client: by(nil, "spiffe://shop.example")}, status: 401, says: missing},
		{name: "a path that is none", call: tried{client: by(nil, "spiffe://shop.example//bakery")}, status: 401, says: missing},
		{name: "another domain first, ours second", call: tried{client: by(nil, "spiffe://other.example/x", certified)}, status: 401, says: missing},
		{name: "another domain, ours as that of a host", call: tried{client: by(withDNS(certified), "spiffe://other.example/x")}, status: 401, says: missing},
		{name: "both", call: tried{client: by(nil, certified), header: bearer(t, "bakery")}, status: 401, says: ambiguous},
		{name: "both, and the token is somebody else's", call: tried{client: by(nil, certified), header: bearer(t, "casino")}, status: 401, says: ambiguous},
		{name: "both, over HTTP/2", call: tried{client: overHTTP2(s, s.of(t, certified)), header: bearer(t, "bakery")}, status: 401, says: ambiguous},
		{name: "a certificate where tokens alone count", call: tried{client: by(nil, certified), method: http.MethodGet, path: "/countersign/v1/accounts/acc_anna"}, status: 401, says: missing},

		{name: "a merchant that is not registered", call: tried{client: by(nil, "spiffe://shop.example/nobody")}, status: 403, says: "merchant_unknown"},
		{name: "a name that only starts like a registered one", call: tried{client: by(nil, certified+"2")}, status: 403, says: "merchant_unknown"},
		{name: "a token with the subject of a certificate", call: tried{client: s.client(nil), header: bearer(t, "/bakery")}, status: 403, says: "merchant_unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.call.body = good; c.call.method == http.MethodGet {
				c.call.body = nil
			}
			resp, err := f.try(t, c.call)
			switch {
			case c.alert != "":
				if err == nil {
					t.Errorf("status %d, %s", resp.StatusCode, resp.body)
				}
				if err := f.alert(t, c.call.client); !strings.Contains(err.Error(), "remote error: tls: "+c.alert) {
					t.Errorf("%v; want the alert %q", err, c.alert)
				}
			case err != nil:
				t.Fatal(err)
			case resp.StatusCode != c.status || !strings.Contains(resp.body, c.says):
				t.Errorf("status %d, %s; want %d %s", resp.StatusCode, resp.body, c.status, c.says)
			}
			if len(paid()) != 0 {
				t.Error("it reached the payment service")
			}
		})
	}
	t.Run("without TLS", func(t *testing.T) {
		plain := strings.Replace(f.edge.URL(), "https://", "http://", 1)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, plain+"/v1/payments", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", bearer(t, "bakery")[1])
		if resp, err := (&http.Client{Timeout: patience}).Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("status %d", resp.StatusCode)
		}
		if len(paid()) != 0 {
			t.Error("it reached the payment service")
		}
	})
	// Where tokens alone count, a certificate beside one changes nothing.
	view := tried{client: f.client(t, certified), method: http.MethodGet, path: "/countersign/v1/accounts/acc_anna", header: bearer(t, "anna")}
	if resp, err := f.try(t, view); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a certificate beside a token: %v, %s", err, resp.body)
	}
	f.clock.move(time.Minute)
	if resp := f.pay(t, till{certified, "mer_bakery"}, f.code(t, device, 0), 1250, "EUR"); resp.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Errorf("status %d, %s", resp.StatusCode, resp.body)
	}
}

func overHTTP2(s *site, certificate *tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: s.config(certificate), DisableKeepAlives: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	return &http.Client{Timeout: patience, Transport: transport}
}

// Where certificates alone count, a token is nobody's, and beside a certificate changes
// nothing.
func TestCertificatesAlone(t *testing.T) {
	files := onlySystems(t, "direct_payment")
	replace(t, files, "systems/direct_payment/routes.yaml", `identity:
  source: jwt # claims that Envoy's jwt_authn filter verified
  issuer: https://id.example # the `+"`iss`"+` it must have
  kind: user
`, `identity: {source: mtls, trust_domain: "spiffe://shop.example", kind: user}
`)
	f := newSecureFamily(t, files, []authzstore.Account{accountOf("acc_shop", server("user", certified))})
	pay := func(client *http.Client, header ...string) response {
		resp, err := f.try(t, tried{client: client, path: "/v1/accounts/acc_shop/payments", header: header,
			body: map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	f.nobody(t, pay(f.site.client(nil), bearer(t, "/bakery")...), "identity_missing")
	if len(paid()) != 0 {
		t.Fatal("it reached the payment service")
	}
	if resp := pay(f.client(t, certified), bearer(t, "/casino")...); resp.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Fatalf("a token beside a certificate: status %d, %s", resp.StatusCode, resp.body)
	}
	if id := f.verified(t, lastPaid(t)).Identity; authzstore.Identity(id) != server("user", certified) {
		t.Errorf("a token beside a certificate: %+v", id)
	}
}

// secured is a bare Envoy with TLS before the fake sidecar.
func secured(t *testing.T, s *site) *Envoy {
	t.Helper()
	cfg := config(checks.socket, nil)
	cfg.TLS = s.dir
	return started(t, cfg)
}

func get(t *testing.T, e *Envoy, client *http.Client, header ...string) (response, error) {
	t.Helper()
	return (&family{edge: e}).try(t, tried{client: client, method: http.MethodGet, path: "/", header: header})
}

// What the sidecar is told of a caller's certificate is the first URI of one that Envoy
// has verified, and nothing that a caller says.
func TestPrincipal(t *testing.T) {
	s := newSite(t)
	e := secured(t, s)
	forged := []string{"X-Forwarded-Client-Cert", "URI=spiffe://shop.example/casino", "X-Forwarded-Client-Cert", "Hash=1"}
	for _, c := range []struct {
		name   string
		client *http.Client
		header []string
		want   string
	}{
		{"a certificate", s.client(s.of(t, certified)), nil, certified},
		{"a certificate, and a forwarded one", s.client(s.of(t, certified)), forged, certified},
		{"a token", s.client(nil), bearer(t, "bakery"), ""},
		{"a token, and a forwarded certificate", s.client(nil), append(bearer(t, "bakery"), forged...), ""},
		{"a token, and a certificate without a URI", s.client(s.clients.issue(t, nil)), bearer(t, "bakery"), "CN=leaf"},
		{"two URIs", s.client(s.clients.issue(t, nil, certified, "spiffe://shop.example/casino")), nil, certified},
	} {
		t.Run(c.name, func(t *testing.T) {
			script(allow)
			resp, err := get(t, e, c.client, c.header...)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, resp, 200, 1, 1)
			if got := asked()[0].GetAttributes().GetSource().GetPrincipal(); got != c.want {
				t.Errorf("principal %q, want %q", got, c.want)
			}
			if got := paid()[0].Header.Values("X-Forwarded-Client-Cert"); len(got) != 0 {
				t.Errorf("the service is told %q", got)
			}
			if got := header(asked()[0].GetAttributes(), "x-forwarded-client-cert"); got != nil {
				t.Errorf("the sidecar is told %q", got)
			}
		})
	}
}

// What is said to who has a certificate and no token is not taken for "no bearer token":
// no denial, whether or not there is a decision in it, and no answer of the service.
func TestAnswersByCertificate(t *testing.T) {
	s := newSite(t)
	e := secured(t, s)
	denial := func(code codes.Code, status typev3.StatusCode, body string) *authv3.CheckResponse {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(code)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: status}, Body: body,
				Headers: []*corev3.HeaderValueOption{setHeader("www-authenticate", "Bearer error=\"asked\"")},
			}},
		}
	}
	for _, c := range []struct {
		name         string
		answer       answer
		header       []string
		status, paid int
		says         string
		authenticate string
	}{
		{"denied", deny, nil, 403, 0, `{"code":"no_permit"}`, ""},
		{"denied, no outcome", reply(denial(codes.PermissionDenied, 403, "own")), nil, 403, 0, "own", `Bearer error="asked"`},
		{"asked for more", reply(denial(codes.Unauthenticated, 401, "own")), nil, 401, 0, "own", `Bearer error="asked"`},
		{"refused, and no answer", reply(&authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)}}), nil, 403, 0, "", ""},
		{"no decision", reply(&authv3.CheckResponse{}), nil, 403, 0, "RBAC: access denied", ""},
		{"the service says 403", allow, []string{"Test-Upstream", "403"}, 403, 1, "paid", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			script(c.answer)
			resp, err := get(t, e, s.client(s.of(t, certified)), c.header...)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, resp, c.status, 1, c.paid)
			if got := resp.Header.Get("Www-Authenticate"); resp.body != c.says || got != c.authenticate {
				t.Errorf("body %q, www-authenticate %q; want %q, %q", resp.body, got, c.says, c.authenticate)
			}
		})
	}
}

// Each connection is verified anew, by TLS 1.2 or 1.3 and ciphers with forward secrecy.
func TestTLSParameters(t *testing.T) {
	s := newSite(t)
	e := secured(t, s)
	dial := func(change func(*tls.Config)) (tls.ConnectionState, error) {
		config := s.config(s.of(t, certified))
		change(config)
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", e.addr)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: pay.example\r\nConnection: close\r\n\r\n"))
		_, readErr := io.Copy(io.Discard, conn) // tickets would arrive here
		return conn.(*tls.Conn).ConnectionState(), errors.Join(err, readErr)
	}
	for _, c := range []struct {
		name   string
		change func(*tls.Config)
		ok     bool
	}{
		{"1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		{"1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"without forward secrecy", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, false},
		{"not authenticated encryption", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := tls.NewLRUClientSessionCache(1)
			for range 2 {
				script(allow)
				state, err := dial(func(config *tls.Config) {
					config.ClientSessionCache, config.ServerName = cache, "127.0.0.1"
					c.change(config)
				})
				if (err == nil) != c.ok {
					t.Fatalf("%v", err)
				}
				if state.DidResume {
					t.Error("a session went on, and nothing was verified")
				}
			}
		})
	}
}

// Envoy takes a renewed certificate of its own, and renewed authorities of its clients,
// as files are renamed into place.
func TestCertificatesRenewed(t *testing.T) {
	s := newSite(t)
	e := secured(t, s)
	until := func(what string, reached func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !reached(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in %v: %s", patience, what)
			}
		}
	}
	shown := func() *x509.Certificate {
		conn, err := (&tls.Dialer{Config: s.config(nil)}).DialContext(t.Context(), "tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	}
	first := shown()
	renewed := s.renew(t)
	if renewed.Equal(first) {
		t.Fatal("the same certificate")
	}
	until("Envoy's own certificate", func() bool { return shown().Equal(renewed) })

	script(allow)
	next := newAuthority(t, "next")
	old, fresh := s.client(s.of(t, certified)), s.client(next.issue(t, nil, certified))
	if resp, err := get(t, e, old); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("before: %v, %v", err, resp.Response)
	}
	if _, err := get(t, e, fresh); err == nil {
		t.Fatal("an authority counts that is not there yet")
	}
	s.put(t, "clients.pem", append(s.clients.pem(), next.pem()...)) // both, while servers change over
	until("the new authority", func() bool { _, err := get(t, e, fresh); return err == nil })
	if _, err := get(t, e, old); err != nil {
		t.Errorf("the old authority, beside the new one: %v", err)
	}
	s.put(t, "clients.pem", next.pem())
	until("the old authority is gone", func() bool { _, err := get(t, e, old); return err != nil })
	if resp, err := get(t, e, fresh); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after: %v, %v", err, resp.Response)
	}

	// What cannot be read changes nothing.
	s.put(t, "clients.pem", []byte("no certificate"))
	s.put(t, "server.pem", []byte("no certificate"))
	if resp, err := get(t, e, fresh); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after a file that is none: %v, %v", err, resp.Response)
	}
	if _, err := get(t, e, old); err == nil {
		t.Error("after a file that is none: the old authority counts")
	}
}

// An Envoy that does not know whose certificates count lets nobody in, whom it would have
// to take for a person without one.
func TestAuthorityMissing(t *testing.T) {
	s := newSite(t)
	s.put(t, "clients.pem", []byte("no certificate"))
	cfg := config(checks.socket, nil)
	cfg.TLS = s.dir
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	script(allow)
	if resp, err := get(t, e, s.client(s.of(t, certified))); err == nil {
		t.Errorf("status %d", resp.StatusCode)
	}
	var refused net.Error
	if _, err := get(t, e, s.client(nil), bearer(t, "bakery")...); err == nil {
		t.Error("a connection without an authority of clients")
	} else if errors.As(err, &refused) && refused.Timeout() {
		t.Error("it waits")
	}
	if len(paid()) != 0 {
		t.Error("it reached the payment service")
	}
}
