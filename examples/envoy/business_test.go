package envoy

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/examples/issuer"
)

// Every step and every refusal of proxied business, through Envoy: what the caller
// hears, and what stands in the record.

// A business is the world of one case: Anna's account with two devices, of which the
// phone asks, and two desks with accounts of their own.
type business struct {
	user, phone, watch string // the account, and what its devices are called
	desk, shop         string // agents, and what their accounts are called
	id                 string // of the request
	amount             int64
}

// A businessCase is what is done to a request, and the step that comes of it.
type businessCase struct {
	name  string
	kind  string // of business; empty means top_up
	world func(user, desk *authzstore.Account)
	step  func(*testing.T, *family, *business) response

	public []string // nothing means that it is allowed
	record []string // reasons with limits and what remains; nil means the public ones
}

func businessOf(i int) *business {
	return &business{
		user: fmt.Sprintf("acc_user%d", i), phone: fmt.Sprintf("phone%d", i), watch: fmt.Sprintf("watch%d", i),
		desk: fmt.Sprintf("desk%d", i), shop: fmt.Sprintf("shop%d", i), amount: 5000,
	}
}

// anna owns the account of a case. Her name is no secret: it must not help an agent.
func (b *business) anna() string { return "anna-" + b.user }

func agentIdentity(subject string) authzstore.Identity {
	return authzstore.Identity{Kind: "agent", Issuer: issuer.URL, Subject: subject}
}

func accountOf(id string, owner authzstore.Identity) authzstore.Account {
	return authzstore.Account{ID: id, Owner: owner, State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 100_000}
}

// newBusinesses starts the world of these cases.
func newBusinesses(t *testing.T, cases []businessCase) *family {
	t.Helper()
	return newBusinessesBy(t, nil, cases)
}

// newBusinessesBy is newBusinesses by these rules.
func newBusinessesBy(t *testing.T, rules fs.FS, cases []businessCase) *family {
	t.Helper()
	var accounts []authzstore.Account
	var terminals []authzstore.Terminal
	for i, c := range cases {
		b := businessOf(i)
		u, desk, shop := accountOf(b.user, user(b.anna())), accountOf("acc_"+b.desk, agentIdentity(b.desk)), accountOf("acc_"+b.shop, agentIdentity(b.shop))
		if c.world != nil {
			c.world(&u, &desk)
		}
		// Anna works at a desk herself, with an account for it.
		accounts = append(accounts, u, desk, shop, accountOf(b.user+"_desk", agentIdentity(b.anna())), accountOf(b.user+"_phone", agentIdentity(b.phone)))
		terminals = append(terminals, terminalOf(b.user, b.phone, "+1"), terminalOf(b.user, b.watch, "+2"))
	}
	return newFamily(t, rules, accounts, terminals...)
}

// request is what the phone sends; more replaces members of it, nil takes them out.
func (b *business) request(t *testing.T, f *family, kind string, more map[string]any) response {
	t.Helper()
	return f.call(t, b.phone, http.MethodPost, "/v1/business", with(map[string]any{
		"type": kind, "amount_minor": b.amount, "currency": "EUR", "proxy_mode": true,
	}, more))
}

func with(body, more map[string]any) map[string]any {
	maps.Copy(body, more)
	maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil })
	return body
}

func (b *business) view(t *testing.T, f *family) response {
	t.Helper()
	return f.call(t, b.desk, http.MethodGet, "/countersign/v1/business/"+b.id, nil)
}

// scan is done by an agent whose account is named after it.
func (b *business) scan(t *testing.T, f *family, agent string) response {
	t.Helper()
	return f.call(t, agent, http.MethodPost, "/countersign/v1/business/"+b.id+"/scan", map[string]any{"account": "acc_" + agent})
}

func (b *business) confirm(t *testing.T, f *family, device, agent string) response {
	t.Helper()
	return f.call(t, device, http.MethodPost, "/countersign/v1/business/"+b.id+"/confirm", map[string]any{"agent_account": "acc_" + agent})
}

// execute is done by an agent through the account that is named after it.
func (b *business) execute(t *testing.T, f *family, agent string, more map[string]any) response {
	t.Helper()
	return f.call(t, agent, http.MethodPost, "/v1/business/"+b.id+"/execute", with(map[string]any{
		"account": "acc_" + agent, "amount_minor": b.amount,
	}, more))
}

