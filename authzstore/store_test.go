package authzstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
)

// world is a store with its backend under it.
type world struct {
	*authzstore.Store
	kv  kv.Store
	dir string
	now time.Time // the clock of the causes

	handles atomic.Int64 // given to credentials so far
}

func open(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.reopen(t)
	t.Cleanup(func() { w.close(t) })
	return w
}

func (w *world) reopen(t testing.TB) {
	t.Helper()
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: w.dir, BallastBytes: -1, VerifyEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	w.kv, w.Store = backend, authzstore.New(backend)
}

func (w *world) close(t testing.TB) {
	t.Helper()
	if err := w.kv.Close(); err != nil {
		t.Error(err)
	}
}

var operator = authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "root"}

func (w *world) cause() authzstore.Cause {
	return authzstore.Cause{ID: authzstore.NewID("dec"), Actor: operator, NowNanos: w.now.UnixNano()}
}

func (w *world) update(refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	return w.Update(context.Background(), w.cause(), refs, fn)
}

func (w *world) putAccount(a authzstore.Account) error {
	return w.update([]kv.Ref{authzstore.AccountRef(a.ID, kv.Exclusive)}, func(tx *authzstore.Tx) error {
		return tx.PutAccount(a)
	})
}

func (w *world) reserve(account, id string, amountMinor int64) error {
	return w.update(authzstore.ReserveRefs(reservation(account, id, amountMinor)), func(tx *authzstore.Tx) error {
		return tx.ReserveWithinLimits(reservation(account, id, amountMinor))
	})
}

// resolve runs one of Post, Void and MarkUnknown.
func (w *world) resolve(account, id string, fn func(*authzstore.Tx) error) error {
	return w.update(authzstore.ResolveRefs(reservation(account, id, 1)), fn)
}

func account(id string, limits ...authzstore.Limit) authzstore.Account {
	return authzstore.Account{
		ID:              id,
		Owner:           authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
		State:           authzstore.AccountActive,
		Currency:        "EUR",
		MaxPaymentMinor: 50000,
		Limits:          limits,
	}
}

func reservation(account, id string, amountMinor int64) authzstore.Reservation {
	return authzstore.Reservation{ID: id, Account: account, Payee: "mer_bakery", AmountMinor: amountMinor, Currency: "EUR"}
}

// usage reads the sums of an account.
func (w *world) usage(t testing.TB, account string) authzstore.Usage {
	t.Helper()
	var u authzstore.Usage
	err := w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		u, err = s.Usage(account)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// clean fails the test if the store breaks an invariant.
func (w *world) clean(t testing.TB) {
	t.Helper()
	problems, err := w.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// The newest record's time is found, also after a restart, and whatever its changes.
func TestLastRecordAt(t *testing.T) {
	w := open(t)
	at := func() (int64, bool) {
		t.Helper()
		nanos, ok, err := w.LastRecordAt(context.Background())
		mustDo(t, err)
		return nanos, ok
	}
	if nanos, ok := at(); ok {
		t.Fatalf("an empty store has a record of %d", nanos)
	}
	for range 3 {
		mustDo(t, w.putAccount(account("acc_anna")))
		w.now = w.now.Add(time.Hour)
	}
	mustDo(t, w.update(nil, func(tx *authzstore.Tx) error {
		tx.Detail([]byte("without a change"))
		return nil
	}))
	for range 2 {
		if nanos, ok := at(); !ok || nanos != w.now.UnixNano() {
			t.Errorf("the newest record is of %d, %v; want %d", nanos, ok, w.now.UnixNano())
		}
		w.close(t)
		w.reopen(t)
	}
}
