package envoy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// What owner and delegate may do with a grant, through Envoy: the right call from the
// wrong caller, each call in a wrong state, and offers within the operator's bounds.

// A trial is what somebody tries with a grant, and what comes of it.
type trial struct {
	name    string
	state   string // of the grant: "" for none, offered, active, frozen, revoked, declined, ended
	subject string
	call    string // method and path; $grant and $account are those of the case
	terms   func(*authzstore.Terms, time.Time)
	to      string   // whom an offer is to; ben unless said
	status  int      // 0 means 403
	told    []string // what the caller hears, where it is refused
}

const (
	offerCall  = "POST accounts/$account/grants"
	changeCall = "PATCH grants/$grant"
)

var trials = []trial{
	{name: "an offer by a stranger", subject: "carl", call: offerCall, told: []string{"account_unknown"}},
	{name: "an offer of a delegate, who passes it on", state: "active", subject: "ben", call: offerCall, to: "carl", told: []string{"account_unknown"}},
	{name: "an offer on an account that there is not", subject: "anna", call: "POST accounts/acc_nobodys/grants", told: []string{"account_unknown"}},
	{name: "an offer to herself", subject: "anna", call: offerCall, to: "anna", told: []string{"delegate_is_owner"}},
	{name: "the most for one payment", subject: "anna", call: offerCall, terms: maxPayment(500_000), status: 201},
	{name: "one minor unit more", subject: "anna", call: offerCall, terms: maxPayment(500_001),
		told: []string{"terms_payment_maximum_too_high payment 500000 left"}},
	{name: "an offer in another currency", subject: "anna", call: offerCall, terms: inDollars, told: []string{"terms_currency_not_account"}},
	{name: "an offer until this instant", subject: "anna", call: offerCall, terms: to(0), status: 201},
	{name: "an offer until the instant before", subject: "anna", call: offerCall, terms: to(-1), told: []string{"terms_expired"}},
	{name: "an offer without limits", subject: "anna", call: offerCall, terms: limited(), status: 400, told: []string{"terms_invalid"}},

	{name: "accepted by the owner", state: "offered", subject: "anna", call: "POST grants/$grant/accept", told: []string{"grant_delegate_required"}},
	{name: "accepted by a stranger", state: "offered", subject: "carl", call: "POST grants/$grant/accept", told: []string{"grant_unknown"}},
	{name: "accepted twice", state: "active", subject: "ben", call: "POST grants/$grant/accept", told: []string{"grant_active"}},
	{name: "accepted after it was declined", state: "declined", subject: "ben", call: "POST grants/$grant/accept", told: []string{"grant_declined"}},
	{name: "accepted after it was revoked", state: "revoked", subject: "ben", call: "POST grants/$grant/accept", told: []string{"grant_revoked"}},
	{name: "declined after it was accepted", state: "active", subject: "ben", call: "POST grants/$grant/decline", told: []string{"grant_active"}},
	{name: "declined by a stranger", state: "offered", subject: "carl", call: "POST grants/$grant/decline", told: []string{"grant_unknown"}},
	{name: "given up before it was accepted", state: "offered", subject: "ben", call: "POST grants/$grant/end", told: []string{"grant_not_accepted"}},
	{name: "given up by the owner", state: "active", subject: "anna", call: "POST grants/$grant/end", told: []string{"grant_delegate_required"}},
	{name: "given up twice", state: "ended", subject: "ben", call: "POST grants/$grant/end", told: []string{"grant_ended"}},
	{name: "parameters for the owner", state: "active", subject: "anna", call: "POST grants/$grant/parameters", told: []string{"grant_delegate_required"}},
	{name: "parameters for a stranger", state: "active", subject: "carl", call: "POST grants/$grant/parameters", told: []string{"grant_unknown"}},
	{name: "parameters a second time", state: "active", subject: "ben", call: "POST grants/$grant/parameters", status: 409, told: []string{"parameters_fetched"}},
	{name: "parameters before acceptance", state: "offered", subject: "ben", call: "POST grants/$grant/parameters", told: []string{"grant_not_accepted"}},

	{name: "widened by the delegate", state: "active", subject: "ben", call: changeCall, terms: maxPayment(200_000), told: []string{"grant_owner_required"}},
	{name: "changed by a stranger", state: "active", subject: "carl", call: changeCall, told: []string{"grant_unknown"}},
	{name: "changed to another currency", state: "active", subject: "anna", call: changeCall, terms: inDollars, told: []string{"terms_currency_not_grant"}},
	{name: "changed beyond the operator's bound", state: "active", subject: "anna", call: changeCall, terms: maxPayment(500_001),
		told: []string{"terms_payment_maximum_too_high payment 500000 left"}},
	{name: "a limit of another period", state: "active", subject: "anna", call: changeCall,
		terms:  limited(authzstore.Limit{Name: "total", MaxAmountMinor: 1, Period: calendar(authzstore.Day)}),
		status: 422, told: []string{"grant_change_invalid"}},
	{name: "changed after it was revoked", state: "revoked", subject: "anna", call: changeCall, told: []string{"grant_revoked"}},
	{name: "frozen by the delegate", state: "active", subject: "ben", call: "POST grants/$grant/freeze", told: []string{"grant_owner_required"}},
	{name: "frozen by a stranger", state: "active", subject: "carl", call: "POST grants/$grant/freeze", told: []string{"grant_unknown"}},
	{name: "frozen before it was accepted", state: "offered", subject: "anna", call: "POST grants/$grant/freeze", told: []string{"grant_not_accepted"}},
	{name: "frozen twice", state: "frozen", subject: "anna", call: "POST grants/$grant/freeze", told: []string{"grant_frozen"}},
	{name: "unfrozen by the delegate", state: "frozen", subject: "ben", call: "POST grants/$grant/unfreeze", told: []string{"grant_owner_required"}},
	{name: "unfrozen while it is active", state: "active", subject: "anna", call: "POST grants/$grant/unfreeze", told: []string{"grant_active"}},
	{name: "revoked by the delegate", state: "active", subject: "ben", call: "POST grants/$grant/revoke", told: []string{"grant_owner_required"}},
	{name: "revoked by a stranger", state: "active", subject: "carl", call: "POST grants/$grant/revoke", told: []string{"grant_unknown"}},
	{name: "revoked twice", state: "revoked", subject: "anna", call: "POST grants/$grant/revoke", told: []string{"grant_revoked"}},
	{name: "issued anew for the delegate", state: "active", subject: "ben", call: "POST grants/$grant/reissue", told: []string{"grant_owner_required"}},
	{name: "issued anew before acceptance", state: "offered", subject: "anna", call: "POST grants/$grant/reissue", told: []string{"grant_not_accepted"}},

	{name: "looked at by a stranger", state: "active", subject: "carl", call: "GET grants/$grant", told: []string{"grant_unknown"}},
	{name: "a grant that there is not", subject: "anna", call: "GET grants/grt_nobodys", told: []string{"grant_unknown"}},
	{name: "the grants of somebody else's account", state: "active", subject: "ben", call: "GET accounts/$account/grants", told: []string{"account_unknown"}},
	{name: "somebody else's account", state: "active", subject: "ben", call: "GET accounts/$account", told: []string{"account_unknown"}},
	{name: "somebody else's account, frozen", state: "active", subject: "ben", call: "POST accounts/$account/freeze", told: []string{"account_unknown"}},
	{name: "looked at by its owner", state: "ended", subject: "anna", call: "GET grants/$grant", status: 200},
	{name: "looked at by its delegate", state: "frozen", subject: "ben", call: "GET grants/$grant", status: 200},
	{name: "a page of the account's grants", state: "offered", subject: "anna", call: "GET accounts/$account/grants?limit=1", status: 200},
	{name: "the caller's own delegations", state: "offered", subject: "carl", call: "GET delegations", status: 200},
}

