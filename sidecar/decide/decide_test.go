package decide_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
)

// want checks a whole answer: its outcome, status and the codes of its reasons.
func want(t testing.TB, d decide.Decision, outcome decide.Outcome, status int, codes ...string) {
	t.Helper()
	var got []string
	for _, r := range d.Reasons {
		got = append(got, r.Code)
		if r.Message == "" {
			t.Errorf("reason %s has no message", r.Code)
		}
	}
	if d.Outcome != outcome || d.Status != status || strings.Join(got, " ") != strings.Join(codes, " ") {
		t.Errorf("%s %d %v, want %s %d %v", d.Outcome, d.Status, got, outcome, status, codes)
	}
	if !regexp.MustCompile(`^dec_[a-z2-7]{26}$`).MatchString(d.ID) {
		t.Errorf("ID %q", d.ID)
	}
}

// The answers of the built-in bundle over a real store.
func TestDecide(t *testing.T) {
	w := newWorld(t)
	frozen, dollars := anna(), anna()
	frozen.ID, frozen.State = "acc_frozen", authzstore.AccountFrozen
	dollars.ID, dollars.Currency = "acc_dollars", "USD"
	putAccount(t, w.backend, frozen)
	putAccount(t, w.backend, dollars)
	for _, c := range []struct {
		name    string
		change  func(*call.Request)
		outcome decide.Outcome
		status  int
		codes   []string
	}{
		{"good", func(*call.Request) {}, decide.Allow, 0, nil},
		{"over the maximum", func(r *call.Request) { *r = payment(strings.Replace(goodBody, "1250", "50001", 1)) }, decide.Deny, 403, []string{"amount_over_payment_maximum"}},
		{"frozen", func(r *call.Request) { r.Path = "/v1/accounts/acc_frozen/payments" }, decide.Deny, 403, []string{"account_frozen"}},
		{"other currency", func(r *call.Request) { r.Path = "/v1/accounts/acc_dollars/payments" }, decide.Deny, 403, []string{"currency_not_account"}},
		{"two reasons", func(r *call.Request) {
			*r = payment(strings.Replace(goodBody, "1250", "50001", 1))
			r.Path = "/v1/accounts/acc_frozen/payments"
		}, decide.Deny, 403, []string{"account_frozen", "amount_over_payment_maximum"}},
		{"unknown account", func(r *call.Request) { r.Path = "/v1/accounts/acc_nobody/payments" }, decide.Deny, 403, []string{"account_unknown"}},
		{"another's account", func(r *call.Request) { r.Claims["sub"] = "bob" }, decide.Deny, 403, []string{"account_unknown"}},
		{"another's frozen account", func(r *call.Request) {
			r.Claims["sub"] = "bob"
			r.Path = "/v1/accounts/acc_frozen/payments"
		}, decide.Deny, 403, []string{"account_unknown"}},
		{"longest account that a path can name", func(r *call.Request) { r.Path = "/v1/accounts/" + strings.Repeat("a", 256) + "/payments" }, decide.Deny, 403, []string{"account_unknown"}},
		{"no identity", func(r *call.Request) { r.Claims = nil }, decide.Deny, 401, []string{"identity_missing"}},
		{"no route", func(r *call.Request) { r.Path = "/" + "x" }, decide.Deny, 403, []string{"no_route"}},
		{"broken body", func(r *call.Request) { *r = payment("{") }, decide.Deny, 400, []string{"body_syntax"}},
		{"other media type", func(r *call.Request) { r.Headers = nil }, decide.Deny, 415, []string{"media_type_unsupported"}},
		{"nothing at all", func(r *call.Request) { *r = call.Request{} }, decide.Deny, 400, []string{"path_not_canonical"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := good()
			c.change(&req)
			want(t, w.Decide(context.Background(), req), c.outcome, c.status, c.codes...)
		})
	}
}

