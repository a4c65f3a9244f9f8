package envoy

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies/policiestest"
)

// The example of a system of one's own, examples/escrow, through Envoy: a purchase that
// two of three release.

// A purchase is the world of one case.
type purchase struct{ account, buyer, payee, id string }

type purchaseStep = func(*testing.T, *family, *purchase) response

type escrowCase struct {
	name  string
	world func(*purchase, *authzstore.Account)
	step  purchaseStep

	public []string // nothing means that it is allowed
	record []string // nil means the public ones
}

// escrowWorld are the purchases of cases, and the accounts that pay.
func escrowWorld(cases []escrowCase) (purchases []*purchase, accounts []authzstore.Account) {
	for i, c := range cases {
		p := &purchase{account: fmt.Sprintf("acc_e%d", i), buyer: "anna", payee: "mer_bakery"}
		a := accountOf(p.account, user(p.buyer))
		if c.world != nil {
			c.world(p, &a)
		}
		purchases, accounts = append(purchases, p), append(accounts, a)
	}
	return purchases, accounts
}

func runEscrow(t *testing.T, f *family, cases []escrowCase, purchases []*purchase) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			resp := c.step(t, f, purchases[i])
			if len(c.public) > 0 {
				f.hears(t, resp, http.StatusForbidden, c.public, c.record)
			} else if resp.StatusCode/100 != 2 {
				t.Errorf("status %d, %s; want it allowed", resp.StatusCode, resp.body)
			}
		})
	}
}

func (p *purchase) open(t *testing.T, f *family, more map[string]any) response {
	t.Helper()
	resp := f.call(t, p.buyer, http.MethodPost, "/v1/escrows", with(map[string]any{
		"account": p.account, "payee": p.payee, "amount_minor": 80_000, "currency": "EUR",
	}, more))
	p.id = resp.Header.Get("Countersign-Intent-Id")
	return resp
}

// agrees and releases are steps of one of the three, under the name that it calls by.
func agrees(role, subject string) purchaseStep {
	return func(t *testing.T, f *family, p *purchase) response {
		return f.call(t, subject, http.MethodPost, "/countersign/v1/escrows/"+p.id+"/"+role+"/agree", nil)
	}
}

func releases(role, subject string) purchaseStep {
	return func(t *testing.T, f *family, p *purchase) response {
		return f.call(t, subject, http.MethodPost, "/v1/escrows/"+p.id+"/"+role+"/release", nil)
	}
}

var (
	buyerOpens = func(t *testing.T, f *family, p *purchase) response { return p.open(t, f, nil) }

	buyerAgrees, buyerReleases     = agrees("buyer", "anna"), releases("buyer", "anna")
	sellerAgrees, sellerReleases   = agrees("seller", "bakery"), releases("seller", "bakery")
	arbiterAgrees, arbiterReleases = agrees("arbiter", "ombudsman"), releases("arbiter", "ombudsman")

	buyerStops = doingTo(func(t *testing.T, f *family, p *purchase) { f.backendFreezes(t, p.account) })
)

func opensWith(more map[string]any) purchaseStep {
	return func(t *testing.T, f *family, p *purchase) response { return p.open(t, f, more) }
}

// escrowLife is how long a purchase waits for two of three.
const escrowLife = 14 * 24 * time.Hour

var escrowOpenCases = []escrowCase{
	{name: "opened", step: buyerOpens},
	{name: "opened for another's account", world: func(_ *purchase, a *authzstore.Account) { a.Owner = user("ben") }, step: buyerOpens, public: []string{"account_unknown"}},
	{name: "opened for no account", step: opensWith(map[string]any{"account": "acc_nobody"}), public: []string{"account_unknown"}},
	{name: "opened for a frozen account", step: steps(buyerStops, buyerOpens), public: []string{"account_frozen"}},
	{name: "opened in another currency", step: opensWith(map[string]any{"currency": "USD"}), public: []string{"currency_not_account"}},
	{name: "the tenth", step: steps(slices.Repeat([]purchaseStep{buyerOpens}, 10)...)},
	{name: "the eleventh", step: steps(slices.Repeat([]purchaseStep{buyerOpens}, 11)...), public: []string{"escrows_over_maximum max_open 0 payments left"}},
}

