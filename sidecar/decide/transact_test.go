package decide_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// usage is what Anna's account has reserved and paid.
func (w *world) usage(t testing.TB) (u authzstore.Usage) {
	t.Helper()
	err := authzstore.New(w.backend).View(context.Background(), func(s authzstore.Snapshot) (err error) {
		u, err = s.Usage("acc_anna")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (w *world) decide(req call.Request) decide.Decision { return w.Decide(context.Background(), req) }

// A policy that contradicts the call, the store or itself allows nothing, takes
// nothing, and is a defect on record. The calls of others go on.
func TestContradictions(t *testing.T) {
	const reserve = `{"type": "reserve", "account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}`
	with := func(old, new string) string { return strings.Replace(reserve, old, new, 1) }
	allow := func(effects ...string) string {
		return `{"allow": true, "reasons": [], "public_reasons": [], "effects": [` + strings.Join(effects, ", ") + `]}`
	}
	for name, rule := range map[string]string{
		"reserves nothing":              allow(),
		"reserves less":                 allow(with("1250", "1249")),
		"reserves more":                 allow(with("1250", "1251")),
		"reserves twice":                allow(reserve, reserve),
		"reserves in two parts":         allow(with("1250", "1000"), with("1250", "250")),
		"reserves another currency":     allow(with("EUR", "USD")),
		"reserves another account":      allow(with("acc_anna", "acc_ben")),
		"reserves for another payee":    allow(with("mer_bakery", "mer_other")),
		"reserves and more":             allow(reserve, with("acc_anna", "acc_ben")),
		"reserves on a denial":          `{"allow": false, "reasons": [], "public_reasons": [], "effects": [` + reserve + `]}`,
		"reserves on a denial with why": `{"allow": false, "reasons": [{"code": "no", "message": "No."}], "public_reasons": [{"code": "no", "message": "No."}], "effects": [` + reserve + `]}`,
		"an effect without members":     allow(`{"type": "reserve"}`),
		"an effect that there is not":   allow(with("reserve", "transfer")),
		"an effect with more members":   allow(with(`"type"`, `"note": 1, "type"`)),
		"an amount in words":            allow(with("1250", `"1250"`)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			wrong := withRule(t, rule, policy.Config{Budget: time.Minute})
			cfg := decide.Config{Bundle: w.bundle}
			wrong(&cfg)
			bad := newWorld(t, withStore(w.backend), func(c *decide.Config) { c.Bundle = cfg.Bundle })
			d := bad.decide(good())
			want(t, d, decide.Defect, 500, "policy_defect")
			if u := w.usage(t); u.PendingMinor != 0 || u.Count != 0 {
				t.Errorf("usage %+v", u)
			}
			var r decide.Record
			if err := json.Unmarshal([]byte(w.kept(t, d.ID)), &r); err != nil || r.Outcome != decide.Defect || r.Error == "" || r.ReservationID != "" {
				t.Errorf("record %+v, %v", r, err)
			}
			want(t, w.decide(good()), decide.Allow, 0)
			clean(t, authzstore.New(w.backend))
		})
	}
}

// What the store refuses though the policy allows it: over a limit, from a frozen
// account, in another currency than the account's.
func TestStoreRefusesWhatThePolicyAllows(t *testing.T) {
	const always = `{"allow": true, "reasons": [], "public_reasons": [], "effects": [{"type": "reserve", "account": input.call.account, "payee": input.call.payee, "amount_minor": input.call.amount_minor, "currency": input.call.currency}]}`
	for name, c := range map[string]struct {
		account func(*authzstore.Account)
		body    string
	}{
		"over the payment maximum": {func(*authzstore.Account) {}, strings.Replace(goodBody, "1250", "50001", 1)},
		"over a limit":             {func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{Name: "total", MaxAmountMinor: 1249}} }, goodBody},
		"a frozen account":         {func(a *authzstore.Account) { a.State = authzstore.AccountFrozen }, goodBody},
		"another currency":         {func(a *authzstore.Account) { a.Currency = "USD" }, goodBody},
		"no such account":          {func(a *authzstore.Account) { a.ID = "acc_other" }, goodBody},
	} {
		t.Run(name, func(t *testing.T) {
			backend := openBadger(t)
			account := anna()
			c.account(&account)
			putAccount(t, backend, account)
			w := newWorld(t, withRule(t, always, policy.Config{Budget: time.Minute}), withStore(backend))
			w.backend = backend
			want(t, w.decide(payment(c.body)), decide.Defect, 500, "policy_defect")
			if u := w.usage(t); u.PendingMinor != 0 {
				t.Errorf("usage %+v", u)
			}
			clean(t, authzstore.New(backend))
		})
	}
}