// What the sidecar makes of each answer, or failure, of a policy.
func TestPolicyAnswers(t *testing.T) {
	const loop = `{"allow": true, "reasons": [], "public_reasons": [], "effects": []} if {
	some a in numbers.range(1, 10000)
	some b in numbers.range(1, 10000)
	some c in numbers.range(1, 10000)
	(a + b) + c == 0
}`
	for _, c := range []struct {
		name, rule string
		budget     time.Duration
		outcome    decide.Outcome
		status     int
		codes      []string
	}{
		{"allow", `{"allow": true, "reasons": [], "public_reasons": [], "effects": [{"type": "reserve", "account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}]}`, time.Minute, decide.Allow, 0, nil},
		{"neither", `{"allow": false, "reasons": [], "public_reasons": [], "effects": []}`, time.Minute, decide.Deny, 403, []string{"no_permit"}},
		{"reasons", `{"allow": false, "reasons": [{"code": "b", "message": "B."}, {"code": "a", "message": "A."}], "public_reasons": [{"code": "b", "message": "B."}, {"code": "a", "message": "A."}], "effects": []}`, time.Minute, decide.Deny, 403, []string{"a", "b"}},
		{"wrong shape", `{"allow": "yes"}`, time.Minute, decide.Defect, 500, []string{"policy_defect"}},
		{"contradiction", `{"allow": true, "reasons": [{"code": "a", "message": "A."}], "public_reasons": [{"code": "a", "message": "A."}], "effects": []}`, time.Minute, decide.Defect, 500, []string{"policy_defect"}},
		{"an effect", `{"allow": true, "reasons": [], "public_reasons": [], "effects": [{"type": "reserve"}]}`, time.Minute, decide.Defect, 500, []string{"policy_defect"}},
		{"undefined", `{"allow": true, "reasons": [], "public_reasons": [], "effects": []} if input.nothing`, time.Minute, decide.Defect, 500, []string{"policy_defect"}},
		{"error", `{"allow": true, "reasons": [], "public_reasons": [], "effects": []} if not 1 / (input.version - 1) == 7`, time.Minute, decide.Defect, 500, []string{"policy_defect"}},
		{"endless", loop, 20 * time.Millisecond, decide.Unavailable, 503, []string{"decision_timeout"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, withRule(t, c.rule, policy.Config{Budget: c.budget}))
			d := w.Decide(context.Background(), good())
			want(t, d, c.outcome, c.status, c.codes...)
			if len(w.records) != 1 {
				t.Fatalf("%d records", len(w.records))
			}
			r := w.records[0]
			if r.DecisionID != d.ID || r.Outcome != d.Outcome || r.Status != d.Status || len(r.PublicReasons) != len(d.Reasons) || !r.Time.Equal(noon) {
				t.Errorf("record %s of decision %+v", indented(t, r), d)
			}
			failed := c.outcome == decide.Defect || c.outcome == decide.Unavailable
			if logged := strings.Contains(w.log.String(), d.ID); logged != failed {
				t.Errorf("logged %v, want %v: %s", logged, failed, &w.log)
			}
		})
	}
}

