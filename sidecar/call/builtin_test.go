package call_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/call"
)

// grants is a table of grants: a merchant takes money by a code, or by a grant that
// it names; an owner offers, a delegate accepts and looks.
const grants = `system: pay
identity: {source: jwt, issuer: x, kind: user}
upstream: {audience: pay.example, idempotent: true, expires: 48h}
routes:
- match: {method: POST, path: /payments}
  operation: pay
  fields:
    code: {json: /code, secret: true, evidence: code}
    payee: {json: /payee}
    amount_minor: {json: /amount}
    currency: {json: /currency}
  facts: {grant: write, merchant: read}
- match: {method: POST, path: "/grants/{grant}/payments"}
  operation: pay_by_grant
  upstream: {expires: 90m}
  fields:
    grant: {path: grant}
    payee: {json: /payee}
    amount_minor: {json: /amount}
    currency: {json: /currency}
  facts: {grant: write}
- match: {method: POST, path: "/accounts/{account}/grants"}
  operation: offer
  does: offer_grant
  fields:
    account: {path: account}
    delegate_kind: {json: /kind}
    delegate_issuer: {json: /issuer}
    delegate_subject: {json: /subject}
    terms: {json: /terms, type: grant_terms}
  facts: {account: write}
- match: {method: POST, path: "/grants/{grant}/accept"}
  operation: accept
  does: accept_grant
  fields:
    grant: {path: grant}
  facts: {grant: write}
- match: {method: GET, path: "/grants/{grant}"}
  operation: look
  does: view_grant
  fields:
    grant: {path: grant}
  facts: {grant: read}
- match: {method: GET, path: /delegations}
  operation: list
  does: list_delegations
`

func route(t *testing.T, table *call.Table, operation string) *call.Route {
	t.Helper()
	for _, r := range table.Routes() {
		if r.Operation == operation {
			return r
		}
	}
	t.Fatalf("no operation %s", operation)
	return nil
}

func TestGrantRoutes(t *testing.T) {
	table, err := loadWith(grants, evidence)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		operation, does, audience, key, facts string
		money, byGrant                        bool
		expires                               time.Duration
	}{
		{"pay", "", "pay.example", "header idempotency-key", "grant account merchant", true, true, 48 * time.Hour},
		{"pay_by_grant", "", "pay.example", "header idempotency-key", "grant account", true, true, 90 * time.Minute},
		{"offer", "offer_grant", "countersign", "header idempotency-key", "account", false, false, 0},
		{"accept", "accept_grant", "countersign", "header idempotency-key", "grant account", false, false, 0},
		{"look", "view_grant", "countersign", "", "grant account", false, false, 0},
		{"list", "list_delegations", "countersign", "", "", false, false, 0},
	} {
		r := route(t, table, c.operation)
		if r.Does != c.does || r.Upstream.Audience != c.audience || r.KeyFrom() != c.key || strings.Join(r.FactsRead(), " ") != c.facts ||
			r.MovesMoney != c.money || r.PaysByGrant() != c.byGrant || r.Upstream.Expires != c.expires {
			t.Errorf("%s: does %q, upstream %+v, key %q, facts %v, moves money %t, by a grant %t", c.operation,
				r.Does, r.Upstream, r.KeyFrom(), r.FactsRead(), r.MovesMoney, r.PaysByGrant())
		}
	}
}

