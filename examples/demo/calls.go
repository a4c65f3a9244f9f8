package main

import (
	"cmp"
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
	method string // "" for POST
	path   string // {NAME} in it is the grant that was offered under the name
	body   string
	// key is the idempotency key, the same in each step that names it; "" for one
	// of its own.
	key string

	device  string // whose device makes the {code} in the body
	offers  string // the answer has the ID of a grant, from here on known by this name
	fetches string // the answer is for the device of this name

	status   int
	code     string // of the problem document, "" where there is none
	left     string // what remains of the limit that the call exceeds, in EUR
	replayed bool   // answered as the call before it under this key
	recorded string // what stands on record of a refusal whose reason the caller is not told
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
		status: 403, code: "amount_over_payment_maximum", left: "500.00"},
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
	recorded   string
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
	want := answer{status: s.status, code: s.code, left: s.left, replayed: s.replayed, recorded: s.recorded, decisionID: got.decisionID}
	want.executed = s.pays() && s.status == http.StatusCreated && !s.replayed
	fmt.Printf("%2d  %-49s  %s\n", number, s.says, got.describe(s, got == want))
	return got == want, nil
}

// pays tells whether a step is a payment, which the payment service executes if it is
// allowed.
func (s step) pays() bool { return s.path == charges || strings.HasSuffix(s.path, "/payments") }

// describe is what a line says of an answer, with what became of the payment if the
// step was one.
func (a answer) describe(s step, ok bool) string {
	became, verdict := "done", "as expected"
	switch {
	case a.executed:
		became = "executed"
	case s.pays():
		became = "not executed"
	case a.status >= http.StatusBadRequest:
		became = "refused"
	}
	if !ok {
		verdict = "NOT AS EXPECTED"
	}
	note := a.code
	switch {
	case note == "" && a.replayed:
		note = "replayed"
	case note == "" && a.status >= http.StatusBadRequest:
		note = "(by Envoy)"
	}
	if a.left != "" {
		note = strings.TrimPrefix(note+", "+a.left+" left", ", ")
	}
	line := fmt.Sprintf("%d  %-29s %-12s  %s", a.status, note, became, verdict)
	if a.recorded != "" && a.recorded != a.code {
		line += "\n      on record, for those who may know: " + a.recorded
	}
	return line
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

// request makes the request of a step.
func (w *world) request(ctx context.Context, s step) (*http.Request, error) {
	url := w.envoy.URL()
	if s.past {
		url = w.upstreamURL
	}
	path, body, err := w.filled(ctx, s)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(s.method, http.MethodPost), url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if s.body != "" {
		req.Header.Set("content-type", "application/json")
	}
	if s.key != noKey {
		req.Header.Set("idempotency-key", w.key(s.key))
	}
	if s.caller != "" {
		token, err := w.issuer.Token(s.caller, tokenLife, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("authorization", "Bearer "+token)
	}
	return req, nil
}

func (w *world) call(ctx context.Context, s step) (answer, error) {
	req, err := w.request(ctx, s)
	if err != nil {
		return answer{}, err
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
			Reasons []reason
		}
		if err := json.Unmarshal(body, &problem); err != nil {
			return answer{}, fmt.Errorf("problem document: %w", err)
		}
		a.code = problem.Code
		if len(problem.Reasons) > 0 {
			a.left = problem.Reasons[0].left()
		}
	} else if err := w.learn(s, &a, body); err != nil {
		return answer{}, err
	}
	if s.recorded != "" {
		a.recorded, err = w.recorded(ctx, a.decisionID)
	}
	return a, err
}

// A reason is why a call was refused.
type reason struct {
	Code           string `json:"code"`
	RemainingMinor *int64 `json:"remaining_minor"`
	RemainingCount *int64 `json:"remaining_count"`
}

// left is what remains, in EUR or in payments; "" where the reason says nothing of it.
func (r reason) left() string {
	switch {
	case r.RemainingMinor != nil:
		return euros(*r.RemainingMinor)
	case r.RemainingCount != nil:
		return fmt.Sprintf("%d payments", *r.RemainingCount)
	}
	return ""
}

func euros(minor int64) string { return fmt.Sprintf("%d.%02d", minor/100, minor%100) }

// recorded returns the first reason for a decision as it stands on record, with the
// command an operator has.
func (w *world) recorded(ctx context.Context, decisionID string) (string, error) {
	out, err := w.countersign(ctx, "decision", "get", decisionID, "-o", "json")
	if err != nil {
		return "", err
	}
	var decision struct{ Reasons []reason }
	if err := json.Unmarshal(out, &decision); err != nil || len(decision.Reasons) == 0 {
		return "", fmt.Errorf("decision get: %s has no reasons: %w", decisionID, err)
	}
	first := decision.Reasons[0]
	if left := first.left(); left != "" {
		return first.Code + ", " + left + " left", nil
	}
	return first.Code, nil
}
