package sidecar_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/sidecar/replay/replaytest"
)

func TestPayments(t *testing.T) {
	start(t, nil)
	for name, test := range map[string]struct {
		request request
		status  int
		code    string
	}{
		"allowed":                        {good(), 201, ""},
		"exactly the maximum":            {with(func(r *request) { r.body = strings.Replace(r.body, "1250", "50000", 1) }), 201, ""},
		"one over the maximum":           {with(func(r *request) { r.body = strings.Replace(r.body, "1250", "50001", 1) }), 403, "amount_over_payment_maximum"},
		"another currency":               {with(func(r *request) { r.body = strings.Replace(r.body, "EUR", "USD", 1) }), 403, "currency_not_account"},
		"frozen account":                 {with(func(r *request) { r.path, r.caller = "/v1/accounts/acc_ben/payments", "ben" }), 403, "account_frozen"},
		"somebody else's account":        {with(func(r *request) { r.path = "/v1/accounts/acc_ben/payments" }), 403, "account_unknown"},
		"no such account":                {with(func(r *request) { r.path = "/v1/accounts/acc_nobody/payments" }), 403, "account_unknown"},
		"unknown route":                  {with(func(r *request) { r.path = "/v1/refunds" }), 403, "no_route"},
		"unknown method":                 {with(func(r *request) { r.method = http.MethodPut }), 403, "no_route"},
		"path in other letters":          {with(func(r *request) { r.path = "/V1/accounts/acc_anna/payments" }), 403, "no_route"},
		"a slash at the end":             {with(func(r *request) { r.path += "/" }), 400, "path_not_canonical"},
		"an encoded letter":              {with(func(r *request) { r.path = "/v1/accounts/acc_ann%61/payments" }), 201, ""},
		"a query":                        {with(func(r *request) { r.path += "?amount_minor=1" }), 400, "query_unexpected"},
		"no idempotency key":             {with(func(r *request) { r.header.Del("idempotency-key") }), 400, "idempotency_key_missing"},
		"a currency that is no more":     {with(func(r *request) { r.body = strings.Replace(r.body, "EUR", "DEM", 1) }), 400, "field_invalid"},
		"no token":                       {with(func(r *request) { r.caller = "" }), 401, ""},
		"broken body":                    {with(func(r *request) { r.body = `{"payee": ` }), 400, "body_syntax"},
		"two amounts":                    {with(func(r *request) { r.body = strings.Replace(r.body, "{", `{"Amount_Minor": 1, `, 1) }), 400, "body_duplicate_member"},
		"a number of ten million digits": {with(func(r *request) { r.body = strings.Replace(r.body, "1250", "1e9999999", 1) }), 400, "body_number_out_of_range"},
		"the same, not mapped":           {with(func(r *request) { r.body = strings.Replace(r.body, "{", `{"x": [1e9999999], `, 1) }), 400, "body_number_out_of_range"},
		"payee missing":                  {with(func(r *request) { r.body = strings.Replace(r.body, "payee", "paye", 1) }), 400, "field_missing"},
		"amount missing":                 {with(func(r *request) { r.body = strings.Replace(r.body, "amount_minor", "amount", 1) }), 400, "field_missing"},
		"currency missing":               {with(func(r *request) { r.body = strings.Replace(r.body, "currency", "money", 1) }), 400, "field_missing"},
		"empty object":                   {with(func(r *request) { r.body = `{}` }), 400, "field_missing"},
		"no body":                        {with(func(r *request) { r.body = "" }), 400, "body_empty"},
		"a form":                         {with(func(r *request) { r.header.Set("content-type", "application/x-www-form-urlencoded") }), 415, "media_type_unsupported"},
		"compressed":                     {with(func(r *request) { r.header.Set("content-encoding", "gzip") }), 415, "content_encoding_unsupported"},
		"body over Envoy's limit":        {with(func(r *request) { r.body += strings.Repeat(" ", 65536) }), 413, ""},
		"body at Envoy's limit":          {with(func(r *request) { r.body += strings.Repeat(" ", 65536-len(r.body)) }), 201, ""},
		"a second content type":          {with(func(r *request) { r.header.Add("content-type", "text/plain") }), 400, "header_duplicate"},
		"an upgrade":                     {with(func(r *request) { r.header.Set("connection", "upgrade"); r.header.Set("upgrade", "websocket") }), 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := send(t, test.request)
			if got.status != test.status || got.code != test.code {
				t.Errorf("got %d %q, want %d %q: %s", got.status, got.code, test.status, test.code, got.body)
			}
			if wantReached := map[bool]int{true: 1}[test.status == 201]; got.reached != wantReached {
				t.Errorf("%d requests reached the upstream, want %d", got.reached, wantReached)
			}
		})
	}
}

