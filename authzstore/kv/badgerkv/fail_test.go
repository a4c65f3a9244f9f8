package badgerkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// outcomes is what callers were told.
type outcomes struct {
	mu                                  sync.Mutex
	acked                               []string
	unknown, failed, overloaded, others int
}

func (o *outcomes) note(id string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.acked = append(o.acked, id)
	case errors.Is(err, kv.ErrUnknown):
		o.unknown++
	case errors.Is(err, kv.ErrFailed):
		o.failed++
	case errors.Is(err, kv.ErrOverloaded):
		o.overloaded++
	default:
		o.others++
	}
}

// failAt runs a load whose nth journal write fails, half of them after some
// bytes reached the disk, and returns what callers were told.
func failAt(t *testing.T, nth int, faults faults) (o *outcomes, dir string) {
	t.Helper()
	o, dir = &outcomes{}, t.TempDir()
	fs := &faultFS{}
	opts := testOptions(dir, fs)
	opts.faults = faults
	s := mustOpen(t, opts)
	var writes atomic.Int64
	fs.failWrites(func(name string, b []byte, off int64) (int, error) {
		if writes.Add(1) < int64(nth) {
			return 0, nil
		}
		return nth % 2 * rand.IntN(len(b)) &^ (sectorBytes - 1), errIO
	})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", nth, w, i)
				err := spend(context.Background(), s, id, 0)
				o.note(id, err)
				if errors.Is(err, kv.ErrFailed) {
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case <-s.Failed():
	default:
		t.Fatalf("write %d failed and the store goes on", nth)
	}
	if err := s.View(context.Background(), func(kv.Snap) error { return nil }); !errors.Is(err, kv.ErrFailed) {
		t.Fatalf("View after a failed write: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o, dir
}

// TestFailingWrite: when the nth write fails, nobody of that batch or a later
// one is told yes or no, and everything told before is there after a restart.
func TestFailingWrite(t *testing.T) {
	t.Parallel()
	for nth := 1; nth <= 12*kvtest.Soak(); nth++ {
		o, dir := failAt(t, nth, faults{})
		if o.unknown == 0 || o.others > 0 {
			t.Fatalf("write %d: %d acknowledged, %d unknown, %d other errors", nth, len(o.acked), o.unknown, o.others)
		}
		s := mustOpen(t, testOptions(dir, nil))
		present, p := checkSpends(s, o.acked)
		if !p.none() {
			t.Fatalf("write %d: %v", nth, p)
		}
		if present > len(o.acked)+o.unknown {
			t.Fatalf("write %d: %d present, %d acknowledged, %d unknown", nth, present, len(o.acked), o.unknown)
		}
		s.Close()
	}
}

// TestFailingWriteControl: acknowledging before the write is caught.
func TestFailingWriteControl(t *testing.T) {
	o, dir := failAt(t, 6, faults{ackBeforeWrite: true})
	s := mustOpen(t, testOptions(dir, nil))
	if _, p := checkSpends(s, o.acked); len(p.lost) == 0 {
		t.Fatal("nothing was lost: the test cannot fail")
	}
}

// TestFailingApply: Badger's failure stops the store and loses nothing.
func TestFailingApply(t *testing.T) {
	dir := t.TempDir()
	var fail atomic.Bool
	o := testOptions(dir, nil)
	o.faults = faults{apply: func() error {
		if fail.Load() {
			return errIO
		}
		return nil
	}}
	s := mustOpen(t, o)
	acked := spendMany(t, s, "a", 50)
	fail.Store(true)
	var rest outcomes
	for i := 0; ; i++ {
		id := fmt.Sprint("b", i)
		err := spend(context.Background(), s, id, 0)
		rest.note(id, err)
		if err != nil {
			break
		}
	}
	<-s.Failed()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(dir, nil))
	if _, p := checkSpends(s, append(acked, rest.acked...)); !p.none() {
		t.Fatal(p)
	}
}

// TestStalledDisk: memory stays within its bound, callers over it are told
// "overloaded" and nothing happened to them, and all others succeed once the
// disk comes back.
func TestStalledDisk(t *testing.T) {
	dir := t.TempDir()
	fs := &faultFS{}
	o := testOptions(dir, fs)
	o.MaxPendingBytes = 256 << 10
	s := mustOpen(t, o)
	resume := fs.stall()
	var out outcomes
	var wg sync.WaitGroup
	const callers = 400
	for i := range callers {
		wg.Go(func() {
			id := fmt.Sprint(i)
			out.note(id, s.Update(context.Background(), excl(id), func(tx kv.Tx) error {
				return errors.Join(tx.Put(id, make([]byte, 1000)), tx.Append("st", id, make([]byte, 1000)))
			}))
		})
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		out.mu.Lock()
		done := out.overloaded
		out.mu.Unlock()
		if pending := s.Stats().UndurableBytes; pending > o.MaxPendingBytes {
			t.Fatalf("%d bytes pending, bound %d", pending, o.MaxPendingBytes)
		}
		if done > callers/2 {
			break
		}
	}
	resume()
	wg.Wait()
	if out.overloaded < callers/2 || len(out.acked)+out.overloaded != callers {
		t.Fatalf("%d acknowledged, %d overloaded, %d unknown, %d others", len(out.acked), out.overloaded, out.unknown, out.others)
	}
	n := 0
	if err := s.View(context.Background(), func(v kv.Snap) error {
		return v.Stream("st", 0, func(kv.Entry) error { n++; return nil })
	}); err != nil || n != len(out.acked) {
		t.Fatalf("%d present, %d acknowledged (%v): an overloaded call had an effect", n, len(out.acked), err)
	}
}

// twoLogs makes a directory as a power loss can leave it while Badger flushes a
// memtable: with two write-ahead logs, and all that was acknowledged.
func twoLogs(t *testing.T) (dir string, older string, acked []string) {
	t.Helper()
	dir, acked = crashed(t)
	src := crashCopy(t, dir)
	logs := func(d string) []string {
		names, _ := filepath.Glob(filepath.Join(d, "state", "*.mem"))
		return names
	}
	o := testOptions(src, nil)
	o.faults = faults{trustWAL: true}
	s := mustOpen(t, o)
	acked = append(acked, spendMany(t, s, "second", 100)...)
	for len(logs(src)) > 1 { // Badger flushes the first
		time.Sleep(time.Millisecond)
	}
	later := crashCopy(t, src)
	if len(logs(dir)) != 1 || len(logs(later)) != 1 || filepath.Base(logs(dir)[0]) == filepath.Base(logs(later)[0]) {
		t.Fatalf("logs %v and %v, want one each, with different names", logs(dir), logs(later))
	}
	older = logs(dir)[0]
	if err := os.Rename(logs(later)[0], filepath.Join(dir, "state", filepath.Base(logs(later)[0]))); err != nil {
		t.Fatal(err)
	}
	if err := replaceDir(filepath.Join(dir, "journal"), filepath.Join(later, "journal")); err != nil {
		t.Fatal(err)
	}
	return dir, older, acked
}

// TestLostMiddle: of two write-ahead logs of Badger the older is damaged. The
// store does not trust them, so nothing is missing. Control: one that does
// replays the newer over the hole, and nobody notices. What the hole hits may
// have been written again later, so the control may need another try.
func TestLostMiddle(t *testing.T) {
	t.Parallel()
	for range 12 {
		if holeInOlderLog(t) {
			return
		}
	}
	t.Fatal("no hole in a log that is trusted lost anything: the test cannot fail")
}

// holeInOlderLog tells whether a store that trusts the logs lost something.
func holeInOlderLog(t *testing.T) (lost bool) {
	src, older, acked := twoLogs(t)
	if v, err := judge(t, crashCopy(t, src), acked, faults{trustWAL: true}); v != harmless {
		t.Fatalf("undamaged logs, trusted: %s: %v", v, err)
	}
	log, err := os.ReadFile(older)
	if err != nil {
		t.Fatal(err)
	}
	used := int64(len(bytes.TrimRight(log, "\x00")))
	patch(t, older, used/2/pageBytes*pageBytes, func(b []byte) { clear(b) }, pageBytes)
	if v, err := judge(t, crashCopy(t, src), acked, faults{}); v != harmless {
		t.Fatalf("%s: %v", v, err)
	}
	v, _ := judge(t, crashCopy(t, src), acked, faults{trustWAL: true})
	return v == silent
}

// TestBackgroundVerify: damage under an open store is found, and stops it; the
// next start rebuilds the state.
func TestBackgroundVerify(t *testing.T) {
	src, acked := crashed(t)
	o := testOptions(src, nil)
	o.VerifyEvery = 5 * time.Millisecond
	s := mustOpen(t, o)
	select {
	case <-s.Failed():
		t.Fatal("control: an undamaged store failed")
	case <-time.After(50 * time.Millisecond):
	}
	tables, _ := filepath.Glob(filepath.Join(src, "state", "*.sst"))
	patch(t, tables[0], 100, func(b []byte) { b[0] ^= 1 }, 1)
	select {
	case <-s.Failed():
	case <-time.After(30 * time.Second):
		t.Fatal("damage was not found")
	}
	s.Close()
	if v, err := judge(t, src, acked, faults{}); v != rebuilt {
		t.Fatalf("%s: %v", v, err)
	}
}

// TestConfirmed: a write that failed and yet reached the page cache is written
// again before anything is built on it.
func TestConfirmed(t *testing.T) {
	dir := t.TempDir()
	fs := &faultFS{}
	s := mustOpen(t, testOptions(dir, fs))
	acked := spendMany(t, s, "a", 10)
	fs.failWrites(func(_ string, b []byte, _ int64) (int, error) { return len(b), errIO })
	if err := spend(context.Background(), s, "unknown", 0); !errors.Is(err, kv.ErrUnknown) {
		t.Fatal(err)
	}
	s.Close()
	last := lastRecord(t, dir)
	again := map[int64]int{}
	fs.failWrites(func(_ string, b []byte, off int64) (int, error) { again[off] += len(b); return 0, nil })
	s = mustOpen(t, testOptions(dir, fs))
	if got := again[last.at.off]; got != int(last.next.off-last.at.off) || len(again) != 1 {
		t.Fatalf("written at open: %v, want the record at %d, %d bytes", again, last.at.off, last.next.off-last.at.off)
	}
	if _, p := checkSpends(s, append(acked, "unknown")); !p.none() {
		t.Fatal(p)
	}
	s.Close()

	// An error in it is an error of Open.
	s = mustOpen(t, testOptions(dir, nil))
	spendMany(t, s, "b", 3)
	crash := crashCopy(t, dir)
	s.Close()
	fs.failWrites(func(string, []byte, int64) (int, error) { return 0, errIO })
	if _, err := Open(t.Context(), testOptions(crash, fs)); !errors.Is(err, errIO) {
		t.Fatalf("Open on a disk that does not write: %v", err)
	}
}

// TestStalledDiskControl: without the bound more is pending than it allows.
func TestStalledDiskControl(t *testing.T) {
	fs := &faultFS{}
	s := mustOpen(t, testOptions(t.TempDir(), fs))
	resume := fs.stall()
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			err := s.Update(context.Background(), nil, func(tx kv.Tx) error { return tx.Append("st", fmt.Sprint(i), make([]byte, 1000)) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); s.Stats().UndurableBytes <= 256<<10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes pending: the load does not reach the bound", s.Stats().UndurableBytes)
		}
	}
	resume()
	wg.Wait()
}
