package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestFullDisk: with too little room Badger is left alone and updates go on
// until the bound, then are refused; nothing acknowledged is lost; it opens only
// when there is room, also for the replay.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	fs := &faultFS{}
	o := testOptions(dir, fs)
	o.MinFreeBytes, o.BallastBytes, o.MaxUnappliedBytes = 1<<20, 64<<10, 256<<10
	s := mustOpen(t, o)
	ballast := filepath.Join(dir, "ballast")
	if _, err := os.Stat(ballast); err != nil {
		t.Fatalf("no ballast: %v", err)
	}
	acked := spendMany(t, s, "a", 20)
	fs.free.Store(1 << 10)
	var out outcomes
	for i := 0; out.overloaded < 20 && i < 100_000; i++ {
		id := fmt.Sprint("full", i)
		out.note(id, spend(context.Background(), s, id, 0))
	}
	if out.overloaded == 0 || len(out.acked) == 0 || out.unknown+out.failed+out.others > 0 {
		t.Fatalf("%d acknowledged, %d overloaded, %d unknown, %d failed, %d others", len(out.acked), out.overloaded, out.unknown, out.failed, out.others)
	}
	if err := spend(kv.Urgent(t.Context()), s, "urgent", 0); err != nil {
		t.Fatalf("an urgent update on a full disk: %v", err)
	}
	acked = append(append(acked, out.acked...), "urgent")
	if _, p := checkSpends(s, acked); !p.none() { // reading goes on
		t.Fatal(p)
	}
	for end := time.Now().Add(30 * time.Second); !s.Stats().DiskPaused; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // the applier looks soon, not at once
			t.Fatal("Stats does not show the pause")
		}
	}
	if _, err := os.Stat(ballast); !os.IsNotExist(err) {
		t.Fatalf("the ballast was not given up: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "free some") {
		t.Fatalf("Open on a full disk: %v", err)
	}
	fs.free.Store(0)
	s = mustOpen(t, o)
	if s.recovery.Batches == 0 {
		t.Fatal("nothing was left to replay: the guard did not hold Badger back")
	}
	acked = append(acked, spendMany(t, s, "after", 20)...)
	if _, p := checkSpends(s, acked); !p.none() {
		t.Fatal(p)
	}
}

// TestFullDiskControl: without the guard Badger is written on a full disk.
func TestFullDiskControl(t *testing.T) {
	fs := &faultFS{}
	fs.free.Store(1 << 10)
	s := mustOpen(t, testOptions(t.TempDir(), fs)) // MinFreeBytes < 0
	spendMany(t, s, "a", 20)
	for end := time.Now().Add(30 * time.Second); s.Stats().Applied != s.Stats().Seq; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Badger was not written: something else than the guard holds it back")
		}
	}
}

// TestBallastAgain: the ballast is laid down again once there is room, and given
// up once more when the store closes on a full disk, where Badger still writes.
func TestBallastAgain(t *testing.T) {
	dir := t.TempDir()
	fs := &faultFS{}
	o := testOptions(dir, fs)
	o.MinFreeBytes, o.BallastBytes = 1<<20, 64<<10
	s := mustOpen(t, o)
	ballast := func() bool {
		_, err := os.Stat(filepath.Join(dir, "ballast"))
		return err == nil
	}
	full := func(full bool) {
		t.Helper()
		fs.free.Store(0)
		if full {
			fs.free.Store(1 << 10)
		}
		spendMany(t, s, fmt.Sprint("full ", full), 1)
		for end := time.Now().Add(30 * time.Second); ballast() == full; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("disk full %v, ballast %v", full, ballast())
			}
		}
	}
	full(true)
	full(false)
	for s.Stats().Applied != s.Stats().Seq { // or the applier would give it up
		time.Sleep(time.Millisecond)
	}
	fs.free.Store(1 << 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if ballast() {
		t.Fatal("the ballast was not given up before Badger's last writes")
	}
}

