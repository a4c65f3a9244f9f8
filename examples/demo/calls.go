package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/countersign/countersign/sidecar/upstream"
)

// A step is one call, and what should come of it.
type step struct {
	says   string // what a person is told that it is
	before func(*world, context.Context) error
	past   bool   // straight to the payment service, past Envoy
	caller string // whose token it carries; "" for none
	path   string
	body   string
	// key is the idempotency key, the same in each step that names it; "" for one
	// of its own.
	key string

	status   int
	code     string // of the problem document, "" where there is none
	left     string // what remains of the limit that the call exceeds, in EUR
	replayed bool   // answered as the call before it under this key
}

const noKey = "none" // in a step: no idempotency key

const (
	annasPayments = "/v1/accounts/acc_anna/payments"
	bensPayments  = "/v1/accounts/acc_ben/payments"
	carasPayments = "/v1/accounts/acc_cara/payments"
)

// pay is the body of a payment in minor units of EUR.
func pay(amountMinor string) string {
	return `{"payee": "mer_bakery", "amount_minor": ` + amountMinor + `, "currency": "EUR"}`
}

// calls is the demo. Each account's maximum for one payment is 500.00 EUR; Ben's
// is frozen, and Cara's may spend 100.00 EUR in all.
var calls = []step{
	{says: "Anna pays the bakery 12.50 EUR", caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 201},
	{says: "the same call again, under its key", caller: "anna", path: annasPayments, body: pay("1250"), key: "bread",
		status: 201, replayed: true},
	{says: "99.00 EUR under that key", caller: "anna", path: annasPayments, body: pay("9900"), key: "bread",
		status: 422, code: "key_other_call"},
	{says: "12.50 EUR without a key", caller: "anna", path: annasPayments, body: pay("1250"), key: noKey,
		status: 400, code: "idempotency_key_missing"},
	{says: "Anna pays 500.00 EUR, exactly her maximum", caller: "anna", path: annasPayments, body: pay("50000"), status: 201},
	{says: "Anna pays 500.01 EUR, one cent more", caller: "anna", path: annasPayments, body: pay("50001"),
		status: 403, code: "amount_over_payment_maximum"},
	{says: "Cara, who may spend 100.00 EUR in all, pays 80.00", caller: "cara", path: carasPayments, body: pay("8000"), status: 201},
	{says: "Cara pays 20.01 EUR more", caller: "cara", path: carasPayments, body: pay("2001"),
		status: 403, code: "amount_over_limit", left: "20.00"},
	{says: "Cara pays 20.00 EUR, the rest", caller: "cara", path: carasPayments, body: pay("2000"), status: 201},
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
	{says: "the sidecar is killed (kill -9); call 1 again", before: (*world).killSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 503},
	{says: "the sidecar is back; call 1 again, under its key", before: (*world).restartSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 201, replayed: true},
	{says: "Anna pays 12.50 EUR once more, under a new key", caller: "anna", path: annasPayments, body: pay("1250"), status: 201},
}

// An answer is what the caller got.
type answer struct {
	status     int
	code       string
	left       string
	replayed   bool
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
	if _, before := w.decided[got.decisionID]; got.decisionID != "" && !before {
		w.decided[got.decisionID] = number
	}
	want := answer{status: s.status, code: s.code, left: s.left, replayed: s.replayed, decisionID: got.decisionID}
	want.executed = s.status == http.StatusCreated && !s.replayed
	fmt.Printf("%2d  %-49s  %s\n", number, s.says, got.describe(got == want))
	return got == want, nil
}

func (a answer) describe(ok bool) string {
	verdict := "as expected"
	if !ok {
		verdict = "NOT AS EXPECTED"
	}
	executed := "not executed"
	if a.executed {
		executed = "executed"
	}
	note := a.code
	switch {
	case a.left != "":
		note += ", " + a.left + " left"
	case a.replayed:
		note = "replayed"
	case note == "" && a.status >= http.StatusBadRequest:
		note = "(by Envoy)"
	}
	return fmt.Sprintf("%d  %-29s %-12s  %s", a.status, note, executed, verdict)
}

// key returns the idempotency key that a step names.
func (w *world) key(name string) string {
	key := "demo-" + rand.Text()
	if name == "" {
		return key
	}
	if w.keys[name] == "" {
		w.keys[name] = key
	}
	return w.keys[name]
}

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
	if s.key != noKey {
		req.Header.Set("idempotency-key", w.key(s.key))
	}
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
		replayed:   resp.Header.Get(upstream.HeaderReplayed) == "true",
		decisionID: resp.Header.Get("countersign-decision-id"),
		executed:   len(w.payments.Executed()) > before,
	}
	if resp.Header.Get("content-type") == "application/problem+json" {
		var problem struct {
			Code    string
			Reasons []struct {
				RemainingMinor *int64 `json:"remaining_minor"`
			}
		}
		if err := json.Unmarshal(body, &problem); err != nil {
			return answer{}, fmt.Errorf("problem document: %w", err)
		}
		a.code = problem.Code
		if len(problem.Reasons) > 0 && problem.Reasons[0].RemainingMinor != nil {
			minor := *problem.Reasons[0].RemainingMinor
			a.left = fmt.Sprintf("%d.%02d", minor/100, minor%100)
		}
	}
	return a, nil
}
