package envoy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// Every refusal of delegated payment, through Envoy: what the merchant hears, and
// what stands in the record.

// moments of a case, by the sidecar's clock.
type moments struct{ accepted, changed, paid time.Time }

// A refusal is one case: a grant, what was paid by it, what was done to it, and a
// payment.
type refusal struct {
	name    string
	account func(*authzstore.Account)
	terms   func(*authzstore.Terms, time.Time) // the time is that of the offer
	paid    []int64                            // before, and allowed
	after   func(*testing.T, *family, *granted)
	at      func(moments) time.Time // of the payment; nil means half a minute after the last step

	by       till // zero means the bakery
	amount   int64
	currency string                                                // empty means EUR
	code     func(*testing.T, *family, evidence.Parameters) string // nil means the right one

	public []string // nothing means that it is paid
	record []string // reasons with limits and what remains; nil means the public ones
	resets func(moments) time.Time
}

// A granted is the grant of a case.
type granted struct {
	moments
	account, id string
	terms       authzstore.Terms
	phone       evidence.Parameters
	used        string // a code that paid before
}

func (g *granted) path(what string) string { return grantPath(g.id, what) }

// freeTerms bound as little as terms can.
func freeTerms() authzstore.Terms {
	anyValue := authzstore.Filter{Mode: authzstore.ModeAny}
	return authzstore.Terms{
		Currency: "EUR", MaxPaymentMinor: 100_000,
		Limits:    []authzstore.Limit{{Name: "total", MaxAmountMinor: 1_000_000, Period: authzstore.Period{Kind: authzstore.Lifetime}}},
		ValidFrom: authzstore.Instant{Mode: authzstore.ModeAny}, ValidTo: authzstore.Instant{Mode: authzstore.ModeAny},
		Merchants: anyValue, Categories: anyValue, Countries: anyValue, Channels: anyValue,
		Hours: authzstore.Hours{Mode: authzstore.ModeAny}, Cooling: authzstore.Cooling{Mode: authzstore.ModeNone},
		Delegation: authzstore.DelegationFull,
	}
}

const berlin = "Europe/Berlin"

func calendar(kind authzstore.PeriodKind) authzstore.Period {
	p := authzstore.Period{Kind: kind, Alignment: authzstore.ByCalendar, Zone: berlin}
	if kind == authzstore.Week {
		p.WeekStart = "monday"
	}
	return p
}

func limited(limits ...authzstore.Limit) func(*authzstore.Terms, time.Time) {
	return func(terms *authzstore.Terms, _ time.Time) { terms.Limits = limits }
}

func only(values ...string) authzstore.Filter {
	return authzstore.Filter{Mode: authzstore.ModeOnly, Values: values}
}

func except(values ...string) authzstore.Filter {
	return authzstore.Filter{Mode: authzstore.ModeExcept, Values: values}
}

// Instants at which a case pays.
func afterAccept(d time.Duration) func(moments) time.Time {
	return func(m moments) time.Time { return m.accepted.Add(d) }
}

func afterPaid(d time.Duration) func(moments) time.Time {
	return func(m moments) time.Time { return m.paid.Add(d) }
}

func afterChange(d time.Duration) func(moments) time.Time {
	return func(m moments) time.Time { return m.changed.Add(d) }
}

// inBerlin is a day's first instant there.
func inBerlin(year int, month time.Month, day int) func(moments) time.Time {
	return func(moments) time.Time {
		zone, err := time.LoadLocation(berlin)
		if err != nil {
			panic(err)
		}
		return time.Date(year, month, day, 0, 0, 0, 0, zone)
	}
}

// doing has somebody do something to the grant.
func doing(subject, what string) func(*testing.T, *family, *granted) {
	return func(t *testing.T, f *family, g *granted) {
		t.Helper()
		f.do(t, subject, http.MethodPost, g.path(what), nil, nil)
	}
}

// changing has Anna change the terms, and Ben fetch the new parameters.
func changing(change func(*authzstore.Terms)) func(*testing.T, *family, *granted) {
	return func(t *testing.T, f *family, g *granted) {
		t.Helper()
		change(&g.terms)
		f.do(t, "anna", http.MethodPatch, g.path(""), map[string]any{"terms": g.terms}, nil)
		g.changed = f.clock.wall()
		g.phone = f.fetch(t, g.id)
	}
}

// steps from now.
func codeOf(steps int64) func(*testing.T, *family, evidence.Parameters) string {
	return func(t *testing.T, f *family, p evidence.Parameters) string { return f.code(t, p, steps) }
}

func TestDelegatedPayments(t *testing.T) {
	cases := slices.Concat(limitCases, timeCases, placeCases, stateCases, codeCases)
	f := newFamily(t, tuned(t), accountsFor(cases))
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, f, accountID(i)) })
	}
}

func accountID(i int) string { return fmt.Sprintf("acc_case%d", i) }

