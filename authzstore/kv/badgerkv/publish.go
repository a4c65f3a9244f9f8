package badgerkv

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// publish adds a unit to the current batch: from then on transactions read it,
// and it will be written unless the store fails. Locks of the unit's records
// are still held, so the order of publication is the order of the locks.
func (s *Store) publish(u *chain.Unit, urgent bool) (*batch, error) {
	bytes, cost := int64(u.Size()), costOf(u)
	if cost > s.state.maxCost || bytes > maxBodyBytes {
		return nil, fmt.Errorf("%w: transaction of %d bytes", kv.ErrTooBig, bytes)
	}
	sums, err := s.lockWithSums(u)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if s.failure != nil {
		return nil, s.failure
	}
	if err := s.room(bytes, urgent); err != nil {
		return nil, err
	}
	if err := fix(u, sums); err != nil {
		return nil, err
	}
	var b *batch
	if n := len(s.pending); n > 0 {
		b = s.pending[n-1]
	}
	if b == nil || b.bodyBytes+bytes > maxBodyBytes || b.cost+cost > s.state.maxCost {
		b = &batch{seq: s.nextSeq, done: make(chan struct{})}
		s.nextSeq++
		s.pending = append(s.pending, b)
	}
	b.units = append(b.units, u)
	b.bodyBytes += bytes
	b.cost += cost
	b.sealing.Add(1)
	for _, r := range u.Records {
		s.overlay[nsRecord+r.Key] = latest{r.Val, b}
	}
	for key, n := range sums {
		s.overlay[key] = latest{chain.EncodeInt(n), b}
	}
	s.undurable += bytes
	if s.gather.enough != nil && len(b.units) >= s.gather.want {
		close(s.gather.enough)
		s.gather.enough = nil
	}
	s.work.Signal()
	return b, nil
}

// lockWithSums locks s.mu and returns what the counters that u adds to, and the
// last numbers of its streams, are at that moment. What is not in memory is read
// from Badger before, without the lock, and again if Badger got newer meanwhile.
func (s *Store) lockWithSums(u *chain.Unit) (map[string]int64, error) {
	var keys []string
	for _, c := range u.Counters {
		keys = append(keys, nsCounter+c.Counter)
	}
	for _, e := range u.Entries {
		keys = append(keys, nsStream+e.Stream)
	}
	var p *snapshot
	stored := map[string]int64{} // what p holds of them
	for {
		s.mu.Lock()
		if p != s.snapshot {
			p = s.snapshot
			clear(stored)
		}
		sums, missing := map[string]int64{}, []string(nil)
		for _, key := range keys {
			if l, published := s.overlay[key]; published {
				sums[key], _ = chain.DecodeInt(l.val) // EncodeInt made it
			} else if n, read := stored[key]; read {
				sums[key] = n
			} else {
				missing = append(missing, key)
			}
		}
		if len(missing) == 0 {
			return sums, nil
		}
		p.refs++
		s.mu.Unlock()
		var err error
		for _, key := range missing {
			if stored[key], err = sum(p.get(key)); err != nil {
				break
			}
		}
		s.release(p)
		if err != nil {
			return nil, err
		}
	}
}

// fix makes increments sums, and numbers entries; sums follows.
func fix(u *chain.Unit, sums map[string]int64) error {
	for i, c := range u.Counters {
		key := nsCounter + c.Counter
		sum, err := kv.Sum{Counter: c.Counter, N: sums[key]}.Plus(c.N)
		if err != nil {
			return err
		}
		u.Counters[i], sums[key] = sum, sum.N
	}
	for i := range u.Entries {
		e := &u.Entries[i]
		sums[nsStream+e.Stream]++
		e.Num = uint64(sums[nsStream+e.Stream])
	}
	return nil
}

// room is the back-pressure. It acts here, where the answer is definite, and
// never in the committer, where it would have to be "unknown". An eighth of each
// bound, and a little of the last segment on a full disk, is left to urgent units.
func (s *Store) room(bytes int64, urgent bool) error {
	maxPending, maxUnapplied, maxReplay, kept := s.o.MaxPendingBytes, s.o.MaxUnappliedBytes, int64(maxReplayBytes), int64(0)
	if !urgent {
		maxPending, maxUnapplied, maxReplay, kept = maxPending/8*7, maxUnapplied/8*7, maxReplay/8*7, urgentSegmentBytes
	}
	needed := s.undurable + bytes + kept
	needed += needed/64 + 64<<10 // padding
	switch {
	case s.undurable+bytes > maxPending:
		return fmt.Errorf("%w: %d bytes wait for the journal", kv.ErrOverloaded, s.undurable)
	case s.unapplied-s.replayed > maxUnapplied:
		return fmt.Errorf("%w: %d bytes wait for Badger", kv.ErrOverloaded, s.unapplied)
	case s.written-s.covered+s.undurable+bytes > maxReplay:
		return fmt.Errorf("%w: %d bytes of the journal wait for Badger's tables", kv.ErrOverloaded, s.written-s.covered)
	case s.journal.starved.Load() && needed > s.segmentLeft:
		return fmt.Errorf("%w: no disk space for the next journal segment", kv.ErrOverloaded)
	}
	return nil
}

const urgentSegmentBytes = 512 << 10 // over a hundred updates by hand