// A store that fails is "cannot decide now", whatever the failure is; the caller
// learns nothing of it and the log does.
func TestStoreFails(t *testing.T) {
	failure := errors.New("disk4711")
	update := func(err error) fakeKV {
		return fakeKV{update: func(context.Context, []kv.Ref, func(kv.Tx) error) error { return err }}
	}
	for name, c := range map[string]struct {
		backend fakeKV
		code    string
	}{
		"view":            {fakeKV{view: func(context.Context, func(kv.Snap) error) error { return failure }}, "store_unavailable"},
		"update":          {update(failure), "store_unavailable"},
		"read":            {fakeKV{get: func(string) ([]byte, bool, error) { return nil, false, failure }}, "store_unavailable"},
		"failed":          {update(kv.ErrFailed), "store_unavailable"},
		"closed":          {update(kv.ErrClosed), "store_unavailable"},
		"outcome unknown": {update(kv.ErrUnknown), "outcome_unknown"},
		"overloaded":      {update(kv.ErrOverloaded), "overloaded"},
		"cancelled":       {update(context.Canceled), "decision_timeout"},
		"empty value":     {serving(nil), "store_unavailable"},
		"damaged value":   {serving([]byte{1, 0xff}), "store_unavailable"},
		"newer version":   {serving([]byte{2, 0xa0}), "store_unavailable"},
		"null for a noun": {serving([]byte{1, 0xf6}), "store_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withFake(t, c.backend))
			d := w.Decide(context.Background(), good())
			want(t, d, decide.Unavailable, 503, c.code)
			if strings.Contains(d.Reasons[0].Message, "4711") {
				t.Errorf("the caller is told %q", d.Reasons[0].Message)
			}
			if !strings.Contains(w.log.String(), d.ID) {
				t.Errorf("nothing of it in the log: %q", &w.log)
			}
			if len(w.records) != 0 {
				t.Errorf("%d records of a call that no policy was asked for", len(w.records))
			}
		})
	}
}

func TestClosedBadger(t *testing.T) {
	w := newWorld(t)
	if err := w.backend.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, w.Decide(context.Background(), good()), decide.Unavailable, 503, "store_unavailable")
}

// No fact can be taken away: the stored account with each of its parts removed or
// null is never an allow.
func TestFactsRemoved(t *testing.T) {
	stored := func() map[int]any {
		return map[int]any{1: "acc_anna", 2: map[int]any{1: "user", 2: "https://id.example", 3: "anna"}, 3: "active", 4: "EUR", 5: 50000}
	}
	decideOn := func(t *testing.T, account map[int]any) decide.Decision {
		t.Helper()
		text, err := cbor.Marshal(account)
		if err != nil {
			t.Fatal(err)
		}
		header := []byte{1, 0, 0, 0, 0, 0, 0, 0, 1} // version, written at
		return newWorld(t, withFake(t, serving(append(header, text...)))).Decide(context.Background(), good())
	}
	want(t, decideOn(t, stored()), decide.Allow, 0)
	for key := range stored() {
		without, null := stored(), stored()
		delete(without, key)
		null[key] = nil
		want(t, decideOn(t, without), decide.Unavailable, 503, "store_unavailable")
		want(t, decideOn(t, null), decide.Unavailable, 503, "store_unavailable")
	}
	for key := 1; key <= 3; key++ {
		without := stored()
		delete(without[2].(map[int]any), key)
		want(t, decideOn(t, without), decide.Unavailable, 503, "store_unavailable")
	}
}

// A panic anywhere inside is a defect, is logged, and gives its place back.
func TestPanics(t *testing.T) {
	for name, change := range map[string]func(*decide.Config){
		"store":          withFake(t, fakeKV{view: func(context.Context, func(kv.Snap) error) error { panic("panic4711") }}),
		"reading a fact": withFake(t, fakeKV{get: func(string) ([]byte, bool, error) { panic("panic4711") }}),
		"record":         func(cfg *decide.Config) { cfg.Record = func(decide.Record) { panic("panic4711") } },
		"clock":          func(cfg *decide.Config) { cfg.Now = func() (time.Time, error) { panic("panic4711") } },
		"bundle":         func(cfg *decide.Config) { cfg.Bundle = nil },
		"routes":         withRoutes(nil),
		"policy":         withBundle(func(b *bundle.Bundle) { b.Policy = nil }),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change, func(cfg *decide.Config) { cfg.MaxInFlight = 1 })
			for range 3 {
				d := w.Decide(context.Background(), good())
				want(t, d, decide.Defect, 500, "internal_error")
				if strings.Contains(d.Reasons[0].Message, "4711") {
					t.Errorf("the caller is told %q", d.Reasons[0].Message)
				}
				if !strings.Contains(w.log.String(), d.ID) {
					t.Errorf("nothing of it in the log: %q", &w.log)
				}
			}
		})
	}
}

