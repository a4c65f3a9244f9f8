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
	"time"

	"github.com/countersign/countersign/sidecar/upstream"
)

// A step is one call, and what should come of it. {NAME} in its path and its body stands
// for what an earlier answer or message said.
type step struct {
	says   string // what a person is told that it is
	before func(*world, context.Context) error
	past   bool   // straight to the payment service, past Envoy
	caller string // whose token it carries; "" for none
	method string // "" for POST
	path   string
	body   string
	// key is the idempotency key, the same in each step that names it; "" for one
	// of its own.
	key string

	device  string   // whose device makes the {code} in the body
	offers  string   // the answer has the ID of a grant, from here on known by this name
	fetches string   // the answer is for the device of this name
	asks    string   // people are asked: the challenge is known by this name
	opens   string   // the call opens what is paid later, known by this name
	scans   string   // the answer has a QR code: what it holds is known by this name
	gets    []string // the caller reads its new messages, which are of these kinds

	status   int
	code     string // of the problem document, "" where there is none
	left     string // what remains of the limit that the call exceeds, in EUR
	replayed bool   // answered as the call before it under this key
	recorded string // what stands on record of a refusal whose reason the caller is not told
}

const noKey = "none" // in a step: no idempotency key

// An answer is what the caller got.
type answer struct {
	status     int
	code       string
	left       string
	replayed   bool
	recorded   string
	decisionID string
	messages   string // the kinds of those that came
	told       string // what they said, but for codes
	executed   bool   // the payment service paid
	opened     bool   // the payment service took down what is paid later
}

func (a answer) refused() bool { return a.status >= http.StatusBadRequest }

// play makes one call, prints a line about it and returns what was answered, and whether
// that is as expected.
func (w *world) play(ctx context.Context, number int, s step) (got answer, ok bool, err error) {
	if s.before != nil {
		if err := s.before(w, ctx); err != nil {
			return answer{}, false, err
		}
	}
	if s.gets != nil {
		got, err = w.readMessages(ctx, s)
	} else {
		got, err = w.call(ctx, s)
	}
	if err != nil {
		return answer{}, false, err
	}
	if _, before := w.decided[got.decisionID]; got.decisionID != "" && !before {
		w.decided[got.decisionID] = number
	}
	want := answer{
		status: s.status, code: s.code, left: s.left, replayed: s.replayed, recorded: s.recorded,
		decisionID: got.decisionID, messages: strings.Join(s.gets, ", "), told: got.told,
	}
	succeeds := s.status == http.StatusCreated && !s.replayed
	want.executed, want.opened = s.pays() && succeeds, s.opens != "" && succeeds
	fmt.Printf("%3d  %-52s  %s\n", number, s.says, got.describe(s, got == want))
	return got, got == want, nil
}

// pays tells whether a step is a payment, which the payment service executes if it is
// allowed.
func (s step) pays() bool {
	for _, end := range []string{"payments", "/transfers", "/execute", "/pay"} {
		if strings.HasSuffix(s.path, end) {
			return true
		}
	}
	return false
}

// describe is what a line says of an answer, with what became of the payment if the
// step was one.
func (a answer) describe(s step, ok bool) string {
	verdict := "as expected"
	if !ok {
		verdict = "NOT AS EXPECTED"
	}
	note := a.code
	switch {
	case note == "" && a.replayed:
		note = "replayed"
	case note == "" && a.refused():
		note = "(by Envoy)"
	}
	if a.left != "" {
		note = strings.TrimPrefix(note+", "+a.left+" left", ", ")
	}
	line := fmt.Sprintf("%d  %-41s  %-12s  %s", a.status, note, a.became(s), verdict) + a.told
	if a.recorded != "" && a.recorded != a.code {
		line += "\n       on record, for those who may know: " + a.recorded
	}
	return line
}

// became is what became of what the step asked for.
func (a answer) became(s step) string {
	switch {
	case a.executed:
		return "executed"
	case a.opened:
		return "taken down"
	case s.asks != "":
		return "waits"
	case s.pays():
		return "not executed"
	case a.refused():
		return "refused"
	case s.gets != nil:
		return "delivered"
	}
	return "done"
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
	if s.device != "" {
		code, err := w.devices[s.device].code(ctx)
		if err != nil {
			return nil, err
		}
		w.names["code"] = code
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(s.method, http.MethodPost), url+w.filled(s.path), strings.NewReader(w.filled(s.body)))
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
	executed, opened := len(w.payments.Executed()), len(w.payments.Opened())
	resp, body, err := send(req)
	repeated := false
	for range maxRepeats {
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || s.status == http.StatusServiceUnavailable {
			break
		}
		repeated = true
		if err = pause(ctx, time.Second); err == nil {
			resp, body, err = send(req)
		}
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{
		status:     resp.StatusCode,
		replayed:   resp.Header.Get(upstream.HeaderReplayed) == "true",
		decisionID: resp.Header.Get("countersign-decision-id"),
		executed:   len(w.payments.Executed()) > executed,
		opened:     len(w.payments.Opened()) > opened,
	}
	if repeated { // it may have been decided before, though nobody heard the answer
		a.replayed = s.replayed
	}
	w.learnIDs(s, resp.Header)
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

// maxRepeats is how often a call is made again, under its key, that a busy machine could
// not decide in time, as every client should.
const maxRepeats = 10

// send makes a request, which can be made again.
func send(req *http.Request) (*http.Response, []byte, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, nil, err
	}
	again := req.Clone(req.Context())
	again.Body = body
	resp, err := http.DefaultClient.Do(again)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A reason is why a call was refused.
type reason struct {
	Code           string `json:"code"`
	RemainingMinor *int64 `json:"remaining_minor"`
	RemainingCount *int64 `json:"remaining_count"`
}

// left is what remains, in EUR or as a count; "" where the reason says nothing of it.
func (r reason) left() string {
	switch {
	case r.RemainingMinor != nil:
		return euros(*r.RemainingMinor)
	case r.RemainingCount != nil:
		return fmt.Sprint(*r.RemainingCount)
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