func TestGrantRouteMistakes(t *testing.T) {
	for _, c := range []struct{ name, old, replacement, line, says string }{
		{"no such operation", "does: view_grant", "does: show_grant", "40", `"show_grant" is not one of accept_grant, acknowledge_messages, act_on_intent`},
		{"a field that is missing", "    delegate_issuer: {json: /issuer}\n", "", "24", "offer_grant needs the field delegate_issuer: map it, and not as optional"},
		{"a field that may be missing", "{json: /subject}", "{json: /subject, optional: true}", "24", "offer_grant needs the field delegate_subject: map it, and not as optional"},
		{"a fact that is only read", "  does: accept_grant\n  fields:\n    grant: {path: grant}\n  facts: {grant: write}", "  does: accept_grant\n  fields:\n    grant: {path: grant}\n  facts: {grant: read}", "37", "accept_grant needs the fact grant: write facts: {grant: write}"},
		{"no fact", "  facts: {grant: read}\n", "", "38", "view_grant needs the fact grant: write facts: {grant: read}"},
		{"a key for what changes nothing", "  does: view_grant", "  does: view_grant\n  idempotency: {header: idempotency-key}", "41", "view_grant changes nothing, so a retry of it needs no key"},
		{"an upstream of its own", "  does: view_grant", "  does: view_grant\n  upstream: {audience: x}", "41", "what view_grant does is shown by the sidecar itself: leave upstream out"},
		{"money too", "    terms: {json: /terms, type: grant_terms}", "    terms: {json: /terms}\n    amount_minor: {json: /a}\n    currency: {json: /c}\n    payee: {json: /p}", "24", "offer_grant moves no money: map no amount_minor"},
		{"evidence", "  does: accept_grant\n  fields:\n", "  does: accept_grant\n  fields:\n    code: {header: x-code, secret: true, evidence: code}\n", "35", "accept_grant takes no evidence"},
		{"terms of another type", "type: grant_terms}", "type: text}", "30", "field terms: its type is grant_terms: leave type out"},
		{"other terms", "    terms: {json: /terms, type: grant_terms}", "    terms: {json: /terms}\n    other: {json: /other, type: grant_terms}", "31", "field other: only the field terms has the type grant_terms"},
		{"a delegate's token", "{json: /subject}", "{json: /subject, personal: true}", "29", "field delegate_subject: the store knows it as it is: leave personal out"},
		{"terms in a header", "{json: /terms, type: grant_terms}", "{header: x-terms}", "30", "field terms: a grant's terms are an object of JSON"},
		{"a merchant that is written", "merchant: read", "merchant: write", "12", "fact merchant is only read: no effect changes it"},
		{"a grant and an account", "facts: {grant: write, merchant: read}", "facts: {grant: write, account: read}", "12", "fact account is that of the grant, where there is the fact grant: leave account out"},
		{"a grant that may be missing", "    code: {json: /code, secret: true, evidence: code}", "    code: {json: /code, secret: true, evidence: code, optional: true}", "12", "fact grant is looked up by the field grant, or by evidence that leads to one"},
		{"a named grant that may be missing", "    code: {json: /code, secret: true, evidence: code}", "    code: {json: /code, secret: true, evidence: code}\n    grant: {json: /grant, optional: true}", "13", "fact grant is looked up by the field grant: map it not as optional"},
		{"money by a grant that is read", "facts: {grant: write, merchant: read}", "facts: {grant: read}", "12", "the route moves money, so it changes the account: write facts: {account: write}, or {grant: write} where a grant pays"},
		{"expires in days", "expires: 48h", "expires: 2d", "3", `expires "2d" is not from 1m to 2160h`},
		{"expires at once", "expires: 90m", "expires: 59s", "15", `expires "59s" is not from 1m to 2160h`},
		{"expires too late", "expires: 90m", "expires: 2161h", "15", `expires "2161h" is not from 1m to 2160h`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadWith(replaceIn(t, grants, c.old, c.replacement), evidence)
			wantError(t, err, "systems/pay/routes.yaml:"+c.line+": ", c.says)
		})
	}
}

const termsJSON = `{"currency": "EUR", "max_payment_minor": 2000,
	"limits": [{"name": "weekly", "period": {"kind": "week", "alignment": "calendar", "zone": "Europe/Berlin", "week_start": "monday"}, "max_amount_minor": 5000}],
	"valid_from": {"mode": "any"}, "valid_to": {"mode": "at", "at_ns": 1795532400000000001},
	"merchants": {"mode": "any"}, "categories": {"mode": "except", "values": ["5993", "7995"]}, "countries": {"mode": "any"}, "channels": {"mode": "any"},
	"hours": {"mode": "between", "zone": "Europe/Berlin", "from": "07:30", "to": "20:00"},
	"cooling": {"mode": "first", "seconds": 86400, "max_amount_minor": 1000}, "delegation": "full", "refund_restores": false}`

