package envoy

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/evidence"
)

// Under a partial delegation the owner approves each payment: on a terminal with the
// right to, this very payment, in time.

// A partialPay is a payment by Ben at the bakery that Anna approves, on her phone or
// her tablet; not on her watch.
type partialPay struct {
	f              *family
	account, grant string
	ben            evidence.Parameters
	by             till
	key, code      string
	amount         int64
	asked          string
}

func partialAccount(i int) string { return fmt.Sprintf("acc_partial%d", i) }

// newPartial binds the terminals of an account and has Ben accept a grant on it.
func newPartial(t *testing.T, f *family, account string) *partialPay {
	t.Helper()
	p := &partialPay{f: f, account: account, by: bakery, key: "till-" + account, amount: 1000}
	for _, name := range []string{"phone", "tablet", "watch"} {
		f.bind(t, p.terminal(name))
	}
	f.clock.move(step)
	terms := freeTerms()
	terms.Delegation, terms.MaxPaymentMinor = authzstore.DelegationPartial, 1000
	p.grant = f.offer(t, account, terms)
	p.ben = f.accept(t, p.grant)
	return p.next(t)
}

// next has Ben show his next code.
func (p *partialPay) next(t *testing.T) *partialPay {
	t.Helper()
	p.f.clock.move(step)
	p.code = p.f.code(t, p.ben, 0)
	return p
}

func (p *partialPay) terminal(name string) authzstore.Terminal {
	trm := terminalOf(p.account, p.account[len("acc_"):]+"-"+name, "+49 1", "approve", "order")
	if name == "watch" {
		trm.Rights = []string{"order"}
	}
	return trm
}

// pay has the merchant bring the payment, again under its key.
func (p *partialPay) pay(t *testing.T) response {
	t.Helper()
	return p.f.keyed(t, p.key, p.by.subject, http.MethodPost, "/v1/payments", map[string]any{
		"payment_code": p.code, "payee": p.by.payee, "amount_minor": p.amount, "currency": "EUR",
	})
}

// wantAsked fails unless the merchant is told to wait for the owner.
func (p *partialPay) wantAsked(t *testing.T) {
	t.Helper()
	before, resp := len(paid()), p.pay(t)
	p.f.hears(t, resp, http.StatusUnauthorized, []string{"approval_required"}, nil)
	if p.asked = challengeOf(resp); p.asked == "" || len(paid()) != before {
		t.Fatal("no challenge, or it reached the service")
	}
}

// wantAskedAnew fails unless the owner is asked another time.
func (p *partialPay) wantAskedAnew(t *testing.T) {
	t.Helper()
	before := p.asked
	if p.wantAsked(t); p.asked == before {
		t.Error("the same challenge as before")
	}
}

// answer is what a terminal, or somebody in its place, says to what it was asked.
func (p *partialPay) answer(t *testing.T, subject, what string) response {
	t.Helper()
	return p.f.call(t, subject, http.MethodPost, terminalEntries+p.asked+"/"+what, nil)
}

// wantAnswered fails unless the answer of a terminal is taken.
func (p *partialPay) wantAnswered(t *testing.T, name, what string) {
	t.Helper()
	if resp := p.answer(t, p.terminal(name).Identity.Subject, what); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %s", what, resp.StatusCode, resp.body)
	}
}

// approved is a payment that Anna was asked about, and has approved.
func (p *partialPay) approved(t *testing.T) *partialPay {
	t.Helper()
	p.wantAsked(t)
	p.wantAnswered(t, "phone", "approve")
	return p
}

func (p *partialPay) wantPaid(t *testing.T) {
	t.Helper()
	before := len(paid())
	if resp := p.pay(t); resp.StatusCode != http.StatusOK || len(paid()) != before+1 {
		t.Errorf("status %d, %s; want it paid", resp.StatusCode, resp.body)
	}
}

func (p *partialPay) wantRefused(t *testing.T, public, record string) {
	t.Helper()
	if record == "" {
		record = public
	}
	before := len(paid())
	p.f.hears(t, p.pay(t), http.StatusForbidden, []string{public}, []string{record})
	if len(paid()) != before {
		t.Error("it reached the service")
	}
}

