package envoy

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// A full run sends four messages to the terminal, in this order, and none to the agent;
// before the code came back nothing has reached a service, and it is paid once.
func TestAgentOrderMessages(t *testing.T) {
	f := newOrders(t, nil, 1)
	o := newOrder(t, f, orderAccount(0))
	code := o.wantCode(t, o.place(t), "phone")
	o.wantMessages(t, "code")
	o.enter(t, "phone", code)
	if !o.reached(0) {
		t.Fatal("something reached a service before the code was entered")
	}
	f.clock.move(time.Second)
	o.wantOrdered(t, o.place(t))
	requested := f.clock.wall()
	o.wantMessages(t, "code", "deduction_request")
	if again := o.place(t); again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Replayed") != "true" || again.Header.Get("Countersign-Intent-Id") != o.id {
		t.Errorf("ordered again: status %d, %s", again.StatusCode, again.body)
	}
	o.reached(1)
	f.clock.move(time.Second)
	pay := func() response {
		return f.keyed(t, "instruction", o.subject("phone"), http.MethodPost, "/v1/orders/"+o.id+"/payments", nil)
	}
	o.wantPaid(t, pay())
	o.wantMessages(t, "code", "deduction_request", "payment_succeeded", "deduction_notice")
	if again := pay(); again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Replayed") != "true" {
		t.Errorf("paid again: status %d, %s", again.StatusCode, again.body)
	}
	o.wantMessages(t, "code", "deduction_request", "payment_succeeded", "deduction_notice")
	for subject, route := range map[string]string{o.subject("phone"): terminalOrders, o.agent: agentOrders} {
		seen := o.shown(t, subject, route)
		if seen.State != "paid" {
			t.Errorf("%s sees an order that is %s", subject, seen.State)
		}
		if route == terminalOrders && (len(seen.Steps) != 2 || seen.Steps[0].AtNanos != requested.UnixNano() || seen.Steps[1].AtNanos != f.clock.wall().UnixNano()) {
			t.Errorf("requested at %v, paid at %v: %v", requested, f.clock.wall(), seen.Steps)
		}
	}
}

