package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func TestServers(t *testing.T) {
	clients := startServers(t)
	t.Run("answer alike", func(t *testing.T) { testAnswerAlike(t, clients) })
	t.Run("no-op answers like an allow", func(t *testing.T) { testNoOp(t, clients) })
	t.Run("a denial is no answer to a load", func(t *testing.T) { testDriveRefuses(t, clients["countersign"]) })
}

// A comparison is worth something only if everybody does the same work: all
// servers that decide give the same answers but for the ID.
func testAnswerAlike(t *testing.T, clients map[string]*client) {
	pay := payments()[7]
	stranger := payments()[8].subject
	cases := []struct {
		name string
		payment
		code string // of the problem document; "" for an allow
	}{
		{"allowed", pay, ""},
		{"exactly the maximum", payment{pay.account, pay.subject, maxPaymentMinor, "EUR"}, ""},
		{"over the maximum", overMaximum(), "amount_over_payment_maximum"},
		{"other currency", payment{pay.account, pay.subject, 1, "CHF"}, "currency_not_account"},
		{"frozen account", payment{frozenID, owner(frozenID).Subject, 1, "EUR"}, "account_frozen"},
		{"account of another", payment{pay.account, stranger, 1, "EUR"}, "account_unknown"},
		{"no such account", payment{"acc_nobody", stranger, 1, "EUR"}, "account_unknown"},
		{"two reasons", payment{frozenID, owner(frozenID).Subject, maxPaymentMinor + 1, "EUR"}, "account_frozen"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var first *authv3.CheckResponse
			for _, s := range servers {
				if !s.decides {
					continue
				}
				answer := clients[s.name].answer(t, s, c.payment)
				checkAnswer(t, s.name, answer, c.code)
				if first == nil {
					first = answer
				}
				if !proto.Equal(answer, first) {
					t.Errorf("%s answers\n%v\nnot\n%v", s.name, answer, first)
				}
			}
		})
	}
}

func testNoOp(t *testing.T, clients map[string]*client) {
	var answers []*authv3.CheckResponse
	for _, s := range servers {
		if s.name == noOpName || s.name == "countersign" {
			answers = append(answers, clients[s.name].answer(t, s, payments()[0]))
		}
	}
	if !proto.Equal(answers[0], answers[1]) {
		t.Errorf("no-op answers\n%v\nnot\n%v", answers[0], answers[1])
	}
}

func testDriveRefuses(t *testing.T, c *client) {
	if _, _, err := c.drive(t.Context(), 2, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c.requests = [][]byte{c.denied}
	if _, _, err := c.drive(t.Context(), 2, time.Millisecond); err == nil {
		t.Error("a denial was counted as an answer")
	}
}

func TestPayments(t *testing.T) {
	body := payments()[0].body()
	if n := len(body); n < 325 || n > 375 {
		t.Errorf("a body has %d bytes, not about 350", n)
	}
	if n := len(payments()[0].headers(1)); n != 15 {
		t.Errorf("a request has %d headers, not 15", n)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, not %v", c.values, got, c.want)
		}
	}
}

func TestReplaceTable(t *testing.T) {
	other := tableBegin("b") + "other\n" + tableEnd("b")
	text := other + "before\n" + tableBegin("a") + "old\n" + tableEnd("a") + "after\n"
	want := other + "before\n" + tableBegin("a") + "\nnew\n\n" + tableEnd("a") + "after\n"
	if got := replaceTable(text, "a", "new\n"); got != want {
		t.Errorf("got %q, not %q", got, want)
	}
	if got := replaceTable("no marks", "a", "new\n"); got != "new\n" {
		t.Errorf("got %q without marks", got)
	}
}

func TestStoreTables(t *testing.T) {
	r := &storeResult{Machine: machine{CPUs: 2}, Samples: map[string][]metrics{}}
	line := "BenchmarkUpdates/disk=+5ms/hot/callers=16-2 \t 1 \t 0 ns/op \t %d ops/s \t %d x-badger\nPASS\n"
	for _, n := range []int{30, 10, 20} {
		if err := r.read(fmt.Appendf(nil, line, n, n/10)); err != nil {
			t.Fatal(err)
		}
	}
	got := r.text(asMarkdown)
	if want := "| +5 ms, hot, 16 | 20 | 0.00 | 0.00 | 0 | 0.00 | 0.00 | 2.0 | 1.0–3.0 |\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%swithout\n%s", got, want)
	}
}

// startServers runs every server inside the test until it ends.
func startServers(t *testing.T) map[string]*client {
	t.Helper()
	// Not t.TempDir: the path of a unix socket has at most 103 bytes.
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	clients := map[string]*client{}
	for _, s := range servers {
		p := place{socket: filepath.Join(dir, s.name+".sock"), dir: filepath.Join(dir, s.name)}
		if err := os.Mkdir(p.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c, err := newClient(s, p.socket)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx, p) }()
		t.Cleanup(func() {
			if err := c.close(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
		if err := c.verify(t.Context(), s.decides); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		clients[s.name] = c
	}
	return clients
}

// answer returns the answer to a payment, without the decision's ID.
func (c *client) answer(t *testing.T, s server, p payment) *authv3.CheckResponse {
	t.Helper()
	request, err := s.encode.marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.check(t.Context(), 0, request, checkTimeout)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(response, &answer); err != nil {
		t.Fatal(err)
	}
	if isAllow(response) != (codes.Code(answer.GetStatus().GetCode()) == codes.OK) {
		t.Errorf("isAllow says %t of %v", isAllow(response), &answer)
	}
	id := answer.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue()
	if !strings.HasPrefix(id, "dec_") {
		t.Errorf("%s: decision ID %q", s.name, id)
	}
	blank := []byte(strings.Repeat("x", len(id)))
	text := strings.ReplaceAll(string(response), id, string(blank))
	if err := proto.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	return &answer
}

// checkAnswer sees that the answer is an allow, or a denial with this code.
func checkAnswer(t *testing.T, name string, answer *authv3.CheckResponse, code string) {
	t.Helper()
	body := answer.GetDeniedResponse().GetBody()
	switch {
	case code == "" && answer.GetOkResponse() == nil:
		t.Errorf("%s: not allowed: %s", name, body)
	case code != "" && !strings.Contains(body, `"code":"`+code+`","decision_id"`):
		t.Errorf("%s: not denied as %s: %v", name, code, answer)
	}
}
