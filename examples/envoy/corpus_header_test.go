package envoy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A headerCase is a payment whose fields stand in headers, with some lines added
// and some replaced. A line that starts with the name of a good one takes its
// place.
type headerCase []string

// headerPayment is the request with these lines, and with a body of its own if
// they name one.
func headerPayment(lines headerCase) string {
	good := []string{"Host: pay.example", "Authorization: Bearer $TOKEN", "X-Payee: mer_bakery", "X-Amount-Minor: 1250", "Idempotency-Key: $KEY", "Connection: close"}
	text := "POST /headers/acc_anna HTTP/1.1\r\n"
	for _, line := range good {
		name, _, _ := strings.Cut(line, ":")
		replaced := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "="+name+":") })
		if !replaced {
			text += line + "\r\n"
		}
	}
	for _, line := range lines {
		text += strings.TrimPrefix(line, "=") + "\r\n"
	}
	return text + "\r\n"
}

// repeats are ways to say one header more than once; A is the good value, B
// another one.
var repeats = []string{
	"%s: B", "%s: A", "%s:", "%s: ", "%s: A, B", "=%s: A, B", "=%s: A,B", "=%s: A,", "=%s: ,A", "=%s: A;B", "=%s: \"A\", \"B\"", "=%s:", "=%s: \t ",
	"=%s:A", "=%s:   A   ", "=%s: \tA\t", "=%s: A B", "=%s: A\tB", "=%s: A\x00", "=%s: A\x01", "=%s: A\x7f", "=%s: A\x80", "=%s: \xc3\xa4", "=%s: \xe4",
	"=%s: A\rB", "=%s: A\nB", "=%s: A\r\n B", "=%s: A\r\n\tB", "=%s:\r\n A", "=%s: A\r\n ", "=%s : A", "=%s\t: A", "= %s: A", "=\t%s: A",
	"=%s:: A", "=%s; A", "=%s=A", "=%s A", "%s : B", "%s\x00: B", "\x00%s: B", "%s\xa0: B", "(%s): B", "%s\x0b: B",
}

// headerNames are those that the route reads, with a good and another value.
var headerNames = [][3]string{
	{"X-Payee", "mer_bakery", "mer_thief"}, {"X-Amount-Minor", "1250", "9999"}, {"Idempotency-Key", "$KEY", "key-2"},
}

func repeated() []headerCase {
	var all []headerCase
	for _, name := range headerNames {
		for _, form := range repeats {
			line := strings.NewReplacer("A", name[1], "B", name[2]).Replace(strings.Replace(form, "%s", "\x02", 1))
			all = append(all, headerCase{strings.Replace(line, "\x02", name[0], 1)})
		}
		all = append(all,
			headerCase{strings.ToLower(name[0]) + ": " + name[2]}, headerCase{strings.ToUpper(name[0]) + ": " + name[2]},
			headerCase{strings.ReplaceAll(name[0], "-", "_") + ": " + name[2]}, headerCase{strings.ReplaceAll(name[0], "-", ".") + ": " + name[2]},
			headerCase{"=" + name[0] + ": " + name[1], strings.ReplaceAll(name[0], "-", "_") + ": " + name[2]},
			headerCase{"=Connection: close, " + name[0]}, headerCase{"=Connection: " + strings.ToLower(name[0]) + ", close"}, headerCase{"Connection: " + name[0]},
			headerCase{"Proxy-Connection: " + name[0]}, headerCase{"Keep-Alive: " + name[0]}, headerCase{"Trailer: " + name[0]}, headerCase{"TE: trailers, " + name[0]},
			headerCase{"Trailer: " + name[0], "Transfer-Encoding: chunked", "", "0", name[0] + ": " + name[2]},
			headerCase{"Vary: " + name[0]}, headerCase{"X-A: 1\r\n" + name[0] + ": " + name[2]}, headerCase{"X-A: 1\n" + name[0] + ": " + name[2]}, headerCase{"X-A: 1\r" + name[0] + ": " + name[2]},
		)
	}
	return all
}

// keys are idempotency keys.
var keys = []string{
	"$KEY", `"$KEY"`, `"`, `""`, `"$KEY`, `$KEY"`, `'$KEY'`, `"a\"$KEY"`, `"a\k"`, "a b", `"a b"`, strings.Repeat("k", 128), strings.Repeat("k", 129), strings.Repeat("k", 4096),
	"*", "null", "undefined", "0", "key=1", "%20", "{}", "a;b", "a,b", "ключ", "\xff", "a\tb", "=?utf-8?q?a?=", "<script>", "../..", "$KEY#", "\\", "a\x00b",
}