// orderStories are orders, each with an account of its own, and what becomes of them.
var orderStories = []struct {
	name  string
	story func(*testing.T, *order)
}{
	{"a wrong code, then the right one", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		o.enter(t, "phone", wrongDigit(code))
		o.wantCode(t, o.place(t), "phone")
		o.enter(t, "phone", wrongDigit(code))
		o.enter(t, "phone", code)
		o.wantOrdered(t, o.place(t))
	}},
	{"a wrong code too often", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		for range 3 {
			o.enter(t, "phone", wrongDigit(code))
		}
		o.enter(t, "phone", code)
		o.wantRefused(t, o.place(t), "challenge_locked", "")
		o.wantMessages(t, "code", "challenge_locked", "authorisation_failed")
		o.wantRefused(t, o.place(t), "challenge_locked", "")
		o.wantMessages(t, "code", "challenge_locked", "authorisation_failed")
	}},
	{"a code at its last instant", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		o.f.clock.move(300 * sec)
		o.enter(t, "phone", code)
		o.wantOrdered(t, o.place(t))
	}},
	{"a code a nanosecond too late", func(t *testing.T, o *order) {
		code, first := o.wantCode(t, o.place(t), "phone"), o.asked
		o.f.clock.move(300*sec + 1)
		o.enter(t, "phone", code)
		if o.wantCode(t, o.place(t), "phone"); o.asked == first {
			t.Error("the challenge that is over still waits")
		}
		o.wantMessages(t, "code", "code")
	}},
	{"a used code", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		o.enter(t, "phone", code)
		o.wantOrdered(t, o.place(t))
		o.key += "-again"
		o.wantCode(t, o.place(t), "phone")
		o.enter(t, "phone", code)
		o.wantCode(t, o.place(t), "phone")
	}},
	{"the right code from somebody else", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		for _, sender := range []struct{ subject, route string }{
			{o.agent, terminalEntries}, {o.agent, userEntries},
			{o.subject("tablet"), terminalEntries}, {o.subject("watch"), terminalEntries},
			{o.subject("phone"), userEntries}, {"anna", userEntries},
		} {
			o.f.deposit(t, sender.subject, sender.route, o.asked, code)
			o.wantCode(t, o.place(t), "phone")
			o.reached(0)
		}
		o.enter(t, "phone", code)
		o.wantOrdered(t, o.place(t))
	}},
	{"the code of another order", func(t *testing.T, o *order) {
		code := o.wantCode(t, o.place(t), "phone")
		o.with("amount_minor", int64(1251)).key += "-other"
		o.wantCode(t, o.place(t), "phone")
		o.enter(t, "phone", code)
		o.wantCode(t, o.place(t), "phone")
	}},
	{"another amount under the key", changedOrder("amount_minor", int64(1251))},
	{"another payee under the key", changedOrder("payee", "mer_casino")},
	{"another account under the key", changedOrder("account", orderAccount(0))},
	{"a code for another agent's order", func(t *testing.T, o *order) {
		o.enter(t, "phone", o.wantCode(t, o.place(t), "phone"))
		o.agent = "another-desk"
		o.wantCode(t, o.place(t), "phone")
	}},
	{"the terminal that is named", func(t *testing.T, o *order) {
		o.with("terminal", o.terminal("tablet").ID)
		code := o.wantCode(t, o.place(t), "tablet")
		o.enter(t, "phone", code)
		o.wantCode(t, o.place(t), "tablet")
		o.enter(t, "tablet", code)
		o.wantOrdered(t, o.place(t))
		o.wantRefused(t, o.pay(t), "intent_unknown", "")
		o.wantPaid(t, o.payFrom(t, o.subject("tablet")))
	}},
	{"a terminal without the right is named", missing(func(o *order) string { return o.terminal("watch").ID })},
	{"a terminal of another account is named", missing(func(*order) string { return orderTerminal(orderAccount(0), "phone").ID })},
	{"no such terminal is named", missing(func(*order) string { return "trm_nobodys" })},
	{"a frozen terminal is named", func(t *testing.T, o *order) {
		o.f.bind(t, withState(o.terminal("phone"), authzstore.TerminalFrozen))
		missing(func(o *order) string { return o.terminal("phone").ID })(t, o)
	}},
	{"an unbound terminal is named", func(t *testing.T, o *order) {
		o.f.bind(t, withState(o.terminal("phone"), authzstore.TerminalUnbound))
		missing(func(o *order) string { return o.terminal("phone").ID })(t, o)
	}},
	{"no terminal with the right", func(t *testing.T, o *order) {
		for _, name := range []string{"phone", "tablet"} {
			trm := o.terminal(name)
			trm.Rights = []string{"approve"}
			o.f.bind(t, trm)
		}
		o.wantRefused(t, o.place(t), "account_unknown", "order_terminal_missing")
		o.wantMessages(t)
	}},
	{"the terminal frozen since", orderSince(authzstore.TerminalFrozen, false)},
	{"the terminal unbound since", orderSince(authzstore.TerminalUnbound, false)},
	{"the terminal bound anew since", orderSince(authzstore.TerminalUnbound, true)},
	{"no such account", func(t *testing.T, o *order) {
		o.wantRefused(t, o.with("account", "acc_nobodys").place(t), "account_unknown", "")
	}},
	{"a frozen account", func(t *testing.T, o *order) {
		o.f.backend(t, http.MethodPost, "/v1/accounts/"+o.account+"/freeze", nil, nil)
		o.wantRefused(t, o.place(t), "account_unknown", "account_frozen")
		o.wantMessages(t)
	}},
	{"another currency", func(t *testing.T, o *order) {
		o.wantRefused(t, o.with("currency", "USD").place(t), "account_unknown", "currency_not_account")
	}},
	{"ordered by the terminal itself", func(t *testing.T, o *order) {
		o.agent = o.subject("tablet")
		code := o.wantCode(t, o.placeFrom(t, "tablet"), "tablet")
		o.enter(t, "phone", code)
		o.wantCode(t, o.placeFrom(t, "tablet"), "tablet")
		o.enter(t, "tablet", code)
		o.wantOrdered(t, o.placeFrom(t, "tablet"))
		o.wantPaid(t, o.payFrom(t, o.subject("tablet")))
	}},
	{"ordered by a terminal without the right", func(t *testing.T, o *order) {
		o.wantRefused(t, o.placeFrom(t, "watch"), "order_terminal_missing", "")
	}},
	{"ordered by a frozen terminal", func(t *testing.T, o *order) {
		o.f.bind(t, withState(o.terminal("phone"), authzstore.TerminalFrozen))
		o.wantRefused(t, o.placeFrom(t, "phone"), "terminal_unknown", "")
	}},
	{"ordered by the agent as a terminal", func(t *testing.T, o *order) {
		body := o.body
		delete(body, "account")
		o.wantRefused(t, o.f.keyed(t, o.key, o.agent, http.MethodPost, "/v1/orders", body), "terminal_unknown", "")
	}},
	{"rejected on the terminal", rejectedOrders},
	{"asked as often as it may be", func(t *testing.T, o *order) {
		key, first := o.key, o.f.clock.wall()
		for _, n := range []string{"1", "2", "3", "4", "5"} {
			o.key = key + n
			o.wantCode(t, o.place(t), "phone")
		}
		o.f.clock.move(first.Add(time.Hour - 1).Sub(o.f.clock.wall()))
		o.key = key + "6"
		o.wantRefused(t, o.place(t), "challenges_over_limit max_starts 0 payments left", "")
		o.f.clock.move(1)
		o.key = key + "7"
		o.ordered(t)
	}},
}

