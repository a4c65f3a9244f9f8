package decide_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// grantModel says what must come of payments by codes, under idempotency keys, by
// two grants of one account. It knows nothing of the code.
type grantModel struct {
	broken, accountFrozen bool

	grants  []*modelGrant
	handles map[string]*modelHandle
	keys    map[string]*modelKey
	held    map[string]*modelReservation
}

type modelGrant struct {
	id     string
	state  authzstore.GrantState
	handle string // in force, "" for none
}

type modelHandle struct {
	grant    *modelGrant
	usedStep int64
	usedBy   string // the decision
	burnt    int64
}

type modelReservation struct {
	authzstore.Reservation
	grant *modelGrant
}

func (m *grantModel) spent(g *modelGrant) (sum int64) {
	for _, r := range m.held {
		switch {
		case r.grant != g:
		case r.Open():
			sum += r.AmountMinor
		case r.State == authzstore.ReservationPosted:
			sum += r.PostedMinor
		}
	}
	return sum
}

// call predicts the answer to a payment, and keeps what comes of it.
func (m *grantModel) call(key string, amount int64, code string, d decide.Decision) modelAnswer {
	k := m.keys[key]
	if k == nil {
		return m.evaluate(key, &modelKey{}, amount, code, d, "unknown")
	}
	cell := k.state + ", other code"
	if k.code == code {
		cell = k.state + ", same code"
	}
	switch {
	case k.amount != amount:
		return modelAnswer{decide.Deny, 422, []string{"key_other_call"}, false, k.state + ", other call"}
	case k.state == "allowed":
		r := m.held[k.reservationID]
		switch {
		case r.State != authzstore.ReservationPending:
			cell += ", settled"
		case m.accountFrozen:
			cell = "allowed, account frozen" // by whatever code
		case r.grant.state != authzstore.GrantActive:
			cell = "allowed, grant " + string(r.grant.state)
		default:
			return modelAnswer{decide.Allow, 0, nil, true, cell + ", can run again"}
		}
		return modelAnswer{decide.Deny, 409, []string{"already_allowed"}, true, cell}
	case k.state == "denied" && k.code == code:
		return modelAnswer{decide.Deny, 403, k.told, true, cell}
	}
	return m.evaluate(key, k, amount, code, d, cell)
}

func (m *grantModel) evaluate(key string, known *modelKey, amount int64, code string, d decide.Decision, cell string) modelAnswer {
	handle, step, right := parseCode(code)
	h := m.handles[handle]
	again := known.code == code && !known.lockedOut
	now := &modelKey{state: "pending", amount: amount, code: code, decisionID: d.ID, spentBy: d.ID}
	if again {
		now.spentBy = known.spentBy
	}
	m.keys[key] = now
	now.lockedOut = h.burnt >= handleAllowance.Max && !again
	usedBefore := h.usedStep > step || h.usedStep == step && !(again && h.usedBy == known.spentBy)
	matched := right && h.grant.handle == handle && !now.lockedOut && !usedBefore
	var codes []string
	if h.grant.state != authzstore.GrantActive || m.accountFrozen {
		codes = append(codes, "not_active")
	}
	if amount > 5000-m.spent(h.grant) {
		codes = append(codes, "over_limit")
	}
	if !matched {
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
		now.state = "allowed"
		if d.Execution != nil {
			now.reservationID = d.Execution.ReservationID
			m.held[now.reservationID] = &modelReservation{authzstore.Reservation{State: authzstore.ReservationPending, AmountMinor: amount}, h.grant}
		}
	}
	switch {
	case matched && h.usedStep < step:
		h.usedStep, h.usedBy = step, d.ID
	case !matched && !again:
		h.burnt++
	}
	return a
}

// grantCells are what the model must have come by.
var grantCells = []string{
	"unknown", "pending, same code", "pending, other code", "pending, other call",
	"denied, same code", "denied, other code", "denied, other call", "allowed, other call",
	"allowed, same code, can run again", "allowed, other code, can run again",
	"allowed, same code, settled", "allowed, other code, settled",
	"allowed, account frozen", "allowed, grant frozen", "allowed, grant revoked",
}

