// Package payments is a small payment service, the upstream of the demo and of
// tests. It makes the payments that Countersign has allowed, each once, and takes down
// what is paid later: orders, business in proxy mode, checkouts.
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

// A Payment is one that was executed, or a request that waits to be paid. Then it has no
// reservation.
type Payment struct {
	Account       string `json:"account"`
	Payee         string `json:"payee"`
	AmountMinor   int64  `json:"amount_minor"`
	Currency      string `json:"currency"`
	Intent        string `json:"intent,omitempty"`
	ReservationID string `json:"reservation_id,omitempty"`
	DecisionID    string `json:"decision_id"`
}

// pays are the routes by which money moves, and the operation that does it.
var pays = map[string]string{
	"POST /v1/accounts/{account}/payments":          "pay",
	"POST /v1/payments":                             "pay", // a merchant charges a payment code
	"POST /v1/orders/{intent}/payments":             "pay",
	"POST /v1/business/{intent}/execute":            "execute_business",
	"POST /v1/accounts/{account}/verified-payments": "pay",
	"POST /v1/accounts/{account}/transfers":         "transfer",
	"POST /v1/checkouts/{intent}/pay":               "pay_checkout",
}

// opens are the routes that open what is paid later.
var opens = map[string]string{
	"POST /v1/agent/orders": "order",
	"POST /v1/orders":       "order_by_terminal",
	"POST /v1/business":     "request_business",
	"POST /v1/checkouts":    "open_checkout",
}

// A Service is the handler of the routes of the built-in systems that reach a payment
// service.
type Service struct {
	mux        *http.ServeMux
	executions *upstream.FileExecutions

	mu       sync.Mutex
	requests int
	executed []Payment
	opened   []Payment
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
	s.guard(pays, upstream.Guard{Verifier: verifier, Executions: executions, Log: log}, &s.executed)
	s.guard(opens, upstream.Guard{Verifier: verifier, Executions: executions, Log: log, Opens: true}, &s.opened)
	return s, nil
}

// guard serves routes behind a guard, and puts down what passes in a list.
func (s *Service) guard(routes map[string]string, guard upstream.Guard, list *[]Payment) {
	for pattern, operation := range routes {
		handler := guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.putDown(w, r, operation, list) }))
		if pattern == "POST /v1/business" {
			handler = ordinary(handler)
		}
		s.mux.Handle(pattern, handler)
	}
}

// ordinary takes requests for business without an agent, which are executed where no
// agent is. They open nothing, so they bring no token, and nothing is done for them here.
func ordinary(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values(upstream.HeaderToken)) > 0 {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

// Close closes the service's file. Requests must have ended.
func (s *Service) Close() error { return s.executions.Close() }

// ServeHTTP makes one payment, or takes one request down.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

// putDown pays what was allowed, or takes it down to be paid later. What the body says
// was compared with it when it was allowed; it is not read again.
func (s *Service) putDown(w http.ResponseWriter, r *http.Request, operation string, list *[]Payment) {
	allowed, ok := upstream.FromContext(r.Context())
	if !ok || allowed.Operation != operation {
		http.Error(w, "another operation was allowed than the one of this route", http.StatusForbidden)
		return
	}
	p := Payment{
		Account:       allowed.Account,
		Payee:         allowed.Payee,
		AmountMinor:   allowed.AmountMinor,
		Currency:      allowed.Currency,
		Intent:        allowed.Intent,
		ReservationID: allowed.ReservationID,
		DecisionID:    allowed.DecisionID,
	}
	s.mu.Lock()
	*list = append(*list, p)
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

// Opened returns what waits to be paid, in the order in which it came.
func (s *Service) Opened() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Payment(nil), s.opened...)
}
