package badgerkv

import (
	"bytes"
	"slices"
	"sync"
)

// coverage knows up to where Badger's synced tables have the journal. A recovery
// replays what lies behind. Flushing a memtable is the checkpoint, because the
// tables are a prefix of the transactions.
type coverage struct {
	mu    sync.Mutex
	safe  mark   // the newest one that lies in the tables
	marks []mark // behind it, oldest first
}

// mark says which batch a version of Badger holds.
type mark struct {
	version, seq uint64
	bytes        int64 // of the bodies up to it, counted since Open
}

const maxMarks = 4096 // 96 KiB

// add remembers a mark until the tables have passed it. Of very many it forgets
// every second one: then the tables seem a little behind.
func (c *coverage) add(m mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.marks) == maxMarks {
		odd := false
		c.marks = slices.DeleteFunc(c.marks, func(mark) bool { odd = !odd; return odd })
	}
	c.marks = append(c.marks, m)
}

// covered returns the newest mark that lies in Badger's tables.
func (s *state) covered() mark {
	var version uint64
	for _, t := range s.db.Tables() {
		version = max(version, t.MaxVersion)
	}
	c := &s.coverage
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.marks) > 0 && c.marks[0].version <= version {
		c.safe, c.marks = c.marks[0], c.marks[1:]
	}
	return c.safe
}

// mark remembers that Badger holds the batches up to seq.
func (s *state) mark(seq uint64) {
	p := s.read()
	defer p.txn.Discard()
	s.coverage.add(mark{p.txn.ReadTs(), seq, s.bodies})
}

const (
	keyPad   = nsMeta + "pad"
	padBytes = 512 << 10
	// A key takes at least so much of a memtable besides itself and its value: the
	// shortest node of Badger's skip list, a version, and the head of the value.
	memTableKeyBytes = 38
)

var padding = bytes.Repeat([]byte{padByte}, padBytes)

// keepUp fills memtables as fast as the journal grows, with padding under one
// key, of which a compaction keeps one. So a memtable is flushed once it stands
// for memTableBytes of journal at most, however little of it the state keeps.
func (s *state) keepUp(bodies, took int64) error {
	s.owed = max(0, s.owed+bodies-took)
	for ; s.owed >= padBytes; s.owed -= padBytes {
		if _, err := s.write(map[string][]byte{keyPad: padding}); err != nil {
			return err
		}
	}
	return nil
}

// SafeSeq implements kv.Store: the newest batch that lies in Badger's synced
// tables.
func (s *Store) SafeSeq() uint64 {
	m := s.state.covered()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = max(s.covered, m.bytes)
	return m.seq
}
