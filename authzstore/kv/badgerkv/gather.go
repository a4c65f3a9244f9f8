package badgerkv

import "time"

const (
	// A batch costs about as much processor time as several units, so even on
	// the fastest disk a little company is worth this long a wait.
	gatherMin = 200 * time.Microsecond
	gatherMax = 2500 * time.Microsecond
	// How far the wait shrinks where nobody comes back.
	gatherShrink = 16
)

// gatherer decides how long a batch waits for company before it is written.
// Callers who were just answered tend to come back at once: without a wait the
// first of them would start the next write alone, and all others would pay for
// it. A caller alone is never kept waiting, and where answered callers do not
// come back (an open loop) the wait shrinks to next to nothing.
type gatherer struct {
	enough chan struct{} // the wanted number is reached
	want   int           // units; 0: not gathering. Guarded by Store.mu

	// Of the committer.
	answered int           // units in the last batch
	lastSync time.Duration // of the last batch
	share    int           // the wait is 1/share of the most
}

func newGatherer() gatherer { return gatherer{enough: make(chan struct{}, 1), share: 1} }

func (g *gatherer) wants(units int) bool { return g.want > 0 && units >= g.want }

// wait is how long to gather now.
func (g *gatherer) wait() time.Duration {
	if g.answered < 2 {
		return 0
	}
	return min(max(gatherMin, g.lastSync/2), gatherMax) / time.Duration(g.share)
}

// learn adapts to how many of the answered came back in time.
func (g *gatherer) learn(came int) {
	if 2*came < g.answered {
		g.share = min(2*g.share, gatherShrink)
	} else {
		g.share = max(g.share/2, 1)
	}
}

// gatherCompany waits, with a batch begun, for the callers just answered.
func (s *Store) gatherCompany() {
	g := &s.gather
	wait := g.wait()
	if wait == 0 {
		return
	}
	s.mu.Lock()
	before := len(s.current.units)
	g.want = before + g.answered
	s.mu.Unlock()
	timer := time.NewTimer(wait)
	select {
	case <-g.enough:
	case <-timer.C:
	}
	timer.Stop()
	s.mu.Lock()
	g.want = 0
	came := len(s.current.units) - before
	s.mu.Unlock()
	select {
	case <-g.enough:
	default:
	}
	g.learn(came)
}
