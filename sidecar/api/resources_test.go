package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/api"
)

const terms = `{"currency": "EUR", "max_payment_minor": 5000,
  "limits": [{"name": "weekly", "max_amount_minor": 9000, "period": {"kind": "week", "alignment": "calendar", "zone": "Europe/Berlin", "week_start": "monday"}}],
  "valid_from": {"mode": "any"}, "valid_to": {"mode": "at", "at_ns": 1900000000000000001},
  "merchants": {"mode": "only", "values": ["mer_bakery"]}, "categories": {"mode": "any"}, "countries": {"mode": "any"}, "channels": {"mode": "any"},
  "hours": {"mode": "between", "zone": "UTC", "from": "08:00", "to": "20:00"}, "cooling": {"mode": "first", "seconds": 86400, "max_amount_minor": 3000},
  "delegation": "full", "refund_restores": true}`

const carl = `{"kind": "user", "issuer": "https://id.example", "subject": "carl"}`

func offer(account string) string {
	return fmt.Sprintf(`{"account": %q, "delegate": %s, "terms": %s}`, account, carl, terms)
}

// reserve makes a pending reservation, as an allowed payment does.
func (w *world) reserve(account, grant string, minor int64) string {
	w.t.Helper()
	r := authzstore.Reservation{ID: authzstore.NewID("rsv"), Account: account, Grant: grant, Payee: "mer_bakery", AmountMinor: minor, Currency: "EUR"}
	cause := authzstore.Cause{ID: authzstore.NewID("dec"), Actor: authzstore.Identity{Kind: "user", Issuer: "i", Subject: "s"}, NowNanos: w.at.UnixNano()}
	err := w.store.Update(w.t.Context(), cause, authzstore.ReserveRefs(r), func(tx *authzstore.Tx) error { return tx.ReserveWithinLimits(r) })
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// accept makes a grant active, as its delegate does.
func (w *world) accept(id string) {
	w.t.Helper()
	w.handles++
	c := authzstore.Credential{Handle: fmt.Sprintf("4711%06d", w.handles), Sealed: []byte("sealed4711"), Digits: 6, PeriodSeconds: 30, Algorithm: "SHA1"}
	cause := authzstore.Cause{ID: authzstore.NewID("dec"), Actor: authzstore.Identity{Kind: "user", Issuer: "i", Subject: "s"}, NowNanos: w.at.UnixNano()}
	var g authzstore.Grant
	err := w.store.View(w.t.Context(), func(s authzstore.Snapshot) (err error) {
		g, _, err = s.Grant(id)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	refs := append(authzstore.GrantRefs(g), authzstore.CredentialRef(c.Handle, kv.Exclusive))
	if err := w.store.Update(w.t.Context(), cause, refs, func(tx *authzstore.Tx) error { return tx.AcceptGrant(id, c) }); err != nil {
		w.t.Fatal(err)
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	var a, b api.Account
	w.ask(200, "PUT", "/v1/accounts/acc_anna", strings.Replace(anna, "[]", `[{"name": "total", "max_amount_minor": 1000, "period": {"kind": "lifetime"}}]`, 1), &a)
	if a.State != "active" || a.CreatedAtNanos != w.at.UnixNano() || len(a.Remaining) != 1 || *a.Remaining[0].Minor != 1000 || a.Remaining[0].Count != nil {
		t.Errorf("%+v", a)
	}
	first := w.reserve("acc_anna", "", 400)
	var frozen api.Frozen[api.Account]
	w.ask(200, "POST", "/v1/accounts/acc_anna/freeze", "", &frozen)
	if frozen.Now.State != "frozen" || len(frozen.Open.Items) != 1 || frozen.Open.Items[0].ID != first || *frozen.Now.Remaining[0].Minor != 600 || frozen.Now.Usage.PendingMinor != 400 {
		t.Errorf("%+v", frozen)
	}
	again := w.ask(200, "POST", "/v1/accounts/acc_anna/freeze", "", nil)
	if !strings.Contains(again.text, first) {
		t.Errorf("frozen again: %s", again.text)
	}
	// A backend that writes the account anew does not undo it.
	if w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, &b); b.State != "frozen" || b.CreatedAtNanos != a.CreatedAtNanos || len(b.Limits) != 0 {
		t.Errorf("%+v", b)
	}
	if got := w.request(w.admin, "PUT", "/v1/accounts/acc_anna", anna, "if-none-match", "*"); got.status != http.StatusPreconditionFailed || got.code(t) != "exists" {
		t.Errorf("only if new: %d %s", got.status, got.text)
	}
	for range 2 {
		w.ask(200, "POST", "/v1/accounts/acc_anna/unfreeze", "", &b)
		if b.State != "active" {
			t.Errorf("%+v", b)
		}
	}
	for _, target := range []string{"freeze", "unfreeze"} {
		w.ask(404, "POST", "/v1/accounts/acc_other/"+target, "", nil)
	}
	if kept := w.ask(422, "PUT", "/v1/accounts/acc_anna", strings.Replace(anna, "EUR", "USD", 1), nil); kept.code(t) != "currency_kept" {
		t.Errorf("another currency: %s", kept.text)
	}
	bad := w.ask(422, "PUT", "/v1/accounts/acc_anna", strings.Replace(anna, "[]", `[{"name": "total", "period": {"kind": "lifetime"}}]`, 1), nil)
	if bad.code(t) != "invalid" {
		t.Errorf("what only the store refuses: %s", bad.text)
	}
}

func TestGrants(t *testing.T) {
	w := newWorld(t)
	w.ask(404, "PUT", "/v1/grants/grt_1", offer("acc_anna"), nil)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	var g api.Grant
	for range 2 { // the same call again is the same offer
		w.ask(200, "PUT", "/v1/grants/grt_1", offer("acc_anna"), &g)
		if g.State != "offered" || g.Owner.Subject != "anna" || g.PaysByCode || *g.Remaining[0].Minor != 9000 || *g.Remaining[1].Minor != 3000 || g.Remaining[1].Limit != "cooling" {
			t.Errorf("%+v", g)
		}
	}
	w.ask(409, "PUT", "/v1/grants/grt_1", strings.Replace(offer("acc_anna"), "5000", "5001", 1), nil)
	w.ask(422, "PUT", "/v1/grants/grt_2", strings.Replace(offer("acc_anna"), `"full"`, `"half"`, 1), nil)
	w.ask(422, "PUT", "/v1/grants/grt_2", strings.Replace(offer("acc_anna"), `"refund_restores": true`, `"refund_restores": true, "more": 1`, 1), nil)
	w.ask(422, "PUT", "/v1/grants/grt_2", strings.Replace(offer("acc_anna"), `"cooling"`, `"Cooling"`, 1), nil)
	w.ask(422, "PUT", "/v1/grants/grt_2", strings.Replace(offer("acc_anna"), `"channels": {"mode": "any"},`, ``, 1), nil)
	w.ask(409, "POST", "/v1/grants/grt_1/freeze", "", nil) // offered

	w.accept("grt_1")
	paid := w.reserve("acc_anna", "grt_1", 1000)
	w.reserve("acc_anna", "", 700) // the owner's own
	var frozen api.Frozen[api.Grant]
	for range 2 {
		w.ask(200, "POST", "/v1/grants/grt_1/freeze", "", &frozen)
		if frozen.Now.State != "frozen" || !frozen.Now.PaysByCode || len(frozen.Open.Items) != 1 || frozen.Open.Items[0].ID != paid {
			t.Errorf("%+v", frozen)
		}
	}
	if *frozen.Now.Remaining[0].Minor != 8000 || *frozen.Now.Remaining[1].Minor != 2000 || frozen.Now.Usage.PendingMinor != 1000 || frozen.Now.Terms.ValidTo.AtNanos != 1900000000000000001 {
		t.Errorf("%+v", frozen.Now)
	}
	w.ask(200, "POST", "/v1/grants/grt_1/unfreeze", "", &g)
	if g.State != "active" {
		t.Errorf("%+v", g)
	}
	for range 2 {
		w.ask(200, "POST", "/v1/grants/grt_1/revoke", "", &frozen)
		if frozen.Now.State != "revoked" || frozen.Now.PaysByCode || len(frozen.Open.Items) != 1 {
			t.Errorf("%+v", frozen)
		}
	}
	w.ask(409, "POST", "/v1/grants/grt_1/unfreeze", "", nil)
	for _, target := range []string{"freeze", "unfreeze", "revoke"} {
		w.ask(404, "POST", "/v1/grants/grt_other/"+target, "", nil)
	}

	w.ask(200, "PUT", "/v1/grants/grt_2", offer("acc_anna"), nil)
	for query, want := range map[string]int{
		"": 2, "?state=open": 1, "?state=revoked": 1, "?account=acc_anna": 2, "?account=acc_other": 0, "?account=acc_anna&state=offered": 1,
		"?delegate_kind=user&delegate_issuer=https://id.example&delegate_subject=carl":                      2,
		"?delegate_kind=user&delegate_issuer=https://id.example&delegate_subject=anna":                      0,
		"?delegate_kind=user&delegate_issuer=https://id.example&delegate_subject=carl&account=acc_x":        0,
		"?delegate_kind=user&delegate_issuer=https://id.example&delegate_subject=carl&state=open&limit=200": 1,
	} {
		var page api.Page[api.Grant]
		if w.ask(200, "GET", "/v1/grants"+query, "", &page); len(page.Items) != want {
			t.Errorf("%s: %d, want %d", query, len(page.Items), want)
		}
	}
	w.ask(422, "GET", "/v1/grants?delegate_kind=user", "", nil)
}

func TestSettling(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	post := func(status int, id string, minor int64) (r api.Reservation) {
		w.ask(status, "POST", "/v1/reservations/"+id+"/post", fmt.Sprintf(`{"amount_minor": %d}`, minor), &r)
		return r
	}
	id := w.reserve("acc_anna", "", 1000)
	post(422, id, 1001)
	for range 2 { // a repeated call is the same
		if r := post(200, id, 900); r.State != "posted" || r.PostedMinor != 900 {
			t.Errorf("%+v", r)
		}
	}
	post(409, id, 901)
	w.ask(409, "POST", "/v1/reservations/"+id+"/void", "", nil)
	w.ask(409, "POST", "/v1/reservations/"+id+"/unknown", "", nil)

	refund := func(key string, minor int64) answer {
		return w.request(w.admin, "POST", "/v1/reservations/"+id+"/refund", fmt.Sprintf(`{"amount_minor": %d}`, minor), "idempotency-key", key)
	}
	for _, c := range []struct {
		key    string
		minor  int64
		status int
		total  int64
	}{
		{"one", 300, 200, 300}, {"one", 300, 200, 300}, {"two", 300, 200, 600}, {"one", 301, 422, 600}, {"one", 299, 422, 600},
		{"three", 301, 422, 600}, {"three", 300, 200, 900}, {"four", 1, 422, 900}, {"", 1, 422, 900},
	} {
		var r api.Reservation
		if a := refund(c.key, c.minor); a.status != c.status {
			t.Errorf("refund %s of %d: %d %s", c.key, c.minor, a.status, a.text)
		}
		if w.ask(200, "GET", "/v1/reservations/"+id, "", &r); r.RefundedMinor != c.total {
			t.Errorf("after refund %s of %d: %d, want %d", c.key, c.minor, r.RefundedMinor, c.total)
		}
	}

	void := w.reserve("acc_anna", "", 1000)
	if a := w.request(w.admin, "POST", "/v1/reservations/"+void+"/refund", `{"amount_minor": 1}`, "idempotency-key", "k"); a.status != 409 {
		t.Errorf("a refund of what is pending: %d %s", a.status, a.text)
	}
	for range 2 {
		w.ask(200, "POST", "/v1/reservations/"+void+"/unknown", "", nil)
	}
	for range 2 {
		w.ask(200, "POST", "/v1/reservations/"+void+"/void", "", nil)
	}
	w.ask(409, "POST", "/v1/reservations/"+void+"/unknown", "", nil)
	post(409, void, 1)
	post(404, "rsv_other", 1)
	var account api.Account
	if w.ask(200, "GET", "/v1/accounts/acc_anna", "", &account); account.Usage.PendingMinor != 0 || account.Usage.Count != 1 {
		t.Errorf("%+v", account.Usage)
	}
}

// Two at once: one of them wins, and both callers are told the same.
func TestSettlingAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	for range 10 {
		id := w.reserve("acc_anna", "", 1000)
		var wait sync.WaitGroup
		statuses := make([]int, 8)
		for i := range statuses {
			wait.Go(func() {
				target := []string{"/post", "/void"}[i%2]
				body := []string{`{"amount_minor": 1000}`, ""}[i%2]
				statuses[i] = w.request(w.admin, "POST", "/v1/reservations/"+id+target, body).status
			})
		}
		wait.Wait()
		slices.Sort(statuses)
		if !slices.Equal(statuses, []int{200, 200, 200, 200, 409, 409, 409, 409}) {
			t.Errorf("statuses %v", statuses)
		}
	}
}

func TestReconciliation(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	w.ask(200, "PUT", "/v1/accounts/acc_ben", strings.Replace(anna, "anna", "ben", 1), nil)
	w.ask(200, "PUT", "/v1/grants/grt_1", offer("acc_anna"), nil)
	w.accept("grt_1")
	old := w.reserve("acc_anna", "grt_1", 1)
	unknown := w.reserve("acc_anna", "", 1)
	w.ask(200, "POST", "/v1/reservations/"+unknown+"/unknown", "", nil)
	posted := w.reserve("acc_anna", "", 1)
	w.ask(200, "POST", "/v1/reservations/"+posted+"/post", `{"amount_minor": 1}`, nil)
	w.wait(time.Hour)
	young := w.reserve("acc_ben", "", 1)
	for query, want := range map[string][]string{
		"":                                       {old, unknown, young},
		"?state=any":                             {old, unknown, young, posted},
		"?state=pending":                         {old, young},
		"?state=unknown":                         {unknown},
		"?state=posted":                          {posted},
		"?state=voided":                          {},
		"?account=acc_anna":                      {old, unknown},
		"?account=acc_anna&state=any":            {old, unknown, posted},
		"?grant=grt_1":                           {old},
		"?older_than_seconds=3600":               {old, unknown},
		"?older_than_seconds=3601":               {},
		"?older_than_seconds=1&state=any":        {old, unknown, posted},
		"?state=unknown&account=acc_ben":         {},
		"?state=any&grant=grt_1&account=acc_ben": {},
	} {
		got := ids(w, "/v1/reservations"+query, 1)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// ids reads a list to its end, page by page.
func ids(w *world, target string, size int) (all []string) {
	w.t.Helper()
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	after := ""
	for range 10000 {
		var page api.Page[struct{ ID string }]
		w.ask(200, "GET", fmt.Sprintf("%s%slimit=%d%s", target, sep, size, after), "", &page)
		if len(page.Items) > size {
			w.t.Fatalf("%s: a page of %d, not %d", target, len(page.Items), size)
		}
		for _, item := range page.Items {
			all = append(all, item.ID)
		}
		if page.Next == "" {
			return all
		}
		after = "&after=" + page.Next
	}
	w.t.Fatalf("%s has no end", target)
	return nil
}

// Page after page, a list has everything, once.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_0", anna, nil)
	const many = 23
	for i := 1; i < many; i++ {
		w.ask(200, "PUT", fmt.Sprintf("/v1/accounts/acc_%d", i), anna, nil)
		w.ask(200, "PUT", fmt.Sprintf("/v1/merchants/mer_%d", i), bakery(i), nil)
		w.ask(200, "PUT", fmt.Sprintf("/v1/terminals/trm_%d", i), phone(fmt.Sprintf("acc_%d", i%2), i), nil)
		w.ask(200, "PUT", fmt.Sprintf("/v1/grants/grt_%d", i), offer(fmt.Sprintf("acc_%d", i%5)), nil)
		w.reserve("acc_0", "", 1)
		w.token(api.Viewer)
	}
	for target, want := range map[string]int{
		"/v1/accounts": many, "/v1/merchants": many - 1, "/v1/terminals": many - 1, "/v1/terminals?account=acc_0": 11,
		"/v1/terminals?account=acc_1": 11, "/v1/grants": many - 1, "/v1/grants?account=acc_1": 5, "/v1/reservations": many - 1,
		"/v1/reservations?state=any": many - 1, "/v1/reservations?account=acc_0": many - 1, "/v1/tokens": many,
		"/v1/records": 1 + many + 5*(many-1), "/v1/records?kind=decision": many - 1, "/v1/records?kind=change": 1 + many + 4*(many-1),
	} {
		for _, size := range []int{1, 2, 7, many - 1, many, 200} {
			got := ids(w, target, size)
			if len(got) != want {
				t.Errorf("%s by %d: %d, want %d", target, size, len(got), want)
			}
			slices.Sort(got)
			if len(slices.Compact(got)) != want {
				t.Errorf("%s by %d: something is there twice", target, size)
			}
		}
	}
	w.ask(422, "GET", "/v1/records?after=x", "", nil)
	w.ask(422, "GET", "/v1/records?after=18446744073709551615", "", nil)
}

func bakery(i int) string {
	return fmt.Sprintf(`{"name": "Bakery", "category": "5462", "country": "DE", "state": "active",
  "channels": [{"channel": "shop", "identity": {"kind": "merchant", "issuer": "https://id.example", "subject": "till-%d"}}]}`, i)
}

func phone(account string, i int) string {
	return fmt.Sprintf(`{"account": %q, "identity": {"kind": "terminal", "issuer": "https://id.example", "subject": "phone-%d"},
  "state": "bound", "rights": ["order"], "paired_with": []}`, account, i)
}

func TestMerchantsAndTerminals(t *testing.T) {
	w := newWorld(t)
	var m api.Merchant
	for range 2 {
		w.ask(200, "PUT", "/v1/merchants/mer_1", bakery(1), &m)
	}
	if m.Channels[0].Identity.Subject != "till-1" {
		t.Errorf("%+v", m)
	}
	w.ask(409, "PUT", "/v1/merchants/mer_2", bakery(1), nil) // the till is another's
	w.ask(200, "PUT", "/v1/merchants/mer_1", bakery(3), nil)
	w.ask(200, "PUT", "/v1/merchants/mer_2", bakery(1), nil) // and now is free
	for _, at := range []string{`"5462"`, `"DE"`, `"active"`, `"shop"`, `"Bakery"`} {
		w.ask(422, "PUT", "/v1/merchants/mer_3", strings.Replace(bakery(9), at, `""`, 1), nil)
	}
	w.ask(404, "GET", "/v1/merchants/mer_3", "", nil)

	var first, moved api.Terminal
	w.ask(200, "PUT", "/v1/terminals/trm_1", phone("acc_1", 1), &first)
	w.wait(time.Hour)
	w.ask(200, "PUT", "/v1/terminals/trm_1", phone("acc_2", 1), &moved)
	if first.BoundAtNanos == 0 || moved.BoundAtNanos != w.at.UnixNano() || len(ids(w, "/v1/terminals?account=acc_1", 9)) != 0 || len(ids(w, "/v1/terminals?account=acc_2", 9)) != 1 {
		t.Errorf("%+v, then %+v", first, moved)
	}
	if a := w.request(w.admin, "PUT", "/v1/terminals/trm_1", phone("acc_2", 1), "if-none-match", "*"); a.status != http.StatusPreconditionFailed {
		t.Errorf("only if new: %d %s", a.status, a.text)
	}
	w.ask(404, "GET", "/v1/terminals/trm_2", "", nil)
}

// Every change is on record with its actor, before and after, and no record, no
// answer but the one that made it, and no line of the log holds a secret.
func TestRecords(t *testing.T) {
	w := newWorld(t)
	backend := w.token(api.Backend)
	if a := w.request(backend, "PUT", "/v1/accounts/acc_anna", anna); a.status != 200 {
		t.Fatal(a.text)
	}
	w.request(backend, "POST", "/v1/accounts/acc_anna/freeze", "")
	w.request(backend, "POST", "/v1/accounts/acc_anna/freeze", "") // changes nothing
	w.request(backend+"x", "GET", "/v1/store", "")
	w.ask(200, "PUT", "/v1/grants/grt_1", offer("acc_anna"), nil)
	w.accept("grt_1")

	all := ""
	var changes []api.Record
	var page api.Page[api.Record]
	a := w.ask(200, "GET", "/v1/records?limit=200", "", &page)
	all += a.text
	for _, r := range page.Items {
		if strings.HasSuffix(r.Actor.Subject, "/test") {
			changes = append(changes, r)
		}
		var one api.Record
		all += w.ask(200, "GET", "/v1/records/"+r.ID, "", &one).text
		if one.Number != 0 || one.ID != r.ID || len(one.Changes) != len(r.Changes) {
			t.Errorf("%+v", one)
		}
	}
	if len(changes) != 2 || changes[0].Actor.Kind != "operator" || changes[0].Actor.Issuer != "countersign" {
		t.Fatalf("%d changes by the backend: %+v", len(changes), changes)
	}
	state := func(noun any) string {
		text, err := json.Marshal(noun)
		if err != nil {
			t.Fatal(err)
		}
		var account authzstore.Account
		if err := json.Unmarshal(text, &account); err != nil {
			t.Fatal(err)
		}
		return string(account.State)
	}
	if c := changes[0].Changes[0]; c.Key != "account/acc_anna" || c.Before != nil || state(c.After) != "active" {
		t.Errorf("%+v", c)
	}
	if c := changes[1].Changes[0]; state(c.Before) != "active" || state(c.After) != "frozen" {
		t.Errorf("%+v", c)
	}
	all += w.ask(200, "GET", "/v1/tokens", "", nil).text + w.ask(200, "GET", "/v1/grants", "", nil).text + w.log.String()
	for _, secret := range []string{w.admin, backend} {
		// What stands before is the ID.
		if n := strings.Count(all, secret[30:]); n > 0 {
			t.Errorf("a secret is in records, answers or the log %d times", n)
		}
	}
	if strings.Contains(all, "sealed4711") || strings.Contains(all, "c2VhbGVkNDcxMQ") {
		t.Error("a sealed secret is told")
	}
	w.ask(404, "GET", "/v1/records/dec_other", "", nil)
	w.ask(422, "GET", "/v1/records/acc_anna", "", nil)
}

// noting notes which updates are urgent.
type noting struct {
	kv.Store
	mu     sync.Mutex
	urgent []bool
}

func (n *noting) Update(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
	n.mu.Lock()
	n.urgent = append(n.urgent, kv.IsUrgent(ctx))
	n.mu.Unlock()
	return n.Store.Update(ctx, refs, fn)
}

// What stops something does not wait behind what is shed; what does not, does.
func TestUrgent(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	w.ask(200, "PUT", "/v1/grants/grt_1", offer("acc_anna"), nil)
	w.accept("grt_1")
	id := w.reserve("acc_anna", "", 1)
	var made api.MadeToken
	w.ask(200, "POST", "/v1/tokens", `{"name": "x", "role": "viewer", "expires_in_seconds": 0}`, &made)
	for _, c := range []struct {
		method, target, body string
		urgent               bool
	}{
		{"POST", "/v1/accounts/acc_anna/freeze", "", true},
		{"POST", "/v1/accounts/acc_anna/unfreeze", "", false},
		{"PUT", "/v1/accounts/acc_anna", anna, false},
		{"POST", "/v1/grants/grt_1/freeze", "", true},
		{"POST", "/v1/grants/grt_1/unfreeze", "", false},
		{"POST", "/v1/grants/grt_1/revoke", "", true},
		{"POST", "/v1/tokens/" + made.ID + "/revoke", "", true},
		{"POST", "/v1/reservations/" + id + "/void", "", false},
	} {
		w.backend.urgent = nil
		w.ask(200, c.method, c.target, c.body, nil)
		if !slices.Equal(w.backend.urgent, []bool{c.urgent}) {
			t.Errorf("%s: updates are urgent %v, want %v", c.target, w.backend.urgent, c.urgent)
		}
	}
}
