package envoy

import "testing"

// Every spelling of a path that passes is the same string for the sidecar and
// for the upstream.
func TestPath(t *testing.T) {
	for _, test := range []struct{ sent, want string }{
		{"/v1/payments", "/v1/payments"},
		{"/", "/"},
		{"/a/../v1/payments", "/v1/payments"},
		{"/a/./b", "/a/b"},
		{"/a/%2e%2e/b", "/b"},
		{"/a/.%2E/b", "/b"},
		{"/../../b", "/b"},
		{"/a;x=1/..;/b", "/b"},
		{"//v1//payments", "/v1/payments"},
		{"/v1/payments//", "/v1/payments/"},
		{`/v1\payments`, "/v1/payments"},
		{`/a\..\b`, "/b"},
		{"/v1/%70ayments", "/v1/payments"},
		{"/v1/%7euser", "/v1/~user"},
		{"/V1/Payments", "/V1/Payments"},
		{"/v1/payments;id=1", "/v1/payments;id=1"},
		{"/a%252fb", "/a%252fb"},
		{"/v1/payments?x=%2f..%2f&x=2", "/v1/payments?x=%2f..%2f&x=2"},
		{"/v1/payments?a//b/../c", "/v1/payments?a//b/../c"},
		{"/v1/payments?", "/v1/payments?"},
		{"/v1/caf%c3%a9", "/v1/caf%c3%a9"},
		{"http://pay.example/a/../b", "/b"},
	} {
		t.Run(test.sent, func(t *testing.T) {
			script(allow)
			expect(t, raw(t, edge, request("POST "+test.sent+" HTTP/1.1")), 200, 1, 1)
			for _, check := range asked() {
				if got := check.GetAttributes().GetRequest().GetHttp().GetPath(); got != test.want {
					t.Errorf("the sidecar got %q, want %q", got, test.want)
				}
			}
			for _, call := range paid() {
				if call.RequestURI != test.want {
					t.Errorf("the upstream got %q, want %q", call.RequestURI, test.want)
				}
			}
		})
	}
}

// Paths and request lines that are refused: no check, no call.
func TestRefusedPath(t *testing.T) {
	for _, test := range []struct {
		line   string
		status int
	}{
		{"GET /a%2fb HTTP/1.1", 400},
		{"GET /a%2Fb HTTP/1.1", 400},
		{"GET /a%5cb HTTP/1.1", 400},
		{"GET /a%2f..%2fb HTTP/1.1", 400},
		{"GET /a%00b HTTP/1.1", 400},
		{"GET /a#b HTTP/1.1", 400},
		{"GET /a%2523b#/../b HTTP/1.1", 400},
		{"GET /a b HTTP/1.1", 400},
		{"GET a HTTP/1.1", 400},
		{"GET /caf\xc3\xa9 HTTP/1.1", 400},
		{"GET /a\tb HTTP/1.1", 400},
		{"OPTIONS * HTTP/1.1", 404},
		{"CONNECT pay.example:443 HTTP/1.1", 403},
		{"PAY /a HTTP/1.1", 400},
	} {
		t.Run(test.line, func(t *testing.T) {
			script(allow)
			expect(t, raw(t, edge, request(test.line)), test.status, 0, 0)
		})
	}
}

// A path without a route asks nobody and is refused by the filter "decided":
// 403, where Envoy alone says 404.
func TestNoRoute(t *testing.T) {
	e := bent(t, checks.socket, func(root map[string]any) {
		object(At(object(Manager(root)), "route_config", "virtual_hosts", "payments", "routes", "payments", "match"))["prefix"] = "/v1/"
	})
	script(allow)
	expect(t, raw(t, e, request("GET /v2/payments HTTP/1.1")), 403, 0, 0)
	expect(t, raw(t, e, request("GET /v1/payments HTTP/1.1")), 200, 1, 1)
}

// An absolute URL in the request line decides the host; the sidecar and the
// upstream agree on it.
func TestAbsoluteURL(t *testing.T) {
	script(allow)
	expect(t, raw(t, edge, request("GET http://evil.example/x HTTP/1.1", "Host: pay.example")), 200, 1, 1)
	for _, check := range asked() {
		if got := check.GetAttributes().GetRequest().GetHttp().GetHost(); got != "evil.example" {
			t.Errorf("the sidecar got host %q", got)
		}
	}
	for _, call := range paid() {
		if call.Host != "evil.example" {
			t.Errorf("the upstream got host %q", call.Host)
		}
	}
}
