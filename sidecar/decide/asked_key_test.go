package decide_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// A partialWorld has the built-in rules and real payment codes: Anna has given grants of
// partial delegation, and the bakery charges codes of them.
type partialWorld struct {
	*systemsWorld
	codes *evidence.PaymentCodes
}

func newPartialWorld(t *testing.T) *partialWorld {
	t.Helper()
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := evidence.NewPaymentCodes(evidence.Config{Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	s := newSystemsWorld(t, nil, func(cfg *decide.Config) { cfg.Evidence["payment_code"] = codes })
	w := &partialWorld{s, codes}
	m := bakery()
	m.Channels[0].Identity.Kind = "merchant"
	w.do(t, authzstore.MerchantRefs(m), func(tx *authzstore.Tx) error { return tx.PutMerchant(m) })
	for _, trm := range []authzstore.Terminal{phone(), tablet()} {
		trm.Rights = []string{"approve", "order"}
		w.putTerminal(t, trm)
	}
	w.pass(48 * time.Hour) // terminals cool
	return w
}

func (w *partialWorld) do(t *testing.T, refs []kv.Ref, fn func(*authzstore.Tx) error) {
	t.Helper()
	if err := w.store.Update(t.Context(), w.cause(), refs, fn); err != nil {
		t.Fatal(err)
	}
}

// granted returns the handle of a new grant that its delegate uses.
func (w *partialWorld) granted(t *testing.T) (handle string) {
	t.Helper()
	terms, err := authzstore.ParseTerms([]byte(strings.Replace(lifetimeTerms, `"delegation": "full"`, `"delegation": "partial"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	credential, err := w.codes.NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	g := authzstore.Grant{ID: authzstore.NewID("grt"), Account: "acc_anna", Delegate: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "ben"}, Terms: terms}
	g.Handle = credential.Handle
	w.do(t, append(authzstore.OfferRefs(g), authzstore.GrantRefs(g)...), func(tx *authzstore.Tx) error {
		g.Handle = ""
		if err := tx.OfferGrant(g); err != nil {
			return err
		}
		if err := tx.AcceptGrant(g.ID, credential); err != nil {
			return err
		}
		return tx.MarkParametersFetched(credential.Handle, "dec_x")
	})
	return credential.Handle
}

// code is what the grant of a handle pays with now.
func (w *partialWorld) code(t *testing.T, handle string) string {
	t.Helper()
	var code string
	w.view(t, func(s authzstore.Snapshot) error {
		c, _, err := s.Credential(handle)
		if err != nil {
			return err
		}
		p, err := w.codes.Parameters(c)
		if err != nil {
			return err
		}
		code, err = p.Code(p.Step(w.cause().NowNanos))
		return err
	})
	return code
}

func charge(code, key string) call.Request {
	return request("bakery", "POST", "/v1/payments", fmt.Sprintf(`{"payment_code": %q, "payee": "mer_bakery", "amount_minor": 250, "currency": "EUR"}`, code), key)
}

func (w *partialWorld) approve(t *testing.T, d decide.Decision) {
	t.Helper()
	want(t, d, decide.StepUp, 401, "approval_required")
	want(t, w.decide(request("phone", "POST", "/countersign/v1/challenges/"+d.Challenge.ID+"/approve", "", nextKey())), decide.Allow, 0)
}

// Under a key that was asked, a code that leads nowhere is denied as any wrong one is, and
// costs an attempt: else handles could be found out for nothing. What was approved under
// the key is over by that.
func TestCodeThatLeadsNowhereUnderAnAskedKey(t *testing.T) {
	for _, code := range []string{"28000000000900000000", "hello"} {
		w := newPartialWorld(t)
		right := w.code(t, w.granted(t))
		d := w.decide(charge(right, "k"))
		w.approve(t, d)
		want(t, w.decide(charge(code, "k")), decide.Deny, 403, "payment_code_invalid")
		w.wantState(t, d.Challenge.ID, authzstore.ChallengeReplaced)
		budget := authzstore.SenderBudget("payment_code", authzstore.Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery"})
		w.do(t, []kv.Ref{authzstore.AttemptsRef(budget)}, func(tx *authzstore.Tx) error {
			if left, err := tx.AttemptsLeft(budget, evidence.SenderAllowance); err != nil || left != evidence.SenderAllowance.Max-1 {
				t.Errorf("%q: %d attempts left of %d, %v", code, left, evidence.SenderAllowance.Max, err)
			}
			return nil
		})
		if d := w.decide(charge(right, "k")); d.Outcome == decide.Allow {
			t.Errorf("%q: an approval that was used up was good once more", code)
		}
		w.clean(t)
	}
}

// Two delegates of one owner may buy the same in one shop: what the owner is asked about
// the one says nothing of the other, and does not take its place.
func TestDelegatesWhoBuyTheSame(t *testing.T) {
	w := newPartialWorld(t)
	first, second := w.code(t, w.granted(t)), w.code(t, w.granted(t))
	d1 := w.decide(charge(first, "till-1"))
	w.approve(t, d1)
	d2 := w.decide(charge(second, "till-2"))
	want(t, d2, decide.StepUp, 401, "approval_required")
	w.wantState(t, d1.Challenge.ID, authzstore.ChallengeSatisfied)
	want(t, w.decide(charge(first, "till-1")), decide.Allow, 0)
	w.wantState(t, d2.Challenge.ID, authzstore.ChallengeOpen)
	w.clean(t)
}

// A call under a key that was asked, whose terminal is gone, is denied as the policy says.
func TestTerminalGoneUnderAnAskedKey(t *testing.T) {
	s := newStepWorld(t)
	ask := func() decide.Decision { return s.decide(request("tablet", "POST", "/payments", bun, "k")) }
	d := ask()
	want(t, d, decide.StepUp, 401, "verification_required")
	gone := tablet()
	gone.State = authzstore.TerminalUnbound
	s.putTerminal(t, gone)
	s.use(t, fixed(false))
	want(t, ask(), decide.Deny, 403, "no")
	s.wantState(t, d.Challenge.ID, authzstore.ChallengeReplaced)
	s.clean(t)
}