// Too many calls are not as many lines in the log.
func TestOverloadInLog(t *testing.T) {
	w := newWorld(t, withStore(fakeKV{
		Store:  openBadger(t),
		update: func(context.Context, []kv.Ref, func(kv.Tx) error) error { return kv.ErrOverloaded },
	}))
	const calls = 2000
	for range calls {
		want(t, w.Decide(context.Background(), good()), decide.Unavailable, 503, "overloaded")
	}
	if n := strings.Count(w.log.String(), "level=WARN"); n == 0 || n > calls/2 {
		t.Errorf("%d lines of %d calls in the log", n, calls)
	}
}

// Without the time nothing is read or decided; the log knows why, a few times, and
// the caller does not.
func TestClockJumped(t *testing.T) {
	jumped := errors.New("2036 not 2026")
	w := newWorld(t, func(cfg *decide.Config) {
		cfg.Now = func() (time.Time, error) { return noon, jumped }
		cfg.Store = nil
	})
	const calls = 2000
	for range calls {
		d := w.Decide(context.Background(), good())
		want(t, d, decide.Unavailable, 503, "clock_jumped")
		if strings.Contains(d.Reasons[0].Message, "20") {
			t.Fatalf("the caller is told %q", d.Reasons[0].Message)
		}
	}
	if n := strings.Count(w.log.String(), "2036 not 2026"); n == 0 || n > calls/2 {
		t.Errorf("%d lines of %d calls in the log", n, calls)
	}
	if len(w.records) != 0 {
		t.Error("recorded")
	}
}

// Too little time left, or too many calls at once: an answer at once, before
// anything is read or evaluated.
func TestOverloaded(t *testing.T) {
	untouched := withFake(t, fakeKV{view: func(context.Context, func(kv.Snap) error) error {
		t.Error("the store was read")
		return nil
	}})
	for name, left := range map[string]time.Duration{"past": -time.Second, "now": 0, "too near": 4 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, untouched)
			ctx, cancel := context.WithTimeout(context.Background(), left)
			defer cancel()
			want(t, w.Decide(ctx, good()), decide.Unavailable, 503, "decision_timeout")
			if len(w.records) != 0 {
				t.Error("recorded")
			}
		})
	}
	t.Run("far enough", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		want(t, newWorld(t).Decide(ctx, good()), decide.Allow, 0)
	})
}

func TestTooManyInFlight(t *testing.T) {
	const most = 12
	entered, release := make(chan struct{}), make(chan struct{})
	real := openBadger(t)
	putAccount(t, real, anna())
	w := newWorld(t, withStore(fakeKV{Store: real, view: func(ctx context.Context, fn func(kv.Snap) error) error {
		entered <- struct{}{}
		<-release
		return real.View(ctx, fn)
	}}), func(cfg *decide.Config) { cfg.MaxInFlight = most })
	var wg sync.WaitGroup
	var identities atomic.Int64
	goodOf := func(outcome decide.Outcome, status int, codes ...string) { // of one of five identities in turn, from an account of its own
		n := identities.Add(1) % 5
		req := by(fmt.Sprintf("user-%d", n), fmt.Sprintf("acc_%d", n))
		want(t, w.Decide(context.Background(), req), outcome, status, codes...)
	}
	for range most {
		wg.Go(func() { goodOf(decide.Deny, 403, "account_unknown") })
		select {
		case <-entered:
		case <-time.After(time.Minute):
			t.Fatal("a call was answered without reading the store")
		}
	}
	for range 5 { // entered has no more receivers: to read the store would hang
		goodOf(decide.Unavailable, 503, "overloaded")
	}
	close(release)
	wg.Wait()
	go func() { <-entered }()
	want(t, w.Decide(context.Background(), good()), decide.Allow, 0)
}

// by is a payment by a user from an account.
func by(subject, account string) call.Request {
	req := good()
	req.Claims["sub"] = subject
	req.Path = "/v1/accounts/" + account + "/payments"
	return req
}

