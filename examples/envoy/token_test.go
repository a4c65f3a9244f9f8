package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/extauthz"
	tokens "github.com/countersign/countersign/sidecar/upstream"
)

// guarded starts an Envoy before a payment service that takes signed calls alone,
// and returns what signs: the sidecar's own answer to a call that was allowed.
func guarded(t *testing.T, edit func(map[string]any)) (*Envoy, answer) {
	t.Helper()
	key, err := tokens.SharedKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tokens.NewSigner("sto_test", map[string]tokens.Key{"payments.example": key})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := tokens.NewVerifier("sto_test", "payments.example", key)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	guard := tokens.Guard{Verifier: verifier, Executions: &tokens.MemoryExecutions{}, Log: log}
	server := httptest.NewUnstartedServer(guard.Handler(payments))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	e := started(t, Config{Socket: checks.socket, Upstream: server.Listener.Addr().String(), JWKS: provider.JWKS(), Edit: edit})
	decided := &extauthz.Service{Sign: signer.Sign, Log: log, Decide: func(context.Context, call.Request) decide.Decision {
		return decide.Decision{ID: authzstore.NewID("dec"), Outcome: decide.Allow, Execution: &decide.Execution{
			Audience: "payments.example", System: "direct_payment", Operation: "pay",
			Identity: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
			Account:  "acc_anna", Payee: "Bäckerei, Nord", Currency: "EUR", AmountMinor: 1250, ReservationID: authzstore.NewID("rsv"), Replayed: true,
		}}
	}}
	return e, decided.Check
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// The token says method, host, path, query and body as the service receives
// them, byte for byte, or no call that was allowed would pass.
func TestTokenFitsTheCall(t *testing.T) {
	e, signed := guarded(t, nil)
	length := func(body string) string { return fmt.Sprintf("Content-Length: %d", len(body)) }
	const bytes = "{\"a\":\t1}\r\n\x00\xff\xc3\x28"
	big := strings.Repeat("a", maxBody)
	for _, text := range []string{
		request("POST /v1/payments HTTP/1.1", length(bytes)) + bytes,
		request("PUT /v1/payments HTTP/1.1", length(big)) + big,
		request("PATCH /v1/payments HTTP/1.1", "Transfer-Encoding: chunked") + chunked(big, 1000),
		request("POST /v1/payments HTTP/1.1", "Transfer-Encoding: chunked") + chunked("", 1),
		request("POST /v1/payments HTTP/1.1", length("hello"), "Expect: 100-continue") + "hello",
		request("POST /v1/payments HTTP/1.1", "Content-Length: 3") + "hello",
		request("DELETE /v1/payments/1 HTTP/1.1"),
		request("GET /v1/payments HTTP/1.1", length("hello")) + "hello",
		request("POST /a/../v1//payments HTTP/1.1"),
		request("POST /a;x=1/..;/b HTTP/1.1"),
		request(`POST /v1\payments HTTP/1.1`),
		request("POST /v1/%70ayments/%7euser/caf%c3%a9/a%252fb HTTP/1.1"),
		request("POST /V1/Payments;id=1 HTTP/1.1"),
		request("POST /v1/payments? HTTP/1.1"),
		request("POST /v1/payments?x=%2f..%2f&x=+&&y HTTP/1.1"),
		request("POST /v1/payments?a//b/../c?d HTTP/1.1"),
		request("POST / HTTP/1.1", "Host: PAY.Example"),
		request("POST / HTTP/1.1", "Host: pay.example:8443"),
		request("POST / HTTP/1.1", "Host: pay.example."),
		request("POST / HTTP/1.1", "Host: [2001:db8::1]:80"),
		request("POST http://Other.example:80/a/../b?c HTTP/1.1", "Host: pay.example"),
		request("POST / HTTP/1.1", "X-Forwarded-Host: evil.example", "X-Original-Url: /evil", "X-Http-Method-Override: PUT"),
		request("POST / HTTP/1.1", "Countersign-Token: forged", "Countersign-Token: twice", "X-Request-Id: mine"),
	} {
		t.Run(text[:strings.Index(text, "\r")], func(t *testing.T) {
			script(signed)
			expect(t, raw(t, e, text), 200, 1, 1)
		})
	}
}

// Over HTTP/2, from the client and to the service, it fits too.
func TestTokenFitsHTTP2(t *testing.T) {
	e, signed := guarded(t, func(root map[string]any) {
		const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
		object(At(root, "static_resources", "clusters", "payments"))["typed_extension_protocol_options"] = map[string]any{
			options: map[string]any{
				"@type":                "type.googleapis.com/" + options,
				"explicit_http_config": map[string]any{"http2_protocol_options": map[string]any{}},
			},
		}
	})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for _, host := range []string{"pay.example", "PAY.example:8443"} {
		script(signed)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL()+"/a//b?x=%2f", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "Bearer "+token(t, patience, nil))
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 || len(paid()) != 1 || paid()[0].ProtoMajor != 2 {
			t.Errorf("%s: %s, HTTP/%d, %d calls upstream", host, resp.Status, resp.ProtoMajor, len(paid()))
		}
	}
}

