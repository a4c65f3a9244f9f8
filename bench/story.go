package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/evidence"
)

// A story is how one payment comes about in one of the built-in systems, from the first
// call to the last.
type story struct {
	name  string // on the command line and in the JSON
	title string // in the table
	// A party tells it so often within an hour; 0 means without end. Rules and store
	// bound how often people are asked and what terminals are sent.
	perParty int
	parties  int // there are so many
	party    func(name string) party
	tell     func(context.Context, *session, *teller) error
}

// A teller is a party that tells stories, one after the other.
type teller struct {
	party
	device *evidence.Parameters // of the delegate, nil for none
	step   int64                // of the newest code that it made
	told   int                  // stories
	turn   int                  // the number of the story among all of its kind
}

// refusedEvery story has a call that is refused.
const refusedEvery = 9

func (t *teller) isRefused() bool { return t.turn%refusedEvery == refusedEvery-1 }

const amount = 1250 // minor units

var directPayment = &story{name: "direct", title: "direct payment", tell: tellDirect}

// stories are direct payments, which all others are compared with, and the systems.
var stories = []*story{
	directPayment,
	{
		name: "order", title: "agent order", perParty: 5, parties: 5000, tell: tellOrder,
		party: func(name string) party {
			return party{name: name, currency: "EUR", terminals: []device{{name: "phone", rights: []string{"order"}}}}
		},
	},
	{
		name: "business", title: "proxied business", parties: 1000, tell: tellBusiness,
		party: func(name string) party {
			return party{name: name, currency: "EUR", agent: true, terminals: []device{{name: "phone"}}}
		},
	},
	{
		name: "code", title: "payment by code", parties: 6000, tell: tellCode,
		party: func(name string) party {
			return party{name: name, currency: "EUR", terms: termsOf(authzstore.DelegationFull)}
		},
	},
	{
		name: "approved", title: "payment by code, approved", perParty: 10, parties: 3000, tell: tellApproved,
		party: func(name string) party {
			return party{name: name, currency: "EUR", terms: termsOf(authzstore.DelegationPartial),
				terminals: []device{{name: "phone", rights: []string{"approve"}}}}
		},
	},
	{
		name: "verified", title: "multi-terminal verification", perParty: 5, parties: 5000, tell: tellVerified,
		party: func(name string) party {
			return party{name: name, currency: "EUR", terminals: []device{{name: "phone"}, {name: "tablet"}}}
		},
	},
	{
		name: "second", title: "second-terminal payment", perParty: 25, parties: 2000, tell: tellSecond,
		party: func(name string) party {
			return party{name: name, currency: "EUR", terminals: []device{{name: "laptop"}, {name: "phone", pairedWith: "laptop"}}}
		},
	},
}

// termsOf bounds nothing but one payment.
func termsOf(delegation string) *authzstore.Terms {
	anyValue, always := authzstore.Filter{Mode: authzstore.ModeAny}, authzstore.Instant{Mode: authzstore.ModeAny}
	return &authzstore.Terms{
		Currency: "EUR", MaxPaymentMinor: maxPaymentMinor, Delegation: delegation,
		Limits:    []authzstore.Limit{{Name: "total", MaxAmountMinor: authzstore.MaxAmountMinor, Period: authzstore.Period{Kind: authzstore.Lifetime}}},
		ValidFrom: always, ValidTo: always,
		Merchants: anyValue, Categories: anyValue, Countries: anyValue, Channels: anyValue,
		Hours: authzstore.Hours{Mode: authzstore.ModeAny}, Cooling: authzstore.Cooling{Mode: authzstore.ModeNone},
	}
}

// cast are the parties of a story.
func (s *story) cast() []party {
	var all []party
	for i := range s.parties {
		all = append(all, s.party(s.name+"_"+strconv.Itoa(i)))
	}
	return all
}

func mixCast() []party {
	var all []party
	for _, s := range stories {
		all = append(all, s.cast()...)
	}
	return all
}

// A stage has the parties of a story take turns, so that none tells two at a time.
type stage struct {
	*story
	waiting chan *teller
	turns   atomic.Int64
}

var errNoParty = errors.New("every party has told as many stories as it can in an hour: take fewer or shorter rounds")

