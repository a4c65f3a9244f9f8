package decide_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// grantRoutes are a table with every built-in operation, and payments by a grant.
const grantRoutes = `system: delegation
identity: {source: jwt, issuer: "https://id.example", kind: user}
upstream: {audience: payments.example, idempotent: true, expires: 2h}
routes:
- match: {method: POST, path: /payments}
  operation: pay
  fields:
    payment_code: {json: /code, secret: true, evidence: payment_code}
    payee: {json: /payee}
    amount_minor: {json: /amount_minor}
    currency: {json: /currency}
  facts: {grant: write, merchant: read}
- match: {method: POST, path: "/grants/{grant}/payments"}
  operation: pay
  fields:
    grant: {path: grant}
    payment_code: {json: /code, secret: true, evidence: payment_code}
    payee: {json: /payee}
    amount_minor: {json: /amount_minor}
    currency: {json: /currency}
  facts: {grant: write}
- match: {method: POST, path: "/accounts/{account}/grants"}
  operation: offer_grant
  does: offer_grant
  fields:
    account: {path: account}
    delegate_kind: {json: /kind}
    delegate_issuer: {json: /issuer}
    delegate_subject: {json: /subject}
    terms: {json: /terms}
  facts: {account: write}
- {match: {method: PATCH, path: "/grants/{grant}"}, operation: change_grant, does: change_grant, fields: {grant: {path: grant}, terms: {json: /terms}}, facts: {grant: write}}
- {match: {method: GET, path: "/grants/{grant}"}, operation: view_grant, does: view_grant, fields: {grant: {path: grant}}, facts: {grant: read}}
- {match: {method: GET, path: "/accounts/{account}"}, operation: view_account, does: view_account, fields: {account: {path: account}}, facts: {account: read}}
- {match: {method: GET, path: "/accounts/{account}/grants"}, operation: list_grants, does: list_grants, fields: {account: {path: account}}, facts: {account: read}}
- {match: {method: GET, path: /delegations}, operation: list_delegations, does: list_delegations}
`

// toGrants and toAccounts are routes of one form each.
var toGrants = []string{"accept_grant", "decline_grant", "freeze_grant", "unfreeze_grant", "revoke_grant", "end_grant", "fetch_parameters", "reissue_parameters"}
var toAccounts = []string{"freeze_account", "unfreeze_account"}

func allGrantRoutes() string {
	text := grantRoutes
	for _, does := range toGrants {
		text += fmt.Sprintf("- {match: {method: POST, path: \"/grants/{grant}/%s\"}, operation: %s, does: %s, fields: {grant: {path: grant}}, facts: {grant: write}}\n", does, does, does)
	}
	for _, does := range toAccounts {
		text += fmt.Sprintf("- {match: {method: POST, path: \"/accounts/{account}/%s\"}, operation: %s, does: %s, fields: {account: {path: account}}, facts: {account: write}}\n", does, does, does)
	}
	return text
}

// grantRules are rules enough to see what Go does beside them: who may do what is not
// among them.
const grantRules = `package payments

decision := {"allow": count(reasons) == 0, "reasons": reasons, "public_reasons": reasons, "effects": effects}

reasons contains {"code": "payment_code_invalid", "message": "No."} if {
	input.call.operation == "pay"
	not input.evidence.payment_code.matched
}

reasons contains {"code": "not_active", "message": "No."} if {
	input.call.operation == "pay"
	not active
}

active if {
	input.facts.grant.state == "active"
	input.facts.account.state == "active"
}

reasons contains {"code": "over_limit", "message": "No.", "limit": limit.name, "remaining_minor": limit.amount.remaining_minor} if {
	input.call.operation == "pay"
	some limit in input.facts.grant.limits
	input.call.amount_minor > limit.amount.remaining_minor
}

effects contains {"type": "reserve", "account": input.facts.account.id, "grant": input.facts.grant.id, "payee": input.call.payee,
	"amount_minor": input.call.amount_minor, "currency": input.call.currency} if {
	input.call.operation == "pay"
	count(reasons) == 0
}
`