func accountsFor(cases []refusal) []authzstore.Account {
	var accounts []authzstore.Account
	for i, c := range cases {
		a := authzstore.Account{ID: accountID(i), Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40}
		if c.account != nil {
			c.account(&a)
		}
		accounts = append(accounts, a)
	}
	return accounts
}

// step is as long as a code is shown: another payment needs another one.
const step = 30 * time.Second

func (c refusal) run(t *testing.T, f *family, account string) {
	f.clock.move(step)
	g := &granted{account: account, terms: freeTerms()}
	if c.terms != nil {
		c.terms(&g.terms, f.clock.wall())
	}
	g.id = f.offer(t, account, g.terms)
	g.phone = f.accept(t, g.id)
	g.accepted = f.clock.wall()
	for _, amount := range c.paid {
		f.clock.move(step)
		g.used = f.code(t, g.phone, 0)
		if resp := f.pay(t, bakery, g.used, amount, "EUR"); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d before: status %d, %s", amount, resp.StatusCode, resp.body)
		}
		g.paid = f.clock.wall()
	}
	if c.after != nil {
		c.after(t, f, g)
	}
	if c.at == nil {
		f.clock.move(step)
	} else {
		f.clock.move(c.at(g.moments).Sub(f.clock.wall()))
	}
	c.judge(t, f, g, f.pay(t, c.till(), c.shown(t, f, g), c.amount, c.inCurrency()))
}

func (c refusal) till() till {
	if c.by == (till{}) {
		return bakery
	}
	return c.by
}

func (c refusal) inCurrency() string {
	if c.currency == "" {
		return "EUR"
	}
	return c.currency
}

func (c refusal) shown(t *testing.T, f *family, g *granted) string {
	switch {
	case c.code == nil:
		return f.code(t, g.phone, 0)
	case g.used != "":
		return g.used
	default:
		return c.code(t, f, g.phone)
	}
}

func (c refusal) judge(t *testing.T, f *family, g *granted, resp response) {
	t.Helper()
	if len(c.public) == 0 {
		if resp.StatusCode != http.StatusOK || resp.body != "paid" {
			t.Fatalf("status %d, %s; want it paid", resp.StatusCode, resp.body)
		}
		return
	}
	now, record := f.clock.wall(), f.records.of(t, resp)
	if got := publicOf(t, resp); resp.StatusCode != http.StatusForbidden || !slices.Equal(got, c.public) {
		t.Errorf("status %d, the caller hears %q; want 403, %q", resp.StatusCode, got, c.public)
	}
	want := c.record
	if want == nil {
		want = c.public
	}
	if got := told(record.Reasons); !slices.Equal(got, want) {
		t.Errorf("the record has %q, want %q", got, want)
	}
	for _, r := range record.Reasons {
		switch {
		case c.resets == nil && r.ResetsAtNanos != nil:
			t.Errorf("%s resets %v from now, want never", r.Code, time.Duration(*r.ResetsAtNanos-now.UnixNano()))
		case c.resets != nil && (r.ResetsAtNanos == nil || *r.ResetsAtNanos != c.resets(g.moments).UnixNano()):
			t.Errorf("%s resets at %v, want %v", r.Code, r.ResetsAtNanos, c.resets(g.moments))
		}
	}
	if strings.Contains(resp.body, "left") || strings.Contains(resp.body, "remaining") || strings.Contains(resp.body, "resets") {
		t.Errorf("the merchant hears of limits: %s", resp.body)
	}
}

// publicOf are the reasons that a caller hears, as told writes them.
func publicOf(t *testing.T, resp response) []string {
	t.Helper()
	var problem struct {
		Code    string
		Reasons []policy.Reason
	}
	if err := json.Unmarshal([]byte(resp.body), &problem); err != nil {
		t.Fatalf("%v in %q", err, resp.body)
	}
	if len(problem.Reasons) == 0 {
		return []string{problem.Code}
	}
	return told(problem.Reasons)
}

// tuned is the system delegated_payment, with a cooling time of an hour for raises, and
// the one that its tests set it against: judged sooner than all of the built-in bundle.
func tuned(t *testing.T) fs.FS {
	t.Helper()
	const name, before, after = "systems/delegated_payment/data.yaml", "raise_cooling_seconds: 0\n", "raise_cooling_seconds: 3600\n"
	files := policiestest.All(t)
	for file := range files {
		system, _, _ := strings.Cut(strings.TrimPrefix(file, "systems/"), "/")
		if strings.HasPrefix(file, "systems/") && system != "delegated_payment" && system != "direct_payment" {
			delete(files, file)
		}
	}
	text := string(files[name].Data)
	if !strings.Contains(text, before) {
		t.Fatalf("%s has no %q", name, before)
	}
	files[name].Data = []byte(strings.Replace(text, before, after, 1))
	return files
}
