package decide_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
)

const goodBody = `{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR"}`

// noon is when every decision of these tests is made.
var noon = time.Unix(1795532400, 123456789).UTC()

// A world is a decider and what it writes.
type world struct {
	*decide.Decider
	backend kv.Store
	log     bytes.Buffer

	mu      sync.Mutex
	records []decide.Record
}

func (w *world) record(r decide.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
}

// newWorld returns a decider on the built-in bundle and a store with Anna's
// account, with changes to its configuration.
func newWorld(t testing.TB, changes ...func(*decide.Config)) *world {
	t.Helper()
	w := &world{backend: openBadger(t)}
	putAccount(t, w.backend, anna())
	cfg := decide.Config{
		Bundle: builtIn(t),
		Store:  authzstore.New(w.backend),
		Now:    func() time.Time { return noon },
		Record: w.record,
		Log:    slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	w.Decider = decide.New(cfg)
	return w
}

func withStore(backend kv.Store) func(*decide.Config) {
	return func(cfg *decide.Config) { cfg.Store = authzstore.New(backend) }
}

// builtIn is the built-in bundle.
func builtIn(t testing.TB) func() *bundle.Bundle {
	t.Helper()
	b, err := bundle.Load(context.Background(), policies.FS, bundle.Config{Policy: policy.Config{Budget: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	return func() *bundle.Bundle { return b }
}

// withRule has the policy answer data.payments.decision by this rule.
func withRule(t testing.TB, rule string, pc policy.Config) func(*decide.Config) {
	t.Helper()
	dir := fstest.MapFS{"decision.rego": {Data: []byte("package payments\n\ndecision := " + rule + "\n")}}
	rules, err := policy.Load(context.Background(), dir, pc)
	if err != nil {
		t.Fatal(err)
	}
	return withBundle(func(b *bundle.Bundle) { b.Policy = rules })
}

// withRoutes has this table read the calls.
func withRoutes(table *call.Table) func(*decide.Config) {
	return withBundle(func(b *bundle.Bundle) { b.Routes = table })
}

// withBundle exchanges parts of the bundle: what comes of it need not be one that
// could be loaded.
func withBundle(change func(*bundle.Bundle)) func(*decide.Config) {
	return func(cfg *decide.Config) {
		b := *cfg.Bundle()
		change(&b)
		cfg.Bundle = func() *bundle.Bundle { return &b }
	}
}

func routesText(t testing.TB) string {
	t.Helper()
	text, err := fs.ReadFile(policies.FS, "systems/direct_payment/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func openBadger(t testing.TB) kv.Store {
	t.Helper()
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: t.TempDir(), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	return backend
}

func anna() authzstore.Account {
	return authzstore.Account{
		ID:              "acc_anna",
		Owner:           authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
		State:           authzstore.AccountActive,
		Currency:        "EUR",
		MaxPaymentMinor: 50000,
	}
}

func putAccount(t testing.TB, backend kv.Store, a authzstore.Account) {
	t.Helper()
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: a.Owner, NowNanos: 1}
	err := authzstore.New(backend).PutAccount(context.Background(), cause, a)
	if err != nil {
		t.Fatal(err)
	}
}

// payment is a request of Anna's with this body.
func payment(body string) call.Request {
	return call.Request{
		Method:    "POST",
		Authority: "pay.example",
		Path:      "/v1/accounts/acc_anna/payments",
		Headers: []call.Header{
			{Name: "content-type", Value: []byte("application/json")},
			{Name: "content-length", Value: []byte(strconv.Itoa(len(body)))},
			{Name: "authorization", Value: []byte("Bearer token4711")},
		},
		Body:   []byte(body),
		Claims: map[string]any{"iss": "https://id.example", "sub": "anna", "scope": "secret4711"},
	}
}

func good() call.Request { return payment(goodBody) }

// fakeKV is a backend of function fields. A nil one must not be called.
type fakeKV struct {
	kv.Store
	view func(context.Context, func(kv.Snap) error) error
}

func (f fakeKV) View(ctx context.Context, fn func(kv.Snap) error) error { return f.view(ctx, fn) }

// fakeSnap answers Get alike for every key.
type fakeSnap struct {
	kv.Snap
	get func(key string) ([]byte, bool, error)
}

func (s fakeSnap) Get(key string) ([]byte, bool, error) { return s.get(key) }

// serving is a backend whose every record is this value.
func serving(value []byte) fakeKV {
	return fakeKV{view: func(_ context.Context, fn func(kv.Snap) error) error {
		return fn(fakeSnap{get: func(string) ([]byte, bool, error) { return value, true, nil }})
	}}
}