func grantBundle(t testing.TB, rules string) *bundle.Bundle {
	t.Helper()
	table, err := call.Load(fstest.MapFS{"systems/delegation/routes.yaml": {Data: []byte(allGrantRoutes())}}, call.Vocabulary{Evidence: []string{"payment_code"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(context.Background(), fstest.MapFS{"decision.rego": {Data: []byte(rules)}}, policy.Config{Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Bundle{Digest: "sha256:test", Routes: table, Policy: p}
}

// handleCode is a payment code for tests: HANDLE-STEP, or HANDLE-STEP-wrong. As the
// real one, it is used up by whatever it is evaluated for.
type handleCode struct{}

func parseCode(secret string) (handle string, step int64, right bool) {
	parts := strings.Split(secret, "-")
	if len(parts) < 2 {
		return "none", 1, false
	}
	step, _ = strconv.ParseInt(parts[1], 10, 64)
	return parts[0], max(1, step), len(parts) == 2
}

var handleAllowance = authzstore.Allowance{Max: 5, WindowNanos: int64(time.Hour)}

func handleBudget(c call.Call, handle string) string {
	return "payment_code/" + handle + "/" + c.Identity.Subject
}

func (handleCode) Lead(r authzstore.Reader, _ call.Call, secret string) (string, error) {
	handle, _, _ := parseCode(secret)
	c, _, err := r.Credential(handle)
	return c.Grant, err
}

func (handleCode) Refs(a evidence.About, secret string) []kv.Ref {
	handle, _, _ := parseCode(secret)
	return []kv.Ref{authzstore.CredentialRef(handle, kv.Shared), authzstore.UseRef("code/" + handle), authzstore.AttemptsRef(handleBudget(a.Call, handle))}
}

func (handleCode) Check(tx *authzstore.Tx, a evidence.About, secret string) (evidence.Finding, error) {
	handle, step, right := parseCode(secret)
	credential, ok, err := tx.Credential(handle)
	return evidence.Finding{
		Matched: ok && right && !credential.Ended && credential.FetchedBy != "",
		Thing:   "code/" + handle, Step: step, UsedWhenDenied: true,
		Budgets: []evidence.Budget{{Name: handleBudget(a.Call, handle), Allowance: handleAllowance}},
	}, err
}

// grantWorld is a world where Anna owns an account, from which Ben may be let pay.
type grantWorld struct {
	*world
	store *authzstore.Store

	mu    sync.Mutex
	rules *bundle.Bundle
}

func newGrantWorld(t testing.TB, changes ...func(*decide.Config)) *grantWorld {
	t.Helper()
	g := &grantWorld{rules: grantBundle(t, grantRules)}
	g.world = newWorld(t, append([]func(*decide.Config){func(cfg *decide.Config) {
		cfg.Bundle = func() *bundle.Bundle {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.rules
		}
		cfg.Evidence = map[string]evidence.Kind{"payment_code": handleCode{}}
		cfg.NewCredential = newCredential
	}}, changes...)...)
	g.store = authzstore.New(g.backend)
	g.putMerchant(t, bakery())
	return g
}

// bakery is a merchant with a till.
func bakery() authzstore.Merchant {
	return authzstore.Merchant{ID: "mer_bakery", Name: "Bakery", Category: "5462", Country: "DE", State: authzstore.MerchantActive,
		Channels: []authzstore.MerchantChannel{{Channel: "shop", Identity: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "bakery"}}}}
}

// putMerchant writes a merchant in place of the bakery as it was.
func (g *grantWorld) putMerchant(t testing.TB, m authzstore.Merchant) {
	t.Helper()
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: anna().Owner, NowNanos: noon.UnixNano()}
	err := g.store.Update(context.Background(), cause, authzstore.MerchantRefs(m, bakery()), func(tx *authzstore.Tx) error { return tx.PutMerchant(m) })
	if err != nil {
		t.Fatal(err)
	}
}

func newCredential() (authzstore.Credential, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1e10))
	return authzstore.Credential{Handle: fmt.Sprintf("%010d", n), Sealed: []byte("sealed"), Digits: 6, PeriodSeconds: 30, Algorithm: "SHA1"}, err
}

// use has other rules decide from now on.
func (g *grantWorld) use(t testing.TB, rules string) {
	t.Helper()
	b := grantBundle(t, rules)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = b
}

// request is a call by a user, under a key unless it is "".
func request(subject, method, path, body, key string) call.Request {
	req := payment(body)
	req.Method, req.Path, req.Claims["sub"] = method, path, subject
	req.Headers = req.Headers[:0]
	if body != "" {
		req.Headers = append(req.Headers, call.Header{Name: "content-type", Value: []byte("application/json")})
	}
	if key != "" {
		req.Headers = append(req.Headers, call.Header{Name: "idempotency-key", Value: []byte(key)})
	}
	return req
}

func nextKey() string { return fmt.Sprint("next-", keys.Add(1)) }

const lifetimeTerms = `{"currency": "EUR", "max_payment_minor": 2000, "limits": [{"name": "total", "period": {"kind": "lifetime"}, "max_amount_minor": 5000}],
	"valid_from": {"mode": "any"}, "valid_to": {"mode": "any"}, "merchants": {"mode": "any"}, "categories": {"mode": "any"}, "countries": {"mode": "any"},
	"channels": {"mode": "any"}, "hours": {"mode": "any"}, "cooling": {"mode": "none"}, "delegation": "full", "refund_restores": false}`

func offerRequest(terms, key string) call.Request {
	return request("anna", "POST", "/accounts/acc_anna/grants", `{"kind": "user", "issuer": "https://id.example", "subject": "ben", "terms": `+terms+`}`, key)
}

// does is a call of a built-in operation on a grant.
func does(subject, operation, grant, key string) call.Request {
	return request(subject, "POST", "/grants/"+grant+"/"+operation, "", key)
}

func codePayment(code string, amountMinor int64, key string) call.Request {
	body, err := json.Marshal(map[string]any{"code": code, "payee": "mer_bakery", "amount_minor": amountMinor, "currency": "EUR"})
	if err != nil {
		panic(err)
	}
	return request("bakery", "POST", "/payments", string(body), key)
}

func (g *grantWorld) grant(t testing.TB, id string) (grant authzstore.Grant, c authzstore.Credential, u authzstore.Usage) {
	t.Helper()
	err := g.store.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		if grant, _, err = s.Grant(id); err != nil {
			return err
		}
		if u, err = s.Usage(id); err != nil || grant.Handle == "" {
			return err
		}
		c, _, err = s.Credential(grant.Handle)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return grant, c, u
}

// active returns the ID of a grant that Ben has accepted and fetched, and its handle.
func (g *grantWorld) active(t testing.TB) (id, handle string) {
	t.Helper()
	d := g.decide(offerRequest(lifetimeTerms, nextKey()))
	want(t, d, decide.Allow, 0)
	id = d.Execution.Grant
	want(t, g.decide(does("ben", "accept_grant", id, nextKey())), decide.Allow, 0)
	want(t, g.decide(does("ben", "fetch_parameters", id, nextKey())), decide.Allow, 0)
	grant, _, _ := g.grant(t, id)
	return id, grant.Handle
}

func (g *grantWorld) clean(t testing.TB) {
	t.Helper()
	clean(t, g.store)
}

// movingUpdate does something before each Update.
func movingUpdate(backend kv.Store, before func()) func(context.Context, []kv.Ref, func(kv.Tx) error) error {
	return func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
		before()
		return backend.Update(ctx, refs, fn)
	}
}
