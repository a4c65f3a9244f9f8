package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/countersign/countersign/authzstore"
)

const (
	// expireEvery is how often reservations past their expiry are looked for.
	expireEvery = time.Minute
	// maxExpired bounds how many of them become unknown at once: the rest waits for
	// the next time, so that payments do not wait behind them.
	maxExpired = 1000
)

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
				log.Warn("reservations that nobody settled are unknown now", "reservations", expired)
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

// expireAt makes up to maxExpired reservations unknown, and returns how many.
func expireAt(ctx context.Context, store *authzstore.Store, at time.Time) (expired int, err error) {
	var past []authzstore.Reservation
	err = store.View(ctx, func(s authzstore.Snapshot) error {
		for after := ""; len(past) < maxExpired; {
			page, next, err := s.ExpiredReservations(at.UnixNano(), after, authzstore.MaxPage)
			if past = append(past, page...); err != nil || next == "" {
				return err
			}
			after = next
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, r := range past[:min(len(past), maxExpired)] {
		cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: expiring, NowNanos: at.UnixNano()}
		err := store.Update(ctx, cause, authzstore.ResolveRefs(r), func(tx *authzstore.Tx) error { return tx.Expire(r.ID) })
		switch {
		case err == nil:
			expired++
		case !errors.Is(err, authzstore.ErrState): // else it was settled meanwhile
			return expired, err
		}
	}
	return expired, nil
}
