package badgerkv

import "github.com/countersign/countersign/authzstore/kv"

// cell is a counter, or the last number of a stream, in memory. There is at
// most one per key, from the moment a transaction wants it until nobody does
// and Badger holds its value: so whoever makes a new one finds the current value
// in Badger, and publication finds the sum without reading a disk.
type cell struct {
	key   string
	ready chan struct{} // closed when loaded
	err   error         // of loading

	// Guarded by Store.mu once loaded.
	pins int
	val  int64
	last *batch // that changed it; nil: as in Badger
}

func addInt64(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// pinCell returns the cell of a key, loaded.
func (s *Store) pinCell(key string) (*cell, error) {
	s.mu.Lock()
	if c := s.counters[key]; c != nil {
		c.pins++
		s.mu.Unlock()
		<-c.ready
		if c.err != nil {
			s.unpinCells(map[string]*cell{key: c})
			return nil, c.err
		}
		return c, nil
	}
	c := &cell{key: key, ready: make(chan struct{}), pins: 1}
	s.counters[key] = c
	snap := s.snapshot
	snap.refs++
	s.mu.Unlock()

	c.val, c.err = snap.counter(key)
	s.release(snap)
	close(c.ready)
	if c.err != nil {
		s.unpinCells(map[string]*cell{key: c})
		return nil, c.err
	}
	return c, nil
}

func (s *Store) unpinCells(cells map[string]*cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cells {
		c.pins--
		s.dropCell(c)
	}
}

// dropCell forgets a cell that is not needed. s.mu is held.
func (s *Store) dropCell(c *cell) {
	if c.pins == 0 && (c.last == nil || c.last.seq <= s.applied) {
		delete(s.counters, c.key)
	}
}

// readCell returns the published value, and the batch it came with if that is
// not durable.
func (s *Store) readCell(c *cell) (int64, *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.last != nil && c.last.seq > s.durable.Seq {
		return c.val, c.last
	}
	return c.val, nil
}

// counter reads a counter from Badger; absent is zero.
func (p *snapshot) counter(key string) (int64, error) {
	v, ok, err := p.get(key)
	if err != nil || !ok {
		return 0, err
	}
	return decodeInt(v)
}

// newSums checks that every counter of a unit has room, before any is changed.
func (u *unit) newSums() error {
	for i := range u.adds {
		a := &u.adds[i]
		sum, ok := addInt64(a.cell.val, a.n)
		if !ok {
			return kv.ErrTooBig
		}
		a.sum = sum
	}
	return nil
}
