package sidecar_test

import (
	"strings"
	"sync"
	"testing"
)

// Through Envoy: the same call under its key is executed once however often it
// comes, and another call under it is refused.
func TestRetriesThroughEnvoy(t *testing.T) {
	start(t, nil)
	executedBefore := len(upstream().Executed())
	r := good()
	first := send(t, r)
	if first.status != 201 || first.header.Get("countersign-replayed") != "" {
		t.Fatalf("first: %+v", first)
	}
	for range 25 {
		again := send(t, r)
		if again.status != 201 || again.body != first.body || again.header.Get("countersign-replayed") != "true" {
			t.Fatalf("again: %+v, first: %+v", again, first)
		}
		for _, name := range []string{"countersign-decision-id", "countersign-reservation-id"} {
			if again.header.Get(name) != first.header.Get(name) || first.header.Get(name) == "" {
				t.Errorf("%s is %q, then %q", name, first.header.Get(name), again.header.Get(name))
			}
		}
	}
	sameCall := r
	sameCall.body = `{ "currency": "EUR", "payee": "mer_bakery", "amount_minor": 1250 }`
	if got := send(t, sameCall); got.status != 201 || got.body != first.body {
		t.Errorf("the same call written otherwise: %+v", got)
	}
	otherCall := r
	otherCall.body = strings.Replace(r.body, "1250", "1251", 1)
	for range 3 {
		if got := send(t, otherCall); got.status != 422 || got.code != "key_other_call" || got.reached != 0 {
			t.Errorf("another call: %+v", got)
		}
	}
	if n := len(upstream().Executed()) - executedBefore; n != 1 {
		t.Errorf("%d payments were executed, want 1", n)
	}
}

// A denial is told again under its key, and a new key is a new try.
func TestDenialsThroughEnvoy(t *testing.T) {
	start(t, nil)
	r := with(func(r *request) { r.body = strings.Replace(r.body, "1250", "50001", 1) })
	first, again := send(t, r), send(t, r)
	if first.status != 403 || again.status != 403 || again.body != first.body {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if first.header.Get("countersign-replayed") != "" || again.header.Get("countersign-replayed") != "true" {
		t.Errorf("replayed %q, then %q", first.header.Get("countersign-replayed"), again.header.Get("countersign-replayed"))
	}
	anew := r
	anew.header = good().header
	if got := send(t, anew); got.status != 403 || got.body == first.body || got.header.Get("countersign-replayed") != "" {
		t.Errorf("a new key: %+v", got)
	}
}

// Many at once under one key: one is executed, and everybody hears of it or is told
// to come back.
func TestSameCallAtOnceThroughEnvoy(t *testing.T) {
	start(t, nil)
	executedBefore := len(upstream().Executed())
	r := good()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			// While the first one is executed, the service has the others come back.
			if got := send(t, r); got.status != 201 && got.code != "execution_running" {
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	if n := len(upstream().Executed()) - executedBefore; n != 1 {
		t.Errorf("%d payments were executed, want 1", n)
	}
}
