package outbox

import (
	"context"
	"sync"
	"time"
)

// Bounds of what is under way.
const (
	perReceiver = 8       // tries at once; one of a terminal
	maxWaiting  = 100_000 // terminals that are known to have something to be delivered
)

// A next is what comes after a step of a terminal's delivery.
type next struct {
	idle bool          // nothing is to be delivered now
	wait time.Duration // before the next step
}

// A course is one terminal's delivery. What it knows is lost with the process: the
// store has what counts.
type course struct {
	terminal string
	address  string // of the receiver

	// num is the message under way, tried so many times; a number up to taken was taken
	// by the receiver, and the store need not know yet.
	num   uint64
	tries int
	taken uint64

	phase   phase
	again   bool   // something came while it was running
	changed bool   // the terminal was changed meanwhile
	stop    func() // of the wait
}

type phase int

const (
	ready phase = iota
	running
	waiting
)

// A lane are the deliveries to one receiver, first come, first served, a few at once.
type lane struct {
	ready   []*course
	running int
}

// A schedule says whose delivery takes its next step when.
type schedule struct {
	// step delivers what is next; it may change the course's address.
	step func(ctx context.Context, c *course) next
	// after calls a function later, unless stopped.
	after func(wait time.Duration, fn func()) (stop func())

	mu       sync.Mutex
	ctx      context.Context // ends with the process; nil before start
	courses  map[string]*course
	lanes    map[string]*lane
	overfull bool // a terminal was left out
	workers  sync.WaitGroup
}

// start lets steps be taken until ctx ends.
func (s *schedule) start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.courses, s.lanes = ctx, map[string]*course{}, map[string]*lane{}
}

// wait returns when no step is taken any more. The context has ended.
func (s *schedule) wait() {
	s.workers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.courses {
		if c.phase == waiting {
			c.stop()
		}
	}
}

// wake says that a terminal has something to be delivered, by way of an address. Of a
// terminal that was changed what failed before says nothing any more.
func (s *schedule) wake(terminal, address string, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.courses[terminal]
	switch {
	case s.ctx.Err() != nil:
	case !known && len(s.courses) >= maxWaiting:
		s.overfull = true
	case !known:
		c = &course{terminal: terminal, address: address}
		s.courses[terminal] = c
		s.enqueue(c)
	case c.phase == running:
		c.again, c.changed = true, c.changed || changed
	case c.phase == waiting && changed:
		c.stop()
		c.tries, c.address = 0, address
		s.enqueue(c)
	}
}

// resume goes on with a course whose wait is over.
func (s *schedule) resume(c *course) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.phase == waiting && s.ctx.Err() == nil {
		s.enqueue(c)
	}
}

// enqueue puts a course into its lane, and starts a worker if there is room for one.
func (s *schedule) enqueue(c *course) {
	c.phase = ready
	l := s.lanes[c.address]
	if l == nil {
		l = &lane{}
		s.lanes[c.address] = l
	}
	l.ready = append(l.ready, c)
	if l.running < perReceiver {
		l.running++
		address := c.address
		s.workers.Go(func() { s.work(address, l) })
	}
}

// work takes steps of a lane while there are any.
func (s *schedule) work(address string, l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(l.ready) > 0 && s.ctx.Err() == nil {
		c := l.ready[0]
		l.ready = l.ready[1:]
		c.phase = running
		s.mu.Unlock()
		then := s.step(s.ctx, c)
		s.mu.Lock()
		s.follow(c, then)
	}
	l.running--
	if l.running == 0 && len(l.ready) == 0 {
		delete(s.lanes, address) // a terminal's webhook can lead anywhere
	}
}

// follow does what comes after a step.
func (s *schedule) follow(c *course, then next) {
	again, changed := c.again, c.changed
	c.again, c.changed = false, false
	switch {
	case changed:
		c.tries = 0
		s.enqueue(c)
	case then.wait > 0:
		c.phase = waiting
		c.stop = s.after(then.wait, func() { s.resume(c) })
	case then.idle && !again:
		delete(s.courses, c.terminal)
	default:
		s.enqueue(c)
	}
}

// leftOut tells whether terminals were left out since it was asked last.
func (s *schedule) leftOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.overfull
	s.overfull = false
	return was
}

// size is how many terminals have something to be delivered.
func (s *schedule) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.courses)
}
