package outbox

import (
	"sync"

	"github.com/countersign/countersign/sidecar/upstream"
)

// maxStreams bounds the streams that are open at once.
const maxStreams = 10_000

// streams are those that are open, one for a terminal.
type streams struct {
	mu   sync.Mutex
	open map[string]*subscription // by terminal
	over bool                     // the server is being stopped
}

// A subscription is told that there may be something new, and when to end.
type subscription struct {
	wake  chan struct{} // has room for one
	ended chan struct{} // is closed
}

// subscribe opens a terminal's stream, and ends the one that it has.
func (s *streams) subscribe(terminal string) (*subscription, *upstream.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, replaces := s.open[terminal]
	switch {
	case s.over:
		return nil, shuttingDown
	case replaces:
		close(old.ended)
	case len(s.open) >= maxStreams:
		return nil, streamsFull
	}
	sub := &subscription{make(chan struct{}, 1), make(chan struct{})}
	s.open[terminal] = sub
	return sub, nil
}

// unsubscribe closes a stream, which may have been replaced.
func (s *streams) unsubscribe(terminal string, sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[terminal] == sub {
		delete(s.open, terminal)
	}
}

// wake says that a terminal has a message, or was changed.
func (s *streams) wake(terminal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub, ok := s.open[terminal]; ok {
		sub.awake()
	}
}

func (s *streams) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.open {
		sub.awake()
	}
}

func (sub *subscription) awake() {
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}

// shut ends all streams, and lets none begin any more.
func (s *streams) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for terminal, sub := range s.open {
		close(sub.ended)
		delete(s.open, terminal)
	}
}

func (s *streams) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
