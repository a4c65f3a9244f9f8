package sidecar_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/outbox"
)

// Messages that were committed are delivered by the next process, signed, to the
// receiver that the operator named.
func TestMessages(t *testing.T) {
	secret := strings.TrimSpace(string(outbox.NewSecret()))
	secrets, err := outbox.ParseSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 2)
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifyWebhook(secret, body, r.Header)
		}
		if err != nil {
			body = []byte(err.Error())
		}
		got <- string(body)
	}))
	defer receiver.Close()
	var data string
	var sent []authzstore.Message
	r := start(t, policiestest.Files(t), func(cfg *sidecar.Config) {
		data = cfg.DataDir
		sent = putMessages(t, data, receiver.URL)
		cfg.WebhookRoots = x509.NewCertPool()
		cfg.WebhookRoots.AddCert(receiver.Certificate())
		cfg.Webhooks = []outbox.Receiver{{Host: strings.TrimPrefix(receiver.URL, "https://"), Secrets: secrets, Loopback: true}}
		cfg.MessageLog = io.Discard
	})
	for i, message := range sent { // the second is sent once the first one's delivery is durable
		body := <-got
		var envelope outbox.Envelope
		if err := json.Unmarshal([]byte(body), &envelope); err != nil || envelope.ID != message.ID || envelope.Number != uint64(i+1) {
			t.Errorf("the receiver got %s: %v", body, err)
		}
	}
	r.stop()
	if text := r.log.String(); !strings.Contains(text, "only to try things out") || strings.Contains(text, secret) {
		t.Errorf("the log says %s", text)
	}
	if d := deliveryOf(t, data, sent[0].Terminal); d.Acked < 1 || len(d.Dead) != 0 {
		t.Errorf("the store says %+v", d)
	}
}

// While a receiver hangs, with a message in its hands, payments pass.
func TestReceiverHangs(t *testing.T) {
	secrets, err := outbox.ParseSecrets(strings.TrimSpace(string(outbox.NewSecret())))
	if err != nil {
		t.Fatal(err)
	}
	hangs, ends := make(chan struct{}), make(chan struct{})
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else nobody sees that the sidecar has gone
		select {
		case hangs <- struct{}{}:
			<-r.Context().Done()
		case <-ends:
		}
	}))
	defer receiver.Close()
	defer close(ends)
	var data string
	r := start(t, policiestest.Files(t), func(cfg *sidecar.Config) {
		data = cfg.DataDir
		putMessages(t, data, receiver.URL)
		cfg.WebhookRoots = x509.NewCertPool()
		cfg.WebhookRoots.AddCert(receiver.Certificate())
		cfg.Webhooks = []outbox.Receiver{{Host: strings.TrimPrefix(receiver.URL, "https://"), Secrets: secrets, Loopback: true}}
	})
	<-hangs
	for range 3 {
		if got := send(t, good()); got.status != http.StatusCreated || got.reached != 1 {
			t.Errorf("status %d, %s, %d calls upstream", got.status, got.body, got.reached)
		}
	}
	r.stop()
	if d := deliveryOf(t, data, "trm_phone"); d.Acked != 0 || len(d.Dead) != 0 {
		t.Errorf("the store says %+v", d)
	}
}

// A receiver that cannot be is refused before anything starts.
func TestReceiverRefused(t *testing.T) {
	err := sidecar.Run(t.Context(), sidecar.Config{
		Listen: "unix:" + filepath.Join(t.TempDir(), "a.sock"), DataDir: filepath.Join(t.TempDir(), "data"),
		Webhooks: []outbox.Receiver{{Host: "https://hooks.example/path"}},
	})
	if !errors.Is(err, outbox.ErrReceiver) {
		t.Errorf("Run = %v, want %v", err, outbox.ErrReceiver)
	}
}

func verifyWebhook(secret string, body []byte, header http.Header) error {
	verifier, err := webhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return verifier.Verify(body, header)
}

// putMessages binds a terminal of Anna's with a webhook, and writes two messages to it.
func putMessages(t *testing.T, dir, webhook string) (sent []authzstore.Message) {
	t.Helper()
	store, err := sidecar.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	terminal := authzstore.Terminal{
		ID: "trm_phone", Account: "acc_anna", State: authzstore.TerminalBound, Webhook: webhook,
		Identity: authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "phone"},
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: owner("operator"), NowNanos: now.UnixNano()}
	refs := append(authzstore.TerminalRefs(terminal), authzstore.SendRefs(terminal.ID)...)
	err = store.Update(t.Context(), cause, refs, func(tx *authzstore.Tx) error {
		if err := tx.PutTerminal(terminal); err != nil {
			return err
		}
		bound, _, err := tx.Terminal(terminal.ID)
		for range 2 {
			m := authzstore.Message{
				ID: authzstore.NewID("msg"), Kind: "deduction_notice", Terminal: terminal.ID, Account: terminal.Account,
				TerminalBoundAtNanos: bound.BoundAtNanos, Requester: owner("anna"), ExpiresAtNanos: now.Add(time.Hour).UnixNano(),
			}
			err = errors.Join(err, tx.Send(m))
			sent = append(sent, m)
		}
		return err
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	return sent
}

func deliveryOf(t *testing.T, dir, terminal string) (d authzstore.Delivery) {
	t.Helper()
	store, err := sidecar.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = store.View(t.Context(), func(s authzstore.Snapshot) (err error) {
		d, err = s.Delivery(terminal)
		return err
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	return d
}
