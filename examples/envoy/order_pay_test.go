package envoy

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// The instruction to pay an order: in time, from the terminal that was asked, once.
var payStories = []struct {
	name  string
	story func(*testing.T, *order)
}{
	{"exactly the interval after the request", func(t *testing.T, o *order) {
		o.ordered(t).f.clock.move(600 * sec)
		o.wantPaid(t, o.pay(t))
	}},
	{"a nanosecond after the interval", func(t *testing.T, o *order) {
		o.ordered(t).f.clock.move(600*sec + 1)
		o.wantRefused(t, o.pay(t), "instruction_too_late", "")
		o.wantMessages(t, "code", "deduction_request", "payment_failed")
		o.wantRefused(t, o.pay(t), "order_failed", "") // dead
		o.wantMessages(t, "code", "deduction_request", "payment_failed")
		if seen := o.shown(t, o.agent, agentOrders); seen.State != "failed" {
			t.Errorf("the agent sees an order that is %s", seen.State)
		}
		if again := o.place(t); again.Header.Get("Countersign-Intent-Id") != o.id {
			t.Errorf("the order came to life again: %s", again.body)
		}
	}},
	{"at once", func(t *testing.T, o *order) { o.wantPaid(t, o.ordered(t).pay(t)) }},
	{"from anybody else", func(t *testing.T, o *order) {
		o.ordered(t)
		for _, from := range []struct{ subject, reason string }{
			{o.subject("tablet"), "intent_unknown"}, {o.subject("watch"), "intent_unknown"},
			{orderTerminal(orderAccount(0), "phone").Identity.Subject, "intent_unknown"},
			{o.agent, "terminal_unknown"}, {"anna", "terminal_unknown"},
		} {
			o.wantRefused(t, o.payFrom(t, from.subject), from.reason, "")
			decline := o.f.call(t, from.subject, http.MethodPost, terminalOrders+o.id+"/decline", nil)
			o.wantRefused(t, decline, from.reason, "")
			o.wantRefused(t, o.f.call(t, from.subject, http.MethodGet, terminalOrders+o.id, nil), from.reason, "")
		}
		o.wantRefused(t, o.f.call(t, "another-desk", http.MethodGet, agentOrders+o.id, nil), "intent_unknown", "")
		o.wantPaid(t, o.pay(t))
	}},
	{"paid already", func(t *testing.T, o *order) {
		o.wantPaid(t, o.ordered(t).pay(t))
		o.wantRefused(t, o.pay(t), "order_paid", "")
		decline := o.f.call(t, o.subject("phone"), http.MethodPost, terminalOrders+o.id+"/decline", nil)
		o.wantRefused(t, decline, "order_paid", "")
		o.wantMessages(t, "code", "deduction_request", "payment_succeeded", "deduction_notice")
	}},
	{"declined", func(t *testing.T, o *order) {
		o.ordered(t)
		o.f.do(t, o.subject("phone"), http.MethodPost, terminalOrders+o.id+"/decline", nil, nil)
		o.wantRefused(t, o.pay(t), "order_declined", "")
	}},
	{"no such order", func(t *testing.T, o *order) {
		o.ordered(t).id = "int_nobodys"
		o.wantRefused(t, o.pay(t), "intent_unknown", "")
	}},
	{"the terminal frozen since", func(t *testing.T, o *order) {
		o.ordered(t).f.bind(t, withState(o.terminal("phone"), authzstore.TerminalFrozen))
		o.wantRefused(t, o.pay(t), "terminal_unknown", "")
		o.f.bind(t, o.terminal("phone"))
		o.wantPaid(t, o.pay(t))
	}},
	{"the terminal unbound since", func(t *testing.T, o *order) {
		o.ordered(t).f.bind(t, withState(o.terminal("phone"), authzstore.TerminalUnbound))
		o.wantRefused(t, o.pay(t), "terminal_unknown", "")
	}},
	{"the terminal bound anew since", func(t *testing.T, o *order) {
		o.ordered(t).f.clock.move(1)
		o.f.bind(t, withState(o.terminal("phone"), authzstore.TerminalUnbound))
		o.f.bind(t, o.terminal("phone"))
		o.wantRefused(t, o.pay(t), "intent_unknown", "")
	}},
	{"the right to order lost since", func(t *testing.T, o *order) {
		phone := o.ordered(t).terminal("phone")
		phone.Rights = []string{"approve"}
		o.f.bind(t, phone)
		o.wantRefused(t, o.pay(t), "terminal_right_missing", "")
	}},
	{"the account frozen since, and unfrozen", func(t *testing.T, o *order) {
		o.ordered(t).f.backend(t, http.MethodPost, "/v1/accounts/"+o.account+"/freeze", nil, nil)
		o.wantRefused(t, o.pay(t), "account_frozen", "")
		o.f.backend(t, http.MethodPost, "/v1/accounts/"+o.account+"/unfreeze", nil, nil)
		o.wantPaid(t, o.pay(t))
	}},
	{"exactly the maximum for one payment", func(t *testing.T, o *order) {
		o.wantPaid(t, o.with("amount_minor", int64(5000)).ordered(t).pay(t))
	}},
	{"one minor unit more", func(t *testing.T, o *order) {
		o.with("amount_minor", int64(5001)).ordered(t)
		o.wantRefused(t, o.pay(t), "amount_over_payment_maximum payment 5000 left", "")
		o.wantMessages(t, "code", "deduction_request")
	}},
}