func offer(terms string) call.Request {
	req := post("/accounts/acc_anna/grants", `{"kind": "user", "issuer": "x", "subject": "ben", "terms": `+terms+`}`)
	req.Claims = map[string]any{"iss": "x", "sub": "anna"}
	return req
}

// Terms are read strictly, and are the same however they were written.
func TestTerms(t *testing.T) {
	table, err := loadWith(grants, evidence)
	if err != nil {
		t.Fatal(err)
	}
	c := mustDecode(t, table, offer(termsJSON))
	terms, err := authzstore.ParseTerms([]byte(c.Text("terms")))
	if err != nil || terms.ValidTo.AtNanos != 1795532400000000001 || terms.Limits[0].Period.WeekStart != "monday" || terms.Hours.From != "07:30" {
		t.Errorf("terms %+v, %v", terms, err)
	}
	same := strings.Replace(strings.ReplaceAll(termsJSON, " ", ""), `"currency":"EUR",`, "", 1)
	same = strings.Replace(same, `"delegation"`, `"currency":"\u0045UR","delegation"`, 1)
	if again := mustDecode(t, table, offer(same)); again.Fingerprint() != c.Fingerprint() {
		t.Errorf("the same terms in other words are another call: %s", again.Text("terms"))
	}
	other := mustDecode(t, table, offer(strings.Replace(termsJSON, "2000", "2001", 1)))
	if other.Fingerprint() == c.Fingerprint() {
		t.Error("other terms are the same call")
	}
	for _, bad := range [][2]string{
		{`"max_payment_minor": 2000`, `"max_payment_minor": 2000.5`},
		{`"max_payment_minor": 2000`, `"max_payment_minor": "2000"`},
		{`"hours": {"mode": "between"`, `"hours": {"mode": "sometimes"`},
		{`"merchants": {"mode": "any"}, `, ""},
		{`"merchants": {"mode": "any"}`, `"merchants": null`},
		{`"delegation": "full"`, `"delegation": "full", "note": 1`},
		{`"delegation"`, `"Delegation"`},
		{`Europe/Berlin", "from"`, `Europe/Nowhere", "from"`},
	} {
		if !strings.Contains(termsJSON, bad[0]) {
			t.Fatal(bad[0])
		}
		_, err := table.Decode(offer(strings.Replace(termsJSON, bad[0], bad[1], 1)), call.Keys{})
		refusal, ok := errors.AsType[*call.Refusal](err)
		if !ok || refusal.Code != "terms_invalid" || refusal.Status != 400 || len(refusal.Message) > 256 {
			t.Errorf("%s: %v", bad[1], err)
		}
	}
	for _, none := range []string{"null", `"full"`, "[]", "{}"} {
		if _, err := table.Decode(offer(none), call.Keys{}); err == nil || !strings.HasPrefix(err.Error(), "terms_invalid") {
			t.Errorf("%s: %v", none, err)
		}
	}
}

// Lists can be paged through Envoy: the routes as delivered let the query pass that
// the terminal API reads.
func TestListsPage(t *testing.T) {
	table, err := call.Load(policies.FS, evidence)
	if err != nil {
		t.Fatal(err)
	}
	for does, path := range map[string]string{
		"list_grants":      "/countersign/v1/accounts/acc_anna/grants",
		"list_delegations": "/countersign/v1/delegations",
	} {
		for query, want := range map[string]string{"": "", "?limit=1": "", "?after=grt_1&limit=200": "grt_1"} {
			req := call.Request{Method: "GET", Authority: "pay.example", Path: path + query, Claims: map[string]any{"iss": "https://id.example", "sub": "anna"}}
			c, err := table.Decode(req, call.Keys{})
			if err != nil {
				t.Errorf("%s: %v", req.Path, err)
				continue
			}
			if c.Route.Does != does || c.Text("after") != want {
				t.Errorf("%s: %s after %q, want %q", req.Path, c.Route.Does, c.Text("after"), want)
			}
		}
	}
}