func (b *business) cancel(t *testing.T, f *family) {
	t.Helper()
	f.do(t, b.phone, http.MethodPost, "/countersign/v1/intents/"+b.id+"/cancel", nil, nil)
}

// steps makes one step of several, of which all but the last must be allowed.
func steps[World any](all ...func(*testing.T, *family, World) response) func(*testing.T, *family, World) response {
	return func(t *testing.T, f *family, w World) (resp response) {
		t.Helper()
		for i, step := range all {
			if resp = step(t, f, w); i < len(all)-1 && resp.Response != nil && resp.StatusCode/100 != 2 {
				t.Fatalf("step %d: status %d, %s", i+1, resp.StatusCode, resp.body)
			}
		}
		return resp
	}
}

// doingTo is a step that nobody calls for.
func doingTo[World any](do func(*testing.T, *family, World)) func(*testing.T, *family, World) response {
	return func(t *testing.T, f *family, w World) response {
		t.Helper()
		do(t, f, w)
		return response{}
	}
}

func after(d time.Duration) func(*testing.T, *family, *business) response {
	return doingTo(func(_ *testing.T, f *family, _ *business) { f.clock.move(d) })
}

// Steps of the desk, the shop and the phone.
var (
	deskExecutes = func(t *testing.T, f *family, b *business) response { return b.execute(t, f, b.desk, nil) }
	shopExecutes = func(t *testing.T, f *family, b *business) response { return b.execute(t, f, b.shop, nil) }
	deskScans    = func(t *testing.T, f *family, b *business) response { return b.scan(t, f, b.desk) }
	shopScans    = func(t *testing.T, f *family, b *business) response { return b.scan(t, f, b.shop) }
	deskViews    = func(t *testing.T, f *family, b *business) response { return b.view(t, f) }
	phoneAgrees  = func(t *testing.T, f *family, b *business) response { return b.confirm(t, f, b.phone, b.desk) }
	phoneCancels = doingTo(func(t *testing.T, f *family, b *business) { b.cancel(t, f) })
	userFreezes  = doingTo(func(t *testing.T, f *family, b *business) { f.backendFreezes(t, b.user) })
	deskFreezes  = doingTo(func(t *testing.T, f *family, b *business) { f.backendFreezes(t, "acc_"+b.desk) })
	phoneIs      = func(state authzstore.TerminalState) func(*testing.T, *family, *business) response {
		return doingTo(func(t *testing.T, f *family, b *business) { f.changeTerminal(t, "trm_"+b.phone, inState(state)) })
	}
	phoneIsAnother = doingTo(func(t *testing.T, f *family, b *business) { f.rebind(t, "trm_"+b.phone) })
)

func executing(more map[string]any) func(*testing.T, *family, *business) response {
	return func(t *testing.T, f *family, b *business) response { return b.execute(t, f, b.desk, more) }
}

func TestProxiedBusiness(t *testing.T) {
	cases := slices.Concat(topUpCases, withdrawalCases, scanCases, confirmCases)
	f := newBusinesses(t, cases)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f.clock.move(time.Minute)
			b := businessOf(i)
			kind := c.kind
			if kind == "" {
				kind = "top_up"
			}
			asked := b.request(t, f, kind, nil)
			if b.id = asked.Header.Get("Countersign-Intent-Id"); asked.StatusCode != http.StatusOK || b.id == "" {
				t.Fatalf("status %d, %s", asked.StatusCode, asked.body)
			}
			resp := c.step(t, f, b)
			if len(c.public) == 0 {
				if resp.StatusCode/100 != 2 {
					t.Errorf("status %d, %s; want it allowed", resp.StatusCode, resp.body)
				}
				return
			}
			f.hears(t, resp, http.StatusForbidden, c.public, c.record)
			if strings.Contains(resp.body, b.user) || strings.Contains(resp.body, b.phone) {
				t.Errorf("who asked is told: %s", resp.body)
			}
		})
	}
}

// What an agent hears who has no part in it, or has it no more.
var unknown = []string{"intent_unknown"}

// window is how long a request waits for its agent.
const window = 900 * time.Second

