package envoy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw writes bytes to e that no well-behaved client would, and reads one answer.
// $TOKEN in them becomes a good token.
func raw(t *testing.T, e *Envoy, text string) response {
	t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "$TOKEN", token(t, time.Minute, nil))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 200 { // 100 Continue comes before the answer
			return response{resp, string(body)}
		}
	}
}

// request is the text of one request without a body, with a good token; without
// a Host line among lines it is for pay.example.
func request(line string, lines ...string) string {
	head := []string{line, "Authorization: Bearer $TOKEN", "Connection: close"}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") }) {
		head = append(head, "Host: pay.example")
	}
	return strings.Join(append(head, lines...), "\r\n") + "\r\n\r\n"
}