// An allow that shows evidence which did not match is a defect, whatever the
// policy thinks of it; and the evidence is spent.
func TestAllowWithWrongEvidence(t *testing.T) {
	w := newWorld(t, withCodes(t, func(files fstest.MapFS) {
		replace(t, files, "systems/direct_payment/direct_payment.rego", "finding.matched == false", "finding.matched == false\n\tinput.now_ns < 0")
	}))
	want(t, w.decide(keyedPayment("acc_anna", "k1", 1250, "wrong")), decide.Defect, 500, "policy_defect")
	w.wantLeft(t, "acc_anna", codeAllowance.Max-1)
	want(t, w.decide(keyedPayment("acc_anna", "k2", 1250, "right")), decide.Allow, 0)
}

// wantLeft checks how many attempts at its codes an account has left.
func (w *world) wantLeft(t testing.TB, account string, left int64) {
	t.Helper()
	err := authzstore.New(w.backend).Update(context.Background(), operatorCause(), []kv.Ref{authzstore.AttemptsRef("codes/" + account)}, func(tx *authzstore.Tx) error {
		got, err := tx.AttemptsLeft("codes/"+account, codeAllowance)
		if err == nil && got != left {
			err = fmt.Errorf("%d attempts left, want %d", got, left)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A code works once, also where two calls bring it at once, and where one call
// brings it twice.
func TestCodeWorksOnce(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	var wg sync.WaitGroup
	allowed := make(chan decide.Decision, 64)
	for i := range 64 {
		wg.Go(func() {
			if d := w.decide(keyedPayment("acc_anna", fmt.Sprint("k", i), 100, "right")); d.Outcome == decide.Allow {
				allowed <- d
			}
		})
	}
	wg.Wait()
	if len(allowed) != 1 {
		t.Errorf("%d allows with one code", len(allowed))
	}
	other := newWorld(t, withCodes(t, nil))
	twice := payment(`{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR","code":"right","second":"right"}`)
	want(t, other.decide(twice), decide.Deny, 403, "payment_code_invalid")
	both := payment(`{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR","code":"right 1","second":"right 2"}`)
	want(t, newWorld(t, withCodes(t, nil)).decide(both), decide.Allow, 0)
}

// Strangers who guess burn attempts of their own, get the answer that everybody
// gets, and lock nobody out; who is expected burns the thing's, and then the right
// code does not help.
func TestWhoseAttempt(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	for i := range 30 {
		req := keyedPayment("acc_anna", fmt.Sprint("b", i), 100, fmt.Sprint("wrong ", i))
		req.Claims["sub"] = fmt.Sprint("stranger ", i%3)
		want(t, w.decide(req), decide.Deny, 403, "account_unknown", "payment_code_invalid")
	}
	w.wantLeft(t, "acc_anna", codeAllowance.Max)
	want(t, w.decide(keyedPayment("acc_anna", "a0", 100, "right 0")), decide.Allow, 0)
	for i := range codeAllowance.Max {
		want(t, w.decide(keyedPayment("acc_anna", fmt.Sprint("w", i), 100, "wrong")), decide.Deny, 403, "payment_code_invalid")
	}
	w.wantLeft(t, "acc_anna", 0)
	want(t, w.decide(keyedPayment("acc_anna", "a1", 100, "right 1")), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(keyedPayment("acc_anna", "a2", 100, "")), decide.Allow, 0)
}

// A stranger's budget ends too: the right code in a stranger's hands matches up to
// it, and not after.
func TestStrangersBudgetEnds(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	matched := 0
	for i := range evidence.SenderAllowance.Max + 5 {
		req := keyedPayment("acc_anna", fmt.Sprint("b", i), 100, fmt.Sprint("right ", i))
		req.Claims["sub"] = "stranger"
		d := w.decide(req)
		var r decide.Record
		if err := json.Unmarshal([]byte(w.kept(t, d.ID)), &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Evidence) != 1 || len(r.Evidence[0].Budgets) != 1 || !strings.HasPrefix(r.Evidence[0].Budgets[0], "sender/test_code/") {
			t.Fatalf("evidence %+v", r.Evidence)
		}
		if r.Evidence[0].Matched {
			matched++
		}
	}
	if matched != int(evidence.SenderAllowance.Max) {
		t.Errorf("%d answers were looked at, want %d", matched, evidence.SenderAllowance.Max)
	}
}

// The same call from many at once is executed once: one reservation, and everybody
// else gets that one, as a replay.
func TestSameCallAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	answers := make(chan decide.Decision, 64)
	for range 64 {
		wg.Go(func() { answers <- w.decide(keyedPayment("acc_anna", "k", 1250, "")) })
	}
	wg.Wait()
	close(answers)
	first, reservations := 0, map[string]bool{}
	for d := range answers {
		want(t, d, decide.Allow, 0)
		reservations[d.Execution.ReservationID] = true
		if !d.Replayed {
			first++
		}
	}
	if u := w.usage(t); first != 1 || len(reservations) != 1 || u.PendingMinor != 1250 || u.Count != 1 {
		t.Errorf("%d firsts, reservations %v, usage %+v", first, reservations, u)
	}
}

// The same call a hundred times, also after it was settled, after a freeze, and
// after the store was closed and opened: executed once.
func TestSameCallOver(t *testing.T) {
	w := newWorld(t)
	store := authzstore.New(w.backend)
	d := w.decide(keyedPayment("acc_anna", "k", 1250, ""))
	want(t, d, decide.Allow, 0)
	repeat := func(outcome decide.Outcome, status int, codes ...string) {
		t.Helper()
		for range 25 {
			again := w.decide(keyedPayment("acc_anna", "k", 1250, ""))
			want(t, again, outcome, status, codes...)
			if !again.Replayed || again.ID != d.ID {
				t.Fatalf("answer %+v", again)
			}
		}
	}
	repeat(decide.Allow, 0)
	frozen := anna()
	frozen.State = authzstore.AccountFrozen
	putAccount(t, w.backend, frozen)
	repeat(decide.Deny, 409, "already_allowed")
	putAccount(t, w.backend, anna())
	repeat(decide.Allow, 0)
	id := d.Execution.ReservationID
	if err := store.Update(context.Background(), operatorCause(), authzstore.ResolveRefs(authzstore.Reservation{ID: id, Account: "acc_anna"}), func(tx *authzstore.Tx) error { return tx.Post(id, 1250) }); err != nil {
		t.Fatal(err)
	}
	repeat(decide.Deny, 409, "already_allowed")
	if u := w.usage(t); u.PendingMinor != 0 || u.PostedMinor != 1250 || u.Count != 1 {
		t.Errorf("usage %+v", u)
	}
	clean(t, store)
}

// An answer that was lost after the decision became durable is given again.
func TestLostAnswer(t *testing.T) {
	backend := openBadger(t)
	putAccount(t, backend, anna())
	lose := true
	w := newWorld(t, withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
		err := backend.Update(ctx, refs, fn)
		if err == nil && lose {
			return kv.ErrUnknown
		}
		return err
	}}))
	w.backend = backend
	want(t, w.decide(keyedPayment("acc_anna", "k", 1250, "")), decide.Unavailable, 503, "outcome_unknown")
	lose = false
	d := w.decide(keyedPayment("acc_anna", "k", 1250, ""))
	want(t, d, decide.Allow, 0)
	if u := w.usage(t); !d.Replayed || u.PendingMinor != 1250 || u.Count != 1 {
		t.Errorf("replayed %v, usage %+v", d.Replayed, u)
	}
}