func inDollars(terms *authzstore.Terms, _ time.Time) { terms.Currency = "USD" }

func TestDelegatedGrants(t *testing.T) {
	var accounts []authzstore.Account
	for i := range len(trials) + 1 {
		accounts = append(accounts, authzstore.Account{ID: accountID(i), Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40})
	}
	f := newFamily(t, tuned(t), accounts)
	for i, c := range trials {
		t.Run(c.name, func(t *testing.T) { c.run(t, f, accountID(i)) })
	}
	t.Run("at most five delegates", func(t *testing.T) { f.fillDelegates(t, accountID(len(trials))) })
	t.Run("a frozen account", func(t *testing.T) { f.freezeAccount(t, accountID(len(trials))) })
}

func (c trial) run(t *testing.T, f *family, account string) {
	f.clock.move(step)
	grant := f.grantIn(t, account, c.state)
	method, path, _ := strings.Cut(c.call, " ")
	path = "/countersign/v1/" + strings.NewReplacer("$grant", grant, "$account", account).Replace(path)
	terms := freeTerms()
	if c.terms != nil {
		c.terms(&terms, f.clock.wall())
	}
	var body any
	switch {
	case method == http.MethodPatch:
		body = map[string]any{"terms": terms}
	case c.call == offerCall || strings.HasSuffix(path, "/grants") && method == http.MethodPost:
		body = offerOf(orBen(c.to), terms)
	}
	resp := f.call(t, c.subject, method, path, body)
	want := c.status
	if want == 0 {
		want = http.StatusForbidden
	}
	if resp.StatusCode != want {
		t.Fatalf("status %d, want %d: %s", resp.StatusCode, want, resp.body)
	}
	if len(c.told) == 0 {
		return
	}
	if got := publicOf(t, resp); !slices.Equal(got, c.told) {
		t.Errorf("the caller hears %q, want %q", got, c.told)
	}
	if want == http.StatusForbidden {
		if got := told(f.records.of(t, resp).Reasons); !slices.Equal(got, c.told) {
			t.Errorf("the record has %q, want %q", got, c.told)
		}
	}
}