// newStages returns the stages of all stories. Devices are those of the parties that have
// some, in their order.
func newStages(all []*story, devices []evidence.Parameters) ([]*stage, error) {
	var stages []*stage
	for _, s := range all {
		cast := s.cast()
		st := &stage{story: s, waiting: make(chan *teller, len(cast))}
		for _, p := range cast {
			t := &teller{party: p}
			if p.terms != nil {
				if len(devices) == 0 {
					return nil, errors.New("there are fewer devices than delegates")
				}
				t.device, devices = &devices[0], devices[1:]
			}
			st.waiting <- t
		}
		stages = append(stages, st)
	}
	return stages, nil
}

// perform has the party whose turn it is tell its story.
func (st *stage) perform(ctx context.Context, s *session) error {
	t := &teller{}
	if st.party != nil {
		select {
		case t = <-st.waiting:
		default:
			return errNoParty
		}
	}
	t.turn = int(st.turns.Add(1))
	err := st.tell(ctx, s, t)
	switch {
	case errors.Is(err, errNotNow):
		return nil // it is counted; what the party left open would be in its way
	case err != nil:
		return fmt.Errorf("%s: %w", st.title, err)
	}
	t.told++
	s.stories++
	if st.party != nil && (st.perParty == 0 || t.told < st.perParty) {
		st.waiting <- t
	}
	return nil
}

var directAsks = payments()

func tellDirect(ctx context.Context, s *session, _ *teller) error {
	c := directAsks[rand.IntN(len(directAsks))].call()
	c.key = newKey()
	return s.pay(ctx, c)
}

// An agent orders, the terminal enters the code that it got, and pays.
func tellOrder(ctx context.Context, s *session, t *teller) error {
	order := post(t.subject("agent"), "/v1/agent/orders", fullBody(`"account": "`+t.account()+`", `+payment(amount, "EUR")))
	asked, err := s.ask(ctx, order, "verification_required")
	if err != nil {
		return err
	}
	code, err := s.mail.code(ctx, asked.challenge, t.terminal("phone"))
	if err != nil {
		return err
	}
	if err := s.enter(ctx, t.subject("phone"), terminalChallenges, asked.challenge, code); err != nil {
		return err
	}
	ordered, err := s.ask(ctx, order, "")
	if err != nil {
		return err
	}
	path := "/v1/orders/" + ordered.intent + "/payments"
	if t.isRefused() {
		if _, err := s.ask(ctx, post(t.subject("agent"), path, ""), "terminal_unknown"); err != nil {
			return err
		}
	}
	return s.pay(ctx, post(t.subject("phone"), path, ""))
}

// A device asks for a business, and an agent who has looked at it executes it: every
// other one a withdrawal, for which the agent scans first and the device confirms.
func tellBusiness(ctx context.Context, s *session, t *teller) error {
	kind := []string{"top_up", "withdrawal"}[t.turn%2]
	requested, err := s.ask(ctx, post(t.subject("phone"), "/v1/business",
		`{"type": "`+kind+`", "amount_minor": `+strconv.Itoa(amount)+`, "currency": "EUR", "proxy_mode": true}`), "")
	if err != nil {
		return err
	}
	seen := "/countersign/v1/business/" + requested.intent
	if _, err := s.ask(ctx, httpCall{method: http.MethodGet, path: seen, subject: t.subject("agent")}, ""); err != nil {
		return err
	}
	if kind == "withdrawal" {
		if _, err := s.ask(ctx, post(t.subject("agent"), seen+"/scan", `{"account": "`+t.agentAccount()+`"}`), ""); err != nil {
			return err
		}
		if _, err := s.ask(ctx, post(t.subject("phone"), seen+"/confirm", `{"agent_account": "`+t.agentAccount()+`"}`), ""); err != nil {
			return err
		}
	}
	execute := func(amountMinor int) httpCall {
		return post(t.subject("agent"), "/v1/business/"+requested.intent+"/execute",
			`{"account": "`+t.agentAccount()+`", "amount_minor": `+strconv.Itoa(amountMinor)+`}`)
	}
	if t.isRefused() {
		if _, err := s.ask(ctx, execute(amount+1), "amount_changed"); err != nil {
			return err
		}
	}
	return s.pay(ctx, execute(amount))
}

