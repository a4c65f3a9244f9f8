package badgerkv

import (
	"context"
	"runtime"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// The transactions that wait are counted while they do, however it ends.
func TestStatsCountWaiters(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir(), nil))
	refs := []kv.Ref{{Key: "account/a", Mode: kv.Exclusive}}
	nothing := func(kv.Tx) error { return nil }
	awaitWaiters := func(want int) {
		for s.Stats().Waiters != want { // a wrong count never ends, but for the test's timeout
			runtime.Gosched()
		}
	}
	holding, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 3)
	go func() {
		ended <- s.Update(t.Context(), refs, func(kv.Tx) error {
			close(holding)
			<-release
			return nil
		})
	}()
	<-holding
	awaitWaiters(0)
	impatient, giveUp := context.WithCancel(t.Context())
	go func() { ended <- s.Update(impatient, refs, nothing) }()
	awaitWaiters(1)
	go func() { ended <- s.Update(t.Context(), refs, nothing) }()
	awaitWaiters(2)
	giveUp()
	<-ended
	awaitWaiters(1)
	close(release)
	<-ended
	<-ended
	awaitWaiters(0)
}

// The journal's size is that of its segments on the disk.
func TestStatsJournalBytes(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir(), nil))
	want := int64(0)
	for seg := uint64(1); seg <= 3; seg++ {
		for currentSegment(s) < seg {
			spendMany(t, s, "a", 200)
		}
		want += s.journal.sizeOf(seg)
		if got := s.Stats().JournalBytes; currentSegment(s) == seg && got != want {
			t.Errorf("the journal has %d bytes with %d segments, want %d", got, seg, want)
		}
	}
}