var partialStories = []struct {
	name  string
	story func(*testing.T, *partialPay)
}{
	{"approved and paid once", approvedAndPaid},
	{"approved at the last instant", func(t *testing.T, p *partialPay) {
		p.wantAsked(t)
		p.f.clock.move(300 * sec)
		p.wantAnswered(t, "tablet", "approve")
		p.wantPaid(t)
	}},
	{"approved at once and paid at the last instant", func(t *testing.T, p *partialPay) {
		p.approved(t).f.clock.move(300 * sec)
		p.wantPaid(t)
	}},
	{"approved at once and repeated a nanosecond too late", func(t *testing.T, p *partialPay) {
		p.approved(t).f.clock.move(300*sec + 1)
		p.wantAskedAnew(t)
	}},
	{"approved a nanosecond too late", func(t *testing.T, p *partialPay) {
		p.wantAsked(t)
		p.f.clock.move(300*sec + 1)
		late := p.answer(t, p.terminal("phone").Identity.Subject, "approve")
		p.f.hears(t, late, http.StatusForbidden, []string{"challenge_expired"}, nil)
		p.wantAskedAnew(t)
		p.wantAnswered(t, "phone", "approve")
		p.wantPaid(t)
	}},
	{"approved by who may not", approvedByOthers},
	{"another amount under the key", func(t *testing.T, p *partialPay) {
		p.approved(t).amount = 999
		before := len(paid())
		if resp := p.pay(t); resp.StatusCode != http.StatusUnprocessableEntity || publicOf(t, resp)[0] != "key_other_call" || len(paid()) != before {
			t.Errorf("status %d, %s", resp.StatusCode, resp.body)
		}
		p.amount = 1000
		p.wantPaid(t)
	}},
	{"another amount under another key", func(t *testing.T, p *partialPay) {
		first := *p.approved(t)
		p.next(t).key, p.amount = p.key+"-other", 999
		p.wantAskedAnew(t) // the approval was of another amount
		first.wantPaid(t)
		p.wantAsked(t)
	}},
	{"another merchant with the code", func(t *testing.T, p *partialPay) {
		p.approved(t)
		thief := *p
		thief.by = till{"casino", "mer_casino"}
		thief.wantRefused(t, "payment_code_invalid", "")
		p.wantPaid(t)
	}},
	{"the code under another key", func(t *testing.T, p *partialPay) {
		p.approved(t)
		again := *p
		again.key += "-again"
		again.wantRefused(t, "payment_code_invalid", "")
		p.wantPaid(t)
		again.key += "-and-again"
		again.wantRefused(t, "payment_code_invalid", "")
	}},
	{"another code under the key while it waits", func(t *testing.T, p *partialPay) {
		p.wantAsked(t)
		first := *p
		p.next(t).wantRefused(t, "approval_code_changed", "")
		p.f.hears(t, p.answer(t, p.terminal("phone").Identity.Subject, "approve"), http.StatusForbidden, []string{"challenge_replaced"}, nil)
		first.wantRefused(t, "payment_code_invalid", "") // over, under this key
		p.next(t).key += "-again"
		p.approved(t).wantPaid(t)
	}},
	{"another code under the key once it is approved", func(t *testing.T, p *partialPay) {
		first := *p.approved(t)
		p.next(t).wantRefused(t, "approval_code_changed", "")
		p.wantRefused(t, "approval_code_changed", "")
		first.wantRefused(t, "payment_code_invalid", "") // over, under this key
		p.next(t).key += "-again"
		p.approved(t).wantPaid(t)
	}},
	{"rejected", func(t *testing.T, p *partialPay) {
		p.wantAsked(t)
		p.wantAnswered(t, "phone", "reject")
		late := p.answer(t, p.terminal("tablet").Identity.Subject, "approve")
		p.f.hears(t, late, http.StatusForbidden, []string{"approval_rejected"}, nil)
		p.wantRefused(t, "approval_rejected", "")
		p.next(t).wantRefused(t, "approval_rejected", "") // for good, under this key
		p.next(t).key += "-again"
		p.approved(t).wantPaid(t)
	}},
	{"rejected after it was approved", func(t *testing.T, p *partialPay) {
		p.approved(t)
		late := p.answer(t, p.terminal("tablet").Identity.Subject, "reject")
		p.f.hears(t, late, http.StatusForbidden, []string{"challenge_satisfied"}, nil)
		p.wantPaid(t)
	}},
	{"three rejections in a row", rejectedInARow},
	{"asked as often as a merchant may", func(t *testing.T, p *partialPay) {
		key, first := p.key, p.f.clock.wall()
		for i := range 10 {
			p.key = fmt.Sprintf("%s-%d", key, i)
			p.amount = int64(1 + i)
			p.wantAsked(t)
			p.next(t)
		}
		p.f.clock.move(first.Add(time.Hour - step - 1).Sub(p.f.clock.wall()))
		p.next(t).key = key + "-over"
		p.wantRefused(t, "challenges_over_limit max_starts 0 payments left", "")
		p.next(t).key = key + "-after"
		p.approved(t).wantPaid(t)
	}},
	{"one minor unit over the maximum", func(t *testing.T, p *partialPay) {
		p.amount = 1001
		p.wantRefused(t, "payment_over_limit", "amount_over_grant_payment_maximum payment 1000 left")
		if n := len(p.f.messages.of(t, p.terminal("phone").ID)); n != 0 {
			t.Errorf("the owner was asked: %d messages", n)
		}
	}},
	{"no terminal that may approve", func(t *testing.T, p *partialPay) {
		for _, name := range []string{"phone", "tablet"} {
			trm := p.terminal(name)
			trm.Rights = []string{"order"}
			p.f.bind(t, trm)
		}
		p.wantRefused(t, "payment_not_permitted", "approval_terminals_missing")
		p.key += "-again" // the code is used up
		p.wantRefused(t, "payment_code_invalid", "")
	}},
	{"the grant frozen since", func(t *testing.T, p *partialPay) {
		p.approved(t).f.do(t, "anna", http.MethodPost, grantPath(p.grant, "freeze"), nil, nil)
		p.wantRefused(t, "payment_not_authorised", "grant_frozen")
	}},
	{"the account frozen since", func(t *testing.T, p *partialPay) {
		p.approved(t).f.backend(t, http.MethodPost, "/v1/accounts/"+p.account+"/freeze", nil, nil)
		p.wantRefused(t, "payment_not_authorised", "account_frozen")
	}},
	{"the terminal that approved frozen since", approvalSince(func(trm authzstore.Terminal) authzstore.Terminal {
		return withState(trm, authzstore.TerminalFrozen)
	}, false)},
	{"the terminal that approved unbound since", approvalSince(func(trm authzstore.Terminal) authzstore.Terminal {
		return withState(trm, authzstore.TerminalUnbound)
	}, false)},
	{"the terminal that approved bound anew since", approvalSince(func(trm authzstore.Terminal) authzstore.Terminal {
		return withState(trm, authzstore.TerminalUnbound)
	}, true)},
	{"the right to approve lost since it was approved", approvalSince(func(trm authzstore.Terminal) authzstore.Terminal {
		trm.Rights = nil
		return trm
	}, false)},
	{"the right to approve lost since it was asked", func(t *testing.T, p *partialPay) {
		p.wantAsked(t)
		phone := p.terminal("phone")
		phone.Rights = []string{"order"}
		p.f.bind(t, phone)
		p.f.hears(t, p.answer(t, phone.Identity.Subject, "approve"), http.StatusForbidden, []string{"terminal_right_missing"}, nil)
	}},
	{"the delegate has given the grant up", func(t *testing.T, p *partialPay) {
		p.approved(t).f.do(t, "ben", http.MethodPost, grantPath(p.grant, "end"), nil, nil)
		p.wantRefused(t, "payment_not_authorised", "grant_ended")
	}},
}

