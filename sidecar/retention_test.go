package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/clock"
	"github.com/countersign/countersign/sidecar/policy"
)

// TestRetain: records past the bound go, the newest stay, and so does everything
// that they left behind.
func TestRetain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	store := open(t, dir)
	owner := authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}
	account := authzstore.Account{ID: "acc_anna", Owner: owner, State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1}
	refs := []kv.Ref{authzstore.AccountRef(account.ID, kv.Exclusive)}
	detail := make([]byte, 200<<10)
	var first, last string
	for range 100 { // 20 MB: several segments
		last = authzstore.NewID("chg")
		if first == "" {
			first = last
		}
		err := store.Update(t.Context(), authzstore.Cause{ID: last, Actor: owner, NowNanos: 1}, refs, func(tx *authzstore.Tx) error {
			tx.Detail(detail)
			return tx.PutAccount(account)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// A record goes once the state that it led to is in tables, as Close leaves it.
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, dir)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	var certain atomic.Bool
	asked := make(chan struct{}, 3)
	var later atomic.Int64
	now := func() (time.Time, error) {
		if certain.Load() {
			select {
			case asked <- struct{}{}:
			default:
			}
			return time.Now().Add(time.Duration(later.Load())), nil
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return time.Time{}, clock.ErrJumped
	}
	// Two bundles of processes that ended: one after the first record, one after all.
	archive := bundle.NewArchive(filepath.Join(dir, PoliciesDir))
	early, late := archived(t, dir, "early", 1), archived(t, dir, "late", 1000)
	archived(t, dir, "active", 1)
	stop := start(func(ctx context.Context) {
		Retention{MaxBytes: 1}.withDefaults().retain(ctx, store, archive, now, time.Millisecond, slog.Default())
	})
	defer stop()
	gone := func(id string) (gone bool) {
		err := store.View(t.Context(), func(s authzstore.Snapshot) error {
			_, ok, err := s.Record(id)
			gone = !ok || errors.Is(err, kv.ErrPruned)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return gone
	}
	for range cap(asked) {
		<-asked
	}
	if gone(first) {
		t.Error("the first record is gone, and nobody knew what time it was")
	}
	certain.Store(true)
	for range 2 * cap(asked) {
		<-asked
	}
	if gone(first) {
		t.Error("the first record is gone, and a message of its time may not have been delivered")
	}
	later.Store(int64(authzstore.MaxMessageLife + time.Hour))
	for deadline := time.Now().Add(time.Minute); !gone(first); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first record is still there")
		}
	}
	if gone(last) {
		t.Error("the newest record is gone")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := archive.Open(early); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the bundle of the first record is still there")
		}
	}
	if _, err := archive.Open(late); err != nil {
		t.Errorf("a bundle that a record may name: %v", err)
	}
	problems, err := store.Verify(t.Context())
	if err != nil || len(problems) > 0 {
		t.Errorf("after pruning: %v, %v", problems, err)
	}
}

// archived puts a bundle into the archive, used by a process that ended before batch
// seq.
func archived(t *testing.T, data, name string, seq uint64) (digest string) {
	t.Helper()
	snapshot, err := policy.Read(fstest.MapFS{"decision.rego": {Data: []byte("package " + name)}})
	if err != nil {
		t.Fatal(err)
	}
	used, next := bundle.NewArchive(filepath.Join(data, PoliciesDir)), bundle.NewArchive(filepath.Join(data, PoliciesDir))
	if err := errors.Join(used.Activate(snapshot), next.Retire(seq)); err != nil {
		t.Fatal(err)
	}
	return snapshot.Digest()
}

func open(t *testing.T, dir string) *authzstore.Store {
	t.Helper()
	store, err := OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
