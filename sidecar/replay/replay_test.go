package replay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/replay"
	"github.com/countersign/countersign/sidecar/replay/replaytest"
)

// A world is a decider over a store and an archive, whose bundle can change.
type world struct {
	*decide.Decider
	store   *authzstore.Store
	archive *bundle.Archive
	active  *bundle.Bundle
	keys    int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	backend, err := badgerkv.Open(t.Context(), badgerkv.Options{Dir: filepath.Join(dir, "data"), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	w := &world{store: authzstore.New(backend), archive: bundle.NewArchive(filepath.Join(dir, "policies"))}
	w.Decider = decide.New(decide.Config{
		Bundle:   func() *bundle.Bundle { return w.active },
		Store:    w.store,
		Keys:     decide.Keys{Personal: make([]byte, 32), Evidence: make([]byte, 32)},
		Evidence: map[string]evidence.Kind{"word": word{}},
		Log:      slog.New(slog.DiscardHandler),
	})
	w.use(t, "")
	return w
}

// word is a kind of evidence that one word matches.
type word struct{}

func (word) Lead(authzstore.Reader, call.Call, string) (string, error) { return "", nil }

func (word) Refs(evidence.About, string) []kv.Ref {
	return []kv.Ref{authzstore.UseRef("chl_word")}
}

func (word) Check(_ *authzstore.Tx, _ evidence.About, secret string) (evidence.Finding, error) {
	return evidence.Finding{
		Matched: secret == "sesame", Thing: "chl_word",
		Facts: []policy.Member{{Key: policy.NewKey("hint"), Value: policy.String("„Öffne dich“")}},
	}, nil
}

// use makes the built-in bundle active, with another file of rules for the system
// direct_payment. It need not be one that would pass its own tests.
func (w *world) use(t *testing.T, rego string) {
	t.Helper()
	files := policiestest.Files(t)
	routes := files["systems/direct_payment/routes.yaml"]
	routes.Data = []byte(strings.Replace(string(routes.Data), "    currency: {json: /currency}\n",
		"    currency: {json: /currency}\n    word: {header: x-word, secret: true, evidence: word, optional: true}\n", 1))
	if rego != "" {
		files["systems/direct_payment/more.rego"] = &fstest.MapFile{Data: []byte("package payments.systems.direct_payment\n\n" + rego)}
	}
	snapshot, err := policy.Read(files)
	if err != nil {
		t.Fatal(err)
	}
	table, err := call.Load(snapshot, call.Vocabulary{Evidence: []string{"word"}})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Load(t.Context(), snapshot, policy.Config{Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.archive.Activate(snapshot); err != nil {
		t.Fatal(err)
	}
	w.active = &bundle.Bundle{Digest: snapshot.Digest(), Snapshot: snapshot, Policy: rules, Routes: table}
}

func (w *world) put(t *testing.T, a authzstore.Account) {
	t.Helper()
	a.Owner = authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}
	a.Currency = "EUR"
	if a.State == "" {
		a.State = authzstore.AccountActive
	}
	if a.MaxPaymentMinor == 0 {
		a.MaxPaymentMinor = 50000
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: a.Owner, NowNanos: 1}
	if err := w.store.PutAccount(t.Context(), cause, a); err != nil {
		t.Fatal(err)
	}
}

// pay asks for a payment of Anna's, under a key of its own.
func (w *world) pay(account, payee string, minor int64, headers ...string) decide.Decision {
	return w.Decide(context.Background(), w.payment(account, payee, minor, headers...))
}

func (w *world) payment(account, payee string, minor int64, headers ...string) call.Request {
	w.keys++
	body, err := json.Marshal(map[string]any{"payee": payee, "amount_minor": minor, "currency": "EUR"})
	if err != nil {
		panic(err)
	}
	req := call.Request{
		Method: "POST", Authority: "pay.example", Path: "/v1/accounts/" + account + "/payments", Body: body,
		Headers: []call.Header{
			{Name: "content-type", Value: []byte("application/json")},
			{Name: "content-length", Value: []byte(strconv.Itoa(len(body)))},
			{Name: "idempotency-key", Value: fmt.Appendf(nil, "key-%d", w.keys)},
		},
		Claims: map[string]any{"iss": "https://id.example", "sub": "anna"},
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Headers = append(req.Headers, call.Header{Name: headers[i], Value: []byte(headers[i+1])})
	}
	return req
}

// find is the record of a decision.
func (w *world) find(t *testing.T, d decide.Decision) decide.Record {
	t.Helper()
	records := replaytest.Records(t, w.store)
	i := slices.IndexFunc(records, func(r decide.Record) bool { return r.DecisionID == d.ID })
	if i < 0 {
		t.Fatalf("no record of %+v", d)
	}
	return records[i]
}

// broken are rules that fail for some payees, each in another way.
const broken = `deny contains reason if {
	input.call.payee == "mer_error"
	1 / (input.call.amount_minor - input.call.amount_minor) == 1
	reason := {}
}

permit := "yes" if input.call.payee == "mer_conflict"

deny contains "not a reason" if input.call.payee == "mer_garbage"

on_allow contains {"type": "give_money_back"} if input.call.payee == "mer_effect"

# The next two are decisions that the sidecar does not carry out.
on_allow contains object.union(data.payments.shared.account.reserve, {"payee": "mer_other"}) if input.call.payee == "mer_twice"

on_deny contains data.payments.shared.account.reserve if input.call.payee == "mer_denied"

deny contains reason if {
	input.call.payee in {"mer_ranked", "mer_denied"}
	some i in numbers.range(1, 3)
	reason := {
		"code": sprintf("reason_%d", [i]),
		"message": "Straße „<&>“ \u2028 𝄞 \u0000",
		"rank": -i,
		"resets_at_ns": 9223372036854775807,
	}
}
`

// TestBothEngines: every kind of answer, under two bundles, is replayed alike by our
// engine and by stock OPA.
func TestBothEngines(t *testing.T) {
	w := newWorld(t)
	const largest = 1<<53 - 1
	w.put(t, authzstore.Account{ID: "acc_anna"})
	w.put(t, authzstore.Account{ID: "acc_frozen", State: authzstore.AccountFrozen})
	w.put(t, authzstore.Account{ID: "acc_rich", MaxPaymentMinor: largest})
	w.put(t, authzstore.Account{ID: "acc_limited", Limits: []authzstore.Limit{
		{Name: "day", MaxAmountMinor: 3000}, {Name: "zwei", MaxCount: 2}, {Name: "all", MaxAmountMinor: largest},
	}})
	outcomes := map[decide.Outcome]int{}
	ask := func(want decide.Outcome, account, payee string, minor int64, headers ...string) {
		t.Helper()
		d := w.pay(account, payee, minor, headers...)
		outcomes[d.Outcome]++
		if d.Outcome != want {
			t.Errorf("%s pays %s %d: %s %v, want %s", account, payee, minor, d.Outcome, d.Reasons, want)
		}
	}
	mixed := func() {
		ask(decide.Allow, "acc_anna", "mer_bakery", 1250)
		ask(decide.Allow, "acc_anna", "Bäckerei \"Süß\" \\ \u2028 北 🥖 \u00e4 </script>", 1)
		ask(decide.Allow, "acc_rich", "mer_bakery", largest)
		ask(decide.Deny, "acc_anna", "mer_bakery", largest)
		ask(decide.Deny, "acc_frozen", "mer_bakery", 50001)
		ask(decide.Deny, "acc_nobody", "mer_bakery", 1250)
	}
	mixed()
	ask(decide.Allow, "acc_limited", "mer_bakery", 1250)
	ask(decide.Deny, "acc_limited", "mer_bakery", 1751)
	ask(decide.Allow, "acc_limited", "mer_bakery", 1750)
	ask(decide.Deny, "acc_limited", "mer_bakery", 1)
	ask(decide.Defect, "acc_anna", "mer_bakery", 1, "x-word", "wrong") // allowed, though the word does not match
	ask(decide.Allow, "acc_anna", "mer_bakery", 1, "x-word", "sesame")

	w.use(t, broken)
	mixed()
	for _, payee := range []string{"mer_error", "mer_conflict", "mer_garbage", "mer_effect", "mer_twice", "mer_denied"} {
		ask(decide.Defect, "acc_anna", payee, 1250)
	}
	ask(decide.Deny, "acc_anna", "mer_ranked", 1250)

	records := replaytest.Records(t, w.store)
	tally := replaytest.Check(t, w.archive, records)
	if want := (replaytest.Tally{Answered: len(records) - 4, Defects: 4}); tally != want || len(records) != 25 {
		t.Errorf("%d records: %+v, want %+v; %v", len(records), tally, want, outcomes)
	}
}

// TestDifferent: what was tampered with, or cannot be decided again, is told.
func TestDifferent(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Account{ID: "acc_anna"})
	allowed := w.find(t, w.pay("acc_anna", "mer_bakery", 1250))
	denied := w.find(t, w.pay("acc_anna", "mer_bakery", 50001))
	w.use(t, broken)
	failed := w.find(t, w.pay("acc_anna", "mer_conflict", 1250))
	w.use(t, `deny contains reason if {
	some i in numbers.range(1, 3000)
	some j in numbers.range(1, 3000)
	some k in numbers.range(1, 3000)
	(i + j) + k == 0
	reason := {"code": "never", "message": "Never."}
}
`)
	late := w.find(t, w.pay("acc_anna", "mer_bakery", 1250))
	w.use(t, `deny contains {"code": "never", "message": "Never."} if sprintf("%99999999d", [input.call.amount_minor]) == ""`)
	bounded := w.find(t, w.pay("acc_anna", "mer_bakery", 1250))
	if bounded.Outcome != decide.Defect {
		t.Errorf("past a bound: %s", bounded.Outcome)
	}
	bend := func(r decide.Record, change func(*decide.Record)) decide.Record {
		change(&r)
		return r
	}
	lost := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		record decide.Record
		want   replay.Replay
	}{
		{"as it was", allowed, replay.Replay{Result: replay.Equal}},
		{"a defect again, past a bound that OPA has not", bounded, replay.Replay{Result: replay.Equal}},
		{"another amount", bend(allowed, func(r *decide.Record) {
			r.Input = []byte(strings.Replace(string(r.Input), `"amount_minor":1250`, `"amount_minor":50001`, 1))
		}), replay.Replay{Result: replay.Different, Replayed: decide.Deny, Diff: []string{
			`- allow: true`, `+ allow: false`,
			`- effects: {"account":"acc_anna","amount_minor":1250,"currency":"EUR","payee":"mer_bakery","type":"reserve"}`,
			`+ public_reasons: {"code":"amount_over_payment_maximum","limit":"payment","message":"The amount is over the account's maximum for one payment.","remaining_minor":50000}`,
			`+ reasons: {"code":"amount_over_payment_maximum","limit":"payment","message":"The amount is over the account's maximum for one payment.","remaining_minor":50000}`,
		}}},
		{"another message", bend(denied, func(r *decide.Record) {
			r.Decision = []byte(strings.Replace(string(r.Decision), "over", "above", 1))
		}), replay.Replay{Result: replay.Different, Replayed: decide.Deny, Diff: []string{
			`- public_reasons: {"code":"amount_above_payment_maximum","limit":"payment","message":"The amount is over the account's maximum for one payment.","remaining_minor":50000}`,
			`+ public_reasons: {"code":"amount_over_payment_maximum","limit":"payment","message":"The amount is over the account's maximum for one payment.","remaining_minor":50000}`,
		}}},
		{"an answer where there was a defect", bend(failed, func(r *decide.Record) { r.Bundle = allowed.Bundle }),
			replay.Replay{Result: replay.Different, Replayed: decide.Defect, Diff: []string{`- decision: null`}}},
		{"a defect where there was an answer", bend(failed, func(r *decide.Record) { r.Outcome, r.Decision = decide.Allow, []byte(`{}`) }),
			replay.Replay{Result: replay.Different, Replayed: decide.Defect, Why: "policy: defect"}},
		{"no answer in time", late, replay.Replay{Result: replay.Cannot, Why: "there was no answer: policy: no answer in time"}},
		{"none now", bend(late, func(r *decide.Record) { r.Outcome = decide.Defect }), replay.Replay{Result: replay.Cannot, Why: "policy: no answer in time"}},
		{"its bundle is gone", bend(allowed, func(r *decide.Record) { r.Bundle = lost }), replay.Replay{Result: replay.Cannot, Why: "its bundle " + lost + " is not in the archive"}},
		{"no bundle's name", bend(allowed, func(r *decide.Record) { r.Bundle = "../x" }), replay.Replay{Result: replay.Cannot, Why: `"../x" is not the digest`}},
		{"never asked", bend(failed, func(r *decide.Record) { r.Input = []byte("null") }), replay.Replay{Result: replay.Cannot, Why: "the rules were not asked"}},
		{"an input twice", bend(allowed, func(r *decide.Record) { r.Input = []byte(`{"a":1,"a":2}`) }), replay.Replay{Result: replay.Cannot, Why: "input: JSON: line 1"}},
	} {
		got := replay.New(w.archive, policy.Config{Budget: time.Second}).Replay(t.Context(), c.record)
		if got.DecisionID != c.record.DecisionID || got.Result != c.want.Result || got.Recorded != c.record.Outcome ||
			got.Replayed != c.want.Replayed || !strings.HasPrefix(got.Why, c.want.Why) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if len(c.want.Diff) == 1 && len(got.Diff) > 0 {
			got.Diff = got.Diff[:1] // and what is answered now
		}
		if !slices.Equal(got.Diff, c.want.Diff) {
			t.Errorf("%s: differs by\n%s\nwant\n%s", c.name, strings.Join(got.Diff, "\n"), strings.Join(c.want.Diff, "\n"))
		}
	}
}

// TestTry: what another bundle would have decided.
func TestTry(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Account{ID: "acc_anna"})
	allowed := w.find(t, w.pay("acc_anna", "mer_bakery", 1250))
	denied := w.find(t, w.pay("acc_anna", "mer_bakery", 50001))
	for _, c := range []struct {
		name, rego      string
		allowed, denied replay.Replay
	}{
		{"the same", "", replay.Replay{Result: replay.Equal}, replay.Replay{Result: replay.Equal}},
		{"a rule more", `deny contains {"code": "not_now", "message": "Not now."} if input.call.amount_minor > 1000`,
			replay.Replay{Result: replay.Different, Replayed: decide.Deny}, replay.Replay{Result: replay.Different, Replayed: decide.Deny}},
		{"another effect", `on_allow contains object.union(data.payments.shared.account.reserve, {"amount_minor": 1})`,
			replay.Replay{Result: replay.Different, Replayed: decide.Defect, Why: "the policy contradicts the call or the store: a reservation of another amount"},
			replay.Replay{Result: replay.Equal}},
		{"a failure", `permit := 1 / (input.call.amount_minor - 1250)`,
			replay.Replay{Result: replay.Different, Replayed: decide.Defect, Why: "policy: defect"},
			replay.Replay{Result: replay.Equal}},
	} {
		w.use(t, c.rego)
		for _, one := range []struct {
			record decide.Record
			want   replay.Replay
		}{{allowed, c.allowed}, {denied, c.denied}} {
			got := replay.Try(t.Context(), w.active, one.record)
			if got.Result != one.want.Result || got.Replayed != one.want.Replayed || !strings.HasPrefix(got.Why, one.want.Why) {
				t.Errorf("%s: %s: %+v, want %+v", c.name, one.record.Outcome, got, one.want)
			}
		}
	}
}

