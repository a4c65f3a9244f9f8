package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A step is one call, and what should come of it.
type step struct {
	says   string // what a person is told that it is
	before func(*world, context.Context) error
	past   bool   // straight to the payment service, past Envoy
	caller string // whose token it carries; "" for none
	path   string
	body   string

	status int
	code   string // of the problem document, "" where there is none
}

const (
	annasPayments = "/v1/accounts/acc_anna/payments"
	bensPayments  = "/v1/accounts/acc_ben/payments"
)

// pay is the body of a payment in minor units of EUR.
func pay(amountMinor string) string {
	return `{"payee": "mer_bakery", "amount_minor": ` + amountMinor + `, "currency": "EUR"}`
}

// calls is the demo. Anna's maximum for one payment is 500.00 EUR; Ben's account
// is frozen.
var calls = []step{
	{says: "Anna pays the bakery 12.50 EUR", caller: "anna", path: annasPayments, body: pay("1250"), status: 201},
	{says: "Anna pays 500.00 EUR, exactly her maximum", caller: "anna", path: annasPayments, body: pay("50000"), status: 201},
	{says: "Anna pays 500.01 EUR, one cent more", caller: "anna", path: annasPayments, body: pay("50001"),
		status: 403, code: "amount_over_payment_maximum"},
	{says: "Ben pays from his account, which is frozen", caller: "ben", path: bensPayments, body: pay("1250"),
		status: 403, code: "account_frozen"},
	{says: "Anna tries to pay from Ben's account", caller: "anna", path: bensPayments, body: pay("1250"),
		status: 403, code: "account_unknown"},
	{says: "a path that no route knows", caller: "anna", path: "/v1/refunds", body: pay("1250"),
		status: 403, code: "no_route"},
	{says: "a body that says two amounts", caller: "anna", path: annasPayments,
		body:   `{"payee": "mer_bakery", "amount_minor": 1, "amount_minor": 99999, "currency": "EUR"}`,
		status: 400, code: "body_duplicate_member"},
	{says: "an amount of 1e9999999, ten million digits", caller: "anna", path: annasPayments, body: pay("1e9999999"),
		status: 400, code: "body_number_out_of_range"},
	{says: "no token", path: annasPayments, body: pay("1250"), status: 401},
	{says: "Anna calls the payment service past Envoy", past: true, caller: "anna", path: annasPayments, body: pay("1250"),
		status: 403, code: "token_missing"},
	{says: "the sidecar is killed (kill -9); Anna pays again", before: (*world).killSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), status: 503},
	{says: "the sidecar is back; Anna pays again", before: (*world).restartSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), status: 201},
}

// An answer is what the caller got.
type answer struct {
	status     int
	code       string
	decisionID string
	executed   bool // the payment service paid
}

// play makes one call, prints a line about it and tells whether it went as
// expected.
func (w *world) play(ctx context.Context, number int, s step) (bool, error) {
	if s.before != nil {
		if err := s.before(w, ctx); err != nil {
			return false, err
		}
	}
	got, err := w.call(ctx, s)
	if err != nil {
		return false, err
	}
	if got.decisionID != "" {
		w.decided[got.decisionID] = number
	}
	ok := got.status == s.status && got.code == s.code && got.executed == (s.status == http.StatusCreated)
	fmt.Printf("%2d  %-48s %s\n", number, s.says, got.describe(ok))
	return ok, nil
}

func (a answer) describe(ok bool) string {
	verdict := "as expected"
	if !ok {
		verdict = "NOT AS EXPECTED"
	}
	upstream := "not executed"
	if a.executed {
		upstream = "executed"
	}
	code := a.code
	if code == "" && a.status >= http.StatusBadRequest {
		code = "(by Envoy)"
	}
	return fmt.Sprintf("%d  %-27s %-12s  %s", a.status, code, upstream, verdict)
}

// newKey makes an idempotency key: no two calls of the demo are one.
func newKey() string { return "demo-" + rand.Text() }

func (w *world) call(ctx context.Context, s step) (answer, error) {
	url := w.envoy.URL()
	if s.past {
		url = w.upstreamURL
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+s.path, strings.NewReader(s.body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("content-type", "application/json")
	req.Header.Set("idempotency-key", newKey())
	if s.caller != "" {
		token, err := w.issuer.Token(s.caller, tokenLife, nil)
		if err != nil {
			return answer{}, err
		}
		req.Header.Set("authorization", "Bearer "+token)
	}
	before := len(w.payments.Executed())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{
		status:     resp.StatusCode,
		decisionID: resp.Header.Get("countersign-decision-id"),
		executed:   len(w.payments.Executed()) > before,
	}
	if resp.Header.Get("content-type") == "application/problem+json" {
		var problem struct{ Code string }
		if err := json.Unmarshal(body, &problem); err != nil {
			return answer{}, fmt.Errorf("problem document: %w", err)
		}
		a.code = problem.Code
	}
	return a, nil
}
