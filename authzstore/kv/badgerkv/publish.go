package badgerkv

import (
	"encoding/binary"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// unit is what one transaction publishes.
type unit struct {
	body    []byte // as it will stand in the journal
	records []recordWrite
	adds    []addition
	entries []addedEntry
	size    stateSize
	leaf    hash
}

type recordWrite struct {
	key string // in Badger
	val []byte // nil: deleted
}

// addition is an Add. Its sum is fixed at publication and filled in at body[at].
type addition struct {
	cell   *cell
	name   string
	n, sum int64
	at     int
}

// addedEntry is an Append. Its number is fixed at publication and filled in.
type addedEntry struct {
	cell       *cell
	stream, id string
	num        uint64
	at, size   int // in body
	crc        uint32
}

const entryNumAt = 8 // of the number within an entry

func (u *unit) putRecord(key string, val []byte) {
	kind := byte(kindPut)
	if val == nil {
		kind = kindDelete
	}
	u.body = appendWrite(u.body, kind, key, val)
	u.records = append(u.records, recordWrite{nsRecord + key, val})
	u.count(len(key) + len(val))
}

func (u *unit) addCounter(name string, c *cell, n int64) {
	u.body = appendWrite(u.body, kindCounter, name, make([]byte, 8))
	u.adds = append(u.adds, addition{cell: c, name: name, n: n, at: len(u.body) - 8})
	u.count(len(name) + 8)
}

func (u *unit) addEntry(e kv.Entry, c *cell) {
	at := len(u.body)
	u.body = appendEntry(u.body, e)
	u.entries = append(u.entries, addedEntry{cell: c, stream: e.Stream, id: e.ID, at: at, size: len(u.body) - at})
	u.count(len(e.ID) + 16)
	u.count(len(e.Stream) + 3 + 8 + 16)
	u.count(len(e.Stream) + 8)
}

// count adds one key of Badger: Badger itself counts 13 bytes beside key and value.
func (u *unit) count(bytes int) { u.size = u.size.plus(stateSize{int64(bytes) + 16, 1}) }

// finish computes what depends on sums and numbers. The committer waits for it.
func (u *unit) finish() {
	for i := range u.entries {
		e := &u.entries[i]
		e.crc = checksum(u.body[e.at : e.at+e.size])
	}
	u.leaf = leafOf(u.body)
}

// publish adds a unit to the current batch: from then on transactions read it,
// and it will be written unless the store fails. Locks of the unit's records
// are still held, so the order of publication is the order of the locks.
func (s *Store) publish(u *unit) (*batch, error) {
	bytes := int64(len(u.body))
	if !s.state.fits(u.size) || bytes > maxBodyBytes {
		return nil, fmt.Errorf("%w: transaction of %d bytes", kv.ErrTooBig, bytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return nil, s.failure
	}
	if err := s.room(bytes); err != nil {
		return nil, err
	}
	if err := u.newSums(); err != nil {
		return nil, err
	}
	b := s.current
	if b.bodyBytes+bytes > maxBodyBytes || !s.state.fits(b.size.plus(u.size)) {
		s.queue = append(s.queue, b)
		b = s.newBatch()
		s.current = b
	}
	b.add(u)
	for _, r := range u.records {
		s.overlay[r.key] = latest{r.val, b}
	}
	s.undurable += bytes
	s.units++
	if s.gather.wants(len(b.units)) {
		signal(s.gather.enough)
	}
	signal(s.wake)
	return b, nil
}

// room is the back-pressure. It acts here, where the answer is definite, and
// never in the committer, where it would have to be "unknown".
func (s *Store) room(bytes int64) error {
	switch {
	case s.undurable+bytes > s.o.MaxPendingBytes:
		return fmt.Errorf("%w: %d bytes wait for the journal", kv.ErrOverloaded, s.undurable)
	case s.unapplied > s.o.MaxUnappliedBytes:
		return fmt.Errorf("%w: %d bytes wait for Badger", kv.ErrOverloaded, s.unapplied)
	case s.journal.full(s.undurable + bytes):
		return fmt.Errorf("%w: no disk space for the next journal segment", kv.ErrOverloaded)
	}
	return nil
}

// add puts a unit into the batch, gives its counters their sums and its entries
// their numbers.
func (b *batch) add(u *unit) {
	for _, r := range u.records {
		b.state[r.key] = r.val
	}
	for i := range u.adds {
		a := &u.adds[i]
		a.cell.val, a.cell.last = a.sum, b
		sum := u.body[a.at : a.at+8]
		binary.BigEndian.PutUint64(sum, uint64(a.sum))
		putState(b.state, kindCounter, a.name, encodeInt(a.sum))
	}
	for i := range u.entries {
		e := &u.entries[i]
		e.cell.val++
		e.cell.last = b
		e.num = uint64(e.cell.val)
		binary.BigEndian.PutUint64(u.body[e.at+entryNumAt:], e.num)
		b.state[nsStream+e.stream] = encodeInt(e.cell.val)
	}
	b.units = append(b.units, u)
	b.bodyBytes += int64(len(u.body))
	b.size = b.size.plus(u.size)
	b.hashing.Add(1)
}
