package outbox

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/sidecar/evidence"
)

func TestMain(m *testing.M) {
	childMain()
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

// noon is when the clocks of these tests start.
var noon = time.Date(2026, 11, 24, 12, 0, 15, 0, time.UTC)

const (
	account = "acc_anna"
	phone   = "trm_phone"
	// testSecret signs the webhooks of these tests, and is nowhere else.
	testSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var requester = authzstore.Identity{Kind: "agent", Issuer: "https://id.example", Subject: "desk"}

// as is the identity by which a terminal calls.
func as(terminal string) authzstore.Identity {
	return authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: terminal}
}

// A fakeClock goes on when it is told to.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
	asked  []time.Duration // of After, all that were
}

type fakeTimer struct {
	at time.Time
	fn func()
}

func (c *fakeClock) Now() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

func (c *fakeClock) After(wait time.Duration, fn func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &fakeTimer{c.now.Add(wait), fn}
	c.timers = append(c.timers, timer)
	c.asked = append(c.asked, wait)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timers = slices.DeleteFunc(c.timers, func(t *fakeTimer) bool { return t == timer })
	}
}

// advance lets time pass, and calls what is due.
func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []*fakeTimer
	c.timers = slices.DeleteFunc(c.timers, func(t *fakeTimer) bool {
		if t.at.After(c.now) {
			return false
		}
		due = append(due, t)
		return true
	})
	c.mu.Unlock()
	for _, t := range due {
		t.fn()
	}
}

// waits tells whether somebody waits for so long.
func (c *fakeClock) waits(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.timers, func(t *fakeTimer) bool { return t.at.Equal(c.now.Add(d)) })
}

// A world is a store with Anna's account, and an outbox on it.
type world struct {
	*authzstore.Store
	clock   *fakeClock
	codes   *evidence.Challenges
	stored  *evidence.StoredCodes
	log     *lockedBuffer
	stopRun func() // nil while no outbox runs
}

// quiet is for servers whose clients go on purpose.
var quiet = log.New(io.Discard, "", 0)

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

func newWorld(t testing.TB) *world { return openWorld(t, t.TempDir()) }

func openWorld(t testing.TB, dir string) *world {
	t.Helper()
	w, err := open(dir)
	must(t, err)
	t.Cleanup(func() {
		w.stop()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func open(dir string) (*world, error) {
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: dir, BallastBytes: -1, VerifyEvery: -1})
	if err != nil {
		return nil, err
	}
	w := &world{Store: authzstore.New(backend), clock: &fakeClock{now: noon}, log: &lockedBuffer{}}
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		return nil, err
	}
	if w.codes, err = evidence.NewChallenges(evidence.ChallengesConfig{Sealer: sealer}); err != nil {
		return nil, err
	}
	w.stored, err = evidence.NewStoredCodes(evidence.StoredCodesConfig{Sealer: sealer})
	return w, err
}

// renderer makes codes as the sidecar does.
func (w *world) renderer() Renderer { return Renderer{w.codes.Code, w.stored.Code} }

// outbox returns an outbox of the world, with changes to its configuration.
func (w *world) outbox(t testing.TB, changes ...func(*Config)) *Outbox {
	t.Helper()
	o, err := w.newOutbox(changes...)
	must(t, err)
	return o
}

func (w *world) newOutbox(changes ...func(*Config)) (*Outbox, error) {
	cfg := Config{
		Store: w.Store, Renderer: w.renderer(), Now: w.clock.Now, After: w.clock.After,
		Random: func(n int64) int64 { return n - 1 }, // the longest wait
		Log:    slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, change := range changes {
		change(&cfg)
	}
	return New(cfg)
}

// run runs an outbox until the test ends, or stop.
func (w *world) run(t testing.TB, changes ...func(*Config)) *Outbox {
	t.Helper()
	o := w.outbox(t, changes...)
	w.stopRun = start(o)
	return o
}

// start runs an outbox until stop.
func start(o *Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
		o.webhook.client.CloseIdleConnections()
	}
}

func (w *world) stop() {
	if w.stopRun != nil {
		w.stopRun()
		w.stopRun = nil
	}
}

func (w *world) update(refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	now, _ := w.clock.Now()
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: requester, NowNanos: now.UnixNano()}
	return w.Update(context.Background(), cause, refs, fn)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a terminal of Anna's, bound unless it says otherwise.
func (w *world) put(t testing.TB, term authzstore.Terminal) {
	t.Helper()
	must(t, w.putTerminal(term))
}

