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
// alone is never kept waiting.
type gatherer struct {
	enough chan struct{} // the wanted number is reached
	want   int           // units; 0: not gathering. Guarded by Store.mu

	// Of the committer.
	answered int           // units in the last batch
	present  int           // units already waiting when it was answered
	lastSync time.Duration // of the last batch
}

func newGatherer() gatherer { return gatherer{enough: make(chan struct{}, 1)} }

func (g *gatherer) wants(units int) bool { return g.want > 0 && units >= g.want }

// gatherCompany waits, with a batch begun, for the callers just answered: until
// as many came, or fewer come per time than the write would carry.
func (s *Store) gatherCompany() {
	g := &s.gather
	if g.answered < 2 {
		return
	}
	most := min(max(gatherMin, g.lastSync), gatherMax)
	look := max(gatherLookMin, g.lastSync/gatherLookPart)
	s.mu.Lock()
	units := len(s.current.units)
	g.want = g.present + g.answered
	if g.wants(units) {
		signal(g.enough)
	}
	s.mu.Unlock()
	for waited, enough := look, false; waited <= most && !enough; waited += look {
		select {
		case <-g.enough:
			enough = true
		case <-time.After(look):
		}
		s.mu.Lock()
		came := len(s.current.units) - units
		units += came
		s.mu.Unlock()
		enough = enough || !worthWaiting(came, look, units, waited+g.lastSync)
	}
	s.mu.Lock()
	g.want = 0
	s.mu.Unlock()
	select {
	case <-g.enough:
	default:
	}
}

// worthWaiting compares the rate at which units come with the rate at which they
// would leave if the batch were written now. Where one hot record makes callers
// come one by one, it is better to write and let them come meanwhile.
func worthWaiting(came int, within time.Duration, units int, write time.Duration) bool {
	return time.Duration(came)*write > time.Duration(units)*within
}
