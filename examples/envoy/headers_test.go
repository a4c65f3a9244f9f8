package envoy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// header returns the values of a header in a check, nil if there is none.
func header(check *authv3.AttributeContext, name string) []string {
	var values []string
	for _, h := range check.GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if h.GetKey() == name {
			values = append(values, string(h.GetRawValue()))
		}
	}
	return values
}

// Headers that only this side may set: what a client sends under these names
// reaches neither the sidecar nor the upstream.
func TestForgedHeaders(t *testing.T) {
	const forged = "forged-by-client"
	for _, name := range []string{
		"countersign-decision", "Countersign-Token", "COUNTERSIGN-REPLAYED", "countersign-",
		"x-envoy-attempt-count", "x-envoy-auth-partial-body", "x-envoy-decorator-operation",
		"x-envoy-downstream-service-cluster", "x-envoy-external-address", "x-envoy-internal",
		"x-envoy-original-path", "x-envoy-original-host", "x-envoy-retry-on", "x-envoy-max-retries",
		"x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-alt-stat-name", "x-envoy-something-new",
		"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-prefix", "x-forwarded-client-cert", "client-cert", "client-cert-chain", "x-ssl-client-verify", "x-request-id", "forwarded", "x-real-ip",
		"x-original-url", "x-rewrite-url",
		"x-http-method", "x-http-method-override", "x-method-override",
	} {
		t.Run(name, func(t *testing.T) {
			script(allow)
			resp := raw(t, edge, request("GET /v1/payments HTTP/1.1", name+": "+forged, name+": "+forged))
			expect(t, resp, 200, 1, 1)
			for _, check := range asked() {
				for _, h := range check.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
					if strings.Contains(string(h.GetRawValue()), forged) {
						t.Errorf("the sidecar got %s: %s", h.GetKey(), h.GetRawValue())
					}
				}
			}
			for _, call := range paid() {
				for name, values := range call.Header {
					if strings.Contains(strings.Join(values, ","), forged) {
						t.Errorf("the upstream got %s: %q", name, values)
					}
				}
			}
		})
	}
}

// What Envoy itself says about a request is there, whatever the client says.
func TestEnvoysOwnHeaders(t *testing.T) {
	script(allow)
	resp := raw(t, edge, request("GET / HTTP/1.1", "X-Forwarded-Proto: https", "X-Request-Id: mine",
		"X-Envoy-Downstream-Service-Cluster: bank", "X-Forwarded-For: 192.0.2.1"))
	expect(t, resp, 200, 1, 1)
	if t.Failed() {
		return
	}
	check, call := asked()[0].GetAttributes(), paid()[0]
	for name, want := range map[string]string{":scheme": "http", "x-forwarded-proto": "http"} {
		if got := header(check, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := check.GetSource().GetService(); got != "" {
		t.Errorf("source.service = %q, want none", got)
	}
	id := header(check, "x-request-id")
	if len(id) != 1 || id[0] != call.Header.Get("X-Request-Id") || id[0] != resp.Header.Get("X-Request-Id") {
		t.Errorf("request id: sidecar %q, upstream %q, client %q",
			id, call.Header.Get("X-Request-Id"), resp.Header.Get("X-Request-Id"))
	}
}

// Repeated headers stay apart in the check, with their bytes, so that the
// sidecar can refuse them.
func TestRepeatedHeaders(t *testing.T) {
	script(allow)
	expect(t, raw(t, edge, request("GET / HTTP/1.1", "Idempotency-Key: a", "Idempotency-Key: caf\xe9")), 200, 1, 1)
	for _, check := range asked() {
		if got := header(check.GetAttributes(), "idempotency-key"); !slices.Equal(got, []string{"a", "caf\xe9"}) {
			t.Errorf("idempotency-key %q", got)
		}
	}
}

// Requests that are refused for a header alone: no check, no call.
func TestRefusedHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		text   string
	}{
		{"two hosts", 403, request("GET / HTTP/1.1", "Host: pay.example", "Host: evil.example")},
		{"two hosts, no token", 403, "GET / HTTP/1.1\r\nHost: pay.example\r\nHost: evil.example\r\n\r\n"},
		{"host with a comma", 403, request("GET / HTTP/1.1", "Host: pay.example,evil.example")},
		{"no host", 400, "GET / HTTP/1.1\r\nAuthorization: Bearer $TOKEN\r\n\r\n"},
		{"path refused, no token", 400, "GET /a%2fb HTTP/1.1\r\nHost: pay.example\r\n\r\n"},
		{"underscore", 400, request("GET / HTTP/1.1", "idempotency_key: 1")},
		{"underscore in ours", 400, request("GET / HTTP/1.1", "countersign_decision: 1")},
		{"pseudo-header", 400, request("GET / HTTP/1.1", ":path: /evil")},
		{"space before colon", 400, request("GET / HTTP/1.1", "Countersign-Token : x")},
		{"control byte", 400, request("GET / HTTP/1.1", "X-A: a\x00b")},
		{"length and chunks", 400, request("POST / HTTP/1.1", "Content-Length: 3", "Transfer-Encoding: chunked")},
		{"two lengths", 400, request("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 4")},
		{"other transfer coding", 501, request("POST / HTTP/1.1", "Transfer-Encoding: identity")},
		{"101 headers", 431, request("GET / HTTP/1.1", slices.Repeat([]string{"X-A: 1"}, 101)...)},
		{"61 KiB header", 431, request("GET / HTTP/1.1", "X-A: "+strings.Repeat("a", 61<<10))},
		{"websocket", 403, request("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")},
		{"token named by connection", 401, request("GET / HTTP/1.1", "Connection: authorization")},
		{"HTTP/1.0", 426, request("GET / HTTP/1.0")},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(allow)
			expect(t, raw(t, edge, test.text), test.status, 0, 0)
		})
	}
}