func (w *world) putTerminal(term authzstore.Terminal) error {
	if term.Account == "" {
		term.Account = account
	}
	if term.State == "" {
		term.State = authzstore.TerminalBound
	}
	term.Identity = as(term.ID)
	was, err := w.terminal(term.ID)
	if err != nil {
		return err
	}
	if was.ID == "" {
		was = term
	}
	return w.update(authzstore.TerminalRefs(term, was), func(tx *authzstore.Tx) error { return tx.PutTerminal(term) })
}

func (w *world) terminal(id string) (term authzstore.Terminal, err error) {
	err = w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		term, _, err = s.Terminal(id)
		return err
	})
	return term, err
}

// message returns a message to a terminal as it is bound now, good for an hour.
func (w *world) message(terminal string) (authzstore.Message, error) {
	term, err := w.terminal(terminal)
	now, _ := w.clock.Now()
	return authzstore.Message{
		ID: authzstore.NewID("msg"), Kind: "deduction_notice", Terminal: terminal, Account: term.Account,
		TerminalBoundAtNanos: term.BoundAtNanos, AmountMinor: 1250, Currency: "EUR", Payee: "mer_bakery", Requester: requester,
		ExpiresAtNanos: now.Add(time.Hour).UnixNano(),
	}, err
}

// send sends a message, with changes.
func (w *world) send(t testing.TB, terminal string, changes ...func(*authzstore.Message)) authzstore.Message {
	t.Helper()
	m, err := w.message(terminal)
	must(t, err)
	for _, change := range changes {
		change(&m)
	}
	must(t, w.sendMessage(m))
	return m
}

func (w *world) sendMessage(m authzstore.Message) error {
	return w.update(authzstore.SendRefs(m.Terminal), func(tx *authzstore.Tx) error { return tx.Send(m) })
}

func (w *world) delivery(t testing.TB, terminal string) (d authzstore.Delivery) {
	t.Helper()
	must(t, w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		d, err = s.Delivery(terminal)
		return err
	}))
	return d
}

// acked waits until the messages of a terminal up to a number need no delivery.
func (w *world) acked(t testing.TB, terminal string, num uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("message %d of %s delivered", num, terminal), func() bool {
		return w.delivery(t, terminal).Acked >= num
	})
}

// eventually waits for what must come.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// A receipt is one webhook that arrived.
type receipt struct {
	id       string
	envelope Envelope
	body     string
}

// A receiver takes webhooks, checks what is signed, and answers as told.
type receiver struct {
	*httptest.Server
	answer func(e Envelope) int // a status; 0: it hangs until it is closed

	mu       sync.Mutex
	receipts []receipt
	wrong    []string
	hung     chan struct{}
}

func newReceiver(t testing.TB, answer func(e Envelope) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer, hung: make(chan struct{})}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(func() {
		close(r.hung)
		r.Server.Close()
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err == nil {
		err = verifySignature(body, request.Header)
	}
	var e Envelope
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	id := request.Header.Get(webhooks.HeaderWebhookID)
	if err == nil && (id != e.ID || request.Method != http.MethodPost || request.Header.Get("content-type") != "application/json") {
		err = fmt.Errorf("%s of %q with the ID %s", request.Method, request.Header.Get("content-type"), id)
	}
	r.mu.Lock()
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	r.receipts = append(r.receipts, receipt{id, e, string(body)})
	r.mu.Unlock()
	status := http.StatusNoContent
	if r.answer != nil {
		status = r.answer(e)
	}
	if status == 0 {
		select {
		case <-r.hung:
		case <-request.Context().Done():
		}
		return
	}
	if status/100 == 3 {
		w.Header().Set("location", r.URL+"/elsewhere")
	}
	w.WriteHeader(status)
}

// verifySignature checks a webhook, but for its time: the clock is a fake.
func verifySignature(body []byte, header http.Header) error {
	verifier, err := webhooks.NewWebhook(testSecret)
	if err != nil {
		return err
	}
	return verifier.VerifyIgnoringTimestamp(body, header)
}

// got returns what arrived, once it is so much.
func (r *receiver) got(t testing.TB, n int) []receipt {
	t.Helper()
	eventually(t, fmt.Sprintf("%d webhooks", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.receipts) >= n
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, wrong := range r.wrong {
		t.Errorf("a webhook is wrong: %s", wrong)
	}
	return slices.Clone(r.receipts)
}

// receiver returns how the sidecar knows it.
func (r *receiver) config(t testing.TB) func(*Config) {
	t.Helper()
	secrets, err := ParseSecrets(testSecret)
	must(t, err)
	return func(cfg *Config) {
		if cfg.Roots == nil {
			cfg.Roots = x509.NewCertPool()
		}
		cfg.Roots.AddCert(r.Certificate())
		cfg.Receivers = append(cfg.Receivers, Receiver{Host: strings.TrimPrefix(r.URL, "https://"), Secrets: secrets, Loopback: true})
	}
}