var topUpCases = []businessCase{
	{name: "executed", step: deskExecutes},
	{name: "no such ID", step: steps(doingTo(func(_ *testing.T, _ *family, b *business) { b.id = "int_" + strings.Repeat("a", 26) }), deskExecutes), public: unknown},
	{name: "at the last instant", step: steps(after(window), deskExecutes)},
	{name: "one nanosecond later", step: steps(after(window+1), deskExecutes), public: unknown, record: []string{"intent_expired"}},
	{name: "cancelled", step: steps(phoneCancels, deskExecutes), public: unknown, record: []string{"intent_cancelled"}},
	{name: "executed before", step: steps(deskExecutes, deskExecutes), public: unknown, record: []string{"intent_closed"}},
	{name: "executed before by another agent", step: steps(deskExecutes, shopExecutes), public: unknown, record: []string{"intent_closed"}},
	{name: "seen, and then executed", step: steps(deskViews, deskExecutes)},
	{name: "expired, and looked at", step: steps(after(window+1), deskViews), public: unknown, record: []string{"intent_expired"}},
	{name: "cancelled, and looked at", step: steps(phoneCancels, deskViews), public: unknown, record: []string{"intent_cancelled"}},
	{name: "executed, and looked at", step: steps(deskExecutes, deskViews), public: unknown, record: []string{"intent_closed"}},

	{name: "through the account of another agent", step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.desk, map[string]any{"account": "acc_" + b.shop})
	}, public: []string{"account_unknown"}},
	{name: "through the user's account", step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.desk, map[string]any{"account": b.user})
	}, public: []string{"account_unknown"}},
	{name: "through no account", step: executing(map[string]any{"account": "acc_nobody"}), public: []string{"account_unknown"}},
	{name: "by the device that asked, through an agent's account", step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.phone, map[string]any{"account": "acc_" + b.desk})
	}, public: []string{"account_unknown"}},
	{name: "by the user, through another account of theirs", step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.anna(), map[string]any{"account": b.user + "_desk"})
	}, public: []string{"agent_is_user"}},
	{name: "by the device that asked, as an agent", step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.phone, map[string]any{"account": b.user + "_phone"})
	}, public: []string{"agent_is_user"}},
	{name: "through the account that is paid", world: func(user, _ *authzstore.Account) {
		user.Owner = agentIdentity(user.Owner.Subject) // works from the account that the phone is bound to
	}, step: func(t *testing.T, f *family, b *business) response {
		return b.execute(t, f, b.anna(), map[string]any{"account": b.user})
	}, public: []string{"agent_is_user"}},

	{name: "one minor unit less", step: executing(map[string]any{"amount_minor": 4999}), public: []string{"amount_changed"}},
	{name: "one minor unit more", step: executing(map[string]any{"amount_minor": 5001}), public: []string{"amount_changed"}},
	{name: "an amount that is not repeated", step: executing(map[string]any{"amount_minor": nil}), public: []string{"amount_not_repeated"}},
	{name: "the type is repeated", step: executing(map[string]any{"type": "top_up"})},
	{name: "another type", step: executing(map[string]any{"type": "withdrawal"}), public: []string{"business_type_changed"}},

	{name: "exactly the agent's maximum", world: deskMax(5000), step: deskExecutes},
	{name: "one minor unit over the agent's maximum", world: deskMax(4999), step: deskExecutes,
		public: []string{"amount_over_payment_maximum payment 4999 left"}},
	{name: "exactly the agent's limit", world: deskLimit(authzstore.Limit{Name: "till", MaxAmountMinor: 5000, Period: authzstore.Period{Kind: authzstore.Lifetime}}), step: deskExecutes},
	{name: "one minor unit over the agent's limit", world: deskLimit(authzstore.Limit{Name: "till", MaxAmountMinor: 4999, Period: authzstore.Period{Kind: authzstore.Lifetime}}), step: deskExecutes,
		public: []string{"amount_over_limit till 4999 left"}},
	{name: "more in number than the agent may", world: deskLimit(authzstore.Limit{Name: "twice", MaxCount: 1, Period: authzstore.Period{Kind: authzstore.Lifetime}}),
		step: steps(deskExecutes, anew, deskExecutes), public: []string{"count_over_limit twice 0 payments left"}},
	{name: "a frozen agent", step: steps(deskFreezes, deskExecutes), public: []string{"account_frozen"}},
	{name: "an agent in another currency", world: func(_, desk *authzstore.Account) { desk.Currency = "USD" }, step: deskExecutes, public: []string{"currency_not_account"}},
	{name: "the user was frozen since", step: steps(userFreezes, deskExecutes), public: []string{"payment_not_possible"}, record: []string{"paid_account_frozen"}},
	{name: "the phone was unbound since", step: steps(phoneIs(authzstore.TerminalUnbound), deskExecutes), public: []string{"payment_not_possible"}, record: []string{"device_unbound"}},
	{name: "the phone was frozen since", step: steps(phoneIs(authzstore.TerminalFrozen), deskExecutes), public: []string{"payment_not_possible"}, record: []string{"device_unbound"}},
	{name: "the phone was bound anew since", step: steps(phoneIsAnother, deskExecutes), public: []string{"payment_not_possible"}, record: []string{"device_unbound"}},
	{name: "several reasons, all of them told", world: deskMax(4999), step: executing(map[string]any{"amount_minor": 1, "type": "withdrawal"}),
		public: []string{"amount_changed", "amount_over_payment_maximum payment 4999 left", "business_type_changed"}},
}