func orBen(subject string) string {
	if subject == "" {
		return "ben"
	}
	return subject
}

// grantIn makes a grant of Anna's to Ben, in a state; "" makes none.
func (f *family) grantIn(t *testing.T, account, state string) (id string) {
	t.Helper()
	if state == "" {
		return ""
	}
	id = f.offer(t, account, freeTerms())
	post := func(subject, what string) { f.do(t, subject, http.MethodPost, grantPath(id, what), nil, nil) }
	switch state {
	case "offered":
		return id
	case "declined":
		post("ben", "decline")
		return id
	}
	f.accept(t, id)
	switch state {
	case "frozen":
		post("anna", "freeze")
	case "revoked":
		post("anna", "revoke")
	case "ended":
		post("ben", "end")
	}
	return id
}

// fillDelegates: the fifth open grant is one, the sixth is not, until one is gone.
func (f *family) fillDelegates(t *testing.T, account string) {
	path := "/countersign/v1/accounts/" + account + "/grants"
	var last string
	for i := range 5 {
		var shown struct{ ID string }
		f.do(t, "anna", http.MethodPost, path, offerOf(fmt.Sprintf("child-%d", i), freeTerms()), &shown)
		last = shown.ID
	}
	resp := f.call(t, "anna", http.MethodPost, path, offerOf("child-5", freeTerms()))
	want := []string{"delegates_over_maximum max_delegates 0 payments left"}
	if got := publicOf(t, resp); resp.StatusCode != http.StatusForbidden || !slices.Equal(got, want) {
		t.Errorf("the sixth: status %d, %q, want %q", resp.StatusCode, got, want)
	}
	f.do(t, "child-4", http.MethodPost, grantPath(last, "decline"), nil, nil)
	f.do(t, "anna", http.MethodPost, path, offerOf("child-5", freeTerms()), nil)
}

// freezeAccount: it can be frozen once, and nothing is offered on it then.
func (f *family) freezeAccount(t *testing.T, account string) {
	path := "/countersign/v1/accounts/" + account
	f.do(t, "anna", http.MethodPost, path+"/freeze", nil, nil)
	for _, again := range []response{
		f.call(t, "anna", http.MethodPost, path+"/freeze", nil),
		f.call(t, "anna", http.MethodPost, path+"/grants", offerOf("ben", freeTerms())),
	} {
		if got := publicOf(t, again); again.StatusCode != http.StatusForbidden || !slices.Contains(got, "account_frozen") {
			t.Errorf("status %d, %q", again.StatusCode, got)
		}
	}
	f.do(t, "anna", http.MethodGet, path, nil, nil)
}