// TestExport: the script that is exported says whether stock OPA agrees.
func TestExport(t *testing.T) {
	w := newWorld(t)
	w.put(t, authzstore.Account{ID: "acc_anna"})
	allowed := w.find(t, w.pay("acc_anna", "Bäckerei", 1<<53-1))
	w.use(t, broken)
	failed := w.find(t, w.pay("acc_anna", "mer_conflict", 1250))
	export := func(record decide.Record) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "an export")
		if err := replay.Export(dir, w.archive, record, []byte(`"described"`)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	run := func(dir string) (string, error) {
		cmd := exec.Command("sh", filepath.Join(dir, "replay.sh"))
		cmd.Env = append(os.Environ(), "OPA=go tool opa")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	dir := export(allowed)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, entry := range append(entries, nil) {
		name, mode := dir, fs.FileMode(0o700)
		if entry != nil {
			name, mode = filepath.Join(dir, entry.Name()), 0o600
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if out, err := run(dir); err != nil || out != "equal\n" {
		t.Errorf("%s, %v", out, err)
	}
	decision := filepath.Join(dir, "decision.json")
	if err := os.WriteFile(decision, []byte(`{"allow": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(dir); err == nil || !strings.Contains(out, "different") {
		t.Errorf("of another decision: %s, %v", out, err)
	}
	if out, err := run(export(failed)); err != nil || !strings.HasSuffix(out, "equal: no decision\n") {
		t.Errorf("of a defect: %s, %v", out, err)
	}
	if err := replay.Export(dir, w.archive, failed, nil); err == nil {
		t.Error("an export is written over another")
	}
	if text, err := os.ReadFile(decision); err != nil || string(text) != `{"allow": true}` {
		t.Errorf("the other one has changed: %s, %v", text, err)
	}
	failed.Bundle = "sha256:" + strings.Repeat("0", 64)
	if dir := filepath.Join(t.TempDir(), "x"); replay.Export(dir, w.archive, failed, nil) == nil {
		t.Error("exported without a bundle")
	} else if _, err := os.Stat(dir); err == nil {
		t.Error("half an export is left")
	}
}