func TestAgentOrders(t *testing.T) {
	f := newOrders(t, nil, len(orderStories)+1)
	newOrder(t, f, orderAccount(0)) // whose terminals are not those of any other
	for i, c := range orderStories {
		t.Run(c.name, func(t *testing.T) { c.story(t, newOrder(t, f, orderAccount(i+1))) })
	}
}

// changedOrder: what the user confirmed is this order and no other.
func changedOrder(name string, value any) func(*testing.T, *order) {
	return func(t *testing.T, o *order) {
		o.enter(t, "phone", o.wantCode(t, o.place(t), "phone"))
		before := o.body
		resp := o.with(name, value).place(t)
		if got := publicOf(t, resp); resp.StatusCode != http.StatusUnprocessableEntity || got[0] != "key_other_call" || !o.reached(0) {
			t.Errorf("status %d, %q", resp.StatusCode, got)
		}
		o.body = before
		o.wantOrdered(t, o.place(t))
	}
}

// missing: the terminal that is named may not order. The agent learns nothing of it.
func missing(terminal func(*order) string) func(*testing.T, *order) {
	return func(t *testing.T, o *order) {
		o.with("terminal", terminal(o))
		o.wantRefused(t, o.place(t), "account_unknown", "order_terminal_missing")
		o.wantMessages(t)
	}
}

// orderSince: the code does not count once its terminal is not what it was.
func orderSince(state authzstore.TerminalState, again bool) func(*testing.T, *order) {
	return func(t *testing.T, o *order) {
		o.enter(t, "phone", o.wantCode(t, o.place(t), "phone"))
		o.f.clock.move(1)
		o.f.bind(t, withState(o.terminal("phone"), state))
		first, next := o.asked, "tablet"
		if again {
			o.f.bind(t, o.terminal("phone")) // now the last that was bound
		}
		if o.wantCode(t, o.place(t), next); o.asked == first || !o.reached(0) {
			t.Error("what was confirmed on the terminal counts")
		}
	}
}

// rejectedOrders: the user says no while the code waits; after three in a row the agent
// cannot have them asked for a day.
func rejectedOrders(t *testing.T, o *order) {
	key, reject := o.key, func(subject string) response {
		return o.f.call(t, subject, http.MethodPost, terminalEntries+o.asked+"/reject", nil)
	}
	for _, n := range []string{"1", "2", "3"} {
		o.key = key + n
		code := o.wantCode(t, o.place(t), "phone")
		o.wantRefused(t, reject(o.subject("tablet")), "challenge_unknown", "")
		o.wantRefused(t, reject(o.agent), "terminal_unknown", "")
		if resp := reject(o.subject("phone")); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
		}
		o.enter(t, "phone", code)
		o.wantRefused(t, o.place(t), "approval_rejected", "")
	}
	o.f.clock.move(24*time.Hour - 1)
	o.key = key + "4"
	o.wantRefused(t, o.place(t), "initiator_paused", "")
	o.f.clock.move(1)
	o.key = key + "5"
	o.ordered(t)
}
