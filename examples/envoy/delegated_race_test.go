package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// What happens at once happens once, over 64 connections through Envoy: each call
// with a key of its own.
const atOnce = 64

// A racer is one of the calls that are made at once.
type racer struct {
	subject, path string
	body          any
}

// race makes calls at once and returns how many came to each status. One that was not
// decided, because the machine is busy, is repeated under its key.
func (f *family) race(t *testing.T, racers []racer) map[int]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	statuses := map[int]int{}
	for _, r := range racers {
		f.calls++
		key := fmt.Sprintf("race-%d", f.calls)
		wait.Go(func() {
			status, err := f.repeat(ctx, r, key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			statuses[status]++
		})
	}
	wait.Wait()
	return statuses
}

func (f *family) repeat(ctx context.Context, r racer, key string) (status int, err error) {
	var text []byte
	if r.body != nil {
		if text, err = json.Marshal(r.body); err != nil {
			return 0, err
		}
	}
	token, err := provider.Token(r.subject, time.Hour, nil)
	if err != nil {
		return 0, err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.edge.URL()+r.path, bytes.NewReader(text))
		if err != nil {
			return 0, err
		}
		req.Close = true
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Idempotency-Key", key)
		if r.body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			return resp.StatusCode, nil
		}
	}
}

// The same code at 64 tills is paid once. Each round has a grant of its own: who has
// sent so many used codes has no attempt left for that one.
func TestOneCodeAtManyTills(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{{ID: "acc_race", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40}})
	for round := range 3 {
		phone := f.accept(t, f.offer(t, "acc_race", freeTerms()))
		code := f.code(t, phone, 0)
		var racers []racer
		for i := range atOnce {
			by := []string{"bakery", "bakery-web"}[i%2]
			racers = append(racers, racer{by, "/v1/payments", map[string]any{
				"payment_code": code, "payee": "mer_bakery", "amount_minor": 1 + i, "currency": "EUR"}})
		}
		before := len(paid())
		got := f.race(t, racers)
		if got[http.StatusOK] != 1 || got[http.StatusForbidden] != atOnce-1 || len(paid())-before != 1 {
			t.Errorf("round %d: statuses %v, and %d payments reached the service", round, got, len(paid())-before)
		}
	}
}

// With room for one more delegate, one of two offers at once is made; and of many
// acceptances of one offer, one.
func TestTheLastDelegate(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{{ID: "acc_full", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40}})
	for range 4 {
		f.offer(t, "acc_full", freeTerms())
	}
	path := "/countersign/v1/accounts/acc_full/grants"
	got := f.race(t, []racer{{"anna", path, offerOf("carl", freeTerms())}, {"anna", path, offerOf("dora", freeTerms())}})
	if got[http.StatusCreated] != 1 || got[http.StatusForbidden] != 1 {
		t.Errorf("two offers for the last place: statuses %v", got)
	}

	var page struct {
		Items []struct {
			ID       string
			Delegate authzstore.Identity
		}
	}
	f.do(t, "anna", http.MethodGet, path, nil, &page)
	for _, grant := range page.Items {
		if grant.Delegate.Subject != "ben" {
			continue
		}
		var racers []racer
		for range 8 {
			racers = append(racers, racer{"ben", grantPath(grant.ID, "accept"), nil})
		}
		if got := f.race(t, racers); got[http.StatusOK] != 1 || got[http.StatusForbidden] != 7 {
			t.Errorf("an offer accepted eight times: statuses %v", got)
		}
		return
	}
	t.Errorf("no grant of Ben's among %v", page.Items)
}
