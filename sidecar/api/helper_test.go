package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// A world is a control API over a store of its own, whose time the test sets.
type world struct {
	t       *testing.T
	backend *noting
	store   *authzstore.Store
	control *api.Control
	admin   string // a secret
	log     *strings.Builder
	handles int // of credentials, given so far

	mu  sync.Mutex
	at  time.Time
	err error // of the clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	backend, err := badgerkv.Open(t.Context(), badgerkv.Options{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	noted := &noting{Store: backend}
	w := &world{t: t, backend: noted, store: authzstore.New(noted), log: &strings.Builder{}, at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "admin-token")
	made, err := api.Bootstrap(t.Context(), w.store, authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "test"}, w.at, file)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	secret, err := privatefile.Read(file, 1000)
	if err != nil {
		t.Fatal(err)
	}
	w.admin = strings.TrimSpace(string(secret))
	w.control = api.NewControl(api.ControlConfig{Store: w.store, Now: w.now, Log: slog.New(slog.NewJSONHandler(w.log, nil))})
	return w
}

func (w *world) now() (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at, w.err
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// An answer of the API.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var p struct{ Code string }
	if err := json.Unmarshal([]byte(a.text), &p); err != nil || a.header.Get("content-type") != "application/problem+json" {
		t.Errorf("no problem document: %d %s %q", a.status, a.header.Get("content-type"), a.text)
	}
	return p.Code
}

// request sends one; an empty body is none, and a token "" is none.
func (w *world) request(token, method, target, body string, headers ...string) answer {
	w.t.Helper()
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, from).WithContext(context.WithoutCancel(w.t.Context()))
	if body != "" {
		r.Header.Set("content-type", "application/json")
	}
	if token != "" {
		r.Header.Set("authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = append([]string{}, headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.control.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// ask is request by the admin, whose answer must have the status; it is read into
// into, if that is not nil.
func (w *world) ask(status int, method, target, body string, into any) answer {
	w.t.Helper()
	a := w.request(w.admin, method, target, body)
	if a.status != status {
		w.t.Fatalf("%s %s: %d %s, want %d", method, target, a.status, a.text, status)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.text), into); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, target, err, a.text)
		}
	}
	return a
}

// token makes a token for a role.
func (w *world) token(role api.Role) string {
	w.t.Helper()
	var made api.MadeToken
	w.ask(200, "POST", "/v1/tokens", `{"name": "test", "role": "`+string(role)+`", "expires_in_seconds": 0}`, &made)
	return made.Secret
}

const anna = `{"owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"}, "currency": "EUR", "max_payment_minor": 50000, "limits": []}`
