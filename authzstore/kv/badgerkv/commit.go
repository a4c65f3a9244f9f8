package badgerkv

import "time"

// commitLoop writes batch after batch to the journal. It is the only writer.
func (s *Store) commitLoop() {
	defer close(s.committed)
	for {
		b := s.nextBatch()
		if b == nil {
			break
		}
		if err := s.commit(b); err != nil {
			s.fail(err, b)
			return
		}
	}
	s.mu.Lock()
	failure := s.failure
	s.mu.Unlock()
	if failure != nil {
		s.fail(failure, nil) // the applier failed: give up what is waiting
	}
}

// nextBatch waits for a batch to write; nil means that the store stops.
func (s *Store) nextBatch() *batch {
	for {
		s.mu.Lock()
		switch {
		case s.failure != nil:
			s.mu.Unlock()
			return nil
		case len(s.queue) == 0 && len(s.current.units) > 0:
			s.mu.Unlock()
			s.gatherCompany()
			s.mu.Lock()
		}
		if b := s.popBatch(); b != nil {
			s.mu.Unlock()
			return b
		}
		stopping := s.closing && s.active == 0
		s.mu.Unlock()
		if stopping {
			return nil
		}
		<-s.wake
	}
}

// popBatch takes the oldest batch that holds anything. s.mu is held.
func (s *Store) popBatch() *batch {
	if len(s.queue) > 0 {
		b := s.queue[0]
		s.queue = s.queue[1:]
		return b
	}
	if len(s.current.units) == 0 {
		return nil
	}
	b := s.current
	s.current = s.newBatch()
	return b
}

// commit makes a batch durable and answers everyone who waits for it.
func (s *Store) commit(b *batch) error {
	b.sealing.Wait()
	if s.o.faults.ackBeforeWrite {
		b.answer(nil)
	}
	leaves := make([]hash, len(b.units))
	for i, u := range b.units {
		leaves[i] = u.Leaf
	}
	b.head = head{seq: b.seq, prev: s.journal.head.hash, digest: merkleRoot(leaves)}
	b.head.seal()
	start := time.Now()
	body, err := s.journal.append(b.head, b.units, b.bodyBytes)
	if err != nil {
		return err
	}
	s.gather.answered, s.gather.lastSync = len(b.units), time.Since(start)
	b.end = s.journal.end()
	b.state = map[string][]byte{}
	for _, u := range b.units {
		u.addTo(b.state, body)
		body.off += int64(len(u.body))
	}
	b.units = nil // bodies are in the journal now

	s.mu.Lock()
	s.layers = append(s.layers, b)
	s.durable, s.durableTo = b.head.pos(), b.end
	s.undurable -= b.bodyBytes
	s.unapplied += b.cost
	s.batches++
	s.gather.present = len(s.current.units)
	s.moved.Broadcast()
	s.mu.Unlock()
	b.answer(nil)
	signal(s.applyWake)
	return nil
}
