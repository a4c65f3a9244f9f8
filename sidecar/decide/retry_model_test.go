package decide_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// retryModel says what must come of calls under idempotency keys, by the table in
// the package's comment. It knows nothing of the code.
type retryModel struct {
	idempotent bool // the route says that the upstream runs a reservation once
	broken     bool // the policy is a defect now
	frozen     bool
	limit      int64 // on everything the account ever spends

	keys         map[string]*modelKey
	usedBy       map[string]string // code → the decision that used it
	burnt        int64             // attempts at the account's codes
	reservations map[string]*authzstore.Reservation
}

// modelKey is what is known about one key.
type modelKey struct {
	state         string // pending, denied, allowed
	amount        int64  // the call
	code          string // the evidence of the last evaluation
	lockedOut     bool   // when it came, no attempt was left
	spentBy       string // the decision that spent it
	decisionID    string
	reservationID string
	told          []string // the codes of a denial
}

// modelAnswer is what a caller must get.
type modelAnswer struct {
	outcome  decide.Outcome
	status   int
	codes    []string
	replayed bool
	cell     string // of the table
}

func (m *retryModel) spent() (sum int64) {
	for _, r := range m.reservations {
		switch {
		case r.Open():
			sum += r.AmountMinor
		case r.State == authzstore.ReservationPosted:
			sum += r.PostedMinor
		}
	}
	return sum
}

// call predicts the answer to a call, given the ID of a new decision and of its
// reservation, and keeps what comes of it.
func (m *retryModel) call(key string, amount int64, code, decisionID, reservationID string) modelAnswer {
	k := m.keys[key]
	if k == nil {
		return m.evaluate(key, nil, amount, code, decisionID, reservationID, "unknown")
	}
	evidence := "same evidence"
	if k.code != code {
		evidence = "other evidence"
	}
	cell := k.state + ", " + evidence
	switch {
	case k.amount != amount:
		return modelAnswer{decide.Deny, 422, []string{"key_other_call"}, false, k.state + ", other call"}
	case k.state == "allowed":
		r := m.reservations[k.reservationID]
		if m.idempotent && !m.frozen && r.State == authzstore.ReservationPending {
			return modelAnswer{decide.Allow, 0, nil, true, cell + ", can run again"}
		}
		return modelAnswer{decide.Deny, 409, []string{"already_allowed"}, true, cell + ", otherwise"}
	case k.state == "denied" && k.code == code:
		return modelAnswer{decide.Deny, 403, k.told, true, cell}
	default:
		return m.evaluate(key, k, amount, code, decisionID, reservationID, cell)
	}
}

func (m *retryModel) evaluate(key string, known *modelKey, amount int64, code, decisionID, reservationID, cell string) modelAnswer {
	again := known != nil && code != "" && known.code == code && !known.lockedOut
	now := &modelKey{state: "pending", amount: amount, code: code, decisionID: decisionID}
	now.lockedOut = code != "" && !again && m.burnt >= codeAllowance.Max
	if code != "" {
		now.spentBy = decisionID
		if again {
			now.spentBy = known.spentBy
		}
	}
	m.keys[key] = now
	matched := strings.HasPrefix(code, "right") &&
		(m.burnt < codeAllowance.Max || again) &&
		(m.usedBy[code] == "" || again && m.usedBy[code] == known.spentBy)
	var codes []string
	if m.frozen {
		codes = append(codes, "account_frozen")
	}
	if amount > m.limit-m.spent() {
		codes = append(codes, "amount_over_limit")
	}
	if code != "" && !matched {
		codes = append(codes, "payment_code_invalid")
	}
	a := modelAnswer{decide.Deny, 403, codes, false, cell}
	switch {
	case m.broken:
		a.outcome, a.status, a.codes = decide.Defect, 500, []string{"policy_defect"}
	case len(codes) > 0:
		now.state, now.told = "denied", codes
	default:
		a.outcome, a.status = decide.Allow, 0
		now.state, now.reservationID = "allowed", reservationID
		m.reservations[reservationID] = &authzstore.Reservation{State: authzstore.ReservationPending, AmountMinor: amount}
	}
	if code == "" {
		return a
	}
	paid := matched && (a.outcome == decide.Allow || strings.HasPrefix(code, "right once"))
	if paid && m.usedBy[code] == "" {
		m.usedBy[code] = decisionID
	}
	if !paid && !again {
		m.burnt++
	}
	return a
}

