package metrics

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of the HTTP server: whoever looks is a program of ours.
const (
	requestTimeout = 5 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	maxScrapes     = 4 // at once
)

// Server returns a server of /metrics and /healthz, which only reads.
func (m *Metrics) Server() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		Timeout:             answerTimeout / 2,
	}))
	mux.HandleFunc("GET /healthz", m.healthz)
	return &http.Server{
		Handler:        mux,
		ReadTimeout:    requestTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
	}
}

// Health is what /healthz says, with status 200 while Serving and 503 otherwise.
type Health struct {
	// Status is the worst that is true.
	Status HealthStatus `json:"status"`
	// Serving tells whether checks are answered at all. The gRPC health service
	// says the same.
	Serving     bool         `json:"serving"`
	Bundle      BundleHealth `json:"bundle"`
	Clock       ClockHealth  `json:"clock"`
	StoreFailed bool         `json:"store_failed"`
}

// A HealthStatus sums a Health up.
type HealthStatus string

// The statuses.
const (
	OK       HealthStatus = "ok"
	Degraded HealthStatus = "degraded" // it answers, and somebody must look at it
	Down     HealthStatus = "down"     // it does not
)

// BundleHealth says which bundle decides.
type BundleHealth struct {
	Digest string    `json:"digest"`
	Since  time.Time `json:"since"`
	// Error is why the directory's content does not decide, "" where it does.
	Error  string `json:"error,omitempty"`
	Failed string `json:"failed_digest,omitempty"` // that content's, where it could be read
}

// ClockHealth says whether the time is known. While it is not, every call is
// answered 503.
type ClockHealth struct {
	Error string `json:"error,omitempty"`
}

// Health looks.
func (m *Metrics) Health() Health {
	b := m.source.Bundle()
	h := Health{
		Status:      OK,
		Serving:     m.source.Serving(),
		Bundle:      BundleHealth{b.ActiveDigest, b.ActiveSince, b.LastError, b.FailedDigest},
		StoreFailed: m.source.Store().Failed,
	}
	if err := m.source.Clock(); err != nil {
		h.Clock.Error = err.Error()
	}
	switch {
	case h.StoreFailed || !h.Serving:
		h.Status, h.Serving = Down, false
	case b.Stale() || h.Clock.Error != "":
		h.Status = Degraded
	}
	return h
}

func (m *Metrics) healthz(w http.ResponseWriter, _ *http.Request) {
	h := m.Health()
	body, err := json.Marshal(h)
	if err != nil {
		http.Error(w, "the health cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("content-type", "application/json")
	w.Header().Set("cache-control", "no-store")
	if !h.Serving {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n')) // who asked may be gone
}