// escrowPairs are all nine pairs of the three.
func escrowPairs() (cases []escrowCase) {
	agreeing := map[string]purchaseStep{"buyer": buyerAgrees, "seller": sellerAgrees, "arbiter": arbiterAgrees}
	releasing := map[string]purchaseStep{"buyer": buyerReleases, "seller": sellerReleases, "arbiter": arbiterReleases}
	three := slices.Sorted(maps.Keys(agreeing))
	for _, first := range three {
		for _, second := range three {
			c := escrowCase{name: second + " after " + first, step: steps(buyerOpens, agreeing[first], releasing[second])}
			if first == second {
				c.public = []string{"escrow_same_party", "escrow_same_person"}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

var escrowAgreeCases = []escrowCase{
	{name: "a user who is not the buyer", step: steps(buyerOpens, agrees("buyer", "ben")), public: unknown},
	{name: "the seller as the buyer", step: steps(buyerOpens, agrees("buyer", "bakery")), public: unknown},
	{name: "another merchant", step: steps(buyerOpens, agrees("seller", "casino")), public: unknown},
	{name: "no merchant", step: steps(buyerOpens, agrees("seller", "anna")), public: unknown},
	{name: "an arbiter who is not listed", step: steps(buyerOpens, agrees("arbiter", "somebody")), public: unknown},
	{name: "no such purchase", step: steps(doingTo(func(_ *testing.T, _ *family, p *purchase) { p.id = "int_" + strings.Repeat("a", 26) }), buyerAgrees), public: unknown},
	{name: "agreed twice", step: steps(buyerOpens, buyerAgrees, arbiterAgrees), public: []string{"escrow_agreed"}},
	{name: "a frozen seller", world: func(p *purchase, _ *authzstore.Account) { p.payee = "mer_closed" }, step: steps(buyerOpens, agrees("seller", "closed")), public: []string{"merchant_frozen"}},
	{name: "the buyer as the seller", world: bought("bakery"), step: steps(buyerOpens, sellerAgrees), public: []string{"escrow_same_person"}},
	{name: "the buyer as the arbiter", world: bought("ombudsman"), step: steps(buyerOpens, arbiterAgrees), public: []string{"escrow_same_person"}},
}

// bought makes the buyer a person who is another one of the three too.
func bought(subject string) func(*purchase, *authzstore.Account) {
	return func(p *purchase, a *authzstore.Account) { p.buyer, a.Owner = subject, user(subject) }
}

var escrowReleaseCases = []escrowCase{
	{name: "released before one has agreed", step: steps(buyerOpens, sellerReleases), public: []string{"escrow_not_agreed"}},
	{name: "released by another merchant", step: steps(buyerOpens, buyerAgrees, releases("seller", "casino")), public: unknown},
	{name: "released by a user who is not the buyer", step: steps(buyerOpens, sellerAgrees, releases("buyer", "ben")), public: unknown},
	{name: "released by an arbiter who is not listed", step: steps(buyerOpens, sellerAgrees, releases("arbiter", "somebody")), public: unknown},
	{name: "released again, by the buyer", step: steps(buyerOpens, sellerAgrees, buyerReleases, buyerReleases), public: []string{"intent_closed"}},
	{name: "released again, by the seller", step: steps(buyerOpens, buyerAgrees, sellerReleases, sellerReleases), public: unknown, record: []string{"intent_closed"}},
	{name: "exactly the account's limit", world: escrowLimit(80_000), step: steps(buyerOpens, buyerAgrees, sellerReleases)},
	{name: "one minor unit over it: the buyer hears all", world: escrowLimit(79_999), step: steps(buyerOpens, sellerAgrees, buyerReleases),
		public: []string{"amount_over_limit savings 79999 left"}},
	{name: "one minor unit over it: the seller does not hear which", world: escrowLimit(79_999), step: steps(buyerOpens, buyerAgrees, sellerReleases),
		public: []string{"payment_over_limit"}, record: []string{"amount_over_limit savings 79999 left"}},
	{name: "the account was frozen since", step: steps(buyerOpens, buyerAgrees, buyerStops, sellerReleases),
		public: []string{"payment_not_authorised"}, record: []string{"account_frozen"}},
}

func escrowLimit(minor int64) func(*purchase, *authzstore.Account) {
	return func(_ *purchase, a *authzstore.Account) {
		a.Limits = []authzstore.Limit{{Name: "savings", MaxAmountMinor: minor, Period: authzstore.Period{Kind: authzstore.Lifetime}}}
	}
}

// escrowTimeCases need a clock that stands still.
var escrowTimeCases = []escrowCase{
	{name: "agreed at the last instant", step: steps(buyerOpens, runs(escrowLife), sellerAgrees)},
	{name: "agreed one nanosecond later: the seller is not told", step: steps(buyerOpens, runs(escrowLife+1), sellerAgrees), public: unknown, record: []string{"intent_expired"}},
	{name: "agreed one nanosecond later: the buyer is told", step: steps(buyerOpens, runs(escrowLife+1), buyerAgrees), public: []string{"intent_expired"}},
	{name: "released at the last instant", step: steps(buyerOpens, sellerAgrees, runs(escrowLife), arbiterReleases)},
	{name: "released one nanosecond later", step: steps(buyerOpens, sellerAgrees, runs(escrowLife+1), buyerReleases), public: []string{"intent_expired"}},
}

func runs(d time.Duration) purchaseStep {
	return doingTo(func(_ *testing.T, f *family, _ *purchase) { f.clock.move(d) })
}

// escrowFiles adds the example's files to a bundle.
func escrowFiles(t *testing.T, files fstest.MapFS) fstest.MapFS {
	t.Helper()
	for name, file := range readTree(t, os.DirFS("../escrow")) {
		if strings.HasSuffix(name, ".go") {
			continue
		}
		if _, built := files[name]; built {
			t.Errorf("%s takes the place of a built-in file", name)
		}
		files[name] = file
	}
	return files
}

// The purchase that is paid, all that the payment service reads of it, and its time.
func TestEscrowInTime(t *testing.T) {
	cases := append([]escrowCase{{}}, escrowTimeCases...)
	purchases, accounts := escrowWorld(cases)
	f := newFamily(t, escrowFiles(t, onlySystems(t, "direct_payment")), accounts)
	p := purchases[0]
	open := func() response {
		return f.keyed(t, "house", p.buyer, http.MethodPost, "/v1/escrows", map[string]any{"account": p.account, "payee": p.payee, "amount_minor": 80_000, "currency": "EUR"})
	}
	p.id = open().Header.Get("Countersign-Intent-Id")
	if claims := f.verified(t, lastPaid(t)); p.id == "" || claims.Intent != p.id || claims.ReservationID != "" {
		t.Errorf("ID %q, the payment service reads %+v", p.id, claims)
	}
	if again := open(); again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Intent-Id") != p.id || f.intentsOf(t, p.account) != 1 {
		t.Errorf("again: status %d, ID %q, want %q", again.StatusCode, again.Header.Get("Countersign-Intent-Id"), p.id)
	}
	if resp := steps(arbiterAgrees, sellerReleases)(t, f, p); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	if claims := f.verified(t, lastPaid(t)); claims.Intent != p.id || claims.Account != p.account || claims.Payee != p.payee || claims.AmountMinor != 80_000 || claims.ReservationID == "" {
		t.Errorf("the payment service reads %+v", claims)
	}
	if minor, payments := f.spent(t, p.account); minor != 80_000 || payments != 1 {
		t.Errorf("%d spent in %d payments", minor, payments)
	}
	runEscrow(t, f, cases[1:], purchases[1:])
}

// Who runs the program with the example beside the built-in systems has the escrow, as
// docs/adding_a_system.md says.
func TestEscrowOnTheProgram(t *testing.T) {
	cases := slices.Concat(escrowOpenCases, escrowPairs(), escrowAgreeCases, escrowReleaseCases)
	purchases, accounts := escrowWorld(cases)
	f, _ := newProgram(t, escrowFiles(t, policiestest.All(t)), accounts, nil)
	runEscrow(t, f, cases, purchases)
}
