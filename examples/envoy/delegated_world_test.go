package envoy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/examples/issuer"
	countersign "github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/clock"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// family is an Envoy before a real sidecar with the built-in bundle, whose clock is
// the test's. Anna has an account for each case; Ben pays from it.
type family struct {
	edge     *Envoy
	dir      string // of the store
	control  string // the socket of the control API
	metrics  string // the socket of the metrics
	key      signed.Key
	log      lockedBuffer
	edgeLog  lockedBuffer
	records  records
	messages messages
	clock    heldClock
	site     *site    // where its Envoy speaks TLS
	calls    int      // for keys of their own
	told     int      // messages that a test has looked at
	bearers  []string // tokens that were shown
}

// opened is when the accounts were made, in the afternoon of a Tuesday.
var opened = time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)

// newFamily starts it by these rules, nil for the built-in ones, with these accounts
// and terminals, until the test ends. Rules that are not built in are judged first,
// which takes long.
func newFamily(t *testing.T, rules fs.FS, accounts []authzstore.Account, terminals ...authzstore.Terminal) *family {
	t.Helper()
	f := &family{clock: heldClock{at: opened}}
	f.start(t, rules, accounts, terminals)
	return f
}

func (f *family) start(t *testing.T, rules fs.FS, accounts []authzstore.Account, terminals []authzstore.Terminal) {
	t.Helper()
	f.dir = filepath.Join(t.TempDir(), "data")
	f.seed(t, f.dir, accounts, terminals)
	var err error
	if f.key, err = signed.SharedKey([]byte(rand.Text() + rand.Text())); err != nil {
		t.Fatal(err)
	}
	sockets := filepath.Dir(checks.socket) // a short path
	socket, api := filepath.Join(sockets, "family.sock"), filepath.Join(sockets, "api.sock")
	f.control, f.metrics = filepath.Join(sockets, "control.sock"), filepath.Join(sockets, "metrics.sock")
	ctx, stop := context.WithCancel(context.Background())
	ready, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer cancel() // a sidecar that does not start is not waited for
		done <- countersign.Run(ctx, countersign.Config{
			Listen: "unix:" + socket, TerminalAPI: "unix:" + api, Control: "unix:" + f.control, DataDir: f.dir,
			Metrics:  "unix:" + f.metrics,
			Log:      slog.New(slog.NewJSONHandler(&f.log, nil)),
			Policies: rules, DecisionLog: &f.records, MessageLog: &f.messages, TokenKeys: map[string]signed.Key{"payments.example": f.key},
			Policy: policy.Config{Budget: time.Second}, // the machine may be busy
			Clock:  clock.Config{Wall: f.clock.wall, Boottime: f.clock.boottime, BootID: "test"},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("sidecar: %v", err)
		}
	})
	f.before(ready, t, socket, api)
}

