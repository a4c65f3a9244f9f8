package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/outbox"
)

// A besieged sidecar is a program that is killed while callers guess codes.
type besieged struct {
	*family
	*program
	receiver *webhookReceiver
	client   http.Client
	// kills are how often it was killed and stands again, and guesses are those that
	// were answered.
	kills   atomic.Int64
	guesses chan struct{}
}

// newBesieged starts it with these victims.
func newBesieged(t *testing.T, victims []*victim) *besieged {
	t.Helper()
	b := &besieged{
		receiver: newWebhookReceiver(t), guesses: make(chan struct{}, 1),
		client: http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * siegeCallers}},
	}
	t.Cleanup(b.client.CloseIdleConnections)
	dir := t.TempDir()
	secret, ca := filepath.Join(dir, "hooks.secret"), filepath.Join(dir, "receiver.pem")
	host := strings.TrimPrefix(b.receiver.server.URL, "https://")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.receiver.server.Certificate().Raw})
	if err := errors.Join(os.WriteFile(secret, outbox.NewSecret(), 0o600), os.WriteFile(ca, certificate, 0o600)); err != nil {
		t.Fatal(err)
	}
	var accounts []authzstore.Account
	var terminals []authzstore.Terminal
	for _, v := range victims {
		accounts = append(accounts, accountOf(v.account(), user(v.owner())))
		for _, name := range victimTerminals {
			trm := terminalOf(v.account(), v.terminal(name), "+41 "+name, "order")
			trm.Webhook = b.receiver.server.URL + "/" + trm.ID
			terminals = append(terminals, trm)
		}
	}
	b.family, b.program = newProgram(t, nil, accounts, terminals, "--webhook-loopback", host+"="+secret, "--webhook-ca", ca)
	return b
}

// kill kills the sidecar in the midst of whatever it does, verifies its store if asked to,
// and starts it again.
func (b *besieged) kill(t *testing.T, verify bool) {
	t.Helper()
	if err := b.end(os.Kill); err == nil {
		t.Error("the sidecar ended by itself")
	}
	if verify {
		do(t, b.path, "store", "verify", "--data", b.dir)
	}
	b.program.start(t, func() {})
	b.kills.Add(1)
}

// siege besieges the victims, and returns those that were not tried after a kill.
func (b *besieged) siege(ctx context.Context, victims []*victim, keys *atomic.Int64) (untried []*victim, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	left := make([][]*victim, siegeCallers)
	err = atOnceAll(siegeCallers, func(i int) (err error) {
		defer func() {
			if err != nil {
				cancel(err)
			}
		}()
		c := b.newCaller(ctx, keys)
		for n := next.Add(1); n <= int64(len(victims)); n = next.Add(1) {
			v := victims[n-1]
			if err := v.besiege(c); err != nil {
				return err
			}
			left[i] = append(left[i], v)
			var fresh []*victim
			for _, v := range left[i] {
				if b.kills.Load() == v.kills {
					fresh = append(fresh, v)
				} else if err := v.holds(c); err != nil {
					return err
				}
			}
			left[i] = fresh
		}
		return nil
	})
	if err != nil {
		err = context.Cause(ctx) // the first
	}
	return slices.Concat(left...), err
}