func TestOrderPayments(t *testing.T) {
	f := newOrders(t, nil, len(payStories)+1)
	newOrder(t, f, orderAccount(0)) // whose terminals are not those of any other
	for i, c := range payStories {
		t.Run(c.name, func(t *testing.T) { c.story(t, newOrder(t, f, orderAccount(i+1))) })
	}
}

// strictStories are orders under rules of which each is switched: the terminal itself
// orders, because no agent may.
var strictStories = []struct {
	name  string
	story func(*testing.T, *order)
}{
	{"an agent that is none here", func(t *testing.T, o *order) {
		o.agent = "desk"
		o.wantRefused(t, o.place(t), "agent_not_eligible", "")
		o.wantMessages(t)
	}},
	{"without a proof", func(t *testing.T, o *order) {
		o.orderedBySelf(t)
		o.wantRefused(t, o.pay(t), "proof_required", "")
		o.wantRefused(t, o.pay(t, "pwd", "sms"), "proof_required", "")
		o.wantRefused(t, o.payFrom(t, o.subject("tablet"), "mfa"), "intent_unknown", "")
		o.wantPaid(t, o.pay(t, "pwd", "face"))
	}},
	{"after the interval, which is not checked", func(t *testing.T, o *order) {
		o.orderedBySelf(t).f.clock.move(600*sec + 1)
		o.wantPaid(t, o.pay(t, "pin"))
	}},
	{"at the order's last instant", func(t *testing.T, o *order) {
		o.orderedBySelf(t).f.clock.move(time.Hour)
		o.wantPaid(t, o.pay(t, "pin"))
	}},
	{"a nanosecond after it", func(t *testing.T, o *order) {
		o.orderedBySelf(t).f.clock.move(time.Hour + 1)
		o.wantRefused(t, o.pay(t, "pin"), "intent_expired", "")
		o.wantMessages(t, "code", "deduction_request", "payment_failed")
		o.wantRefused(t, o.pay(t, "pin"), "order_failed", "")
	}},
	{"from a terminal that is bound just long enough", func(t *testing.T, o *order) {
		o.bindLate(t, time.Minute)
		o.wantCode(t, o.placeFrom(t, "phone"), "phone")
	}},
	{"from a terminal that is bound for a nanosecond too little", func(t *testing.T, o *order) {
		o.bindLate(t, time.Minute-1)
		o.wantRefused(t, o.placeFrom(t, "phone"), "order_terminal_missing", "")
		store := o.f.call(t, o.subject("phone"), http.MethodPost, "/countersign/v1/stored_codes", map[string]any{})
		o.wantRefused(t, store, "terminal_too_new", "")
		o.wantMessages(t)
	}},
}

