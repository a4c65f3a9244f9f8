package envoy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/outbox"
)

// strictOrders are rules by which the interval is not checked, but the user must have
// proven who they are, a terminal must have been bound for a minute, and agents are
// those of another issuer.
func strictOrders(t *testing.T) fs.FS {
	t.Helper()
	return tunedBundle(t, []string{"terminal", "agent_order"},
		tuning{"agent_order", "cooling_seconds: 0\n", "cooling_seconds: 60\n"},
		tuning{"agent_order", "interval: {checked: true,", "interval: {checked: false,"},
		tuning{"agent_order", "proof: {required: false,", "proof: {required: true,"},
		tuning{"agent_order", `{kind: agent, issuer: "https://id.example"}`, `{kind: agent, issuer: "https://desks.example"}`},
		tuning{"terminal", "cooling_seconds: 0}", "cooling_seconds: 60}"},
	)
}

// An order is one that an agent makes for Anna, whose account has a phone and a tablet
// that may order, and a watch that may not.
type order struct {
	f       *family
	account string
	agent   string
	key     string
	body    map[string]any
	sent    int // messages before
	passed  int // calls that had reached the services before

	asked, id string
}

func orderAccount(i int) string { return fmt.Sprintf("acc_order%d", i) }

// orderTerminal is a terminal of an account; the phone is the first that was bound.
func orderTerminal(account, name string) authzstore.Terminal {
	number := map[string]string{"phone": "+49 1", "tablet": "+49 2", "watch": "+49 3"}[name]
	trm := terminalOf(account, strings.TrimPrefix(account, "acc_")+"-"+name, number, "order")
	if name == "watch" {
		trm.Rights = nil
	}
	return trm
}

// newOrders starts a family with so many accounts for orders.
func newOrders(t *testing.T, rules fs.FS, count int) *family {
	t.Helper()
	var accounts []authzstore.Account
	for i := range count {
		accounts = append(accounts, authzstore.Account{ID: orderAccount(i), Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 5000})
	}
	return newFamily(t, rules, accounts)
}

// newOrder binds the terminals of an account, and says what will be ordered.
func newOrder(t *testing.T, f *family, account string) *order {
	t.Helper()
	for _, name := range []string{"phone", "tablet", "watch"} {
		f.clock.move(time.Second)
		f.bind(t, orderTerminal(account, name))
	}
	f.clock.move(time.Minute)
	return &order{
		f: f, account: account, agent: "desk-" + account, key: "order-" + account, sent: len(f.messages.of(t, "")), passed: len(paid()),
		body: map[string]any{"account": account, "payee": "mer_bakery", "amount_minor": int64(1250), "currency": "EUR", "reference": "cake-7"},
	}
}

func (o *order) terminal(name string) authzstore.Terminal { return orderTerminal(o.account, name) }

func (o *order) subject(name string) string { return o.terminal(name).Identity.Subject }

// with adds to what is ordered.
func (o *order) with(name string, value any) *order {
	o.body = maps.Clone(o.body)
	o.body[name] = value
	return o
}

// place has the agent order, again under its key.
func (o *order) place(t *testing.T) response {
	t.Helper()
	return o.f.keyed(t, o.key, o.agent, http.MethodPost, "/v1/agent/orders", o.body)
}

// placeFrom has a terminal order by itself.
func (o *order) placeFrom(t *testing.T, name string) response {
	t.Helper()
	body := maps.Clone(o.body)
	delete(body, "account")
	return o.f.keyed(t, o.key, o.subject(name), http.MethodPost, "/v1/orders", body)
}

// wantCode fails unless a code is wanted, and returns the one that went to a terminal.
func (o *order) wantCode(t *testing.T, resp response, name string) string {
	t.Helper()
	o.f.hears(t, resp, http.StatusUnauthorized, []string{"verification_required"}, nil)
	if o.asked = challengeOf(resp); o.asked == "" {
		t.Fatal("no challenge")
	}
	return o.f.about(t, o.terminal(name).ID, o.asked).Code
}

