// Package badgerkv is the embedded backend of the kv contract: one synchronous
// Badger transaction for each Update.
package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/countersign/countersign/authzstore/kv"
)

type store struct {
	db     *badger.DB
	failed chan struct{}
	fail   sync.Once
}

// Open opens the store in dir, which it creates where it does not exist.
func Open(dir string) (kv.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("badgerkv: %w", err)
	}
	options := badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithLogger(nil).
		WithMetricsEnabled(false)
	db, err := badger.Open(options)
	if err != nil {
		return nil, fmt.Errorf("badgerkv: open %s: %w", dir, err)
	}
	return &store{db: db, failed: make(chan struct{})}, nil
}

func (s *store) Failed() <-chan struct{} { return s.failed }

func (s *store) Close() error { return s.db.Close() }

func (s *store) View(ctx context.Context, fn func(kv.Snap) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.db.View(func(txn *badger.Txn) error { return fn(snap{txn}) })
}

// Update runs the closure again as long as another transaction wrote what it
// read.
func (s *store) Update(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
	modes := make(map[string]kv.Mode, len(refs))
	for _, ref := range refs {
		if len(ref.Key) > kv.MaxKey {
			return kv.ErrTooBig
		}
		modes[ref.Key] = max(modes[ref.Key], ref.Mode)
	}
	for {
		if err := s.usable(ctx); err != nil {
			return err
		}
		txn := s.db.NewTransaction(true)
		err := fn(tx{txn, modes})
		if err != nil {
			txn.Discard()
			return err
		}
		err = txn.Commit()
		if errors.Is(err, badger.ErrConflict) {
			continue
		}
		if err != nil {
			s.fail.Do(func() { close(s.failed) })
			return fmt.Errorf("%w: %w", kv.ErrUnknown, err)
		}
		return nil
	}
}

func (s *store) usable(ctx context.Context) error {
	select {
	case <-s.failed:
		return kv.ErrFailed
	default:
	}
	if s.db.IsClosed() {
		return kv.ErrClosed
	}
	return ctx.Err()
}

type snap struct{ txn *badger.Txn }

func (s snap) Get(key string) ([]byte, bool, error) { return get(s.txn, key) }

func (s snap) Scan(prefix, from string, fn func(string, []byte) error) error {
	it := s.txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix)})
	defer it.Close()
	for it.Seek([]byte(max(prefix, from))); it.Valid(); it.Next() {
		val, err := it.Item().ValueCopy(nil)
		if err != nil {
			return err
		}
		if err := fn(string(it.Item().Key()), val); err != nil {
			return err
		}
	}
	return nil
}

type tx struct {
	txn   *badger.Txn
	modes map[string]kv.Mode
}

func (t tx) Get(key string) ([]byte, bool, error) {
	if _, declared := t.modes[key]; !declared {
		return nil, false, fmt.Errorf("%w: get %q", kv.ErrUndeclared, key)
	}
	return get(t.txn, key)
}

func (t tx) Put(key string, val []byte) error {
	if err := t.writable(key); err != nil {
		return err
	}
	if len(val) > kv.MaxValue {
		return kv.ErrTooBig
	}
	return t.txn.Set([]byte(key), val)
}

func (t tx) Delete(key string) error {
	if err := t.writable(key); err != nil {
		return err
	}
	return t.txn.Delete([]byte(key))
}

func (t tx) writable(key string) error {
	if t.modes[key] != kv.Exclusive {
		return fmt.Errorf("%w: write %q", kv.ErrUndeclared, key)
	}
	return nil
}

func get(txn *badger.Txn, key string) ([]byte, bool, error) {
	item, err := txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	val, err := item.ValueCopy(nil)
	return val, err == nil, err
}