// byCode is a merchant's call with a code of the delegate's device. Of each time step
// there is one code, and those of this step and of the one before are good.
func (t *teller) byCode(ctx context.Context, s *session, amountMinor int) (httpCall, error) {
	now := time.Now().UnixNano()
	current := t.device.Step(now)
	step := current - 1
	if t.device.StepEndNanos(current)-now < int64(codePeriod/4) {
		step = current // that of the step before might be stale when it arrives
	}
	step = max(step, t.step+1)
	if step > current {
		s.waited++
		select {
		case <-ctx.Done():
			return httpCall{}, context.Cause(ctx)
		case <-time.After(time.Duration(t.device.StepEndNanos(step-1) - now)):
		}
	}
	t.step = step
	code, err := t.device.Code(step)
	members := `"payment_code": "` + code + `", "payee": "` + t.merchantID() + `", "amount_minor": ` + strconv.Itoa(amountMinor) + `, "currency": "EUR"`
	return post(t.subject("merchant"), "/v1/payments", fullBody(members)), err
}

// A merchant has scanned the delegate's code.
func tellCode(ctx context.Context, s *session, t *teller) error {
	if t.isRefused() {
		c, err := t.byCode(ctx, s, maxPaymentMinor+1)
		if err != nil {
			return err
		}
		_, err = s.ask(ctx, c, "payment_over_limit")
		return err
	}
	c, err := t.byCode(ctx, s, amount)
	if err != nil {
		return err
	}
	return s.pay(ctx, c)
}

// The same, and the owner approves it on a terminal, or rejects it.
func tellApproved(ctx context.Context, s *session, t *teller) error {
	c, err := t.byCode(ctx, s, amount)
	if err != nil {
		return err
	}
	asked, err := s.ask(ctx, c, "approval_required")
	if err != nil {
		return err
	}
	says := "/approve"
	if t.isRefused() {
		says = "/reject"
	}
	if _, err := s.ask(ctx, post(t.subject("phone"), terminalChallenges+asked.challenge+says, ""), ""); err != nil {
		return err
	}
	if t.isRefused() {
		_, err := s.ask(ctx, c, "approval_rejected")
		return err
	}
	return s.pay(ctx, c)
}

// The owner pays, and enters the codes of both terminals.
func tellVerified(ctx context.Context, s *session, t *teller) error {
	pay := func(amountMinor int) httpCall {
		return post(t.owner(), "/v1/accounts/"+t.account()+"/verified-payments", fullBody(payment(amountMinor, "EUR")))
	}
	if t.isRefused() {
		if _, err := s.ask(ctx, pay(maxPaymentMinor+1), "amount_over_payment_maximum"); err != nil {
			return err
		}
	}
	c := pay(amount)
	asked, err := s.ask(ctx, c, "verification_required")
	if err != nil {
		return err
	}
	for _, name := range []string{"phone", "tablet"} {
		code, err := s.mail.code(ctx, asked.challenge, t.terminal(name))
		if err != nil {
			return err
		}
		if err := s.enter(ctx, t.owner(), userChallenges, asked.challenge, code); err != nil {
			return err
		}
	}
	return s.pay(ctx, c)
}

// A checkout is opened on a laptop; the phone reports an operation, and pays.
func tellSecond(ctx context.Context, s *session, t *teller) error {
	opened, err := s.ask(ctx, post(t.subject("laptop"), "/v1/checkouts", fullBody(payment(amount, "EUR"))), "")
	if err != nil {
		return err
	}
	if _, err := s.ask(ctx, post(t.subject("phone"), "/countersign/v1/gestures", `{"gesture": "swipe"}`), ""); err != nil {
		return err
	}
	path := "/v1/checkouts/" + opened.intent + "/pay"
	if t.isRefused() {
		if _, err := s.ask(ctx, post(t.subject("laptop"), path, fullBody(payment(amount, "EUR"))), "checkout_opened_here"); err != nil {
			return err
		}
	}
	return s.pay(ctx, post(t.subject("phone"), path, fullBody(payment(amount, "EUR"))))
}