func TestDecisionIDReachesCallerAndUpstream(t *testing.T) {
	start(t, nil)
	forged := with(func(r *request) {
		r.header["Countersign-Decision-Id"] = []string{"dec_forged", "dec_forged2"}
		r.header.Set("countersign-amount-minor", "1")
	})
	got := send(t, forged)
	executed := upstream().Executed()
	id := got.header.Values("countersign-decision-id")
	if len(id) != 1 || !strings.HasPrefix(id[0], "dec_") || strings.HasPrefix(id[0], "dec_forged") {
		t.Fatalf("decision ID for the caller: %q", id)
	}
	if last := executed[len(executed)-1]; last.DecisionID != id[0] {
		t.Errorf("decision ID at the upstream is %q, the caller got %q", last.DecisionID, id[0])
	}
	denied := send(t, with(func(r *request) { r.path = "/v1/refunds" }))
	if id := denied.header.Get("countersign-decision-id"); !strings.HasPrefix(id, "dec_") {
		t.Errorf("decision ID of a denial: %q", id)
	}
}

// evil makes the policy fail for some payees.
const evil = `package payments.systems.direct_payment

deny contains reason if {
	input.call.payee == "mer_error"
	1 / (input.call.amount_minor - input.call.amount_minor) == 1
	reason := {}
}

permit := "yes" if input.call.payee == "mer_conflict"

deny contains "not a reason" if input.call.payee == "mer_garbage"

on_allow contains {"type": "give_money_back"} if input.call.payee == "mer_effect"

deny contains reason if {
	input.call.payee == "mer_loop"
	some i in numbers.range(1, 1000)
	some j in numbers.range(1, 1000)
	some k in numbers.range(1, 1000)
	i + j + k == 0
	reason := {}
}
`

func TestEvilPolicyIsClosedAndAlone(t *testing.T) {
	r := start(t, bundleWith(t, evil))
	want := map[string]struct {
		status int
		code   string
	}{
		"mer_error":    {500, "policy_defect"},
		"mer_conflict": {500, "policy_defect"},
		"mer_garbage":  {500, "policy_defect"},
		"mer_effect":   {500, "policy_defect"},
		"mer_loop":     {503, "decision_timeout"},
		"mer_bakery":   {201, ""},
	}
	executedBefore := len(upstream().Executed())
	const rounds = 10
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{} // by code
	for payee, want := range want {
		wg.Go(func() {
			for range rounds {
				got := answer{code: "overloaded"}
				// All of them are of one account, and the endless one holds it for its
				// budget: on a busy machine the others are told to try again.
				for tries := 0; got.code == "overloaded" && tries < 100; tries++ {
					got = send(t, with(func(r *request) { r.body = strings.Replace(r.body, "mer_bakery", payee, 1) }))
				}
				mu.Lock()
				answers[got.code]++
				mu.Unlock()
				if got.status != want.status || got.code != want.code {
					t.Errorf("%s: got %d %s, want %d %s: %s %v", payee, got.status, got.code, want.status, want.code, got.body, got.header)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range upstream().Executed()[executedBefore:] {
		if p.Payee != "mer_bakery" {
			t.Errorf("%s was paid", p.Payee)
		}
	}
	if n := len(upstream().Executed()) - executedBefore; n != rounds {
		t.Errorf("%d payments were executed, want %d", n, rounds)
	}
	_, tally := r.replay(t)
	if want := (replaytest.Tally{Answered: answers[""], Defects: answers["policy_defect"], NoVerdict: answers["decision_timeout"]}); tally != want {
		t.Errorf("replayed %+v, answered %+v", tally, want)
	}
}

// TestReplay: stopping replays what was decided, with both engines, and the decision
// log says the same as the store.
func TestReplay(t *testing.T) {
	r := start(t, nil)
	for _, request := range []request{
		good(),
		with(func(r *request) { r.body = strings.Replace(r.body, "1250", "50001", 1) }),
		with(func(r *request) { r.path, r.caller = "/v1/accounts/acc_ben/payments", "ben" }),
		with(func(r *request) {
			r.body = strings.Replace(r.body, "mer_bakery", "Bäckerei \\\"Süß\\\" \\u2028 Nord", 1)
		}),
		with(func(r *request) { r.path = "/v1/accounts/acc_nobody/payments" }),
	} {
		send(t, request)
	}
	stored, tally := r.replay(t)
	if want := (replaytest.Tally{Answered: 5}); tally != want {
		t.Errorf("replayed %+v, want %+v", tally, want)
	}
	lines := bufio.NewScanner(r.decisions)
	for _, record := range stored {
		line, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || lines.Text() != string(line) {
			t.Errorf("the decision log has %s\nthe store %s", lines.Text(), line)
		}
	}
}