// Evidence is spent although the caller went away before there was a decision.
func TestCallerGone(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	slow := newWorld(t, withStore(w.backend), withCodes(t, func(files fstest.MapFS) {
		replace(t, files, "systems/direct_payment/direct_payment.rego", "package payments.systems.direct_payment\n", "package payments.systems.direct_payment\n\nslow if {\n\tsome a in numbers.range(1, 10000)\n\tsome b in numbers.range(1, 10000)\n\ta + b == 0\n}\n\ndeny contains {\"code\": \"slow\", \"message\": \"Slow.\"} if slow\n")
	}))
	time.AfterFunc(20*time.Millisecond, cancel)
	d := slow.Decide(ctx, keyedPayment("acc_anna", "k", 100, "wrong"))
	if d.Outcome == decide.Allow || d.Outcome == decide.Deny {
		t.Fatalf("%+v", d)
	}
	w.wantLeft(t, "acc_anna", codeAllowance.Max-1)
}

// A check that Envoy asks again gets the answer that it missed, though the call
// under its key would not run again; and is decided once.
func TestEnvoyAsksAgain(t *testing.T) {
	w := newWorld(t, withBundle(func(b *bundle.Bundle) {
		text := strings.Replace(routesText(t), "idempotent: true", "idempotent: false", 1)
		table, err := call.Load(fstest.MapFS{"systems/direct_payment/routes.yaml": {Data: []byte(text)}}, call.Vocabulary{})
		if err != nil {
			t.Fatal(err)
		}
		b.Routes = table
	}))
	ask := func(check string) decide.Decision {
		req := keyedPayment("acc_anna", "k", 1250, "")
		req.CheckID = check
		return w.decide(req)
	}
	var wg sync.WaitGroup
	answers := make(chan decide.Decision, 16)
	for range cap(answers) {
		wg.Go(func() { answers <- ask("10.0.0.1:5000/42") })
	}
	wg.Wait()
	close(answers)
	ids := map[string]bool{}
	for d := range answers {
		want(t, d, decide.Allow, 0)
		ids[d.ID+d.Execution.ReservationID] = true
	}
	if len(ids) != 1 || len(w.records) != 1 {
		t.Errorf("answers %v, %d records", ids, len(w.records))
	}
	want(t, ask("10.0.0.1:5000/43"), decide.Deny, 409, "already_allowed")
	want(t, ask(""), decide.Deny, 409, "already_allowed")
	other := keyedPayment("acc_anna", "k", 1251, "")
	other.CheckID = "10.0.0.1:5000/42"
	want(t, w.decide(other), decide.Deny, 422, "key_other_call")
}

