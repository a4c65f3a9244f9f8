package authzstore

import (
	"context"
	"encoding/base32"
	"slices"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
)

// Store is the nouns over one backend.
type Store struct{ kv kv.Store }

// New returns the store over a backend, which it closes.
func New(backend kv.Store) *Store { return &Store{backend} }

// A Reader reads single nouns, from a snapshot or inside a transaction.
type Reader struct{ from getter }

type getter interface {
	Get(key string) ([]byte, bool, error)
}

// A Snapshot reads everything, as it was at one moment.
type Snapshot struct {
	Reader
	snap kv.Snap
}

// A Tx reads and writes the nouns declared for it. It is valid only inside the
// closure.
type Tx struct {
	Reader
	kv      kv.Tx
	cause   Cause
	now     int64
	changes []Change
	detail  []byte
}

// View runs fn on one consistent, durable snapshot (kv.Store.View).
func (s *Store) View(ctx context.Context, fn func(Snapshot) error) error {
	return s.kv.View(ctx, func(snap kv.Snap) error { return fn(Snapshot{Reader{snap}, snap}) })
}

// Update runs fn as one durable transaction, with the promises of
// kv.Store.Update, and appends the record of what it wrote. A transaction that
// wrote nothing and has no detail leaves no record.
func (s *Store) Update(ctx context.Context, cause Cause, refs []kv.Ref, fn func(*Tx) error) error {
	if err := cause.check(); err != nil {
		return err
	}
	return s.kv.Update(ctx, refs, func(inner kv.Tx) error {
		reads := readOnce{inner, make(map[string][]byte, len(refs))}
		tx := &Tx{Reader: Reader{reads}, kv: reads, cause: cause}
		if err := tx.setNow(refs); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		return tx.record()
	})
}

// Pos is the last durable batch that the snapshot contains.
func (s Snapshot) Pos() kv.Pos { return s.snap.Pos() }

// Counts returns how many nouns of each kind are stored.
func (s Snapshot) Counts() (map[string]int, error) {
	counts := map[string]int{}
	err := s.snap.Scan("", "", func(key string, _ []byte) error {
		kind, _, _ := strings.Cut(key, "/")
		counts[kind]++
		return nil
	})
	return counts, err
}

// Prune forgets records past their retention, with the batches that hold them, and
// returns the first batch that is still kept. Messages lie in the same batches, so
// none goes that is younger than MaxMessageLife, whatever r says.
func (s *Store) Prune(ctx context.Context, r kv.Retention) (first uint64, err error) {
	r.MinAge = max(r.MinAge, MaxMessageLife)
	return s.kv.Prune(ctx, r)
}

// VerifyFiles checks what lies under the nouns (kv.Store.Verify).
func (s *Store) VerifyFiles(ctx context.Context, progress func(done, total int64)) error {
	return s.kv.Verify(ctx, progress)
}

// ID names the store, sto_… and 128 random bits: in what it signs, and wherever
// one store must be told from another. A copy of the store has it too.
func (s *Store) ID() string {
	id := s.kv.ID()
	return "sto_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]))
}

// SafeSeq is up to where a recovery needs no journal (kv.Store.SafeSeq).
func (s *Store) SafeSeq() uint64 { return s.kv.SafeSeq() }

// Close makes everything written durable and closes the backend.
func (s *Store) Close() error { return s.kv.Close() }

// Failed is closed when a commit failed; the process must then exit.
func (s *Store) Failed() <-chan struct{} { return s.kv.Failed() }

// readOnce keeps what a transaction has read and written: time, setters and the
// record each want the same few values.
type readOnce struct {
	kv.Tx
	values map[string][]byte // nil: there is none
}

func (r readOnce) Get(key string) ([]byte, bool, error) {
	if val, seen := r.values[key]; seen {
		return val, val != nil, nil
	}
	val, ok, err := r.Tx.Get(key)
	if err != nil {
		return nil, false, err
	}
	r.values[key] = val
	return val, ok, nil
}

func (r readOnce) Put(key string, val []byte) error {
	r.values[key] = val
	return r.Tx.Put(key, val)
}

func (r readOnce) Delete(key string) error {
	r.values[key] = nil
	return r.Tx.Delete(key)
}

// Now is the transaction's time: the cause's, or the last write of any noun
// declared, whichever is later. So a clock that steps back makes no noun older.
func (tx *Tx) Now() int64 { return tx.now }

func (tx *Tx) setNow(refs []kv.Ref) error {
	tx.now = tx.cause.NowNanos
	for _, ref := range refs {
		val, ok, err := tx.kv.Get(ref.Key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		written, err := writtenAt(ref.Key, val)
		if err != nil {
			return err
		}
		tx.now = max(tx.now, written)
	}
	return nil
}

// Detail adds what the cause has to say of itself to the record, at most
// kv.MaxValue bytes with the changes.
func (tx *Tx) Detail(detail []byte) { tx.detail = detail }

func (tx *Tx) record() error {
	if len(tx.changes) == 0 && tx.detail == nil {
		return nil
	}
	r := Record{tx.cause.ID, tx.cause.Actor, tx.now, tx.changes, tx.detail}
	val, err := encode(recordVersion, tx.now, r)
	if err != nil {
		return err
	}
	return tx.kv.Append(recordStream, r.ID, val)
}

func put[T checked](tx *Tx, key string, version byte, noun T) error {
	val, err := encode(version, tx.now, noun)
	if err != nil {
		return err
	}
	if err := tx.change(key, val); err != nil {
		return err
	}
	return tx.kv.Put(key, val)
}

func (tx *Tx) delete(key string) error {
	if err := tx.change(key, nil); err != nil {
		return err
	}
	return tx.kv.Delete(key)
}

// change notes a write for the record. A noun written twice is one change.
func (tx *Tx) change(key string, after []byte) error {
	i := slices.IndexFunc(tx.changes, func(c Change) bool { return c.Key == key })
	if i >= 0 {
		tx.changes[i].After = after
		return nil
	}
	before, _, err := tx.kv.Get(key)
	if err != nil {
		return err
	}
	tx.changes = append(tx.changes, Change{key, before, after})
	return nil
}
