package badgerkv

import (
	"time"

	"github.com/countersign/countersign/authzstore/kv/chain"
)

// commitLoop writes batch after batch to the journal. It is the only writer.
func (s *Store) commitLoop() {
	defer s.done.Done()
	for b := s.nextBatch(); b != nil; b = s.nextBatch() {
		if err := s.commit(b); err != nil {
			b.answer(s.fail(err))
		}
	}
	s.mu.Lock()
	s.committed = true
	failure, lost := s.failure, s.pending
	s.pending = nil
	s.moved.Broadcast()
	s.mu.Unlock()
	for _, b := range lost { // there are none unless the store failed
		b.answer(failure)
	}
}

// nextBatch waits for a batch to write; nil means that the store stops.
func (s *Store) nextBatch() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(s.pending) == 1 {
			s.gatherCompany()
		}
		switch {
		case s.failure != nil:
			return nil
		case len(s.pending) > 0:
			b := s.pending[0]
			s.pending = s.pending[1:]
			return b
		case s.closing && s.active == 0:
			return nil
		}
		s.work.Wait()
	}
}

// commit makes a batch durable and answers everyone who waits for it.
func (s *Store) commit(b *batch) error {
	b.sealing.Wait()
	if s.o.faults.ackBeforeWrite {
		b.answer(nil)
	}
	b.head = s.journal.head.Next(chain.Digest(b.units))
	start := time.Now()
	body, err := s.journal.append(b.head, b.units, b.bodyBytes)
	if err != nil {
		return err
	}
	took, units := time.Since(start), len(b.units)
	b.state = map[string][]byte{}
	addState(b.state, b.units, body)
	b.units = nil // bodies are in the journal now

	s.mu.Lock()
	s.layers = append(s.layers, b)
	s.durable = b.head.Pos()
	s.durableTo, s.segmentLeft = s.journal.at, s.journal.size-s.journal.at.off
	s.batches, s.units = s.batches+1, s.units+uint64(units)
	s.undurable -= b.bodyBytes
	s.written += b.bodyBytes
	s.unapplied += b.cost
	s.gather.answered, s.gather.present, s.gather.lastSync = units, s.waiting(), took
	s.moved.Broadcast()
	s.mu.Unlock()
	b.answer(nil)
	return nil
}
