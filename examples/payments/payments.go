// Package payments is a small payment service, the upstream of the demo and of
// tests. It executes what reaches it and trusts that Envoy let it through.
package payments

import (
	"encoding/json"
	"net/http"
	"sync"
)

// maxBodyBytes is Envoy's bound in examples/envoy/envoy.yaml.
const maxBodyBytes = 64 << 10

// A Payment is one that was executed.
type Payment struct {
	Account     string `json:"account"`
	Payee       string `json:"payee"`
	AmountMinor int64  `json:"amount_minor"`
	Currency    string `json:"currency"`
	DecisionID  string `json:"decision_id"`
}

// A Service is the handler of POST /v1/accounts/{account}/payments.
type Service struct {
	mux *http.ServeMux

	mu       sync.Mutex
	requests int
	executed []Payment
}

// New returns a service that has executed nothing.
func New() *Service {
	s := &Service{mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /v1/accounts/{account}/payments", s.pay)
	return s
}

// ServeHTTP executes one payment.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

func (s *Service) pay(w http.ResponseWriter, r *http.Request) {
	var p Payment
	body := http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if err := json.NewDecoder(body).Decode(&p); err != nil {
		http.Error(w, "cannot read the payment", http.StatusBadRequest)
		return
	}
	p.Account = r.PathValue("account")
	p.DecisionID = r.Header.Get("countersign-decision-id")
	s.mu.Lock()
	s.executed = append(s.executed, p)
	s.mu.Unlock()
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(p) // the client has left if it fails
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
