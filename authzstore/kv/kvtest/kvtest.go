// Package kvtest is the conformance suite of kv: what every backend must do,
// with no exceptions. A backend's test is its Harness and one call of Run.
package kvtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// Harness is a backend under test, empty at first.
type Harness struct {
	// Open opens the store: after Close again, with what it held.
	Open func(t testing.TB) kv.Store
	// Stall keeps everything published from now on from becoming durable, until
	// resume is called.
	Stall func() (resume func())
	// MaxWaiters is the bound on transactions that wait for one record, without
	// the urgent ones.
	MaxWaiters int
}

// Run tests a backend. newHarness is called once per case.
func Run(t *testing.T, newHarness func(t testing.TB) Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			c.run(t, h)
		})
	}
	t.Run("Model", func(t *testing.T) { testModel(t, newHarness) })
}

var cases = []struct {
	name string
	run  func(t *testing.T, h Harness)
}{
	{"Atomicity", testAtomicity},
	{"Isolation", testIsolation},
	{"SharedAndExclusive", testSharedAndExclusive},
	{"OwnWrites", testOwnWrites},
	{"Copies", testCopies},
	{"Undeclared", testUndeclared},
	{"IgnoredErrors", testIgnoredErrors},
	{"Limits", testLimits},
	{"Panic", testPanic},
	{"AfterClosure", testAfterClosure},
	{"Counters", testCounters},
	{"CounterOverflow", testCounterOverflow},
	{"Streams", testStreams},
	{"DenyWaits", testDenyWaits},
	{"CounterDenyWaits", testCounterDenyWaits},
	{"ViewDoesNotWait", testViewDoesNotWait},
	{"CancelBefore", testCancelBefore},
	{"CancelAfter", testCancelAfter},
	{"Fairness", testFairness},
	{"MaxWaiters", testMaxWaiters},
	{"UrgentWaiter", testUrgentWaiter},
	{"UrgentOnStalledDisk", testUrgentOnStalledDisk},
	{"NoDeadlock", testNoDeadlock},
	{"SnapshotStable", testSnapshotStable},
	{"SnapshotMoney", testSnapshotMoney},
	{"Scan", testScan},
	{"Tail", testTail},
	{"TailRefuses", testTailRefuses},
	{"Reopen", testReopen},
	{"Closed", testClosed},
	{"OneLimit", testOneLimit},
	{"Linearizable", testLinearizable},
}

// patience bounds waits for things that must happen. It is no measure of speed.
const patience = 30 * time.Second

// settle is how long something that must not happen is given to happen.
const settle = 20 * time.Millisecond

var errDenied = errors.New("denied")

func open(t testing.TB, h Harness) kv.Store {
	s := h.Open(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func excl(keys ...string) (refs []kv.Ref) {
	for _, k := range keys {
		refs = append(refs, kv.Ref{Key: k, Mode: kv.Exclusive})
	}
	return refs
}

func shared(keys ...string) (refs []kv.Ref) {
	for _, k := range keys {
		refs = append(refs, kv.Ref{Key: k, Mode: kv.Shared})
	}
	return refs
}

func update(t testing.TB, s kv.Store, refs []kv.Ref, fn func(kv.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), refs, fn); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s kv.Store, key, val string) {
	t.Helper()
	update(t, s, excl(key), func(tx kv.Tx) error { return tx.Put(key, []byte(val)) })
}

func view(t testing.TB, s kv.Store, fn func(kv.Snap) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// stored returns a record as View sees it; "-" if it does not exist.
func stored(t testing.TB, s kv.Store, key string) string {
	t.Helper()
	val := "-"
	view(t, s, func(v kv.Snap) error {
		b, ok, err := v.Get(key)
		if ok {
			val = string(b)
		}
		return err
	})
	return val
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

// within waits for something that must happen.
func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// notYet checks that something has not happened.
func notYet[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s happened: %v", what, v)
	case <-time.After(settle):
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func bytesOf(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// increment adds one to a record.
func increment(tx kv.Tx, key string) error {
	b, _, err := tx.Get(key)
	if err != nil {
		return err
	}
	return tx.Put(key, bytesOf(number(b)+1))
}

func name(format string, args ...any) string { return fmt.Sprintf(format, args...) }