// cells are all cells of the table, but the last column's, which hold for every
// state.
var cells = []string{
	"unknown",
	"pending, same evidence", "pending, other evidence", "pending, other call",
	"denied, same evidence", "denied, other evidence", "denied, other call",
	"allowed, same evidence, can run again", "allowed, other evidence, can run again",
	"allowed, same evidence, otherwise", "allowed, other evidence, otherwise", "allowed, other call",
}

// The table of retries, as a model, against the real thing: every answer, every
// cell, and in the end the store with all its sums.
func TestRetryModel(t *testing.T) {
	reached := map[string]int{}
	backend := openBadger(t)
	store := authzstore.New(backend)
	bundles := map[bool]*bundle.Bundle{true: codeBundle(t, nil), false: codeBundle(t, func(files fstest.MapFS) {
		replace(t, files, "systems/direct_payment/routes.yaml", "idempotent: true", "idempotent: false")
	})}
	broken := withRule(t, `{"allow": true} if 1 / (input.version - 1) == 7`, policy.Config{Budget: time.Minute})
	var active atomic.Pointer[bundle.Bundle]
	decider := decide.New(decide.Config{
		Bundle: active.Load, Store: store, Now: func() (time.Time, error) { return noon, nil }, Log: slog.New(slog.DiscardHandler),
		Keys:     decide.Keys{Personal: make([]byte, 32), Evidence: make([]byte, 32)},
		Evidence: map[string]evidence.Kind{"test_code": testCode{}},
	})
	rapid.Check(t, func(rt *rapid.T) {
		account := anna()
		account.ID = authzstore.NewID("acc")
		m := &retryModel{
			idempotent: rapid.Bool().Draw(rt, "idempotent"), limit: 6000,
			keys: map[string]*modelKey{}, usedBy: map[string]string{}, reservations: map[string]*authzstore.Reservation{},
		}
		account.Limits = []authzstore.Limit{{Name: "total", MaxAmountMinor: m.limit}}
		put := func() {
			account.State = map[bool]authzstore.AccountState{false: authzstore.AccountActive, true: authzstore.AccountFrozen}[m.frozen]
			putAccount(t, backend, account)
		}
		activate := func() {
			cfg := decide.Config{Bundle: func() *bundle.Bundle { return bundles[m.idempotent] }}
			if m.broken {
				broken(&cfg)
			}
			active.Store(cfg.Bundle())
		}
		put()
		activate()
		resolve := func(rt *rapid.T, to authzstore.ReservationState, posted int64, do func(*authzstore.Tx, string) error) {
			ids := openReservations(m)
			if len(ids) == 0 {
				return
			}
			id := rapid.SampledFrom(ids).Draw(rt, "reservation")
			err := store.Update(context.Background(), operatorCause(), authzstore.ResolveRefs(authzstore.Reservation{ID: id, Account: account.ID}), func(tx *authzstore.Tx) error { return do(tx, id) })
			if err != nil {
				rt.Fatal(err)
			}
			m.reservations[id].State, m.reservations[id].PostedMinor = to, posted
		}
		oneCall := func(rt *rapid.T) {
			key := account.ID + rapid.SampledFrom([]string{"-1", "-2", "-3"}).Draw(rt, "key")
			amount := rapid.SampledFrom([]int64{1000, 1000, 1000, 1500}).Draw(rt, "amount")
			code := rapid.SampledFrom([]string{"", "", "right 1", "right 2", "right once 1", "wrong 1", "wrong 2"}).Draw(rt, "code")
			d := decider.Decide(context.Background(), keyedPayment(account.ID, key, amount, code))
			if slices.Equal(codesOf(d), []string{"overloaded"}) {
				return // this machine is; nothing was written
			}
			before := m.keys[key]
			reservation := ""
			if d.Execution != nil {
				reservation = d.Execution.ReservationID
			}
			a := m.call(key, amount, code, d.ID, reservation)
			reached[a.cell]++
			if d.Outcome != a.outcome || d.Status != a.status || !slices.Equal(codesOf(d), a.codes) || d.Replayed != a.replayed {
				rt.Fatalf("%s: %s %d %v, replayed %v; want %s %d %v, replayed %v", a.cell, d.Outcome, d.Status, codesOf(d), d.Replayed, a.outcome, a.status, a.codes, a.replayed)
			}
			if a.replayed && d.ID != before.decisionID {
				rt.Fatalf("%s: decision %s, want %s", a.cell, d.ID, before.decisionID)
			}
			if a.replayed && a.outcome == decide.Allow && (reservation != before.reservationID || !d.Execution.Replayed) {
				rt.Fatalf("%s: forwarded with %+v, want reservation %s as a replay", a.cell, d.Execution, before.reservationID)
			}
			if a.status == 409 && d.ReservationState != string(m.reservations[before.reservationID].State) {
				rt.Fatalf("%s: reservation state %q", a.cell, d.ReservationState)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			// Several times, so that calls are most of what happens.
			"call": oneCall, "call again": oneCall, "call more": oneCall, "call on": oneCall, "call and call": oneCall, "call once more": oneCall,
			"freeze": func(*rapid.T) { m.frozen = !m.frozen; put() },
			"break":  func(*rapid.T) { m.broken = !m.broken; activate() },
			"post": func(rt *rapid.T) {
				resolve(rt, authzstore.ReservationPosted, 900, func(tx *authzstore.Tx, id string) error { return tx.Post(id, 900) })
			},
			"void": func(rt *rapid.T) {
				resolve(rt, authzstore.ReservationVoided, 0, func(tx *authzstore.Tx, id string) error { return tx.Void(id) })
			},
			"unknown": func(rt *rapid.T) {
				resolve(rt, authzstore.ReservationUnknown, 0, func(tx *authzstore.Tx, id string) error { return tx.MarkUnknown(id) })
			},
			"": func(rt *rapid.T) { m.check(rt, store, account.ID) },
		})
	})
	for _, cell := range cells {
		if reached[cell] == 0 {
			t.Errorf("never reached: %s", cell)
		}
	}
	t.Logf("%v", reached)
	clean(t, store)
}