// The table of retries for payments by a grant, as a model, against the real thing.
func TestGrantRetryModel(t *testing.T) {
	reached := map[string]int{}
	w := newGrantWorld(t)
	broken := grantBundle(t, "package payments\n\ndecision := {\"allow\": true} if 1 / (input.version - 1) == 7\n")
	sound := w.rules
	rapid.Check(t, func(rt *rapid.T) {
		account := anna()
		account.ID = authzstore.NewID("acc")
		putAccount(t, w.backend, account)
		m := &grantModel{handles: map[string]*modelHandle{}, keys: map[string]*modelKey{}, held: map[string]*modelReservation{}}
		activate := func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.rules = sound; m.broken {
				w.rules = broken
			}
		}
		activate()
		allow := func(req call.Request) decide.Decision {
			d := w.decide(req)
			if d.Outcome != decide.Allow {
				rt.Fatalf("%s: %s %d %v", req.Path, d.Outcome, d.Status, codesOf(d))
			}
			return d
		}
		fetch := func(g *modelGrant) {
			allow(does("ben", "fetch_parameters", g.id, nextKey()))
			grant, _, _ := w.grant(t, g.id)
			g.handle, g.state = grant.Handle, grant.State
			m.handles[g.handle] = &modelHandle{grant: g}
		}
		for range 2 {
			offer := offerRequest(lifetimeTerms, nextKey())
			offer.Path = "/accounts/" + account.ID + "/grants"
			g := &modelGrant{id: allow(offer).Execution.Grant}
			m.grants = append(m.grants, g)
			allow(does("ben", "accept_grant", g.id, nextKey()))
			fetch(g)
		}
		// operate has an operation done where it can be, by rules that are sound.
		operate := func(rt *rapid.T, operation string, from ...authzstore.GrantState) *modelGrant {
			g := rapid.SampledFrom(m.grants).Draw(rt, "grant")
			if m.broken || !slices.Contains(from, g.state) {
				return nil
			}
			allow(does("anna", operation, g.id, nextKey()))
			return g
		}
		resolve := func(rt *rapid.T, to authzstore.ReservationState, posted int64, do func(*authzstore.Tx, string) error) {
			var open []string
			for id, r := range m.held {
				if r.Open() {
					open = append(open, id)
				}
			}
			if slices.Sort(open); len(open) == 0 {
				return
			}
			id := rapid.SampledFrom(open).Draw(rt, "reservation")
			r := m.held[id]
			refs := authzstore.ResolveRefs(authzstore.Reservation{ID: id, Account: account.ID, Grant: r.grant.id})
			if err := w.store.Update(context.Background(), operatorCause(), refs, func(tx *authzstore.Tx) error { return do(tx, id) }); err != nil {
				rt.Fatal(err)
			}
			r.State, r.PostedMinor = to, posted
		}
		payBy := func(rt *rapid.T, key string, amount int64, code string) {
			before := m.keys[key]
			d := w.decide(codePayment(code, amount, key))
			if slices.Equal(codesOf(d), []string{"overloaded"}) {
				return // this machine is; nothing was written
			}
			a := m.call(key, amount, code, d)
			reached[a.cell]++
			if d.Outcome != a.outcome || d.Status != a.status || !slices.Equal(codesOf(d), a.codes) || d.Replayed != a.replayed {
				rt.Fatalf("%s: %s %d %v, replayed %v; want %s %d %v, replayed %v", a.cell, d.Outcome, d.Status, codesOf(d), d.Replayed, a.outcome, a.status, a.codes, a.replayed)
			}
			if a.outcome != decide.Allow {
				return
			}
			// Whatever the code leads to now, what runs again is what ran then.
			r := m.held[m.keys[key].reservationID]
			if e := d.Execution; e == nil || e.Grant != r.grant.id || e.Account != account.ID || e.AmountMinor != amount || e.Replayed != a.replayed {
				rt.Fatalf("%s: forwarded with %+v, want grant %s", a.cell, d.Execution, r.grant.id)
			}
			if a.replayed && (d.ID != before.decisionID || d.Execution.ReservationID != before.reservationID) {
				rt.Fatalf("%s: decision %s with %s", a.cell, d.ID, d.Execution.ReservationID)
			}
		}
		pay := func(rt *rapid.T) {
			key := account.ID + rapid.SampledFrom([]string{"-1", "-2", "-3"}).Draw(rt, "key")
			amount := rapid.SampledFrom([]int64{1000, 1000, 1000, 1500}).Draw(rt, "amount")
			handle := rapid.SampledFrom(slices.Sorted(maps.Keys(m.handles))).Draw(rt, "handle")
			payBy(rt, key, amount, handle+rapid.SampledFrom([]string{"-1", "-2", "-3", "-4", "-5", "-6", "-7", "-9-wrong"}).Draw(rt, "code"))
		}
		payOtherwise := func(rt *rapid.T) {
			if len(m.keys) > 0 {
				key := rapid.SampledFrom(slices.Sorted(maps.Keys(m.keys))).Draw(rt, "known key")
				handle := rapid.SampledFrom(slices.Sorted(maps.Keys(m.handles))).Draw(rt, "handle")
				payBy(rt, key, m.keys[key].amount, handle+"-8")
			}
		}
		payAgain := func(rt *rapid.T) {
			if len(m.keys) > 0 {
				key := rapid.SampledFrom(slices.Sorted(maps.Keys(m.keys))).Draw(rt, "known key")
				payBy(rt, key, m.keys[key].amount, m.keys[key].code)
			}
		}
		const active, frozen = authzstore.GrantActive, authzstore.GrantFrozen
		revoke := func(rt *rapid.T) {
			if g := operate(rt, "revoke_grant", active, frozen); g != nil {
				g.state, g.handle = authzstore.GrantRevoked, ""
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"pay": pay, "pay more": pay, "pay on": pay, "pay again": payAgain, "pay the same": payAgain, "pay otherwise": payOtherwise, "pay by another code": payOtherwise,
			"break": func(*rapid.T) { m.broken = !m.broken; activate() },
			"freeze": func(rt *rapid.T) {
				if g := operate(rt, "freeze_grant", active); g != nil {
					g.state = frozen
				}
			},
			"unfreeze": func(rt *rapid.T) {
				if g := operate(rt, "unfreeze_grant", frozen); g != nil {
					g.state = active
				}
			},
			"revoke now": revoke, "revoke": revoke,
			"reissue": func(rt *rapid.T) {
				if g := operate(rt, "reissue_parameters", active, frozen); g != nil && len(m.handles) < 5 {
					fetch(g)
				} else if g != nil {
					g.handle = "" // nobody fetches it
				}
			},
			"freeze the account": func(*rapid.T) {
				m.accountFrozen = !m.accountFrozen
				account.State = map[bool]authzstore.AccountState{false: authzstore.AccountActive, true: authzstore.AccountFrozen}[m.accountFrozen]
				putAccount(t, w.backend, account)
			},
			"settle": func(rt *rapid.T) {
				switch rapid.SampledFrom([]string{"post", "void", "unknown"}).Draw(rt, "how") {
				case "post":
					resolve(rt, authzstore.ReservationPosted, 900, func(tx *authzstore.Tx, id string) error { return tx.Post(id, 900) })
				case "void":
					resolve(rt, authzstore.ReservationVoided, 0, func(tx *authzstore.Tx, id string) error { return tx.Void(id) })
				default:
					resolve(rt, authzstore.ReservationUnknown, 0, func(tx *authzstore.Tx, id string) error { return tx.MarkUnknown(id) })
				}
			},
			"": func(rt *rapid.T) {
				if why := m.differs(w, account.ID); why != "" {
					rt.Fatal(why)
				}
			},
		})
	})
	for _, cell := range grantCells {
		if reached[cell] == 0 {
			t.Errorf("never reached: %s", cell)
		}
	}
	t.Logf("%v", reached)
	w.clean(t)
}

// differs says where the store is not as the model has it.
func (m *grantModel) differs(w *grantWorld, account string) (why string) {
	err := w.store.View(context.Background(), func(s authzstore.Snapshot) error {
		for _, g := range m.grants {
			u, err := s.Usage(g.id)
			if err != nil {
				return err
			}
			if got := u.PendingMinor + u.PostedMinor; got != m.spent(g) {
				why = fmt.Sprintf("%s has spent %d, want %d", g.id, got, m.spent(g))
			}
		}
		for handle, h := range m.handles {
			use, _, err := s.Use("code/" + handle)
			if err != nil {
				return err
			}
			if use.Step != h.usedStep || use.RecordID != h.usedBy {
				why = fmt.Sprintf("code of %s used at %d by %q, want %d by %q", handle, use.Step, use.RecordID, h.usedStep, h.usedBy)
			}
			c, _, err := s.Credential(handle)
			if err != nil {
				return err
			}
			if c.FirstUsed != (h.usedStep > 0) || c.Ended != (h.grant.handle != handle) {
				why = fmt.Sprintf("credential %+v", c)
			}
		}
		return nil
	})
	if err != nil {
		why = err.Error()
	}
	return strings.TrimSpace(why)
}
