package decide_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/policies/policiestest"
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
	bundle  func() *bundle.Bundle
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
		Keys:   decide.Keys{Personal: make([]byte, 32), Evidence: make([]byte, 32)},
		Now:    func() (time.Time, error) { return noon, nil },
		Record: w.record,
		Log:    slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	w.bundle = cfg.Bundle
	w.Decider = decide.New(cfg)
	return w
}

// kept is the record of a decision as the store keeps it.
func (w *world) kept(t testing.TB, id string) string {
	t.Helper()
	var detail []byte
	err := authzstore.New(w.backend).View(context.Background(), func(s authzstore.Snapshot) error {
		r, _, err := s.Record(id)
		detail = r.Detail
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(detail)
}

// withFake puts a fake over a backend with Anna's account.
func withFake(t testing.TB, f fakeKV) func(*decide.Config) {
	t.Helper()
	f.Store = openBadger(t)
	putAccount(t, f.Store, anna())
	return withStore(f)
}

func withStore(backend kv.Store) func(*decide.Config) {
	return func(cfg *decide.Config) { cfg.Store = authzstore.New(backend) }
}

// loadBuiltIn judges the built-in bundle once for all tests.
var loadBuiltIn = sync.OnceValues(func() (*bundle.Bundle, error) {
	files, err := policiestest.Direct()
	if err != nil {
		return nil, err
	}
	return bundle.Load(context.Background(), files, bundle.Config{Policy: policy.Config{Budget: time.Minute}})
})

// builtIn is the built-in bundle.
func builtIn(t testing.TB) func() *bundle.Bundle {
	t.Helper()
	b, err := loadBuiltIn()
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

var keys atomic.Int64

// payment is a request of Anna's with this body, under a key of its own.
func payment(body string) call.Request {
	return call.Request{
		Method:    "POST",
		Authority: "pay.example",
		Path:      "/v1/accounts/acc_anna/payments",
		Headers: []call.Header{
			{Name: "content-type", Value: []byte("application/json")},
			{Name: "content-length", Value: []byte(strconv.Itoa(len(body)))},
			{Name: "authorization", Value: []byte("Bearer token4711")},
			{Name: "idempotency-key", Value: fmt.Appendf(nil, "key-%d", keys.Add(1))},
		},
		Body:   []byte(body),
		Claims: map[string]any{"iss": "https://id.example", "sub": "anna", "scope": "secret4711"},
	}
}

func good() call.Request { return payment(goodBody) }

// fakeKV is a real backend, but for its function fields.
type fakeKV struct {
	kv.Store
	view   func(ctx context.Context, fn func(kv.Snap) error) error
	update func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error
	get    func(key string) (val []byte, ok bool, err error) // of the transactions
}

func (f fakeKV) View(ctx context.Context, fn func(kv.Snap) error) error {
	if f.view != nil {
		return f.view(ctx, fn)
	}
	return f.Store.View(ctx, fn)
}

func (f fakeKV) Update(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
	if f.update != nil {
		return f.update(ctx, refs, fn)
	}
	return f.Store.Update(ctx, refs, func(tx kv.Tx) error {
		if f.get == nil {
			return fn(tx)
		}
		return fn(fakeTx{tx, f.get})
	})
}

// fakeTx answers Get alike for every account.
type fakeTx struct {
	kv.Tx
	get func(key string) ([]byte, bool, error)
}

func (tx fakeTx) Get(key string) ([]byte, bool, error) {
	if strings.HasPrefix(key, "account/") {
		return tx.get(key)
	}
	return tx.Tx.Get(key)
}

// serving is a backend where every account is this value.
func serving(value []byte) fakeKV {
	return fakeKV{get: func(string) ([]byte, bool, error) { return value, true, nil }}
}
