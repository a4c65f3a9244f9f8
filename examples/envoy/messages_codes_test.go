package envoy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/examples/issuer"
	"github.com/countersign/countersign/policies/policiestest"
	countersign "github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/clock"
	"github.com/countersign/countersign/sidecar/outbox"
	"github.com/countersign/countersign/sidecar/policy"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// Each terminal reads its own code as a stream of events through Envoy, once the
// decision that asked for it is durable; with both the payment passes.
func TestCodesByStream(t *testing.T) {
	f := newCodesWorld(t)
	phone, tablet := f.messages(t, "phone"), f.messages(t, "tablet")
	pay := func() response {
		return f.send(t, "anna", http.MethodPost, "/v1/accounts/acc_anna/verified-payments", "lunch",
			`{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}`)
	}
	asked := pay()
	if asked.StatusCode != http.StatusUnauthorized || len(paid()) != 0 {
		t.Fatalf("status %d, %d calls upstream: %s", asked.StatusCode, len(paid()), asked.body)
	}
	toPhone, toTablet := nextMessage(t, phone), nextMessage(t, tablet)
	for terminal, m := range map[string]outbox.Envelope{"trm_phone": toPhone, "trm_tablet": toTablet} {
		if m.Terminal != terminal || m.Number != 1 || len(m.Code) != 6 || m.AmountMinor != 1250 || m.Payee != "mer_bakery" || m.Requester != user("anna") {
			t.Errorf("%s got message %d of kind %s to %s, with a code of %d digits", terminal, m.Number, m.Kind, m.Terminal, len(m.Code))
		}
	}
	if toPhone.Challenge != toTablet.Challenge || toPhone.Code == toTablet.Code || toPhone.ID == toTablet.ID {
		t.Error("the two terminals did not get codes of their own for one challenge")
	}
	for i, m := range []outbox.Envelope{toTablet, toPhone} {
		entry := f.send(t, "anna", http.MethodPost, "/countersign/v1/user/challenges/"+m.Challenge+"/entries", []string{"first", "second"}[i], `{"code": "`+m.Code+`"}`)
		if entry.StatusCode != http.StatusAccepted {
			t.Fatalf("an entry: status %d, %s", entry.StatusCode, entry.body)
		}
	}
	if done := pay(); done.StatusCode != http.StatusOK || len(paid()) != 1 {
		t.Errorf("status %d, %d calls upstream: %s", done.StatusCode, len(paid()), done.body)
	}
	for _, code := range []string{toPhone.Code, toTablet.Code} {
		if bytes.Contains(f.log.bytes(), []byte(code)) {
			t.Error("a code is in the sidecar's log")
		}
	}
	// What is acknowledged does not come again, and a stream ends another of its terminal.
	ack := f.send(t, "phone", http.MethodPost, "/countersign/v1/messages/ack", "ack", `{"up_to": 1}`)
	if ack.StatusCode != http.StatusOK {
		t.Fatalf("an acknowledgement: status %d, %s", ack.StatusCode, ack.body)
	}
	again := f.messages(t, "phone")
	if rest, err := phone.ReadString('!'); err == nil {
		t.Errorf("the first stream goes on with %q", rest)
	}
	asked = f.send(t, "anna", http.MethodPost, "/v1/accounts/acc_anna/verified-payments", "supper",
		`{"payee": "mer_bakery", "amount_minor": 1500, "currency": "EUR"}`)
	if m := nextMessage(t, again); m.Number != 2 || m.AmountMinor != 1500 {
		t.Errorf("message %d, about %d, came after the first was acknowledged (%d)", m.Number, m.AmountMinor, asked.StatusCode)
	}
}

// Who is not a bound terminal is refused by the policy, and reads nothing.
func TestStreamNeedsTerminal(t *testing.T) {
	f := newCodesWorld(t)
	for _, subject := range []string{"anna", "nobody"} {
		if got := f.send(t, subject, http.MethodGet, messagesPath, "", ""); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d, %s", subject, got.StatusCode, got.body)
		}
	}
}

// A codesWorld is an Envoy before a real sidecar, with Anna's account and two terminals
// of it.
type codesWorld struct {
	edge *Envoy
	log  lockedBuffer
}