func deskMax(minor int64) func(_, desk *authzstore.Account) {
	return func(_, desk *authzstore.Account) { desk.MaxPaymentMinor = minor }
}

func deskLimit(l authzstore.Limit) func(_, desk *authzstore.Account) {
	return func(_, desk *authzstore.Account) { desk.Limits = []authzstore.Limit{l} }
}

func userLimit(minor int64) func(user, _ *authzstore.Account) {
	return func(user, _ *authzstore.Account) {
		user.Limits = []authzstore.Limit{{Name: "purse", MaxAmountMinor: minor, Period: authzstore.Period{Kind: authzstore.Lifetime}}}
	}
}

// anew is another request of the phone.
var anew = func(t *testing.T, f *family, b *business) response {
	asked := b.request(t, f, "top_up", nil)
	b.id = asked.Header.Get("Countersign-Intent-Id")
	return asked
}

var withdrawalCases = []businessCase{
	{name: "confirmed, and executed", kind: "withdrawal", step: steps(deskScans, phoneAgrees, deskExecutes)},
	{name: "not scanned", kind: "withdrawal", step: deskExecutes, public: []string{"business_not_confirmed"}},
	{name: "not confirmed", kind: "withdrawal", step: steps(deskScans, deskExecutes), public: []string{"business_not_confirmed"}},
	{name: "scanned by another, not confirmed", kind: "withdrawal", step: steps(deskScans, shopExecutes), public: []string{"business_of_another_agent"}},
	{name: "confirmed for another", kind: "withdrawal", step: steps(deskScans, phoneAgrees, shopExecutes), public: []string{"business_of_another_agent"}},
	{name: "cancelled after it was confirmed", kind: "withdrawal", step: steps(deskScans, phoneAgrees, phoneCancels, deskExecutes), public: unknown, record: []string{"intent_cancelled"}},
	{name: "confirmed, at the last instant", kind: "withdrawal", step: steps(deskScans, phoneAgrees, after(window), deskExecutes)},
	{name: "confirmed, one nanosecond later", kind: "withdrawal", step: steps(deskScans, phoneAgrees, after(window+1), deskExecutes), public: unknown, record: []string{"intent_expired"}},
	{name: "exactly the user's limit", kind: "withdrawal", world: userLimit(5000), step: steps(deskScans, phoneAgrees, deskExecutes)},
	{name: "over the user's limit: not told which", kind: "withdrawal", world: userLimit(4999), step: steps(deskScans, phoneAgrees, deskExecutes),
		public: []string{"payment_over_limit"}, record: []string{"amount_over_limit purse 4999 left"}},
	{name: "the agent's limit does not count", kind: "withdrawal", world: deskMax(1), step: steps(deskScans, phoneAgrees, deskExecutes)},
	{name: "the user was frozen after confirming", kind: "withdrawal", step: steps(deskScans, phoneAgrees, userFreezes, deskExecutes),
		public: []string{"payment_not_authorised"}, record: []string{"account_frozen"}},
	{name: "the agent was frozen after it was confirmed", kind: "withdrawal", step: steps(deskScans, phoneAgrees, deskFreezes, deskExecutes), public: []string{"paid_account_frozen"}},
	{name: "the phone was unbound after it was confirmed", kind: "withdrawal", step: steps(deskScans, phoneAgrees, phoneIs(authzstore.TerminalUnbound), deskExecutes),
		public: []string{"payment_not_authorised"}, record: []string{"device_unbound"}},
	{name: "another amount than was confirmed", kind: "withdrawal", step: steps(deskScans, phoneAgrees, executing(map[string]any{"amount_minor": 5001})), public: []string{"amount_changed"}},
}