// enter has a terminal enter a code.
func (o *order) enter(t *testing.T, name, code string) {
	t.Helper()
	o.f.deposit(t, o.subject(name), terminalEntries, o.asked, code)
}

// wantOrdered fails unless the order went through.
func (o *order) wantOrdered(t *testing.T, resp response) {
	t.Helper()
	if o.id = resp.Header.Get("Countersign-Intent-Id"); resp.StatusCode != http.StatusOK || o.id == "" || !o.reached(1) {
		t.Fatalf("status %d, %s; want it ordered", resp.StatusCode, resp.body)
	}
}

// reached tells whether so many calls more have reached the services.
func (o *order) reached(more int) bool {
	ok := len(paid()) == o.passed+more
	o.passed = len(paid())
	return ok
}

// ordered is an order that has gone through, confirmed on the phone.
func (o *order) ordered(t *testing.T) *order {
	t.Helper()
	o.enter(t, "phone", o.wantCode(t, o.place(t), "phone"))
	o.wantOrdered(t, o.place(t))
	return o
}

// payFrom has somebody instruct the payment of the order, by methods of login.
func (o *order) payFrom(t *testing.T, subject string, methods ...string) response {
	t.Helper()
	o.f.calls++
	return o.f.proven(t, methods, fmt.Sprintf("instruction-%d", o.f.calls), subject, http.MethodPost, "/v1/orders/"+o.id+"/payments", nil)
}

func (o *order) pay(t *testing.T, methods ...string) response {
	t.Helper()
	return o.payFrom(t, o.subject("phone"), methods...)
}

func (o *order) wantPaid(t *testing.T, resp response) {
	t.Helper()
	if resp.StatusCode != http.StatusOK || !o.reached(1) {
		t.Errorf("status %d, %s; want it paid", resp.StatusCode, resp.body)
	}
}

// wantRefused fails unless the caller heard a reason, the record has one ("" for the
// same), and nothing reached the services.
func (o *order) wantRefused(t *testing.T, resp response, public, record string) {
	t.Helper()
	if record == "" {
		record = public
	}
	o.f.hears(t, resp, http.StatusForbidden, []string{public}, []string{record})
	if !o.reached(0) {
		t.Error("it reached the service")
	}
}

// wantMessages fails unless the phone has got messages of these kinds, in this order, and
// nobody else has got any.
func (o *order) wantMessages(t *testing.T, want ...string) {
	t.Helper()
	phone := o.terminal("phone").ID
	for _, m := range o.f.messages.to(t, phone, len(want)) {
		if m.AmountMinor != o.body["amount_minor"] || m.Currency != "EUR" || m.Payee != "mer_bakery" || m.Requester.Subject != o.agent {
			t.Errorf("message %d, %s, is about %d %s for %s, asked by %v", m.Number, m.Kind, m.AmountMinor, m.Currency, m.Payee, m.Requester)
		}
	}
	if got := kinds(o.f.messages.of(t, phone)); !slices.Equal(got, want) {
		t.Errorf("the phone got %q, want %q", got, want)
	}
	if got := len(o.f.messages.of(t, "")); got != o.sent+len(want) {
		t.Errorf("%d messages in all, want %d", got, o.sent+len(want))
	}
}

// shown reads an order as somebody is shown it.
func (o *order) shown(t *testing.T, subject, route string) (seen struct {
	State string
	Steps []struct {
		State   string
		AtNanos int64 `json:"at_ns"`
	}
}) {
	t.Helper()
	resp := o.f.call(t, subject, http.MethodGet, route+o.id, nil)
	if err := json.Unmarshal([]byte(resp.body), &seen); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v: %s", resp.StatusCode, err, resp.body)
	}
	return seen
}

// Where orders are looked at.
const (
	terminalOrders = "/countersign/v1/orders/"
	agentOrders    = "/countersign/v1/agent/orders/"
)

func kinds(messages []outbox.Envelope) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Kind)
	}
	return all
}
