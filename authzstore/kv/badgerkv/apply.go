package badgerkv

import (
	"time"
)

const (
	// The applier collects batches this long: repeated keys are then written to
	// Badger once (measured: 121 514 batches became 2 130 transactions).
	applyLinger = 20 * time.Millisecond
	// How often a paused applier looks whether there is room on the disk again.
	diskRetry = 50 * time.Millisecond
	maxMarks  = 4096
)

// mark says which batch a version of Badger holds.
type mark struct{ version, seq uint64 }

// applyLoop brings durable batches into Badger, in order. It is the only writer
// of Badger, apart from prune, which takes applying.
func (s *Store) applyLoop() {
	defer s.done.Done()
	for {
		stopping := s.committerEnded()
		batches := s.toApply()
		switch {
		case len(batches) == 0 && stopping:
			return
		case len(batches) == 0:
			select {
			case <-s.applyWake:
			case <-s.committed:
			}
			s.pause(applyLinger)
			continue
		case !s.guard.ok():
			if stopping {
				return // the journal has them
			}
			s.pause(diskRetry)
			continue
		}
		if err := s.apply(batches); err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Store) committerEnded() bool {
	select {
	case <-s.committed:
		return true
	default:
		return false
	}
}

// pause waits, but not past Close.
func (s *Store) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.stop:
	}
}

// toApply returns the oldest batches that fit one transaction of Badger.
func (s *Store) toApply() []*batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	cost := int64(0)
	for i, b := range s.layers {
		cost += b.cost
		if i > 0 && cost > s.state.maxCost {
			return s.layers[:i:i]
		}
	}
	return s.layers[:len(s.layers):len(s.layers)]
}

func (s *Store) apply(batches []*batch) error {
	if f := s.o.faults.apply; f != nil {
		if err := f(); err != nil {
			return err
		}
	}
	if err := s.state.apply(s.journal.store, batches); err != nil {
		return err
	}
	s.switchSnapshot(batches)
	return nil
}

// switchSnapshot lets readers find the batches in Badger and drops them from
// memory, all under one mutex: a reader sees each batch in exactly one of the
// two.
func (s *Store) switchSnapshot(batches []*batch) {
	next := s.state.read()
	last := batches[len(batches)-1]
	s.mu.Lock()
	old := s.snapshot
	s.snapshot = next
	s.layers = s.layers[len(batches):]
	s.applied = last.seq
	for _, b := range batches {
		for k := range b.state {
			if s.overlay[k].in == b {
				delete(s.overlay, k)
			}
		}
		s.unapplied -= b.cost
	}
	s.addMark(mark{next.txn.ReadTs(), last.seq})
	discard := old.refs == 0
	s.mu.Unlock()
	if discard {
		old.txn.Discard()
	}
}

// release gives a snapshot back.
func (s *Store) release(p *snapshot) {
	s.mu.Lock()
	p.refs--
	discard := p.refs == 0 && p != s.snapshot
	s.mu.Unlock()
	if discard {
		p.txn.Discard()
	}
}

// addMark remembers which version holds which batch. Forgetting every second
// one makes SafeSeq come later, never too early.
func (s *Store) addMark(m mark) {
	s.marks = append(s.marks, m)
	if len(s.marks) <= maxMarks {
		return
	}
	kept := s.marks[:0]
	for i := 1; i < len(s.marks); i += 2 {
		kept = append(kept, s.marks[i])
	}
	s.marks = kept
}

// SafeSeq implements kv.Store: the newest batch that lies in Badger's synced
// tables. Flushing a memtable is the checkpoint, because the tables are a
// prefix of the transactions.
func (s *Store) SafeSeq() uint64 {
	var version uint64
	for _, t := range s.state.db.Tables() {
		version = max(version, t.MaxVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.marks) > 0 && s.marks[0].version <= version {
		s.safeSeq = s.marks[0].seq
		s.marks = s.marks[1:]
	}
	return s.safeSeq
}