func newCodesWorld(t *testing.T) *codesWorld {
	t.Helper()
	f := &codesWorld{}
	dir := filepath.Join(t.TempDir(), "data")
	held := heldClock{at: opened}
	seedTerminals(t, dir, held.wall())
	held.move(48 * time.Hour) // bound for long enough to count
	key, err := signed.SharedKey([]byte(rand.Text() + rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	sockets := filepath.Dir(checks.socket) // a short path
	socket, api := filepath.Join(sockets, "codes.sock"), filepath.Join(sockets, "codes-api.sock")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- countersign.Run(ctx, countersign.Config{
			Listen: "unix:" + socket, TerminalAPI: "unix:" + api, DataDir: dir, Policies: codePolicies(t),
			Log:       slog.New(slog.NewJSONHandler(&f.log, nil)),
			TokenKeys: map[string]signed.Key{"payments.example": key},
			Policy:    policy.Config{Budget: time.Second}, // the machine may be busy
			Clock:     clock.Config{Wall: held.wall, Boottime: held.boottime, BootID: "test"},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("sidecar: %v", err)
		}
	})
	cfg := config(socket, func(root map[string]any) {
		check := object(Cluster(root, "countersign"))["health_checks"].([]any)[0].(map[string]any)
		check["interval"], check["no_traffic_interval"] = "0.05s", "0.05s"
	})
	cfg.API = api
	if f.edge, err = Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.edge.Stop(); err != nil {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	if err := f.edge.AwaitSidecar(ready, true); err != nil {
		t.Fatal(err)
	}
	script(deny) // forgets what reached the upstream before; nobody asks the fake
	return f
}

// codePolicies are the two systems that codes need.
func codePolicies(t *testing.T) fstest.MapFS {
	t.Helper()
	files := policiestest.All(t)
	for name := range files {
		for _, other := range []string{"direct_payment", "delegated_payment", "proxied_business"} {
			if strings.HasPrefix(name, "systems/"+other+"/") || name == "schemas/"+other+".json" {
				delete(files, name)
			}
		}
	}
	return files
}

func terminalIdentity(subject string) authzstore.Identity {
	return authzstore.Identity{Kind: "terminal", Issuer: issuer.URL, Subject: subject}
}

func seedTerminals(t *testing.T, dir string, at time.Time) {
	t.Helper()
	store, err := countersign.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := func() authzstore.Cause {
		return authzstore.Cause{ID: authzstore.NewID("chg"), Actor: user("operator"), NowNanos: at.UnixNano()}
	}
	anna := authzstore.Account{ID: "acc_anna", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 50000}
	if err := store.PutAccount(t.Context(), cause(), anna); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"phone", "tablet"} {
		terminal := authzstore.Terminal{
			ID: "trm_" + subject, Account: anna.ID, State: authzstore.TerminalBound,
			Number: []string{"+49 151 1", "+49 151 2"}[i], Identity: terminalIdentity(subject),
		}
		err := store.Update(t.Context(), cause(), authzstore.TerminalRefs(terminal), func(tx *authzstore.Tx) error { return tx.PutTerminal(terminal) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func (f *codesWorld) request(t *testing.T, subject, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.edge.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	token, err := provider.Token(subject, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// send calls through Envoy under a key.
func (f *codesWorld) send(t *testing.T, subject, method, path, key, body string) response {
	t.Helper()
	req := f.request(t, subject, method, path, body)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return send(t, req)
}

// messages opens a terminal's stream, and returns it past its beginning.
func (f *codesWorld) messages(t *testing.T, subject string) *bufio.Reader {
	t.Helper()
	req := f.request(t, subject, http.MethodGet, messagesPath, "")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("content-type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s: %s, %s; the log says %s", subject, resp.Status, got, f.log.bytes())
	}
	stream := bufio.NewReader(resp.Body)
	wantLine(t, stream, "retry: 2000\n")
	return stream
}

// nextMessage reads the next event of a stream, past the signs of life.
func nextMessage(t *testing.T, stream *bufio.Reader) (m outbox.Envelope) {
	t.Helper()
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
}
