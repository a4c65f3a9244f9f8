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
	b.hashing.Wait()
	if s.o.faults.ackBeforeWrite {
		b.answer(nil)
	}
	leaves, bodies := make([]hash, len(b.units)), make([][]byte, len(b.units))
	for i, u := range b.units {
		leaves[i], bodies[i] = u.leaf, u.body
	}
	b.head = head{seq: b.seq, prev: s.journal.head.hash, digest: merkleRoot(leaves)}
	b.head.seal()
	start := time.Now()
	body, err := s.journal.append(b.head, bodies, b.bodyBytes)
	if err != nil {
		return err
	}
	s.gather.answered, s.gather.lastSync = len(b.units), time.Since(start)
	b.end = s.journal.end()
	b.index(body)
	b.units = nil // bodies are in the journal now

	s.mu.Lock()
	s.layers = append(s.layers, b)
	s.durable, s.durableTo = b.head.pos(), b.end
	s.undurable -= b.bodyBytes
	s.unapplied += b.size.memory()
	s.batches++
	s.gather.present = len(s.current.units)
	s.moved.Broadcast()
	s.mu.Unlock()
	b.answer(nil)
	signal(s.applyWake)
	return nil
}

// index adds the places of the batch's entries to its state.
func (b *batch) index(body place) {
	off := body.off
	for _, u := range b.units {
		for _, e := range u.entries {
			indexEntry(b.state, e.stream, e.id, e.num, location{
				seg: uint32(body.seg), off: uint32(off) + uint32(e.at), len: uint32(e.size), crc: e.crc,
			})
		}
		off += int64(len(u.body))
	}
}
