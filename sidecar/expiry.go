package sidecar

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// expireEvery is how often reservations past their expiry are looked for.
const expireEvery = time.Minute

// expiring is who changes reservations that nobody settled.
var expiring = authzstore.Identity{Kind: "sidecar", Issuer: "local", Subject: "expiry"}

// expire makes reservations unknown that are pending past their expiry, now and then,
// until ctx is done. They go on counting, and can still be posted or voided: only the
// payment service or the ledger knows what became of them. While nobody can say what
// time it is, none is past.
func expire(ctx context.Context, store *authzstore.Store, now func() (time.Time, error), every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if at, err := now(); err == nil {
			expired, err := expireAt(ctx, store, at)
			if expired > 0 {
				log.Warn("reservations that nobody settled are unknown now", "expired", expired)
			}
			if err != nil && ctx.Err() == nil {
				log.Error("cannot look for reservations past their expiry", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// expireAt makes the reservations unknown that are past their expiry, and returns how
// many.
func expireAt(ctx context.Context, store *authzstore.Store, at time.Time) (expired int, err error) {
	return store.ExpireReservations(ctx, func() authzstore.Cause {
		return authzstore.Cause{ID: authzstore.NewID("chg"), Actor: expiring, NowNanos: at.UnixNano()}
	})
}
