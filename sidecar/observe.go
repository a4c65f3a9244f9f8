package sidecar

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
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
	stop, err = serveHTTP(m.Server(), cfg.Metrics, metricsMode, metricsTimeout, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return stop, nil
}
