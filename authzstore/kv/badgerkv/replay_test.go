package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestReplayed: what was replayed is read and built on before Badger has it.
func TestReplayed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	for _, fn := range []func(tx kv.Tx) error{
		func(tx kv.Tx) error {
			return errors.Join(tx.Put("kept", []byte("1")), tx.Put("gone", []byte("1")), tx.Add("zero", 5), tx.Add("one", 1), tx.Append("st", "a", nil))
		},
		func(tx kv.Tx) error { return errors.Join(tx.Delete("gone"), tx.Add("zero", -5)) },
	} {
		if err := s.Update(t.Context(), excl("kept", "gone"), fn); err != nil {
			t.Fatal(err)
		}
	}
	o := testOptions(crashCopy(t, dir), nil)
	release := holdBadger(&o)
	s = mustOpen(t, o)
	t.Cleanup(release)
	check := func(zero, one int64, entries int) {
		t.Helper()
		if err := s.View(t.Context(), func(v kv.Snap) error {
			_, kept, err := v.Get("kept")
			_, gone, err2 := v.Get("gone")
			z, err3 := v.Counter("zero")
			n, err4 := v.Counter("one")
			found := 0
			err5 := v.Stream("st", 0, func(kv.Entry) error { found++; return nil })
			if !kept || gone || z != zero || n != one || found != entries {
				t.Errorf("kept %v, gone %v, counters %d and %d, %d entries", kept, gone, z, n, found)
			}
			return errors.Join(err, err2, err3, err4, err5)
		}); err != nil {
			t.Fatal(err)
		}
	}
	check(0, 1, 1)
	if err := s.Update(t.Context(), excl("kept", "gone"), func(tx kv.Tx) error {
		_, kept, err := tx.Get("kept")
		_, gone, err2 := tx.Get("gone")
		if !kept || gone {
			t.Errorf("in a transaction: kept %v, gone %v", kept, gone)
		}
		return errors.Join(err, err2, tx.Add("zero", 2), tx.Add("one", 1), tx.Append("st", "b", nil))
	}); err != nil {
		t.Fatal(err)
	}
	if applied := s.Stats().Applied; applied != 0 {
		t.Fatalf("Badger has batches up to %d: the test shows nothing", applied)
	}
	check(2, 2, 2)
	release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	if s.recovery.Batches > 0 {
		t.Errorf("%d batches to replay after a clean close", s.recovery.Batches)
	}
	check(2, 2, 2)
}

// holdBadger keeps what is durable from Badger until it is released.
func holdBadger(o *Options) (release func()) {
	hold := make(chan struct{})
	o.faults.apply = func() error { <-hold; return nil }
	return sync.OnceFunc(func() { close(hold) })
}

// appendLarge writes much journal and little state.
func appendLarge(ctx context.Context, s kv.Store, id string) error {
	return s.Update(ctx, nil, func(tx kv.Tx) error { return tx.Append("large", id, largeEntry) })
}

// appendPatiently is appendLarge, again while there is no room.
func appendPatiently(s kv.Store, id string) (err error) {
	for range 20_000 {
		if err = appendLarge(context.Background(), s, id); !errors.Is(err, kv.ErrOverloaded) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

var largeEntry = make([]byte, 200<<10)

// childLarge appends, and prints a line for each ten entries.
func childLarge(o Options) {
	s, err := Open(context.Background(), o)
	for n := 1; err == nil; n++ {
		err = appendPatiently(s, fmt.Sprintf("%d-%d", os.Getpid(), n))
		if n%10 == 0 {
			fmt.Println(n)
		}
	}
	fmt.Println("ERR", err)
	os.Exit(1)
}

// TestReplayBound kills a process again and again that writes several times as
// much as a start may have to replay, of which the state keeps next to nothing.
func TestReplayBound(t *testing.T) {
	t.Parallel()
	dir, written := t.TempDir(), int64(0)
	most := int64(0)
	for round := range 4 {
		cmd, out := child(t, "large", dir)
		for range 20 + rand.IntN(20) {
			line, err := out.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "ERR") {
				t.Fatalf("round %d: child says %q, %v", round, line, err)
			}
			written += 10 * int64(len(largeEntry))
		}
		cmd.Process.Kill()
		cmd.Wait()
		s := mustOpen(t, testOptions(dir, nil))
		replayed := s.recovery.Bytes
		most = max(most, replayed)
		if replayed > maxReplayBytes+maxBodyBytes {
			t.Errorf("round %d: %d bytes replayed", round, replayed)
		}
		if round%2 == 0 { // the next one is opened after a crash of this one
			dir = crashCopy(t, dir)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes written, up to %d replayed", written, most)
	if written < 3*maxReplayBytes {
		t.Fatalf("only %d bytes were written: the test cannot fail", written)
	}
}

// TestReplayRoom: updates are refused, urgent ones last, before a start after a
// crash had more to replay than the bound, and go on once Badger has caught up.
func TestReplayRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(dir, nil)
	release := holdBadger(&o)
	s := mustOpen(t, o)
	t.Cleanup(release) // before the store is closed
	n := 0
	fill := func(ctx context.Context) (err error) {
		for ; err == nil && n < 1000; n++ {
			err = appendLarge(ctx, s, strconv.Itoa(n))
		}
		return err
	}
	for _, ctx := range []context.Context{t.Context(), kv.Urgent(t.Context())} {
		before := n
		if err := fill(ctx); !errors.Is(err, kv.ErrOverloaded) || !strings.Contains(err.Error(), "Badger's tables") {
			t.Fatalf("after %d: %v", n, err)
		}
		if n-before < 20 {
			t.Errorf("only %d entries went in", n-before)
		}
	}
	s = mustOpen(t, testOptions(crashCopy(t, dir), nil))
	if got := s.recovery.Bytes; got > maxReplayBytes || got < maxReplayBytes*9/10 {
		t.Errorf("%d bytes replayed, the bound is %d", got, maxReplayBytes)
	}
	for i := range 300 { // more than the bound, with nothing but padding to fill memtables
		if err := appendPatiently(s, fmt.Sprint("again", i)); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}
