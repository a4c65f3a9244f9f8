package sidecar_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/examples/envoy"
	"github.com/countersign/countersign/examples/payments"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/clock"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// What callers of the guarded system send that is right.
const (
	guardedAccount = "acc_Kanarienkonto-90210"
	guardedSubject = "Kanarienbesitzerin-11235"
	guardedPayee   = "mer_Kanarienbackwerk-81321"
	rightCode      = "Geheim+Code/48151623"
)

// What they send that makes the kind of evidence, or the policy, fail.
const (
	panicCode  = "Absturz+Code/27182818"
	errorCode  = "Fehler+Code/16180339"
	loopPayee  = "mer_Endlosschleife-55555"
	wrongPayee = "mer_Unsinnsgrund-77777"
)

// guardedBundle is the built-in bundle with a second system, whose calls show a
// code and have a personal field.
func guardedBundle(t *testing.T) fstest.MapFS {
	t.Helper()
	bundle := bundleWith(t, "package payments.systems.direct_payment\n").(fstest.MapFS)
	file := func(name, text string) { bundle[name] = &fstest.MapFile{Data: []byte(text)} }
	text := func(name string) string { return string(bundle[name].Data) }

	file("systems/guarded/routes.yaml", strings.NewReplacer(
		"system: direct_payment", "system: guarded",
		"/v1/accounts/", "/v1/guarded/",
		"  facts:", "    code: {json: /code, secret: true, evidence: test_code}\n    pan: {json: /pan, personal: true}\n  facts:",
	).Replace(text("systems/direct_payment/routes.yaml")))
	file("systems/guarded/guarded.rego", strings.NewReplacer(
		"package payments.systems.direct_payment", "package payments.systems.guarded",
		"	is_string(input.call.payee)\n", "	is_string(input.call.payee)\n	is_string(input.call.pan)\n	input.evidence.code.matched == true\n",
	).Replace(text("systems/direct_payment/direct_payment.rego"))+`
deny contains {"code": "code_wrong", "message": "The code is not right."} if not input.evidence.code.matched == true

deny contains "no reason" if input.call.payee == "`+wrongPayee+`"

deny contains reason if {
	input.call.payee == "`+loopPayee+`"
	some i in numbers.range(1, 1000)
	some j in numbers.range(1, 1000)
	some k in numbers.range(1, 1000)
	(i + j) + k == 0
	reason := {}
}
`)
	file("systems/guarded/guarded_test.rego", `# METADATA
# title: Tests of the guarded system
# description: One call that is allowed.
# schemas:
#   - input: schema.input
package payments.systems.guarded_test

good := {
	"version": 1,
	"now_ns": 1795532400000000000,
	"arrived_ns": 1795532400000000000,
	"call": {
		"system": "guarded", "operation": "pay", "account": "acc_a", "payee": "mer_b",
		"amount_minor": 1250, "currency": "EUR", "pan": "ptk_a",
	},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"evidence": {"code": {"matched": true}},
	"facts": {"account": {
		"id": "acc_a",
		"owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
		"state": "active", "currency": "EUR", "max_payment_minor": 50000,
		"limits": [{
			"name": "total",
			"period": {"kind": "lifetime"},
			"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 1250},
			"count": {"mode": "at_most", "max": 10, "remaining": 1},
			"window_full": false,
		}],
	}},
}

test_good if data.payments.decision.allow with input as good
`)
	file("schemas/input.json", strings.Replace(text("schemas/input.json"), `"payee": {`, `"pan": {"type": "string"}, "payee": {`, 1))
	return bundle
}

// testCode is a kind of evidence with one right answer, once for each call.
type testCode struct{}

func (testCode) thing(c call.Call) string {
	return fmt.Sprintf("tst_%x", sha256.Sum256([]byte("test code "+c.IdempotencyKey)))
}

func (testCode) Lead(authzstore.Reader, call.Call, string) (string, error) { return "", nil }

func (k testCode) Refs(a evidence.About, _ string) []kv.Ref {
	return []kv.Ref{authzstore.UseRef(k.thing(a.Call)), authzstore.AttemptsRef("tst_code")}
}