// check compares the store with the model: what is reserved, whose attempts are
// burnt, which codes are used.
func (m *retryModel) check(rt *rapid.T, store *authzstore.Store, account string) {
	var refs []kv.Ref
	c := call.Call{Route: &call.Route{Fields: []call.Field{{Name: "account"}}}, Fields: []call.Value{{Text: account}}}
	for code := range m.usedBy {
		refs = append(refs, authzstore.UseRef(codeThing(c, code)))
	}
	refs = append(refs, authzstore.AttemptsRef(codeBudget(c)), authzstore.UsageRef(account, kv.Shared))
	err := store.Update(context.Background(), operatorCause(), refs, func(tx *authzstore.Tx) error {
		usage, err := tx.Usage(account)
		if err != nil {
			return err
		}
		if got := usage.PendingMinor + usage.PostedMinor; got != m.spent() {
			return fmt.Errorf("%d minor units are taken, want %d", got, m.spent())
		}
		left, err := tx.AttemptsLeft(codeBudget(c), codeAllowance)
		if err != nil {
			return err
		}
		if want := max(0, codeAllowance.Max-m.burnt); left != want {
			return fmt.Errorf("%d attempts left, want %d", left, want)
		}
		for code, by := range m.usedBy {
			if use, _, err := tx.Use(codeThing(c, code)); err != nil || use.RecordID != by {
				return fmt.Errorf("code %q used by %q, want %q (%v)", code, use.RecordID, by, err)
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func openReservations(m *retryModel) (ids []string) {
	for id, r := range m.reservations {
		if r.Open() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// keyedPayment is a payment of Anna's under a key, with a code if there is one.
func keyedPayment(account, key string, amountMinor int64, code string) call.Request {
	body := map[string]any{"payee": "mer_bakery", "amount_minor": amountMinor, "currency": "EUR"}
	if code != "" {
		body["code"] = code
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	req := payment(string(text))
	req.Path = "/v1/accounts/" + account + "/payments"
	for i, h := range req.Headers {
		if h.Name == "idempotency-key" {
			req.Headers[i].Value = []byte(key)
		}
	}
	return req
}

func codesOf(d decide.Decision) (codes []string) {
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	return codes
}

func operatorCause() authzstore.Cause {
	operator := authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "root"}
	return authzstore.Cause{ID: authzstore.NewID("chg"), Actor: operator, NowNanos: noon.UnixNano()}
}

// clean fails the test if the store breaks an invariant.
func clean(t testing.TB, store *authzstore.Store) {
	t.Helper()
	problems, err := store.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
