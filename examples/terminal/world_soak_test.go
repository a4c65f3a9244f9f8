//go:build soak

package terminal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/examples/envoy"
	"github.com/countersign/countersign/examples/issuer"
	countersign "github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/upstream"
)

// patience is how long something may take on a busy machine.
const patience = time.Minute

// family are the pages before a real Envoy and a real sidecar with the built-in bundle.
type family struct {
	pages  string // where they are
	issuer *issuer.Issuer
	envoy  *envoy.Envoy

	mu   sync.Mutex
	paid []string // paths of what reached the payment service
}

var personas = []Persona{
	{Name: "phone", Title: "Anna's phone", Pages: []string{"phone"}, Device: "anna-phone", User: "anna", Account: "acc_anna", Currency: "EUR"},
	{Name: "tablet", Title: "Anna's tablet", Pages: []string{"phone"}, Device: "anna-tablet", User: "anna", Account: "acc_anna", Currency: "EUR"},
	{Name: "laptop", Title: "Anna's laptop", Pages: []string{"computer"}, Device: "anna-laptop", User: "anna", Account: "acc_anna", Payee: "mer_bakery", Currency: "EUR"},
	{Name: "ben", Title: "Ben's phone", Pages: []string{"phone"}, User: "ben", Currency: "EUR"},
	{Name: "desk", Title: "A desk", Pages: []string{"agent"}, Device: "desk-7", Account: "acc_desk", Currency: "EUR"},
	{Name: "bakery", Title: "Bakery", Pages: []string{"till"}, Device: "bakery", Payee: "mer_bakery", Currency: "EUR"},
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{}
	var err error
	if f.issuer, err = issuer.New(); err != nil {
		t.Fatal(err)
	}
	payments := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.paid = append(f.paid, r.URL.Path)
		f.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(payments.Close)
	sockets, err := os.MkdirTemp("", "pages-") // short: the path of a unix socket has about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	socket, api := filepath.Join(sockets, "authz.sock"), filepath.Join(sockets, "api.sock")
	ended := f.runSidecar(t, socket, api)
	f.envoy, err = envoy.Start(t.Context(), envoy.Config{
		Socket: socket, API: api, Upstream: payments.Listener.Addr().String(), JWKS: f.issuer.JWKS(),
		Edit: func(root map[string]any) { // the machine may be busy
			filter, err := envoy.Filter(root, "envoy.filters.http.ext_authz")
			if err != nil {
				t.Error(err)
				return
			}
			filter["grpc_service"].(map[string]any)["timeout"] = "10s"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.envoy.Stop(); err != nil {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(ended, patience)
	defer cancel()
	if err := f.envoy.AwaitSidecar(ready, true); err != nil {
		t.Fatal(err, context.Cause(ended))
	}
	at, err := url.Parse(f.envoy.URL())
	if err != nil {
		t.Fatal(err)
	}
	pages := httptest.NewServer(New(Config{Envoy: at, Issuer: f.issuer, Personas: personas}))
	t.Cleanup(func() { // streams do not end by themselves
		pages.CloseClientConnections()
		pages.Close()
	})
	f.pages = pages.URL
	return f
}

// runSidecar runs a sidecar until the test ends. The context that it returns ends with
// the sidecar.
func (f *family) runSidecar(t *testing.T, socket, api string) (ended context.Context) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	seed(t, dir)
	keys := map[string]upstream.Key{} // of the services that nobody plays: the pages' calls reach a server that takes all
	for _, audience := range []string{"payments.example", "orders.example"} {
		key, err := upstream.SharedKey([]byte(rand.Text() + rand.Text()))
		if err != nil {
			t.Fatal(err)
		}
		keys[audience] = key
	}
	ctx, stop := context.WithCancel(context.Background())
	ended, end := context.WithCancelCause(context.Background())
	go func() {
		end(countersign.Run(ctx, countersign.Config{
			Listen: "unix:" + socket, TerminalAPI: "unix:" + api, DataDir: dir,
			Log:       slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
			TokenKeys: keys,
			Policy:    policy.Config{Budget: time.Second}, // the machine may be busy
		}))
	}()
	t.Cleanup(func() {
		stop()
		<-ended.Done()
		if err := context.Cause(ended); err != context.Canceled { // of end(nil)
			t.Errorf("sidecar: %v", err)
		}
	})
	return ended
}

// seed makes Anna's account with two phones and a laptop, two days ago: a terminal that
// was bound lately gets no codes.
func seed(t *testing.T, dir string) {
	t.Helper()
	store, err := countersign.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: identity("user", "operator"), NowNanos: time.Now().Add(-48 * time.Hour).UnixNano()}
	err = store.PutAccount(t.Context(), cause, authzstore.Account{
		ID: "acc_anna", Owner: identity("user", "anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 50000,
	})
	if err != nil {
		t.Fatal(err)
	}
	cause.ID = authzstore.NewID("chg")
	err = store.PutAccount(t.Context(), cause, authzstore.Account{
		ID: "acc_desk", Owner: identity("agent", "desk-7"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 50000,
	})
	if err != nil {
		t.Fatal(err)
	}
	terminals := []authzstore.Terminal{
		bound("anna-laptop", "", nil),
		bound("anna-phone", "+491", []string{"trm_anna-laptop"}),
		bound("anna-tablet", "+492", []string{"trm_anna-laptop"}),
	}
	bakery := authzstore.Merchant{ID: "mer_bakery", Name: "Bakery", Category: "5462", Country: "DE", State: authzstore.MerchantActive,
		Channels: []authzstore.MerchantChannel{{Channel: "shop", Identity: identity("merchant", "bakery")}}}
	cause.ID = authzstore.NewID("chg")
	refs := append(authzstore.TerminalRefs(terminals...), authzstore.MerchantRefs(bakery)...)
	err = store.Update(t.Context(), cause, []kv.Ref(refs), func(tx *authzstore.Tx) error {
		for _, trm := range terminals {
			if err := tx.PutTerminal(trm); err != nil {
				return err
			}
		}
		return tx.PutMerchant(bakery)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func identity(kind, subject string) authzstore.Identity {
	return authzstore.Identity{Kind: kind, Issuer: issuer.URL, Subject: subject}
}

func bound(subject, number string, paired []string) authzstore.Terminal {
	return authzstore.Terminal{
		ID: "trm_" + subject, Account: "acc_anna", Number: number, OS: "android", Rights: []string{"order", "approve"}, PairedWith: paired,
		Identity: identity("terminal", subject), State: authzstore.TerminalBound,
	}
}

// payments are the paths of the calls that reached the payment service.
func (f *family) payments() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.paid...)
}

// offer has an owner let a delegate pay, each payment after an approval.
func (f *family) offer(t *testing.T, owner, delegate string) {
	t.Helper()
	unbounded := map[string]string{"mode": "any"}
	body, err := json.Marshal(map[string]any{
		"delegate": identity("user", delegate),
		"terms": map[string]any{
			"currency": "EUR", "max_payment_minor": 2000,
			"limits":     []any{map[string]any{"name": "daily", "max_amount_minor": 3000, "period": map[string]any{"kind": "sliding", "window_seconds": 86400}}},
			"valid_from": unbounded, "valid_to": unbounded, "merchants": unbounded, "categories": unbounded, "countries": unbounded,
			"channels": unbounded, "hours": unbounded, "cooling": map[string]string{"mode": "none"}, "delegation": "partial", "refund_restores": true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.envoy.URL()+"/countersign/v1/accounts/acc_anna/grants", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	token, err := f.issuer.Token(owner, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "offer")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, text)
	}
}