// TestNextSegmentFails: an error other than a full disk, on the way to the next
// segment, stops the store when the segment is needed. Nobody waits for ever.
func TestNextSegmentFails(t *testing.T) {
	fs := &faultFS{}
	s := mustOpen(t, testOptions(t.TempDir(), fs)) // the first segment is made like any other
	fs.mu.Lock()
	fs.onCreate = func(name string) error {
		if strings.HasSuffix(name, tmpName) {
			return errIO
		}
		return nil
	}
	fs.mu.Unlock()
	answered := make(chan error)
	go func() {
		for i := 0; ; i++ {
			err := s.Update(context.Background(), nil, func(tx kv.Tx) error { return tx.Append("st", fmt.Sprint(i), make([]byte, 200<<10)) })
			if err != nil {
				answered <- err
				return
			}
		}
	}()
	select {
	case err := <-answered:
		if !errors.Is(err, kv.ErrUnknown) && !errors.Is(err, kv.ErrFailed) {
			t.Errorf("a segment that cannot be made: %v, want that the store stops", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody is answered")
	}
	<-s.Failed()
}

// TestNoNextSegment: with no room for the next segment updates are refused
// before the active one is full, and go on once there is room.
func TestNoNextSegment(t *testing.T) {
	dir := t.TempDir()
	fs := &faultFS{}
	fs.fillUp(false)
	o := testOptions(dir, fs)
	o.segmentBytes = 16 << 20
	s := mustOpen(t, o)
	var out outcomes
	big := func(id string) error {
		return s.Update(context.Background(), nil, func(tx kv.Tx) error { return tx.Append("st", id, make([]byte, 200<<10)) })
	}
	fs.fillUp(true)
	for i := 0; out.overloaded < 5 && i < 1000; i++ {
		id := fmt.Sprint(i)
		out.note(id, big(id))
	}
	if out.overloaded == 0 || len(out.acked) == 0 || out.unknown+out.failed+out.others > 0 {
		t.Fatalf("%d acknowledged, %d overloaded, %d unknown, %d failed, %d others", len(out.acked), out.overloaded, out.unknown, out.failed, out.others)
	}
	if err := spend(kv.Urgent(t.Context()), s, "urgent", 0); err != nil {
		t.Fatalf("an urgent update with no next segment: %v", err)
	}
	fs.fillUp(false)
	for i := 0; ; i++ {
		id := fmt.Sprint("later", i)
		err := big(id)
		if err == nil && currentSegment(s) > 2 {
			break
		}
		if err != nil && !errors.Is(err, kv.ErrOverloaded) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestCloseOnFullDisk: what was published before the disk was found full, and does
// not fit the active segment, is nobody's to wait for any more when the store
// closes. It was never acknowledged, and Close ends.
func TestCloseOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := &faultFS{}
	found := make(chan struct{})
	fs.onCreate = func(name string) error {
		if !strings.HasSuffix(name, tmpName) {
			return nil
		}
		if _, err := os.Stat(segPath(filepath.Join(dir, "journal"), 1)); err != nil {
			return nil
		}
		<-found
		return syscall.ENOSPC
	}
	s := mustOpen(t, testOptions(dir, fs))
	acked := spendMany(t, s, "a", 1)
	resume := fs.stall()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 40 { // 8 MB for a segment of 4 MiB
		wg.Go(func() {
			err := s.Update(ctx, nil, func(tx kv.Tx) error { return tx.Append("st", fmt.Sprint(i), make([]byte, 200<<10)) })
			if !errors.Is(err, kv.ErrUnknown) {
				t.Errorf("%v, want unknown", err)
			}
		})
	}
	for s.Stats().UndurableBytes < 40*200<<10 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	wg.Wait()
	close(found)
	resume()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Close waits for a disk that is full")
	}
	s = mustOpen(t, testOptions(dir, nil))
	if _, p := checkSpends(s, acked); !p.none() {
		t.Error(p)
	}
}
