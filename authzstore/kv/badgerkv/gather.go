package badgerkv

import "time"

const (
	// A batch costs about as much processor time as several units, so even on
	// the fastest disk a little company is worth a wait this long.
	gatherMin = 300 * time.Microsecond
	gatherMax = 5 * time.Millisecond
	// It is looked again, whether to wait on, after this part of a sync.
	gatherLookMin  = 100 * time.Microsecond
	gatherLookPart = 8
)

// gatherer decides how long a batch waits for company before it is written.
// Callers who were just answered tend to come back at once: without a wait the
// first of them would start the next write alone, and all others would wait for
// two (measured with 64 callers and 5 ms a sync: half the throughput). A caller
// alone is never kept waiting. All of it is guarded
// by Store.mu.
type gatherer struct {
	want   int           // units
	enough chan struct{} // closed when so many wait; nil while nobody gathers

	answered int           // units in the last batch
	present  int           // units already waiting when it was answered
	lastSync time.Duration // of the last batch
}

// waiting counts the units that the next batch has so far. s.mu is held.
func (s *Store) waiting() int {
	if len(s.pending) == 0 {
		return 0
	}
	return len(s.pending[len(s.pending)-1].units)
}

// gatherCompany waits, with a batch begun, for the callers just answered: until
// as many came, or fewer come per time than the write would carry. s.mu is held,
// but not while it waits.
func (s *Store) gatherCompany() {
	g := &s.gather
	if g.answered < 2 {
		return
	}
	most := min(max(gatherMin, g.lastSync), gatherMax)
	look := max(gatherLookMin, g.lastSync/gatherLookPart)
	enough, units := make(chan struct{}), s.waiting()
	g.want, g.enough = g.present+g.answered, enough
	defer func() { g.enough = nil }()
	for waited := look; waited <= most && units < g.want; waited += look {
		s.mu.Unlock()
		select {
		case <-enough:
		case <-time.After(look):
		}
		s.mu.Lock()
		came := s.waiting() - units
		units += came
		if !worthWaiting(came, look, units, waited+g.lastSync) {
			return
		}
	}
}

// worthWaiting compares the rate at which units come with the rate at which they
// would leave if the batch were written now. Where one hot record makes callers
// come one by one, it is better to write and let them come meanwhile.
func worthWaiting(came int, within time.Duration, units int, write time.Duration) bool {
	return time.Duration(came)*write > time.Duration(units)*within
}
