package sidecar

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
)

// Retention says how long records of decisions and changes are kept, with the
// journal that holds them and the bundles that they name. What they left behind (accounts, reservations, what
// was used) stays for ever.
type Retention struct {
	// MaxAge of a record. Zero means DefaultMaxAge. None goes before
	// authzstore.MaxMessageLife: messages to terminals lie among the records.
	MaxAge time.Duration
	// MaxBytes of all records, newest first, but for those of that time, which stay in
	// any case. Zero means DefaultMaxBytes.
	MaxBytes int64
}

// Defaults of Retention.
const (
	DefaultMaxAge   = 90 * 24 * time.Hour
	DefaultMaxBytes = 20 << 30
)

// pruneEvery is how often old records are looked for.
const pruneEvery = time.Hour

func (r Retention) withDefaults() Retention {
	if r.MaxAge == 0 {
		r.MaxAge = DefaultMaxAge
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = DefaultMaxBytes
	}
	return r
}

// retain removes old records now and then, with the bundles that only they name,
// until ctx is done. A store that cannot be pruned goes on working: it only grows.
// While nobody can say what time it is, no record is old.
func (r Retention) retain(ctx context.Context, store *authzstore.Store, archive *bundle.Archive, now func() (time.Time, error), every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		at, err := now()
		if err == nil {
			err = r.prune(ctx, store, archive, at, log)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("cannot remove old records", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (r Retention) prune(ctx context.Context, store *authzstore.Store, archive *bundle.Archive, at time.Time, log *slog.Logger) error {
	first, err := store.Prune(ctx, kv.Retention{
		Now:      at,
		MaxAge:   r.MaxAge,
		MaxBytes: r.MaxBytes,
		Exported: math.MaxUint64, // nothing exports records yet, so none waits for it
	})
	if err != nil {
		return err
	}
	removed, err := archive.Prune(first)
	if removed > 0 {
		log.Info("removed bundles that no record names any more", "removed", removed)
	}
	return err
}