func TestPartialDelegation(t *testing.T) {
	var accounts []authzstore.Account
	for i := range len(partialStories) + 1 {
		accounts = append(accounts, authzstore.Account{ID: partialAccount(i), Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100_000})
	}
	bens := terminalOf(partialAccount(len(partialStories)), "ben", "+49 3", "approve")
	f := newFamily(t, nil, accounts, bens)
	for i, c := range partialStories {
		t.Run(c.name, func(t *testing.T) { c.story(t, newPartial(t, f, partialAccount(i))) })
	}
}

// approvedAndPaid: both terminals that may approve are shown what, for whom and until
// when; the first answer counts, and the merchant's repeat pays once.
func approvedAndPaid(t *testing.T, p *partialPay) {
	before := len(p.f.messages.of(t, ""))
	p.wantAsked(t)
	for _, name := range []string{"phone", "tablet"} {
		m := p.f.about(t, p.terminal(name).ID, p.asked)
		if m.Kind != "approval_request" || m.AmountMinor != 1000 || m.Currency != "EUR" || m.Payee != "mer_bakery" || m.Requester.Subject != "bakery" || m.Details["delegate"] != "ben" || m.Code != "" {
			t.Errorf("the %s got %+v", name, m)
		}
		if want := p.f.clock.wall().Add(300 * sec).UnixNano(); m.ExpiresAtNanos != want {
			t.Errorf("the %s is asked until %d, want %d", name, m.ExpiresAtNanos, want)
		}
	}
	first := p.asked
	if p.wantAsked(t); p.asked != first || len(p.f.messages.of(t, "")) != before+2 {
		t.Errorf("asked again, or %d messages", len(p.f.messages.of(t, ""))-before)
	}
	p.wantAnswered(t, "tablet", "approve")
	late := p.answer(t, p.terminal("phone").Identity.Subject, "approve")
	p.f.hears(t, late, http.StatusForbidden, []string{"challenge_satisfied"}, nil)
	p.f.clock.move(4 * step) // the code has aged
	p.wantPaid(t)
	again := p.pay(t)
	if again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Replayed") != "true" {
		t.Errorf("again: status %d, %s", again.StatusCode, again.body)
	}
	p.next(t).key += "-next" // another payment is approved anew
	p.wantAskedAnew(t)
}