// A code that a defect used up stays the key's own, also after a second defect: the
// call that brought it can still be decided, and no other one.
func TestSpentThroughDefects(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	good, broken := w.bundle(), w.bundle()
	cfg := decide.Config{Bundle: func() *bundle.Bundle { return broken }}
	withRule(t, `{"allow": true} if 1 / (input.version - 1) == 7`, policy.Config{Budget: time.Minute})(&cfg)
	broken = cfg.Bundle()
	active := broken
	w = newWorld(t, withStore(w.backend), withCodes(t, nil), func(c *decide.Config) { c.Bundle = func() *bundle.Bundle { return active } })
	for range 3 {
		want(t, w.decide(keyedPayment("acc_anna", "k", 100, "right once")), decide.Defect, 500, "policy_defect")
	}
	active = good
	want(t, w.decide(keyedPayment("acc_anna", "other", 100, "right once")), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(keyedPayment("acc_anna", "k", 100, "right once")), decide.Allow, 0)
}

// A route that moves no money reserves none, whatever the policy wants; and an
// account that is declared read is not changed.
func TestReserveWhereNoMoneyMoves(t *testing.T) {
	for name, facts := range map[string]string{"account written": "facts: {account: write}", "account read": "facts: {account: read}"} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(routesText(t), "facts: {account: write}", "moves_money: false\n  "+facts, 1)
			table, err := call.Load(fstest.MapFS{"systems/direct_payment/routes.yaml": {Data: []byte(text)}}, call.Vocabulary{})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, withRoutes(table))
			want(t, w.decide(good()), decide.Defect, 500, "policy_defect")
		})
	}
}

