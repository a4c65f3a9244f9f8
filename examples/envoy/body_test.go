package envoy

import (
	"fmt"
	"strings"
	"testing"
)

// maxBody is max_request_bytes of envoy.yaml.
const maxBody = 64 << 10

// chunked is body in chunks of at most size bytes (RFC 9112, section 7.1).
func chunked(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// The sidecar sees every byte of the body that the upstream gets, or the call
// is refused without asking it.
func TestBody(t *testing.T) {
	atLimit, over := strings.Repeat("a", maxBody), strings.Repeat("a", maxBody+1)
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	const chunks = "Transfer-Encoding: chunked"
	for _, test := range []struct {
		name, text string
		status     int
		body       string // of an allowed call
	}{
		{"none", request("POST / HTTP/1.1"), 200, ""},
		{"length 0", request("POST / HTTP/1.1", length(0)), 200, ""},
		{"one under the limit", request("POST / HTTP/1.1", length(maxBody-1)) + atLimit[1:], 200, atLimit[1:]},
		{"at the limit", request("POST / HTTP/1.1", length(maxBody)) + atLimit, 200, atLimit},
		{"one over", request("POST / HTTP/1.1", length(maxBody+1)) + over, 413, ""},
		{"chunked, at the limit", request("POST / HTTP/1.1", chunks) + chunked(atLimit, 1000), 200, atLimit},
		{"chunked, one over", request("POST / HTTP/1.1", chunks) + chunked(over, 1000), 413, ""},
		{"chunked, empty", request("POST / HTTP/1.1", chunks) + chunked("", 1), 200, ""},
		{"chunked, byte by byte", request("POST / HTTP/1.1", chunks) + chunked(`{"a":1}`, 1), 200, `{"a":1}`},
		{"chunked, bad size", request("POST / HTTP/1.1", chunks) + "zz\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"GET", request("GET / HTTP/1.1", length(5)) + "hello", 200, "hello"},
		{"longer than its length", request("POST / HTTP/1.1", length(3)) + "hello", 200, "hel"},
		{"not UTF-8", request("POST / HTTP/1.1", length(4)) + "\x00\xff\xc3\x28", 200, "\x00\xff\xc3\x28"},
		{"expect", request("POST / HTTP/1.1", length(5), "Expect: 100-continue") + "hello", 200, "hello"},
		{"compressed", request("POST / HTTP/1.1", length(5), "Content-Encoding: gzip") + "\x1f\x8b\x08\x00\x00", 200, "\x1f\x8b\x08\x00\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(allow)
			calls := 0
			if test.status == 200 {
				calls = 1
			}
			expect(t, raw(t, edge, test.text), test.status, calls, calls)
			for _, check := range asked() {
				if got := check.GetAttributes().GetRequest().GetHttp().GetRawBody(); string(got) != test.body {
					t.Errorf("the sidecar got %d bytes %.40q, want %d", len(got), got, len(test.body))
				}
				if got := header(check.GetAttributes(), "x-envoy-auth-partial-body"); len(got) > 1 || len(got) == 1 && got[0] != "false" {
					t.Errorf("x-envoy-auth-partial-body %q", got)
				}
			}
			for _, call := range paid() {
				if call.body != test.body {
					t.Errorf("the upstream got %d bytes %.40q, want %d", len(call.body), call.body, len(test.body))
				}
			}
		})
	}
}

// A body that stops short is never decided: the request ends at the
// request_timeout (shortened here) with 408.
func TestShortBody(t *testing.T) {
	e := bent(t, checks.socket, func(root map[string]any) {
		object(Manager(root))["request_timeout"] = "0.2s"
	})
	script(allow)
	expect(t, raw(t, e, request("POST / HTTP/1.1", "Content-Length: 10")+"hello"), 408, 0, 0)
}

// A trailer is not part of what was decided: it is dropped.
func TestTrailer(t *testing.T) {
	script(allow)
	expect(t, raw(t, edge, request("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: Countersign-Token")+
		"3\r\nabc\r\n0\r\nCountersign-Token: forged\r\n\r\n"), 200, 1, 1)
	for _, call := range paid() {
		if call.Header.Get("Countersign-Token") != "" || call.Trailer.Get("Countersign-Token") != "" {
			t.Errorf("the upstream got header %q, trailer %q", call.Header, call.Trailer)
		}
	}
}