// approvedByOthers: the delegate, his terminal, the merchant, the owner without a
// terminal of hers, and a terminal without the right.
func approvedByOthers(t *testing.T, p *partialPay) {
	p.wantAsked(t)
	for _, who := range []struct{ subject, reason string }{
		{"ben-himself", "terminal_unknown"}, {"ben", "challenge_unknown"}, {"bakery", "terminal_unknown"}, {"anna", "terminal_unknown"},
		{p.terminal("watch").Identity.Subject, "challenge_unknown"},
	} {
		for _, what := range []string{"approve", "reject"} {
			p.f.hears(t, p.answer(t, who.subject, what), http.StatusForbidden, []string{who.reason}, nil)
		}
	}
	p.f.deposit(t, p.terminal("phone").Identity.Subject, terminalEntries, p.asked, "000000") // it asks for no code
	p.wantAsked(t)
	p.wantAnswered(t, "phone", "approve")
	p.wantPaid(t)
}

// rejectedInARow pauses the merchant for a day, and no other.
func rejectedInARow(t *testing.T, p *partialPay) {
	key := p.key
	var last time.Time
	for i := range 3 {
		p.next(t).key = fmt.Sprintf("%s-%d", key, i)
		p.wantAsked(t)
		p.wantAnswered(t, "phone", "reject")
		last = p.f.clock.wall()
	}
	p.next(t).key = key + "-paused"
	p.wantRefused(t, "initiator_paused", "")
	other := *p.next(t)
	other.by = till{"casino", "mer_casino"}
	other.approved(t).wantPaid(t)
	p.f.clock.move(last.Add(24*time.Hour - step - 1).Sub(p.f.clock.wall()))
	p.next(t).key = key + "-still"
	p.wantRefused(t, "initiator_paused", "")
	p.f.clock.move(1)
	p.code = p.f.code(t, p.ben, 0)
	p.next(t).key = key + "-after"
	p.approved(t).wantPaid(t)
}

// approvalSince: the approval does not count once the terminal that gave it is not what
// it was.
func approvalSince(bend func(authzstore.Terminal) authzstore.Terminal, again bool) func(*testing.T, *partialPay) {
	return func(t *testing.T, p *partialPay) {
		p.approved(t).f.clock.move(1)
		p.f.bind(t, bend(p.terminal("phone")))
		if again {
			p.f.bind(t, p.terminal("phone"))
		}
		p.wantAskedAnew(t)
		p.wantAnswered(t, "tablet", "approve")
		p.wantPaid(t)
	}
}