// atOnceAll does the same so many times at once, and waits for all.
func atOnceAll(count int, do func(int) error) error {
	errs := make([]error, count)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { errs[i] = do(i) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// A caller calls through Envoy, again and again until it is answered.
type caller struct {
	*besieged
	ctx   context.Context
	keys  *atomic.Int64     // of all callers
	token map[string]string // by subject
}

func (b *besieged) newCaller(ctx context.Context, keys *atomic.Int64) *caller {
	return &caller{besieged: b, ctx: ctx, keys: keys, token: map[string]string{}}
}

func (c *caller) newKey() string { return fmt.Sprint("siege-", c.keys.Add(1)) }

// A siegeCall is a call, and what its answer must be: a status, and the code of a problem
// ("" for none).
type siegeCall struct {
	subject, path string
	body          any
	key           string // "" for a new one
	fresh         bool   // what was not answered is called again under a new key
	status        int
	reason        string
}

// call returns the answer of the sidecar, or of who stands behind it. What Envoy answers
// because there is no sidecar, and what a sidecar answers that cannot decide now, is none.
func (c *caller) call(call siegeCall) (response, error) {
	text, err := json.Marshal(call.body)
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, 4*patience)
	defer cancel()
	key := call.key
	for {
		if key == "" {
			key = c.newKey()
		}
		resp, err := c.once(ctx, call.subject, key, call.path, text)
		if err == nil && resp.StatusCode < http.StatusInternalServerError {
			return resp, call.check(resp)
		}
		if ended := ctx.Err(); ended != nil {
			return response{}, fmt.Errorf("%s: no answer: %w (status %d, %v)", call.path, ended, resp.status(), err)
		}
		if call.fresh {
			key = ""
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r response) status() int {
	if r.Response == nil {
		return 0
	}
	return r.StatusCode
}

func (call siegeCall) check(resp response) error {
	var problem struct{ Code string }
	_ = json.Unmarshal([]byte(resp.body), &problem) // what is no problem has no code
	if resp.StatusCode != call.status || problem.Code != call.reason {
		return fmt.Errorf("%s of %s: status %d, %s; want %d %s", call.path, call.subject, resp.StatusCode, resp.body, call.status, call.reason)
	}
	return nil
}

func (c *caller) once(ctx context.Context, subject, key, path string, text []byte) (response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.edge.URL()+path, bytes.NewReader(text))
	if err != nil {
		return response{}, err
	}
	if c.token[subject] == "" {
		if c.token[subject], err = provider.Token(subject, time.Hour, nil); err != nil {
			return response{}, err
		}
	}
	req.Header.Set("Authorization", "Bearer "+c.token[subject])
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	return answered(&c.client, req)
}

// guessed tells who kills that a guess was answered.
func (c *caller) guessed() error {
	select {
	case c.guesses <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// A webhookReceiver takes messages in the order in which they come, and answers one of
// ten as if it had not.
type webhookReceiver struct {
	t      *testing.T
	server *httptest.Server

	mu    sync.Mutex
	got   map[string][]outbox.Envelope // by terminal
	count int
}

func newWebhookReceiver(t *testing.T) *webhookReceiver {
	r := &webhookReceiver{t: t, got: map[string][]outbox.Envelope{}}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that a kill cuts off
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

func (r *webhookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var e outbox.Envelope
	if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
		return // cut off by a kill
	}
	if id := req.Header.Get("Webhook-Id"); id != e.ID || req.URL.Path != "/"+e.Terminal {
		r.t.Errorf("%s, message %d to %s, came as %s to %s", e.ID, e.Number, e.Terminal, id, req.URL.Path)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[e.Terminal] = append(r.got[e.Terminal], e)
	if r.count++; r.count%10 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// to returns what a terminal got so far.
func (r *webhookReceiver) to(terminal string) []outbox.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[terminal])
}

// code waits for the code that a terminal gets for a challenge, or agrees on ("").
func (r *webhookReceiver) code(ctx context.Context, terminal, challenge string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	for {
		for _, e := range r.to(terminal) {
			if e.Challenge == challenge && e.Code != "" {
				return e.Code, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("%s got no code for %q: %w", terminal, challenge, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// arrived returns the distinct messages that a terminal got, and how many came again. They
// are numbered from 1 without gaps, come in order, and again with the same ID.
func (r *webhookReceiver) arrived(t *testing.T, terminal string) (messages []outbox.Envelope, again int) {
	t.Helper()
	for _, e := range r.to(terminal) {
		switch n := len(messages); {
		case e.Number == uint64(n+1):
			messages = append(messages, e)
		case n > 0 && e.Number == uint64(n) && e.ID == messages[n-1].ID:
			again++
		default:
			t.Errorf("%s: message %d, %s, came after %d others", terminal, e.Number, e.ID, n)
		}
	}
	return messages, again
}
