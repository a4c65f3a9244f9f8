package badgerkv

import (
	"fmt"
	"testing"
	"time"
)

// A kill while the first record of a new segment is being written leaves no second
// empty segment behind it: of two, recovery could not tell the first one from one
// whose records were lost, and would refuse.
func TestKilledInTheFirstWriteOfASegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := &faultFS{}
	s := mustOpen(t, testOptions(dir, fs))
	var acked []string
	entered, release := make(chan struct{}), make(chan struct{})
	second := segPath(s.journal.dir, 2)
	fs.failWrites(func(name string, _ []byte, off int64) (int, error) {
		if name == second && off == pageBytes {
			close(entered)
			<-release
		}
		return 0, nil
	})
	for i := 0; ; i++ {
		done := make(chan []string, 1)
		go func() { done <- spendMany(t, s, fmt.Sprint(i), 1) }()
		select {
		case ids := <-done:
			acked = append(acked, ids...)
			continue
		case <-entered:
		}
		time.Sleep(100 * time.Millisecond) // for a segment that must not be made
		killed := crashCopy(t, dir)
		close(release)
		acked2 := <-done
		s.Close()
		again := mustOpen(t, testOptions(killed, nil))
		defer again.Close()
		if _, p := checkSpends(again, acked); !p.none() {
			t.Fatalf("%v (the call in flight: %v)", p, acked2)
		}
		return
	}
}
