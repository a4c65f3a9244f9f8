// Package payments is a small payment service, the upstream of the demo and of
// tests. It makes the payments that Countersign has allowed, each once.
package payments

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/countersign/countersign/sidecar/upstream"
)

// Audience is the name of the service in tokens.
const Audience = "payments.example"

// A Payment is one that was executed.
type Payment struct {
	Account       string `json:"account"`
	Payee         string `json:"payee"`
	AmountMinor   int64  `json:"amount_minor"`
	Currency      string `json:"currency"`
	ReservationID string `json:"reservation_id"`
	DecisionID    string `json:"decision_id"`
}

// A Service is the handler of POST /v1/accounts/{account}/payments, by which owners
// pay, and of POST /v1/payments, by which merchants charge a payment code.
type Service struct {
	mux        *http.ServeMux
	executions *upstream.FileExecutions

	mu       sync.Mutex
	requests int
	executed []Payment
}

// Open returns a service that takes the tokens that the verifier takes, and
// remembers what it was asked to pay in a file in dir. The log receives what it
// refuses.
func Open(dir string, verifier *upstream.Verifier, log *slog.Logger) (*Service, error) {
	executions, err := upstream.OpenExecutions(filepath.Join(dir, "executions"))
	if err != nil {
		return nil, err
	}
	s := &Service{mux: http.NewServeMux(), executions: executions}
	guard := upstream.Guard{Verifier: verifier, Executions: executions, Log: log}
	pay := guard.Handler(http.HandlerFunc(s.pay))
	s.mux.Handle("POST /v1/accounts/{account}/payments", pay)
	s.mux.Handle("POST /v1/payments", pay)
	return s, nil
}

// Close closes the service's file. Requests must have ended.
func (s *Service) Close() error { return s.executions.Close() }

// ServeHTTP makes one payment.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

// pay pays what was allowed. What the body says was compared with it when it was
// allowed; it is not read again.
func (s *Service) pay(w http.ResponseWriter, r *http.Request) {
	allowed, ok := upstream.FromContext(r.Context())
	if !ok || allowed.Operation != "pay" {
		http.Error(w, "this service pays, and nothing else", http.StatusForbidden)
		return
	}
	p := Payment{
		Account:       allowed.Account,
		Payee:         allowed.Payee,
		AmountMinor:   allowed.AmountMinor,
		Currency:      allowed.Currency,
		ReservationID: allowed.ReservationID,
		DecisionID:    allowed.DecisionID,
	}
	s.mu.Lock()
	s.executed = append(s.executed, p)
	s.mu.Unlock()
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(p) // the guard holds it in memory
}

// Requests returns how many requests reached the service, of any kind.
func (s *Service) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Executed returns the payments in the order in which they were executed.
func (s *Service) Executed() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Payment(nil), s.executed...)
}