// What reaches the service by another way than through the sidecar's answer is
// refused by the service: an allow without a token, one for a call that was
// changed after it, one that was used before.
func TestTokenRefused(t *testing.T) {
	e, signed := guarded(t, nil)
	for _, c := range []struct {
		name   string
		answer answer
	}{
		{"no token", allow},
		{"forged token, let through", allowWith(&authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{setHeader("countersign-token", "forged")}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			script(c.answer)
			expect(t, post(t, e, "/", "{}"), 403, 1, 0)
		})
	}
	for name, route := range map[string]map[string]any{
		"path rewritten": {"prefix_rewrite": "/v2/"},
		"host rewritten": {"host_rewrite_literal": "evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			e, signed := guarded(t, func(root map[string]any) {
				action := object(At(object(Manager(root)), "route_config", "virtual_hosts", "payments", "routes", "payments", "route"))
				maps.Copy(action, route)
			})
			script(signed)
			resp := post(t, e, "/v1/payments", "{}")
			expect(t, resp, 403, 1, 0)
			if !strings.Contains(resp.body, `"call_changed"`) {
				t.Errorf("body %s", resp.body)
			}
		})
	}
	t.Run("one answer for two calls", func(t *testing.T) {
		var once sync.Once
		var first *authv3.CheckResponse
		script(func(ctx context.Context, req *authv3.CheckRequest) (resp *authv3.CheckResponse, err error) {
			once.Do(func() { first, err = signed(ctx, req) })
			return first, err
		})
		expect(t, post(t, e, "/", "{}"), 200, 1, 1)
		again := post(t, e, "/", "{}")
		expect(t, again, 200, 2, 1)
		if again.Header.Get("Countersign-Replayed") != "true" || again.body != "paid" {
			t.Errorf("%v %s", again.Header, again.body)
		}
		expect(t, post(t, e, "/", "{ }"), 403, 3, 1)
	})
}

// Envoy refuses a request of more than 100 header lines, or of more than 60 KiB of
// them, also when ours make it so: the call was allowed and ends with 500. The
// sidecar does not see the token's and the cookies' lines (disallowed_headers): with
// one of each and ours there is room for 90 more. It takes 80.
func TestTokenLeavesRoom(t *testing.T) {
	e, signed := guarded(t, nil)
	send := func(lines, bytes int) response {
		script(signed)
		extra := []string{"Cookie: a=1", "X-Long: " + strings.Repeat("a", bytes)}
		for range lines {
			extra = append(extra, "X-A: 1")
		}
		return raw(t, e, request("POST / HTTP/1.1", extra...))
	}
	seen := func() int {
		return len(asked()[0].GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders())
	}
	expect(t, send(0, 0), 200, 1, 1)
	fill := 90 - seen()
	expect(t, send(fill, 0), 200, 1, 1)
	if seen() != 90 {
		t.Fatalf("the sidecar saw %d lines", seen())
	}
	if ours := countersignLines(paid()[0].Header); ours != 8 {
		t.Errorf("%d lines of ours; test with all of them", ours)
	}
	expect(t, send(fill+1, 0), 500, 1, 0)
	expect(t, send(0, 56<<10), 200, 1, 1)
	expect(t, send(0, 59<<10), 500, 1, 0)
}

func countersignLines(header http.Header) (n int) {
	for name, values := range header {
		if strings.HasPrefix(name, "Countersign-") {
			n += len(values)
		}
	}
	return n
}
