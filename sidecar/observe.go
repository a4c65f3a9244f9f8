package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/sidecar/extauthz"
	"github.com/countersign/countersign/sidecar/metrics"
)

// metricsTimeout is how long somebody who looks may take to end before their
// connection is closed.
const metricsTimeout = time.Second

// metricsMode is the mode of the metrics' socket, if they have one.
const metricsMode = 0o600

// storeStats are a store's numbers as metrics have them.
func storeStats(store *authzstore.Store, stats func() badgerkv.Stats) func() metrics.Store {
	return func() metrics.Store {
		s := stats()
		failed := false
		select {
		case <-store.Failed():
			failed = true
		default:
		}
		return metrics.Store{
			Failed:              failed,
			LastSeq:             s.Seq,
			AppliedSeq:          s.Applied,
			Batches:             s.Batches,
			Transactions:        s.Units,
			JournalBytes:        s.JournalBytes,
			UndurableBytes:      s.UndurableBytes,
			UnappliedBytes:      s.UnappliedBytes,
			WaitingForRecords:   s.Waiters,
			PausedForWantOfDisk: s.DiskPaused,
		}
	}
}

// serveMetrics answers at cfg.Metrics, if anywhere, until stop.
func serveMetrics(cfg Config, m *metrics.Metrics) (stop func(), err error) {
	if cfg.Metrics == "" {
		return func() {}, nil
	}
	listener, err := extauthz.Listen(cfg.Metrics, metricsMode)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	server := m.Server()
	server.ErrorLog = slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Calls are decided without it.
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.Error("no more metrics", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // its listener is closed already
		}
		<-ended
	}, nil
}