// orderedBySelf is an order of the phone, confirmed on it.
func (o *order) orderedBySelf(t *testing.T) *order {
	t.Helper()
	o.enter(t, "phone", o.wantCode(t, o.placeFrom(t, "phone"), "phone"))
	o.wantOrdered(t, o.placeFrom(t, "phone"))
	return o
}

// bindLate binds the phone anew, and lets so much time pass.
func (o *order) bindLate(t *testing.T, d time.Duration) {
	t.Helper()
	o.f.bind(t, withState(o.terminal("phone"), authzstore.TerminalUnbound))
	o.f.bind(t, o.terminal("phone"))
	o.f.clock.move(d)
}

func TestStrictOrders(t *testing.T) {
	f := newOrders(t, strictOrders(t), len(strictStories))
	for i, c := range strictStories {
		t.Run(c.name, func(t *testing.T) {
			o := newOrder(t, f, orderAccount(i))
			o.agent = o.subject("phone")
			c.story(t, o)
		})
	}
}

// storedStories are orders with a code that was agreed in advance.
var storedStories = []struct {
	name  string
	story func(*testing.T, *order)
}{
	{"a full run", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil))
		o.wantOrdered(t, o.place(t))
		o.wantPaid(t, o.pay(t))
		o.wantKinds(t, "stored_code", "deduction_request", "payment_succeeded", "deduction_notice")
	}},
	{"a used code", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil))
		o.wantOrdered(t, o.place(t))
		o.key += "-again"
		o.wantStoredRefused(t, "stored_code_invalid")
		o.wantKinds(t, "stored_code", "deduction_request", "authorisation_failed")
	}},
	{"a wrong code", func(t *testing.T, o *order) {
		o.with("stored_code", wrongDigit(o.store(t, nil)))
		o.wantStoredRefused(t, "stored_code_invalid")
		o.wantKinds(t, "stored_code", "authorisation_failed")
	}},
	{"no code was agreed on", func(t *testing.T, o *order) {
		o.with("stored_code", "12345678")
		o.wantStoredRefused(t, "stored_code_invalid")
	}},
	{"the code of another account", func(t *testing.T, o *order) {
		other := newOrder(t, o.f, orderAccount(0))
		o.with("stored_code", other.store(t, nil))
		o.wantStoredRefused(t, "stored_code_invalid")
	}},
	{"the code of another terminal than is named", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil)).with("terminal", o.terminal("tablet").ID)
		o.wantStoredRefused(t, "stored_code_invalid")
	}},
	{"the code before the last", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil))
		o.f.clock.move(1)
		next := o.store(t, nil)
		o.wantStoredRefused(t, "stored_code_invalid")
		o.key += "-again"
		o.with("stored_code", next)
		o.wantOrdered(t, o.place(t))
	}},
	{"exactly the maximum", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, map[string]any{"max_amount_minor": 1250, "currency": "EUR"}))
		o.wantOrdered(t, o.place(t))
	}},
	{"one minor unit over the maximum", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, map[string]any{"max_amount_minor": 1249, "currency": "EUR"}))
		o.wantStoredRefused(t, "stored_code_over_maximum stored_code 1249 left")
		o.wantKinds(t, "stored_code", "authorisation_failed")
		o.key += "-again" // an order uses the code up, and there was none
		o.with("amount_minor", int64(1249))
		o.wantOrdered(t, o.place(t))
	}},
	{"a maximum in another currency than the order's", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, map[string]any{"max_amount_minor": 5000, "currency": "EUR"})).with("currency", "USD")
		resp := o.place(t)
		o.f.hears(t, resp, http.StatusForbidden, []string{"account_unknown", "stored_code_invalid"},
			[]string{"currency_not_account", "stored_code_over_maximum stored_code 5000 left"})
	}},
	{"at its last instant", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil)).f.clock.move(7 * 24 * time.Hour)
		o.wantOrdered(t, o.place(t))
	}},
	{"a nanosecond after it", func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil)).f.clock.move(7*24*time.Hour + 1)
		o.wantStoredRefused(t, "stored_code_invalid")
	}},
	{"its terminal frozen since", storedSince(authzstore.TerminalFrozen, false)},
	{"its terminal unbound since", storedSince(authzstore.TerminalUnbound, false)},
	{"its terminal bound anew since", storedSince(authzstore.TerminalUnbound, true)},
	{"who may not agree on one", func(t *testing.T, o *order) {
		const path = "/countersign/v1/stored_codes"
		try := func(subject string, body any) response { return o.f.call(t, subject, http.MethodPost, path, body) }
		o.wantRefused(t, try(o.subject("watch"), map[string]any{}), "terminal_right_missing", "")
		o.wantRefused(t, try(o.agent, map[string]any{}), "terminal_unknown", "")
		o.wantRefused(t, try("anna", map[string]any{}), "terminal_unknown", "")
		o.wantRefused(t, try(o.subject("phone"), map[string]any{"max_amount_minor": 5}), "stored_code_maximum_invalid", "")
		o.wantRefused(t, try(o.subject("phone"), map[string]any{"max_amount_minor": 5, "currency": "USD"}), "stored_code_maximum_invalid", "")
		o.f.backend(t, http.MethodPost, "/v1/accounts/"+o.account+"/freeze", nil, nil)
		o.wantRefused(t, try(o.subject("phone"), map[string]any{}), "account_frozen", "")
		o.wantKinds(t)
	}},
	{"guessed more often than an agent may", func(t *testing.T, o *order) {
		code := o.store(t, nil)
		guess := func(code string) {
			t.Helper()
			o.key += "x"
			o.with("stored_code", code)
			o.wantStoredRefused(t, "stored_code_invalid")
		}
		for range 5 {
			guess(wrongDigit(code))
		}
		guess(code)
		o.agent, o.key = "another-desk", "order-by-another" // whom it costs nothing
		o.wantOrdered(t, o.place(t))
	}},
}

