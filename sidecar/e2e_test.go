package sidecar_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/examples/envoy"
	"github.com/countersign/countersign/examples/issuer"
	"github.com/countersign/countersign/examples/payments"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/replay/replaytest"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// The suite's one Envoy, and what stands around it. Each test starts a sidecar
// of its own on the same socket, and a payment service for its store.
var (
	gateway *envoy.Envoy
	tokens  *issuer.Issuer
	service atomic.Pointer[payments.Service]
	socket  string
)

func upstream() *payments.Service { return service.Load() }

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	dir, err := os.MkdirTemp("", "countersign-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	socket = filepath.Join(dir, "authz.sock")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { upstream().ServeHTTP(w, r) }))
	defer server.Close()
	if tokens, err = issuer.New(); err != nil {
		panic(err)
	}
	return envoy.Main(envoy.Config{
		Socket:   socket,
		Upstream: server.Listener.Addr().String(),
		JWKS:     tokens.JWKS(),
		Edit:     checkHealthOften,
	}, func(e *envoy.Envoy) int {
		gateway = e
		return m.Run()
	})
}

// checkHealthOften saves each test a second: a sidecar that has just started is
// unhealthy until Envoy asks again.
func checkHealthOften(root map[string]any) {
	cluster, err := envoy.Cluster(root, "countersign")
	if err != nil {
		panic(err)
	}
	check := cluster["health_checks"].([]any)[0].(map[string]any)
	check["interval"], check["no_traffic_interval"] = "0.05s", "0.05s"
	// The machine may be busy with other tests.
	check["timeout"] = "5s"
}

// A running sidecar and what it logged.
type running struct {
	decisions *bytes.Buffer // read it after stop
	log       *bytes.Buffer
	stop      func()
	// replay stops the sidecar, and has all that it decided decided again, as is done
	// at the end of every test.
	replay func(*testing.T) ([]decide.Record, replaytest.Tally)
}

// start runs a sidecar with the accounts of the suite until the test ends.
func start(t *testing.T, policies fs.FS, changes ...func(*sidecar.Config)) running {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	key := openPayments(t, putAccounts(t, data))
	r := running{decisions: &bytes.Buffer{}, log: &bytes.Buffer{}}
	cfg := sidecar.Config{
		Listen:      "unix:" + socket,
		DataDir:     data,
		Policies:    policies,
		DecisionLog: r.decisions,
		TokenKeys:   map[string]signed.Key{payments.Audience: key},
		// The race detector makes an evaluation ten times slower.
		Policy: policy.Config{Budget: 100 * time.Millisecond},
		Log:    slog.New(slog.NewJSONHandler(r.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sidecar.Run(ctx, cfg) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("sidecar: %v", err)
		}
		// Else the next test takes Envoy's last word on this one for its own.
		awaitSidecar(t, false)
	}
	replayed := false
	r.replay = func(t *testing.T) ([]decide.Record, replaytest.Tally) {
		t.Helper()
		r.stop()
		replayed = true
		store, err := sidecar.OpenStore(context.Background(), data, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		records := replaytest.Records(t, store)
		return records, replaytest.Check(t, bundle.NewArchive(filepath.Join(data, sidecar.PoliciesDir)), records)
	}
	t.Cleanup(func() {
		if !replayed {
			r.replay(t)
		}
	})
	awaitSidecar(t, true)
	return r
}

func awaitSidecar(t *testing.T, healthy bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := gateway.AwaitSidecar(ctx, healthy); err != nil {
		t.Fatal(err)
	}
}

func owner(subject string) authzstore.Identity {
	return authzstore.Identity{Kind: "user", Issuer: issuer.URL, Subject: subject}
}

var accounts = []authzstore.Account{
	{ID: "acc_anna", Owner: owner("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 50000},
	{ID: "acc_ben", Owner: owner("ben"), State: authzstore.AccountFrozen, Currency: "EUR", MaxPaymentMinor: 50000},
}

// openPayments starts a payment service that takes the tokens of a store, and
// returns the key.
func openPayments(t *testing.T, storeID string) signed.Key {
	t.Helper()
	key, err := signed.SharedKey([]byte(rand.Text() + rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signed.NewVerifier(storeID, payments.Audience, key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := payments.Open(t.TempDir(), verifier, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	service.Store(opened)
	t.Cleanup(func() { opened.Close() })
	return key
}

// putAccounts makes a store with the suite's accounts, and returns its ID.
func putAccounts(t *testing.T, dir string) string {
	t.Helper()
	store, err := sidecar.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: owner("operator"), NowNanos: time.Now().UnixNano()}
		if err := store.PutAccount(t.Context(), cause, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return store.ID()
}

// A request to the payment service.
type request struct {
	method, path, body, caller string
	header                     http.Header
}

var keys atomic.Int64

// good is a payment that is allowed, under a key of its own.
func good() request {
	return request{
		method: http.MethodPost,
		path:   "/v1/accounts/acc_anna/payments",
		body:   `{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}`,
		caller: "anna",
		header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {fmt.Sprintf("key-%d", keys.Add(1))}},
	}
}

func with(bend func(*request)) request {
	r := good()
	bend(&r)
	return r
}

// An answer is what the caller got, and how many requests reached the upstream.
type answer struct {
	status  int
	code    string
	header  http.Header
	body    string
	reached int
}

// send makes the call; it may be used by one goroutine at a time if the answer's
// reached is to mean anything.
func send(t *testing.T, r request) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, gateway.URL()+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.header.Clone()
	if r.caller != "" {
		token, err := tokens.Token(r.caller, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("authorization", "Bearer "+token)
	}
	before := upstream().Requests()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct{ Code string }
	if resp.Header.Get("content-type") == "application/problem+json" {
		if err := json.Unmarshal(body, &problem); err != nil {
			t.Fatalf("problem document %q: %v", body, err)
		}
	}
	return answer{resp.StatusCode, problem.Code, resp.Header, string(body), upstream().Requests() - before}
}

// bundleWith is the built-in bundle with one more file in the system
// direct_payment.
func bundleWith(t *testing.T, rego string) fs.FS {
	t.Helper()
	bundle := policiestest.Files(t)
	bundle["systems/direct_payment/added.rego"] = &fstest.MapFile{Data: []byte(rego)}
	return bundle
}