// A folded line (obsolete, RFC 9112, section 5.2) belongs to the header before
// it and cannot smuggle one in.
func TestFoldedHeader(t *testing.T) {
	script(allow)
	expect(t, raw(t, edge, request("GET / HTTP/1.1", "X-A: 1", " Countersign-Token: x")), 200, 1, 1)
	for _, call := range paid() {
		if got := call.Header.Values("Countersign-Token"); got != nil {
			t.Errorf("the upstream got countersign-token %q", got)
		}
		if got := call.Header.Get("X-A"); got != "1 Countersign-Token: x" {
			t.Errorf("the upstream got x-a %q", got)
		}
	}
}

// The sidecar may set and remove countersign-* headers.
func TestSidecarSetsItsHeaders(t *testing.T) {
	script(allowWith(&authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{
			setHeader("countersign-decision", "dec_1"), setHeader("countersign-token", "signed")},
		HeadersToRemove:      []string{"countersign-replayed"},
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{setHeader("countersign-decision", "dec_1")},
	}))
	resp := post(t, edge, "/", "{}", "Countersign-Decision", "dec_2", "Countersign-Replayed", "true")
	expect(t, resp, 200, 1, 1)
	if got := resp.Header.Values("Countersign-Decision"); !slices.Equal(got, []string{"dec_1"}) {
		t.Errorf("client got countersign-decision %q", got)
	}
	for _, call := range paid() {
		for name, want := range map[string][]string{
			"Countersign-Decision": {"dec_1"}, "Countersign-Token": {"signed"}, "Countersign-Replayed": nil,
		} {
			if got := call.Header.Values(name); !slices.Equal(got, want) {
				t.Errorf("upstream got %s %q, want %q", name, got, want)
			}
		}
	}
}

// Without the early removal, the sidecar's own overwrite and removal are what
// keeps forged copies out; they work under the mutation rules.
func TestSidecarOverwritesForgedHeaders(t *testing.T) {
	e := bent(t, checks.socket, func(root map[string]any) {
		delete(object(Manager(root)), "early_header_mutation_extensions")
	})
	script(allowWith(&authv3.OkHttpResponse{
		Headers:         []*corev3.HeaderValueOption{setHeader("countersign-decision", "dec_1")},
		HeadersToRemove: []string{"countersign-replayed"},
	}))
	resp := post(t, e, "/", "{}", "Countersign-Decision", "dec_2", "Countersign-Decision", "dec_3",
		"Countersign-Replayed", "true", "Countersign-Other", "x")
	expect(t, resp, 200, 1, 1)
	for _, call := range paid() {
		for name, want := range map[string][]string{
			"Countersign-Decision": {"dec_1"}, "Countersign-Replayed": nil,
			"Countersign-Other": {"x"}, // what nobody names stays: this is what the early removal is for
		} {
			if got := call.Header.Values(name); !slices.Equal(got, want) {
				t.Errorf("upstream got %s %q, want %q", name, got, want)
			}
		}
	}
}

