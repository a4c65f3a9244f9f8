package authzstore

import (
	"context"
	"errors"
)

// ExpireReservations makes every reservation unknown that is pending past its
// expiry at the time of a cause, each in a transaction of its own under a new
// cause, and returns how many. It looks at all open reservations. What was
// resolved in between stays so.
func (s *Store) ExpireReservations(ctx context.Context, newCause func() Cause) (expired int, err error) {
	after := ""
	for {
		var page []Reservation
		err := s.View(ctx, func(snap Snapshot) (err error) {
			page, after, err = snap.ExpiredReservations(newCause().NowNanos, after, MaxPage)
			return err
		})
		if err != nil {
			return expired, err
		}
		for _, r := range page {
			err := s.Update(ctx, newCause(), ResolveRefs(r), func(tx *Tx) error { return tx.Expire(r.ID) })
			if errors.Is(err, ErrState) {
				continue
			}
			if err != nil {
				return expired, err
			}
			expired++
		}
		if after == "" {
			return expired, nil
		}
	}
}