// A lock that is not free in time ends the wait, and nothing happened.
func TestLockWait(t *testing.T) {
	w := newWorld(t)
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		refs := []kv.Ref{authzstore.UsageRef("acc_anna", kv.Exclusive)}
		err := authzstore.New(w.backend).Update(context.Background(), operatorCause(), refs, func(*authzstore.Tx) error {
			close(held)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	want(t, w.decide(keyedPayment("acc_anna", "k", 1250, "")), decide.Unavailable, 503, "overloaded")
	close(release)
	wg.Wait()
	want(t, w.decide(keyedPayment("acc_anna", "k", 1250, "")), decide.Allow, 0)
	if u := w.usage(t); u.Count != 1 {
		t.Errorf("usage %+v", u)
	}
}

// panicking is a kind of evidence that panics with what it was shown.
type panicking struct{ testCode }

func (panicking) Check(_ *authzstore.Tx, _ evidence.About, secret string) (evidence.Finding, error) {
	panic(secret)
}

// A kind of evidence that panics is a defect, on record, and not a free guess; what
// it was shown is in no log.
func TestEvidencePanics(t *testing.T) {
	w := newWorld(t, withCodes(t, nil), func(cfg *decide.Config) { cfg.Evidence = map[string]evidence.Kind{"test_code": panicking{}} })
	d := w.decide(keyedPayment("acc_anna", "k", 100, "secret4711"))
	want(t, d, decide.Defect, 500, "internal_error")
	var r decide.Record
	if err := json.Unmarshal([]byte(w.kept(t, d.ID)), &r); err != nil || r.Outcome != decide.Defect {
		t.Errorf("record %+v, %v", r, err)
	}
	if len(r.Evidence) != 1 || r.Evidence[0].Matched || len(r.Evidence[0].Budgets) != 1 || !strings.HasPrefix(r.Evidence[0].Budgets[0], "sender/test_code/") {
		t.Errorf("evidence %+v", r.Evidence)
	}
	if strings.Contains(w.log.String()+w.kept(t, d.ID), "4711") {
		t.Errorf("log %s, record %s", &w.log, w.kept(t, d.ID))
	}
}

// Who has no attempt left cannot have a guess looked at by bringing it twice under
// one key, the first time to no decision.
func TestLockedOutStaysLockedOut(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	good, active := w.bundle(), w.bundle()
	cfg := decide.Config{Bundle: func() *bundle.Bundle { return good }}
	withRule(t, `{"allow": true} if 1 / (input.version - 1) == 7`, policy.Config{Budget: time.Minute})(&cfg)
	w = newWorld(t, withStore(w.backend), withCodes(t, nil), func(c *decide.Config) { c.Bundle = func() *bundle.Bundle { return active } })
	for i := range codeAllowance.Max {
		want(t, w.decide(keyedPayment("acc_anna", fmt.Sprint("w", i), 100, "wrong")), decide.Deny, 403, "payment_code_invalid")
	}
	active = cfg.Bundle()
	want(t, w.decide(keyedPayment("acc_anna", "k", 100, "right")), decide.Defect, 500, "policy_defect")
	active = good
	want(t, w.decide(keyedPayment("acc_anna", "k", 100, "right")), decide.Deny, 403, "payment_code_invalid")
}

// Two codes in one call need two attempts.
func TestTwoGuessesTwoAttempts(t *testing.T) {
	w := newWorld(t, withCodes(t, nil))
	for i := range codeAllowance.Max - 1 {
		want(t, w.decide(keyedPayment("acc_anna", fmt.Sprint("w", i), 100, "wrong")), decide.Deny, 403, "payment_code_invalid")
	}
	both := payment(`{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR","code":"right 1","second":"right 2"}`)
	want(t, w.decide(both), decide.Deny, 403, "payment_code_invalid")
}
