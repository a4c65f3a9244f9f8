package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/sidecar/upstream"
)

func TestServers(t *testing.T) {
	clients := startServers(t)
	t.Run("answer alike", func(t *testing.T) { testAnswerAlike(t, clients) })
	t.Run("no-op answers like an allow", func(t *testing.T) { testNoOp(t, clients) })
	t.Run("a denial is no answer to a load", func(t *testing.T) { testDriveRefuses(t, clients["countersign"]) })
}

// A comparison is worth something only if everybody does the same work: all
// servers that decide give the same answers but for the ID, and for what a
// payment made durable has.
func testAnswerAlike(t *testing.T, clients map[string]*client) {
	pay := payments()[7]
	stranger := payments()[8].subject
	cases := []struct {
		name string
		load *workload
		ask
		code string // of the problem document; "" for an allow
	}{
		{"allowed", cold, pay, ""},
		{"exactly the maximum", cold, ask{pay.account, pay.subject, maxPaymentMinor, "EUR"}, ""},
		{"over the maximum", cold, overMaximum(false), "amount_over_payment_maximum"},
		{"other currency", cold, ask{pay.account, pay.subject, 1, "CHF"}, "currency_not_account"},
		{"frozen account", cold, ask{frozenID, owner(frozenID).Subject, 1, "EUR"}, "account_frozen"},
		{"account of another", cold, ask{pay.account, stranger, 1, "EUR"}, "account_unknown"},
		{"no such account", cold, ask{"acc_nobody", stranger, 1, "EUR"}, "account_unknown"},
		{"two reasons", cold, ask{frozenID, owner(frozenID).Subject, maxPaymentMinor + 1, "EUR"}, "account_frozen"},
		{"quote", quotes, quoteAsks()[7], ""},
		{"quote over the maximum", quotes, overMaximum(true), "refused"},
		{"quote in another currency", quotes, ask{"", stranger, 1, "CHF"}, "refused"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var first *authv3.CheckResponse
			for _, s := range servers {
				if !s.decides || !slices.Contains(s.loads, c.load) {
					continue
				}
				answer := clients[s.name].answer(t, c.load, c.ask)
				checkAnswer(t, s.name, answer, c.code)
				if c.code == "" && c.load.movesMoney && s.durable {
					dropReservation(answer)
				}
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

// dropReservation leaves of an allow what every server gives.
func dropReservation(answer *authv3.CheckResponse) {
	ok := answer.GetOkResponse()
	isOther := func(h *corev3.HeaderValueOption) bool { return h.GetHeader().GetKey() != headerDecisionID }
	ok.Headers = slices.DeleteFunc(ok.Headers, isOther)
	ok.ResponseHeadersToAdd = slices.DeleteFunc(ok.ResponseHeadersToAdd, isOther)
}

func testNoOp(t *testing.T, clients map[string]*client) {
	var answers []*authv3.CheckResponse
	for _, name := range []string{noOpName, "countersign"} {
		answers = append(answers, clients[name].answer(t, quotes, quoteAsks()[0]))
	}
	if !proto.Equal(answers[0], answers[1]) {
		t.Errorf("no-op answers\n%v\nnot\n%v", answers[0], answers[1])
	}
}

// What the load counts is an allow of a call that was not made before.
func testDriveRefuses(t *testing.T, c *client) {
	for _, load := range c.loads {
		if _, _, err := c.drive(t.Context(), load, 2, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	first := c.asks[cold][0].fresh()
	again := bytes.Replace(first, []byte(streamID), []byte("21620914577226837265"), 1) // or it would be Envoy that asks again
	for i, request := range [][]byte{first, again} {
		response, err := c.check(t.Context(), 0, request, checkTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.isAllow(response, cold); got != (i == 0) {
			t.Errorf("payment %d under one key counts as an allow: %t", i+1, got)
		}
	}
	c.asks[cold] = []template{c.denied[cold]}
	if _, _, err := c.drive(t.Context(), cold, 2, time.Millisecond); err == nil {
		t.Error("a denial was counted as an answer")
	}
}

// An allow of a payment without its token or its reservation is none.
func TestIsAllow(t *testing.T) {
	set := func(names ...string) *authv3.CheckResponse {
		answer := allow("dec_2aaaaaaaaaaaaaaaaaaaaaaaaa")
		for _, name := range names {
			answer.GetOkResponse().Headers = append(answer.GetOkResponse().Headers, header(name, "rsv_1"))
		}
		return answer
	}
	denied, err := deny("dec_2aaaaaaaaaaaaaaaaaaaaaaaaa", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		answer         *authv3.CheckResponse
		quote, payment bool
	}{
		{"all", set(upstream.HeaderToken, headerReservationID), true, true},
		{"no token", set(headerReservationID), true, false},
		{"no reservation", set(upstream.HeaderToken), true, false},
		{"replayed", set(upstream.HeaderToken, headerReservationID, upstream.HeaderReplayed), true, false},
		{"denied", denied, false, false},
		{"nothing", &authv3.CheckResponse{}, false, false},
	} {
		response, err := proto.Marshal(c.answer)
		if err != nil {
			t.Fatal(err)
		}
		if got := (server{durable: true}).isAllow(response, quotes); got != c.quote {
			t.Errorf("%s: an allow of a quote: %t", c.name, got)
		}
		if got := (server{durable: true}).isAllow(response, cold); got != c.payment {
			t.Errorf("%s: an allow of a payment: %t", c.name, got)
		}
	}
}

func TestFreshKeys(t *testing.T) {
	for _, e := range []encoding{encodeRaw, encodeText} {
		tmpl, err := e.template(payments()[0])
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 3 {
			var check authv3.CheckRequest
			if err := proto.Unmarshal(tmpl.fresh(), &check); err != nil {
				t.Fatal(err)
			}
			h := check.GetAttributes().GetRequest().GetHttp()
			key := h.GetHeaders()["idempotency-key"]
			for _, line := range h.GetHeaderMap().GetHeaders() {
				if line.GetKey() == "idempotency-key" {
					key = string(line.GetRawValue())
				}
			}
			if len(key) != len(blankKey) || key == blankKey || seen[key] {
				t.Errorf("encoding %d: key %q is not a new one", e, key)
			}
			seen[key] = true
		}
	}
}

func TestPayments(t *testing.T) {
	body := payments()[0].body()
	if n := len(body); n < 325 || n > 375 {
		t.Errorf("a body has %d bytes, not about 350", n)
	}
	if n := len(payments()[0].call().headers()); n != 15 {
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
		if err := c.verify(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		clients[s.name] = c
	}
	return clients
}

// answer returns the answer to a new call, without the decision's ID.
func (c *client) answer(t *testing.T, load *workload, a ask) *authv3.CheckResponse {
	t.Helper()
	request, err := c.encode.template(a)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.check(t.Context(), 0, request.fresh(), checkTimeout)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(response, &answer); err != nil {
		t.Fatal(err)
	}
	if c.isAllow(response, load) != (codes.Code(answer.GetStatus().GetCode()) == codes.OK) {
		t.Errorf("isAllow says %t of %v", c.isAllow(response, load), &answer)
	}
	id := answer.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue()
	if !strings.HasPrefix(id, "dec_") {
		t.Errorf("%s: decision ID %q", c.name, id)
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