func (k testCode) Check(_ *authzstore.Tx, a evidence.About, secret string) (evidence.Finding, error) {
	switch secret {
	case panicCode:
		panic("a panic that quotes " + secret)
	case errorCode:
		return evidence.Finding{}, fmt.Errorf("an error that quotes %s", secret)
	}
	matched := subtle.ConstantTimeCompare([]byte(secret), []byte(rightCode)) == 1
	budgets := []evidence.Budget{{Name: "tst_code", Allowance: authzstore.Allowance{Max: 1000}}}
	if secret == wrongCode {
		budgets = nil // as if it came from somebody else than expected
	}
	return evidence.Finding{Matched: matched, Thing: k.thing(a.Call), Budgets: budgets}, nil
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A guarded sidecar, an Envoy of its own and a payment service, and all that they
// let out.
type guarded struct {
	data, socket, metrics, policies string
	edge                            *envoy.Envoy
	stop                            func()       // all of it
	ahead                           atomic.Int64 // of the clock

	log, envoyLog lockedBuffer
	decisions     lockedBuffer
	accessLog     string // a file
	keyFile       string
	upstreamKey   string

	ids []string // of decisions, as callers were told

	mu     sync.Mutex
	claims []signed.Payment // of the tokens that reached the service
}

// startGuarded runs it until stop.
func startGuarded(t *testing.T) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{
		data: filepath.Join(dir, "data"), socket: filepath.Join(dir, "a.sock"), metrics: filepath.Join(dir, "m.sock"),
		policies: filepath.Join(dir, "policies"), accessLog: filepath.Join(dir, "access"), keyFile: filepath.Join(dir, "key"), upstreamKey: rand.Text() + rand.Text(),
	}
	g.putAccount(t)
	if err := os.CopyFS(g.policies, guardedBundle(t)); err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	if err := os.WriteFile(g.keyFile, []byte(base64.StdEncoding.EncodeToString(secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := signed.SharedKey([]byte(g.upstreamKey))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(g.pay))
	t.Cleanup(server.Close)
	g.edge, err = envoy.Start(t.Context(), envoy.Config{
		Socket: g.socket, Upstream: server.Listener.Addr().String(), JWKS: tokens.JWKS(), Log: &g.envoyLog,
		Edit: func(root map[string]any) {
			checkHealthOften(root)
			g.keepAccessLog(root)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := sidecar.Config{
		Listen:      "unix:" + g.socket,
		Metrics:     "unix:" + g.metrics,
		DataDir:     g.data,
		KeyFile:     g.keyFile,
		Policies:    os.DirFS(g.policies),
		DecisionLog: &g.decisions,
		Evidence:    map[string]evidence.Kind{"test_code": testCode{}},
		TokenKeys:   map[string]signed.Key{payments.Audience: key},
		Policy:      policy.Config{Budget: 100 * time.Millisecond},
		Clock:       clock.Config{Wall: func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }},
		Log:         slog.New(slog.NewJSONHandler(&g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sidecar.Run(ctx, cfg) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, g.edge.Stop()); err != nil { // Envoy writes its access log at the end
			t.Error(err)
		}
	})
	t.Cleanup(g.stop)
	ready, giveUp := context.WithTimeout(t.Context(), time.Minute)
	defer giveUp()
	if err := g.edge.AwaitSidecar(ready, true); err != nil {
		t.Fatalf("%v: %s", err, g.log.String())
	}
	return g
}

func (g *guarded) putAccount(t *testing.T) {
	t.Helper()
	store, err := sidecar.OpenStore(t.Context(), g.data, nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: owner("operator"), NowNanos: time.Now().UnixNano()}
	err = store.PutAccount(t.Context(), cause, authzstore.Account{
		ID: guardedAccount, Owner: owner(guardedSubject), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 50000,
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

// keepAccessLog has Envoy write down all that the sidecar tells it of a call.
func (g *guarded) keepAccessLog(root map[string]any) {
	manager, err := envoy.Manager(root)
	if err != nil {
		panic(err)
	}
	manager["access_log"] = []any{map[string]any{
		"name": "envoy.access_loggers.file",
		"typed_config": map[string]any{
			"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
			"path":  g.accessLog,
			"log_format": map[string]any{"json_format": map[string]any{
				"decision_id": "%RESP(countersign-decision-id)%",
				"metadata":    "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%",
				"details":     "%RESPONSE_CODE_DETAILS%",
				"status":      "%RESPONSE_CODE%",
			}},
		},
	}}
}

// pay is the payment service: it keeps what the tokens say.
func (g *guarded) pay(w http.ResponseWriter, r *http.Request) {
	var claims struct{ signed.Payment }
	parts := strings.Split(r.Header.Get(signed.HeaderToken), ".")
	if len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil {
			err = json.Unmarshal(payload, &claims)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	g.mu.Lock()
	g.claims = append(g.claims, claims.Payment)
	g.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

// get reads a page of the sidecar's own.
func (g *guarded) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", g.metrics)
		},
	}}
	resp, err := client.Get("http://sidecar" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
