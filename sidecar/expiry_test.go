package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// A reservation that nobody settled is unknown after its expiry, and not before; it
// goes on counting. One that was settled stays as it is.
func TestExpire(t *testing.T) {
	store, err := OpenStore(t.Context(), filepath.Join(t.TempDir(), "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	start := time.Unix(1795532400, 0)
	owner := authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}
	cause := func() authzstore.Cause {
		return authzstore.Cause{ID: authzstore.NewID("dec"), Actor: owner, NowNanos: start.UnixNano()}
	}
	account := authzstore.Account{ID: "acc_anna", Owner: owner, State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1000}
	changed := cause()
	changed.ID = authzstore.NewID("chg")
	if err := store.PutAccount(t.Context(), changed, account); err != nil {
		t.Fatal(err)
	}
	reserve := func(lasts time.Duration) string {
		r := authzstore.Reservation{ID: authzstore.NewID("rsv"), Account: "acc_anna", Payee: "mer_x", AmountMinor: 10, Currency: "EUR",
			ExpiresAtNanos: start.Add(lasts).UnixNano()}
		if err := store.Update(t.Context(), cause(), authzstore.ReserveRefs(r), func(tx *authzstore.Tx) error { return tx.ReserveWithinLimits(r) }); err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	short, posted, long := reserve(time.Hour), reserve(time.Hour), reserve(2*time.Hour)
	refs := authzstore.ResolveRefs(authzstore.Reservation{ID: posted, Account: "acc_anna"})
	if err := store.Update(t.Context(), cause(), refs, func(tx *authzstore.Tx) error { return tx.Post(posted, 10) }); err != nil {
		t.Fatal(err)
	}
	wantStates := func(states ...authzstore.ReservationState) {
		t.Helper()
		err := store.View(t.Context(), func(s authzstore.Snapshot) error {
			for i, id := range []string{short, posted, long} {
				if r, _, err := s.Reservation(id); err != nil || r.State != states[i] {
					t.Errorf("%d: %s, want %s (%v)", i, r.State, states[i], err)
				}
			}
			u, err := s.Usage("acc_anna")
			if u.PendingMinor != 20 || u.PostedMinor != 10 {
				t.Errorf("usage %+v", u)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const pending, unknown, settled = authzstore.ReservationPending, authzstore.ReservationUnknown, authzstore.ReservationPosted
	for _, c := range []struct {
		after   time.Duration
		expired int
		states  []authzstore.ReservationState
	}{
		{time.Hour, 0, []authzstore.ReservationState{pending, settled, pending}},
		{time.Hour + 1, 1, []authzstore.ReservationState{unknown, settled, pending}},
		{time.Hour + 1, 0, []authzstore.ReservationState{unknown, settled, pending}},
		{3 * time.Hour, 1, []authzstore.ReservationState{unknown, settled, unknown}},
	} {
		expired, err := expireAt(t.Context(), store, start.Add(c.after))
		if err != nil || expired != c.expired {
			t.Errorf("after %s: %d expired, want %d (%v)", c.after, expired, c.expired, err)
		}
		wantStates(c.states...)
	}
	problems, err := store.Verify(t.Context())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// While nobody knows what time it is, nothing expires.
func TestExpireWithoutATime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	// Without a store: it must not be touched.
	expire(ctx, nil, func() (time.Time, error) {
		if asked++; asked == 3 {
			cancel()
		}
		return time.Time{}, errors.New("nobody knows")
	}, time.Millisecond, slog.New(slog.DiscardHandler))
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}