// before starts an Envoy before a sidecar that answers checks and shows what it did at
// these sockets, and waits until the sidecar is ready, or the context ends.
func (f *family) before(ready context.Context, t *testing.T, socket, api string) {
	t.Helper()
	cfg := config(socket, func(root map[string]any) {
		check := object(Cluster(root, "countersign"))["health_checks"].([]any)[0].(map[string]any)
		check["interval"], check["no_traffic_interval"] = "0.05s", "0.05s"
	})
	cfg.API, cfg.Log = api, &f.edgeLog
	if f.site != nil {
		cfg.TLS = f.site.dir
	}
	edge, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.edge = edge
	t.Cleanup(func() {
		if err := f.edge.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := f.edge.AwaitSidecar(ready, true); err != nil {
		t.Fatal(err)
	}
	script(deny) // forgets what reached the upstream before; nobody asks the fake
}

// lockedBuffer is written by several goroutines.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.text.Bytes())
}

// Merchants, by the subjects of the identities that call for them.
var merchants = []authzstore.Merchant{
	merchant("mer_bakery", "5462", "DE", authzstore.MerchantActive, map[string]string{"bakery": "till", "bakery-web": "web"}),
	merchant("mer_casino", "7995", "MT", authzstore.MerchantActive, map[string]string{"casino": "till"}),
	merchant("mer_closed", "5462", "DE", authzstore.MerchantFrozen, map[string]string{"closed": "till"}),
}

func merchant(id, category, country string, state authzstore.MerchantState, channels map[string]string) authzstore.Merchant {
	m := authzstore.Merchant{ID: id, Name: id, Category: category, Country: country, State: state}
	for subject, channel := range channels {
		identity := authzstore.Identity{Kind: "merchant", Issuer: issuer.URL, Subject: subject}
		m.Channels = append(m.Channels, authzstore.MerchantChannel{Channel: channel, Identity: identity})
	}
	return m
}

func user(subject string) authzstore.Identity {
	return authzstore.Identity{Kind: "user", Issuer: issuer.URL, Subject: subject}
}

func (f *family) seed(t *testing.T, dir string, accounts []authzstore.Account, terminals []authzstore.Terminal) {
	t.Helper()
	store, err := countersign.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := func() authzstore.Cause {
		return authzstore.Cause{ID: authzstore.NewID("chg"), Actor: user("operator"), NowNanos: f.clock.wall().UnixNano()}
	}
	for _, a := range accounts {
		if err := store.PutAccount(t.Context(), cause(), a); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range accounts {
		if slices.ContainsFunc(a.Limits, func(l authzstore.Limit) bool { return l.Name == fullWindow.Name }) {
			fill(t, store, cause, a)
		}
	}
	var refs []kv.Ref
	for _, m := range merchants {
		refs = append(refs, authzstore.MerchantRefs(m)...)
	}
	err = store.Update(t.Context(), cause(), refs, func(tx *authzstore.Tx) error {
		for _, m := range merchants {
			if err := tx.PutMerchant(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for some := range slices.Chunk(terminals, 100) { // what one transaction may declare is bounded
		err := store.Update(t.Context(), cause(), authzstore.TerminalRefs(some...), func(tx *authzstore.Tx) error {
			for _, trm := range some {
				if err := tx.PutTerminal(trm); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// fullWindow is a limit whose window is full when the sidecar starts.
var fullWindow = authzstore.Limit{
	Name: "full", MaxAmountMinor: 1 << 40, Period: authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: 10 * 24 * 60 * 60},
}

// fill pays from an account until its window is full: 1 000 times.
func fill(t *testing.T, store *authzstore.Store, cause func() authzstore.Cause, a authzstore.Account) {
	t.Helper()
	const atOnce = 100
	for range 1000 / atOnce {
		var refs []kv.Ref
		var payments []authzstore.Reservation
		for range atOnce {
			r := authzstore.Reservation{ID: authzstore.NewID("rsv"), Account: a.ID, Payee: "mer_bakery", AmountMinor: 1, Currency: "EUR"}
			payments, refs = append(payments, r), append(refs, authzstore.ReserveRefs(r)...)
		}
		err := store.Update(t.Context(), cause(), refs, func(tx *authzstore.Tx) error {
			for _, r := range payments {
				if err := tx.ReserveWithinLimits(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// heldClock stands still until a test moves it.
type heldClock struct {
	mu     sync.Mutex
	at     time.Time
	passed time.Duration
}

func (c *heldClock) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *heldClock) boottime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Hour + c.passed
}

func (c *heldClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.passed = c.at.Add(d), c.passed+d
}

// call sends a call of a subject through Envoy, with a key of its own.
func (f *family) call(t *testing.T, subject, method, path string, body any) response {
	t.Helper()
	f.calls++
	return f.keyed(t, "call-"+strconv.Itoa(f.calls), subject, method, path, body)
}

// keyed is call under an idempotency key.
func (f *family) keyed(t *testing.T, key, subject, method, path string, body any) response {
	t.Helper()
	return f.proven(t, nil, key, subject, method, path, body)
}

// proven is keyed with a token that says how the caller logged in (`amr`, RFC 8176).
func (f *family) proven(t *testing.T, methods []string, key, subject, method, path string, body any) response {
	t.Helper()
	var claims map[string]any
	if methods != nil {
		claims = map[string]any{"amr": methods}
	}
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, f.edge.URL()+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !isServer(subject) {
		token, err := provider.Token(subject, time.Hour, claims)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		f.bearers = append(f.bearers, token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if method != http.MethodGet {
		req.Header.Set("Idempotency-Key", key)
	}
	return sendBy(t, f.client(t, subject), req)
}

// do is a call that must be allowed; what the API shows is read into shown.
func (f *family) do(t *testing.T, subject, method, path string, body, shown any) {
	t.Helper()
	resp := f.call(t, subject, method, path, body)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s %s: status %d, %s", subject, method, path, resp.StatusCode, resp.body)
	}
	if shown != nil {
		if err := json.Unmarshal([]byte(resp.body), shown); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, resp.body)
		}
	}
}

// offer has Anna offer Ben a grant on an account.
func (f *family) offer(t *testing.T, account string, terms authzstore.Terms) (grant string) {
	t.Helper()
	var shown struct{ ID string }
	f.do(t, "anna", http.MethodPost, "/countersign/v1/accounts/"+account+"/grants", offerOf("ben", terms), &shown)
	return shown.ID
}

func offerOf(subject string, terms authzstore.Terms) map[string]any {
	return map[string]any{"delegate": user(subject), "terms": terms}
}

func grantPath(grant, what string) string {
	return strings.TrimSuffix("/countersign/v1/grants/"+grant+"/"+what, "/")
}

// accept has Ben accept a grant and fetch the parameters of its codes.
func (f *family) accept(t *testing.T, grant string) evidence.Parameters {
	t.Helper()
	f.do(t, "ben", http.MethodPost, grantPath(grant, "accept"), nil, nil)
	return f.fetch(t, grant)
}

func (f *family) fetch(t *testing.T, grant string) evidence.Parameters {
	t.Helper()
	var shown struct{ URI string }
	f.do(t, "ben", http.MethodPost, grantPath(grant, "parameters"), nil, &shown)
	p, err := evidence.ParseParameters(shown.URI)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// code is what Ben's phone shows, so many steps from now.
func (f *family) code(t *testing.T, p evidence.Parameters, steps int64) string {
	t.Helper()
	code, err := p.Code(p.Step(f.clock.wall().UnixNano()) + steps)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// A till is who brings a payment, and for whom.
type till struct{ subject, payee string }

var bakery = till{"bakery", "mer_bakery"}

func (f *family) pay(t *testing.T, by till, code string, amountMinor int64, currency string) response {
	t.Helper()
	return f.call(t, by.subject, http.MethodPost, "/v1/payments", map[string]any{
		"payment_code": code, "payee": by.payee, "amount_minor": amountMinor, "currency": currency,
	})
}

// records are the decisions that the sidecar wrote to its log.
type records struct {
	lockedBuffer
	file  string // that it writes to, where it is another process
	found int    // bytes of it that are read
	read  map[string]decide.Record
}

// of returns the record of the decision that a response is the answer of. The log is
// written behind the answers.
func (r *records) of(t *testing.T, resp response) decide.Record {
	t.Helper()
	id := resp.Header.Get("Countersign-Decision-Id")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if record, ok := r.find(t, id); ok {
			return record
		}
	}
	t.Fatalf("no decision %q in the log; status %d, %s", id, resp.StatusCode, resp.body)
	return decide.Record{}
}

func (r *records) find(t *testing.T, id string) (decide.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != "" {
		text, err := os.ReadFile(r.file)
		if err != nil {
			t.Fatal(err)
		}
		r.text = *bytes.NewBuffer(text)
	}
	if r.read == nil {
		r.read = map[string]decide.Record{}
	}
	for {
		line, _, whole := bytes.Cut(r.text.Bytes()[r.found:], []byte("\n"))
		if !whole {
			break
		}
		r.found += len(line) + 1
		var record decide.Record
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("decision log: %v", err)
		}
		r.read[record.DecisionID] = record
	}
	record, ok := r.read[id]
	return record, ok
}

// told writes reasons as the tables of the tests do: the code, and of a limit its
// name and what remains.
func told(reasons []policy.Reason) []string {
	texts := []string{}
	for _, r := range reasons {
		text := r.Code
		if r.Limit != "" {
			text += " " + r.Limit
		}
		if r.RemainingMinor != nil {
			text += fmt.Sprintf(" %d left", *r.RemainingMinor)
		}
		if r.RemainingCount != nil {
			text += fmt.Sprintf(" %d payments left", *r.RemainingCount)
		}
		texts = append(texts, text)
	}
	return texts
}