// One identity takes a quarter of the places and leaves the others to the others;
// and so do all together who pay from one account.
func TestShareInFlight(t *testing.T) {
	for name, c := range map[string]struct{ first, second, third, other call.Request }{
		"one identity": {by("anna", "acc_anna"), by("anna", "acc_ben"), by("anna", "acc_carl"), by("ben", "acc_ben")},
		"one account":  {by("anna", "acc_anna"), by("ben", "acc_anna"), by("carl", "acc_anna"), by("carl", "acc_carl")},
	} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			real := openBadger(t)
			putAccount(t, real, anna())
			hold := true
			w := newWorld(t, withStore(fakeKV{Store: real, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
				if hold {
					entered <- struct{}{}
					<-release
				}
				return real.Update(context.WithoutCancel(ctx), refs, fn)
			}}), func(cfg *decide.Config) { cfg.MaxInFlight = 8 })
			var wg sync.WaitGroup
			wg.Go(func() { want(t, w.Decide(context.Background(), c.first), decide.Allow, 0) })
			<-entered
			wg.Go(func() { want(t, w.Decide(context.Background(), c.second), decide.Deny, 403, "account_unknown") })
			<-entered
			hold = false
			want(t, w.Decide(context.Background(), c.third), decide.Unavailable, 503, "overloaded")
			want(t, w.Decide(context.Background(), c.other), decide.Deny, 403, "account_unknown")
			close(release)
			wg.Wait()
			want(t, w.Decide(context.Background(), c.third), decide.Deny, 403, "account_unknown")
		})
	}
}

// No two decisions have one ID, whatever their outcome; but a decision that is
// told again has its own.
func TestIDs(t *testing.T) {
	w := newWorld(t)
	seen := map[string]bool{}
	for i := range 3000 {
		requests := []call.Request{good(), payment("{"), {}}
		d := w.Decide(context.Background(), requests[i%len(requests)])
		if seen[d.ID] || !strings.HasPrefix(d.ID, "dec_") {
			t.Fatalf("decision %d has the ID %q", i, d.ID)
		}
		seen[d.ID] = true
	}
}

// Every fact that a route may name is read.
func TestFactVocabulary(t *testing.T) {
	facts := map[string]string{
		"account":          "{account: write}",
		"grant":            "{grant: write}",
		"merchant":         "{account: write, merchant: read}",
		"terminal":         "{account: write, terminal: write}",
		"terminals":        "{account: write, terminals: write}",
		"intent":           "{account: write, intent: write}",
		"intent_account":   "{account: write, intent: read, intent_account: write}",
		"intent_terminals": "{account: write, intent: read, intent_terminals: write}",
		"open_intents":     "{account: write, open_intents: write}",
		"challenge":        "{account: write, challenge: write}",
	}
	for _, fact := range call.FactNames() {
		text := strings.Replace(routesText(t), "facts: {account: write}", "facts: "+facts[fact], 1)
		if fact == "grant" {
			text = strings.Replace(text, "    payee:", "    grant: {identity: subject}\n    payee:", 1)
		}
		if strings.HasPrefix(fact, "intent") {
			text = strings.Replace(text, "    payee:", "    intent: {identity: subject}\n    payee:", 1)
		}
		table, err := call.Load(fstest.MapFS{"systems/direct_payment/routes.yaml": {Data: []byte(text)}}, call.Vocabulary{})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, withRoutes(table))
		if fact == "grant" { // there is none
			want(t, w.Decide(context.Background(), good()), decide.Deny, 403, "account_unknown")
			continue
		}
		want(t, w.Decide(context.Background(), good()), decide.Allow, 0)
	}
}

// Everything that is not given has a default that works.
func TestDefaults(t *testing.T) {
	w := newWorld(t, func(cfg *decide.Config) {
		*cfg = decide.Config{Bundle: cfg.Bundle, Store: cfg.Store, Keys: cfg.Keys}
	})
	want(t, w.Decide(context.Background(), good()), decide.Allow, 0)
}
