package payments_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/examples/payments"
	"github.com/countersign/countersign/sidecar/upstream"
)

const (
	path   = "/v1/accounts/acc_anna/payments"
	body   = `{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}`
	issuer = "sto_test"
)

// world is a service on a socket, and what signs for it.
type world struct {
	service *payments.Service
	server  *httptest.Server
	signer  *upstream.Signer
}

func open(t *testing.T, dir string) world {
	t.Helper()
	key, err := upstream.SharedKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := upstream.NewSigner(issuer, map[string]upstream.Key{payments.Audience: key})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := upstream.NewVerifier(issuer, payments.Audience, key)
	if err != nil {
		t.Fatal(err)
	}
	service, err := payments.Open(dir, verifier, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service)
	t.Cleanup(func() {
		server.Close()
		service.Close()
	})
	return world{service, server, signer}
}

// opensOrder makes the claims those of an order that was opened.
func opensOrder(c *upstream.Claims) {
	c.System, c.Operation, c.Intent, c.ReservationID = "agent_order", "order", "int_1", ""
}

// What is paid later is taken down once, and no money moves; its payment moves it once.
func TestOpens(t *testing.T) {
	w := open(t, t.TempDir())
	paysOrder := func(c *upstream.Claims) { c.System, c.Intent = "agent_order", "int_1" }
	for name, c := range map[string]struct {
		path   string
		change func(*upstream.Claims)
		text   string
	}{
		"no token":                         {"/v1/agent/orders", nil, `"token_missing"`},
		"an order where a payment is made": {"/v1/payments", opensOrder, `"token_not_for_us"`},
		"a payment where one is opened":    {"/v1/agent/orders", paysOrder, `"token_not_for_us"`},
		"an order where a checkout is":     {"/v1/checkouts", func(c *upstream.Claims) { opensOrder(c); c.Intent = "int_2" }, "another operation"},
	} {
		if status, text, _ := w.call(t, c.path, body, c.change); status != 403 || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %s, want 403 %s", name, status, text, c.text)
		}
	}
	if status, _, _ := w.call(t, "/v1/business", body, nil); status != 202 { // ordinary: it opens nothing
		t.Errorf("an ordinary business: %d", status)
	}
	if len(w.service.Opened())+len(w.service.Executed()) != 0 {
		t.Fatalf("opened %v, executed %v", w.service.Opened(), w.service.Executed())
	}
	for range 2 {
		if status, text, _ := w.call(t, "/v1/agent/orders", body, opensOrder); status != 201 {
			t.Fatalf("%d %s", status, text)
		}
	}
	for range 2 {
		if status, text, _ := w.call(t, "/v1/orders/int_1/payments", body, paysOrder); status != 201 {
			t.Fatalf("%d %s", status, text)
		}
	}
	opened, executed := w.service.Opened(), w.service.Executed()
	if len(opened) != 1 || opened[0].Intent != "int_1" || opened[0].ReservationID != "" || len(executed) != 1 || executed[0].Intent != "int_1" {
		t.Errorf("opened %+v, executed %+v", opened, executed)
	}
}

// call sends what Envoy would: the body, with a token for the claims, or without.
func (w world) call(t *testing.T, path, body string, change func(*upstream.Claims)) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		claims := upstream.Claims{
			Audience: payments.Audience, Method: req.Method, Authority: req.URL.Host, Target: path, BodySHA256: upstream.Digest([]byte(body)),
			Payment: upstream.Payment{
				System: "direct_payment", Operation: "pay", Account: "acc_anna", Payee: "mer_bakery", Currency: "EUR", AmountMinor: 1250,
				ReservationID: "rsv_1", DecisionID: "dec_1", Identity: upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
			},
		}
		change(&claims)
		token, err := w.signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(upstream.HeaderToken, token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func asAllowed(*upstream.Claims) {}

// What was allowed is paid once, over restarts too; nothing else is paid.
func TestService(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	for name, c := range map[string]struct {
		path, body string
		change     func(*upstream.Claims)
		status     int
		text       string
	}{
		"no token":              {path, body, nil, 403, `"token_missing"`},
		"another operation":     {path, body, func(c *upstream.Claims) { c.Operation, c.ReservationID = "refund", "rsv_2" }, 403, "another operation"},
		"another body":          {path, body, func(c *upstream.Claims) { c.BodySHA256 = upstream.Digest(nil) }, 403, `"call_changed"`},
		"another path":          {path, body, func(c *upstream.Claims) { c.Target = "/v1/accounts/acc_ben/payments" }, 403, `"call_changed"`},
		"a path without routes": {"/v1/refunds", body, asAllowed, 404, "not found"},
	} {
		if status, text, _ := w.call(t, c.path, c.body, c.change); status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %s, want %d %s", name, status, text, c.status, c.text)
		}
	}
	if got := w.service.Executed(); len(got) != 0 || w.service.Requests() != 5 {
		t.Fatalf("executed %v of %d requests", got, w.service.Requests())
	}
	want := payments.Payment{Account: "acc_anna", Payee: "mer_bakery", AmountMinor: 1250, Currency: "EUR", ReservationID: "rsv_1", DecisionID: "dec_1"}
	status, first, header := w.call(t, path, body, asAllowed)
	if got := w.service.Executed(); status != 201 || header.Get(upstream.HeaderReplayed) != "" || len(got) != 1 || got[0] != want {
		t.Fatalf("%d %s, executed %+v", status, first, got)
	}
	repeat := func(w world) {
		t.Helper()
		for range 10 {
			status, again, header := w.call(t, path, body, func(c *upstream.Claims) { c.DecisionID, c.Replayed = "dec_2", true })
			if status != 201 || again != first || header.Get(upstream.HeaderReplayed) != "true" {
				t.Errorf("repeated: %d %s", status, again)
			}
		}
	}
	repeat(w)
	if len(w.service.Executed()) != 1 {
		t.Errorf("executed %+v", w.service.Executed())
	}
	w.server.Close()
	w.service.Close()
	w = open(t, dir)
	repeat(w)
	if len(w.service.Executed()) != 0 {
		t.Errorf("executed again: %+v", w.service.Executed())
	}
}