// Anything else that a sidecar tries to change is an error: 500, no call.
func TestSidecarOversteps(t *testing.T) {
	set := func(name, value string) *authv3.OkHttpResponse {
		return &authv3.OkHttpResponse{Headers: []*corev3.HeaderValueOption{setHeader(name, value)}}
	}
	remove := func(name string) *authv3.OkHttpResponse {
		return &authv3.OkHttpResponse{HeadersToRemove: []string{name}}
	}
	for _, test := range []struct {
		name string
		ok   *authv3.OkHttpResponse
	}{
		{"set :path", set(":path", "/evil")},
		{"set :method", set(":method", "DELETE")},
		{"set :authority", set(":authority", "evil.example")},
		{"set :scheme", set(":scheme", "https")},
		{"set host", set("host", "evil.example")},
		{"set content-length", set("content-length", "0")},
		{"set transfer-encoding", set("transfer-encoding", "chunked")},
		{"set authorization", set("authorization", "Bearer x")},
		{"set x-envoy-retry-on", set("x-envoy-retry-on", "5xx")},
		{"set x-request-id", set("x-request-id", "1")},
		{"set x-account", set("x-account", "1")},
		{"set xcountersign-a", set("xcountersign-a", "1")},
		{"set countersign-, line feed in value", set("countersign-a", "1\r\nx-evil: 1")},
		{"remove authorization", remove("authorization")},
		{"remove x-request-id", remove("x-request-id")},
		{"remove content-length", remove("content-length")},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(allowWith(test.ok))
			expect(t, post(t, edge, "/", "{}"), http.StatusInternalServerError, 1, 0)
		})
	}
}

// A header of the sidecar does not choose the route after the decision.
func TestSidecarCannotMoveTheCall(t *testing.T) {
	e := bent(t, checks.socket, func(root map[string]any) {
		host := object(At(object(Manager(root)), "route_config", "virtual_hosts", "payments"))
		host["routes"] = append([]any{map[string]any{
			"match": map[string]any{"prefix": "/", "headers": []any{
				map[string]any{"name": "countersign-route", "present_match": true}}},
			"direct_response": map[string]any{"status": 418},
		}}, host["routes"].([]any)...)
	})
	script(allowWith(&authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{setHeader("countersign-route", "other")}}))
	expect(t, post(t, e, "/", "{}"), 200, 1, 1)
}

// What a sidecar says to the client is checked before the call runs and never
// refused after.
func TestSidecarAnswersClient(t *testing.T) {
	injected := setHeader("countersign-reason", "a\r\nset-cookie: evil=1")
	script(allowWith(&authv3.OkHttpResponse{ResponseHeadersToAdd: []*corev3.HeaderValueOption{injected}}))
	expect(t, post(t, edge, "/", "{}"), 500, 1, 0)

	var many []*corev3.HeaderValueOption
	for i := range 150 {
		many = append(many, setHeader(fmt.Sprintf("countersign-%d", i), "x"))
	}
	script(allowWith(&authv3.OkHttpResponse{ResponseHeadersToAdd: many}))
	expect(t, post(t, edge, "/", "{}"), 200, 1, 1)

	script(func(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		resp, err := deny(ctx, req)
		resp.GetDeniedResponse().Body = strings.Repeat("a", 5000)
		return resp, err
	})
	resp := post(t, edge, "/", "{}")
	expect(t, resp, 403, 1, 0)
	if len(resp.body) != 4096 {
		t.Errorf("the client got %d bytes of denial, want 4096", len(resp.body))
	}

	script(func(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		resp, err := deny(ctx, req)
		resp.GetDeniedResponse().Headers = []*corev3.HeaderValueOption{injected}
		return resp, err
	})
	resp = post(t, edge, "/", "{}")
	expect(t, resp, 500, 1, 0)
	if resp.Header.Get("Set-Cookie") != "" {
		t.Error("the sidecar injected a header")
	}
}