func TestStoredCodeOrders(t *testing.T) {
	f := newOrders(t, nil, len(storedStories)+1)
	for i, c := range storedStories {
		t.Run(c.name, func(t *testing.T) { c.story(t, newOrder(t, f, orderAccount(i+1))) })
	}
}

// store has the phone agree on a code, and returns it.
func (o *order) store(t *testing.T, terms map[string]any) string {
	t.Helper()
	if terms == nil {
		terms = map[string]any{}
	}
	before := len(o.f.messages.of(t, o.terminal("phone").ID))
	o.f.do(t, o.subject("phone"), http.MethodPost, "/countersign/v1/stored_codes", terms, nil)
	m := o.f.messages.to(t, o.terminal("phone").ID, before+1)[before]
	if m.Kind != "stored_code" || len(m.Code) != 8 || m.Requester.Subject != o.subject("phone") {
		t.Errorf("message %d, %s, with a code of %d digits, asked by %v", m.Number, m.Kind, len(m.Code), m.Requester)
	}
	return m.Code
}

// wantStoredRefused fails unless the agent hears that the code is not valid, whatever
// the record has, and no code is sent in its place.
func (o *order) wantStoredRefused(t *testing.T, record string) {
	t.Helper()
	resp := o.place(t)
	o.wantRefused(t, resp, "stored_code_invalid", record)
	if challengeOf(resp) != "" {
		t.Error("a challenge was issued")
	}
}

// wantKinds fails unless the phone has got messages of these kinds, in this order.
func (o *order) wantKinds(t *testing.T, want ...string) {
	t.Helper()
	got := kinds(o.f.messages.to(t, o.terminal("phone").ID, len(want)))
	if !slices.Equal(got, want) {
		t.Errorf("the phone got %q, want %q", got, want)
	}
}

// storedSince: a code does not count once its terminal is not what it was.
func storedSince(state authzstore.TerminalState, again bool) func(*testing.T, *order) {
	return func(t *testing.T, o *order) {
		o.with("stored_code", o.store(t, nil)).f.clock.move(1)
		o.f.bind(t, withState(o.terminal("phone"), state))
		if again {
			o.f.bind(t, o.terminal("phone"))
		}
		o.wantStoredRefused(t, "stored_code_invalid")
	}
}