// elsewhere are headers that say something which is not theirs to say.
func elsewhere() []headerCase {
	var all []headerCase
	for _, name := range []string{
		"countersign-decision-id", "Countersign-Decision-Id", "COUNTERSIGN-DECISION-ID", "countersign-token", "countersign-account", "countersign-amount-minor", "countersign-payee",
		"countersign-replayed", "countersign-reservation-id", "countersign-", "countersign_decision_id", "countersign.decision-id", "xcountersign-token", "X-Countersign-Token",
		"x-envoy-auth-partial-body", "x-envoy-original-path", "x-envoy-retry-on", "x-envoy-internal", "x-envoy-upstream-alt-stat-name", "x-envoy-decorator-operation",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-client-cert", "x-forwarded-user", "forwarded", "x-real-ip", "x-request-id", "x-remote-user",
		"x-http-method", "x-http-method-override", "x-method-override", "x-original-method", "x-request-method", "x-original-url", "x-original-uri", "x-original-path",
		"x-original-host", "x-rewrite-url", "x-override-url", "x-http-path-override", "x-http-destinationurl", "x-proxy-url", "request-uri", "x-host",
		":path", ":authority", ":method", ":scheme", "content-range", "upgrade",
	} {
		all = append(all, headerCase{name + ": forged"})
		if strings.HasPrefix(name, "countersign-") {
			all = append(all, headerCase{name + ": forged", name + ": forged2"}, headerCase{"=Connection: close, " + name, name + ": forged"})
		}
	}
	return append(all, []headerCase{
		{"=Authorization: Bearer forged"}, {"Authorization: Bearer $TOKEN"}, {"Authorization: Bearer forged"}, {"=Authorization: Bearer $TOKEN, Bearer $TOKEN"},
		{"=Authorization: Basic Zm9yZ2Vk, Bearer $TOKEN"}, {"=Authorization: bearer $TOKEN"}, {"=Authorization: BEARER $TOKEN"}, {"=Authorization: XBearer $TOKEN"},
		{"=Authorization: Bearer  $TOKEN"}, {"=Authorization: Bearer\t$TOKEN"}, {"=Authorization: $TOKEN"}, {"=Authorization: Bearer $TOKEN x"}, {"=Authorization: Bearer $TOKEN."},
		{"=Authorization: Bearer $TOKEN\r\n x"}, {"=Authorization:"}, {"=Authorization: Bearer $TOKEN", "=Connection: close, authorization"}, {"=Authorization: Bearer $TOKEN", "Proxy-Authorization: Bearer forged"},
		{"=Authorization: Bearer $TOKEN", "authorization: Bearer forged"}, {"=X-Authorization: Bearer $TOKEN", "=Authorization: "}, {"Cookie: access_token=forged; token=forged"},
		{"=Authorization: Bearer $TOKEN", "Authorization_: Bearer forged"}, {"=Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJiZW4iLCJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ."},
		{"=Host: pay.example", "Host: evil.example"}, {"=Host: pay.example,evil.example"}, {"=Host: pay.example", "X-Forwarded-Host: forged"}, {"=Host:"}, {"=Host: evil.example@pay.example"},
		{"=Host: pay.example:443:80"}, {"=Host: pay.example/v1"}, {"=Host: pay.example#x"}, {"=Host: pay example"}, {"=Host: ../.."}, {"=Host: PAY.EXAMPLE"}, {"=Host: 127.0.0.1"},
		{"Upgrade: websocket", "=Connection: Upgrade"}, {"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "=Connection: Upgrade, HTTP2-Settings"}, {"Expect: 100-continue"}, {"Expect: forged"},
		{"Range: bytes=0-1"}, {"Max-Forwards: 0"}, {"Accept-Encoding: gzip;q=forged"}, {"Via: 1.1 forged"}, {"X-A: " + strings.Repeat("a", 61<<10)}, {strings.Repeat("x", 300) + ": 1"}, {"X-A"}, {": 1"}, {"=X-Payee: "},
	}...)
}

// framings are ways to disagree about where a body, and so the request, ends. What
// is behind the first end would be a second request, for the thief, to whoever
// takes the other end.
func framings() []string {
	const (
		head  = "POST /forms/acc_anna HTTP/1.1\r\nHost: pay.example\r\nAuthorization: Bearer $TOKEN\r\nIdempotency-Key: $KEY\r\nContent-Type: application/x-www-form-urlencoded\r\n"
		form  = "payee=mer_bakery&amount_minor=1250&currency=EUR"
		thief = "POST /headers/acc_ben HTTP/1.1\r\nHost: pay.example\r\nX-Payee: mer_thief\r\nX-Amount-Minor: 9999\r\nIdempotency-Key: thief\r\nX-Rest: "
		end   = "GET /end HTTP/1.1\r\nHost: pay.example\r\nConnection: close\r\n\r\n"
	)
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(form), form)
	exact := fmt.Sprintf("Content-Length: %d", len(form))
	withChunks := fmt.Sprintf("Content-Length: %d", len(chunk))
	var all []string
	for _, lines := range []string{
		exact, "Transfer-Encoding: chunked", exact + "\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\n" + exact, withChunks + "\r\nTransfer-Encoding: chunked",
		"Content-Length: 0\r\nTransfer-Encoding: chunked", exact + "\r\nTransfer-Encoding: identity", exact + "\r\nTransfer-Encoding: chunked, identity",
		exact + "\r\nTransfer-Encoding: identity, chunked", exact + "\r\nTransfer-Encoding: xchunked", exact + "\r\nTransfer-Encoding:\tchunked", exact + "\r\nTransfer-Encoding: \x0bchunked",
		exact + "\r\nTransfer-Encoding : chunked", exact + "\r\n Transfer-Encoding: chunked", exact + "\r\nX: x\nTransfer-Encoding: chunked", exact + "\r\nX: x\rTransfer-Encoding: chunked",
		exact + "\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x", exact + "\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked", exact + "\r\nTransfer_Encoding: chunked",
		exact + "\r\nTransfer-Encoding\r\n : chunked", exact + "\r\nTransfer-Encoding:\r\n chunked", exact + "\r\nTransfer-Encoding: CHUNKED", exact + "\r\nTransfer-Encoding: gzip, chunked",
		exact + "\r\n" + exact, exact + "\r\nContent-Length: 0", "Content-Length: 0\r\n" + exact, exact + "\r\nContent-Length: 9999", "Content-Length: 0", "Content-Length: 1",
		fmt.Sprintf("Content-Length: %d, %d", len(form), len(form)), fmt.Sprintf("Content-Length: %d, 0", len(form)), fmt.Sprintf("Content-Length: +%d", len(form)),
		fmt.Sprintf("Content-Length: -%d", len(form)), fmt.Sprintf("Content-Length: 0x%x", len(form)), fmt.Sprintf("Content-Length: 0%d", len(form)), fmt.Sprintf("Content-Length: %d.0", len(form)),
		fmt.Sprintf("Content-Length: %d a", len(form)), fmt.Sprintf("Content-Length:\x0b%d", len(form)), fmt.Sprintf("Content-Length : %d", len(form)), fmt.Sprintf("Content_Length: %d", len(form)),
		"Content-Length: 18446744073709551615", "Content-Length:", "Content-Length: \"47\"", "=", "Connection: content-length\r\n" + exact, "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
	} {
		for _, body := range []string{form, chunk} {
			all = append(all, head+lines+"\r\n\r\n"+body+thief+end)
		}
	}
	for _, chunks := range []string{
		"2f\r\n" + form + "\r\n0\r\n\r\n", "2F\r\n" + form + "\r\n0\r\n\r\n", "002f\r\n" + form + "\r\n00\r\n\r\n", "2f;x=y\r\n" + form + "\r\n0\r\n\r\n", "2f ;x\r\n" + form + "\r\n0\r\n\r\n", "2f;\n" + form + "\r\n0\r\n\r\n",
		"2f \r\n" + form + "\r\n0\r\n\r\n", " 2f\r\n" + form + "\r\n0\r\n\r\n", "+2f\r\n" + form + "\r\n0\r\n\r\n", "-2f\r\n" + form + "\r\n0\r\n\r\n", "0x2f\r\n" + form + "\r\n0\r\n\r\n", "2g\r\n" + form + "\r\n0\r\n\r\n",
		"2f\n" + form + "\n0\n\n", "2f\r" + form + "\r0\r\r", "2f\r\n" + form + "0\r\n\r\n", "2f\r\n" + form + "\r\n0\r\n", "2f\r\n" + form + "x\r\n0\r\n\r\n", "2e\r\n" + form + "\r\n0\r\n\r\n", "30\r\n" + form + "\r\n0\r\n\r\n",
		"1000000000000002f\r\n" + form + "\r\n0\r\n\r\n", "ffffffffffffffff\r\n" + form, "2f\r\n" + form + "\r\n0\r\nContent-Length: 9\r\n\r\n", "2f\r\n" + form + "\r\n0\r\nX-Payee: mer_thief\r\n\r\n",
		"2f\r\n" + form + "\r\n0\r\n" + thief, "0\r\n\r\n" + form, "\r\n2f\r\n" + form + "\r\n0\r\n\r\n", "2_f\r\n" + form + "\r\n0\r\n\r\n", "２f\r\n" + form + "\r\n0\r\n\r\n",
	} {
		all = append(all, head+"Transfer-Encoding: chunked\r\n\r\n"+chunks+thief+end)
	}
	return all
}

// All ways to say something in headers twice, hidden, for somebody else or about
// the framing: nobody is spoofed, nothing undecided passes, nothing is misread.
func TestHeaderCorpus(t *testing.T) {
	c := newCorpus(t)
	cases := append(append([]headerCase{{}}, repeated()...), elsewhere()...)
	for _, key := range keys {
		cases = append(cases, headerCase{"=Idempotency-Key: " + key})
	}
	for i, lines := range cases {
		t.Run(fmt.Sprintf("%d %.60q", i, lines), func(t *testing.T) {
			if n := c.run(t, headerPayment(lines)); n > 1 {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
	c.runAll(t, framings())
	c.finish(t, 350, 30)
}