var scanCases = []businessCase{
	{name: "scanned without need", step: deskScans, public: []string{"business_needs_no_scan"}},
	{name: "scanned twice", kind: "withdrawal", step: steps(deskScans, deskScans), public: []string{"business_scanned"}},
	{name: "scanned by another before", kind: "withdrawal", step: steps(deskScans, shopScans), public: []string{"business_of_another_agent"}},
	{name: "scanned for another account", kind: "withdrawal", step: func(t *testing.T, f *family, b *business) response {
		return f.call(t, b.desk, http.MethodPost, "/countersign/v1/business/"+b.id+"/scan", map[string]any{"account": "acc_" + b.shop})
	}, public: []string{"account_unknown"}},
	{name: "scanned by the user", kind: "withdrawal", step: func(t *testing.T, f *family, b *business) response {
		return f.call(t, b.anna(), http.MethodPost, "/countersign/v1/business/"+b.id+"/scan", map[string]any{"account": b.user + "_desk"})
	}, public: []string{"agent_is_user"}},
	{name: "scanned at the last instant", kind: "withdrawal", step: steps(after(window), deskScans)},
	{name: "scanned one nanosecond later", kind: "withdrawal", step: steps(after(window+1), deskScans), public: unknown, record: []string{"intent_expired"}},
	{name: "scanned when the user was frozen", kind: "withdrawal", step: steps(userFreezes, deskScans), public: []string{"payment_not_authorised"}, record: []string{"account_frozen"}},
	{name: "scanned for a frozen agent", kind: "withdrawal", step: steps(deskFreezes, deskScans), public: []string{"paid_account_frozen"}},
	{name: "scanned when the phone was bound anew", kind: "withdrawal", step: steps(phoneIsAnother, deskScans), public: []string{"payment_not_authorised"}, record: []string{"device_unbound"}},
}

var confirmCases = []businessCase{
	{name: "confirmed before it was scanned", kind: "withdrawal", step: phoneAgrees, public: []string{"business_not_scanned"}},
	{name: "confirmed twice", kind: "withdrawal", step: steps(deskScans, phoneAgrees, phoneAgrees), public: []string{"business_confirmed"}},
	{name: "confirmed for an agent that has not scanned", kind: "withdrawal", step: steps(deskScans, func(t *testing.T, f *family, b *business) response {
		return b.confirm(t, f, b.phone, b.shop)
	}), public: []string{"business_of_another_agent"}},
	{name: "confirmed by another device of the account", kind: "withdrawal", step: steps(deskScans, func(t *testing.T, f *family, b *business) response {
		return b.confirm(t, f, b.watch, b.desk)
	}), public: unknown},
	{name: "confirmed by the agent", kind: "withdrawal", step: steps(deskScans, func(t *testing.T, f *family, b *business) response {
		return b.confirm(t, f, b.desk, b.desk)
	}), public: []string{"terminal_unknown"}},
	{name: "confirmed by the phone of somebody else", kind: "withdrawal", step: steps(deskScans, func(t *testing.T, f *family, b *business) response {
		return b.confirm(t, f, businessOf(0).phone, b.desk)
	}), public: unknown},
	{name: "confirmed at the last instant", kind: "withdrawal", step: steps(deskScans, after(window), phoneAgrees)},
	{name: "confirmed one nanosecond later", kind: "withdrawal", step: steps(deskScans, after(window+1), phoneAgrees), public: []string{"intent_expired"}},
	{name: "confirmed after it was cancelled", kind: "withdrawal", step: steps(deskScans, phoneCancels, phoneAgrees), public: []string{"intent_cancelled"}},
	{name: "confirmed from a frozen account", kind: "withdrawal", step: steps(deskScans, userFreezes, phoneAgrees), public: []string{"account_frozen"}},
	{name: "confirmed by a phone that was bound anew", kind: "withdrawal", step: steps(deskScans, phoneIsAnother, phoneAgrees), public: unknown},
	{name: "confirmed by a frozen phone", kind: "withdrawal", step: steps(deskScans, phoneIs(authzstore.TerminalFrozen), phoneAgrees), public: []string{"terminal_unknown"}},
	{name: "confirmed without need", step: phoneAgrees, public: []string{"business_not_scanned"}},
}
