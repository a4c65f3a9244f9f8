package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// An inProcess is a decider of this process over a real store, with the built-in
// bundle: without gRPC, so that the load of thousands of callers is not most of
// the work.
type inProcess struct {
	*decide.Decider
	store *authzstore.Store
	dir   string
}

func openInProcess(ctx context.Context, maxInFlight int) (*inProcess, error) {
	dir, err := os.MkdirTemp("", "countersign-bench-fairness-")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "store")
	if err := seed(ctx, data); err != nil {
		return nil, err
	}
	written := filepath.Join(dir, "policies")
	if err := writeBundle(written); err != nil {
		return nil, err
	}
	rules, err := bundle.Load(ctx, os.DirFS(written), bundle.Config{})
	if err != nil {
		return nil, err
	}
	store, err := sidecar.OpenStore(ctx, data, nil)
	if err != nil {
		return nil, err
	}
	cfg := decide.Config{
		Bundle:      func() *bundle.Bundle { return rules },
		Store:       store,
		Keys:        decide.Keys{Personal: []byte(rand.Text()), Evidence: []byte(rand.Text())},
		MaxInFlight: maxInFlight,
		Log:         silent,
	}
	return &inProcess{decide.New(cfg), store, dir}, nil
}

func (p *inProcess) close() error {
	if err := p.store.Close(); err != nil {
		return err
	}
	return os.RemoveAll(p.dir)
}

// pay has a payment decided, under a key of its own and with the time that Envoy
// gives a check.
func (p *inProcess) pay(ctx context.Context, r *request) decide.Decision {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	return p.Decide(ctx, r.fresh())
}

// A request is a call as package extauthz reads it, but for its key.
type request struct {
	call.Request
	keyAt int // in Headers
}

func newRequest(a ask) *request {
	of := a.call()
	r := &request{Request: call.Request{
		Method:    of.method,
		Authority: "pay.example",
		Path:      of.path,
		Body:      []byte(of.body),
		Claims:    map[string]any{"iss": issuer, "aud": "payments", "sub": of.subject},
	}}
	for i, line := range of.headers() {
		if line[0] == "idempotency-key" {
			r.keyAt = i
		}
		r.Headers = append(r.Headers, call.Header{Name: line[0], Value: []byte(line[1])})
	}
	return r
}

func newRequests(asks []ask) []*request {
	var all []*request
	for _, a := range asks {
		all = append(all, newRequest(a))
	}
	return all
}

// fresh returns the call under a key that no other call has.
func (r *request) fresh() call.Request {
	c := r.Request
	c.Headers = slices.Clone(c.Headers)
	c.Headers[r.keyAt].Value = strconv.AppendUint([]byte("key-"), keys.Add(1), 10)
	return c
}

// unexpected is the error of an answer that is neither an allow nor expected.
func unexpected(d decide.Decision) error { return fmt.Errorf("wrong answer: %+v", d) }
