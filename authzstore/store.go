package authzstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/countersign/countersign/authzstore/kv"
)

// ErrInvalid: a noun breaks one of its own rules. Nothing was written.
var ErrInvalid = errors.New("authzstore: invalid")

// ErrDamaged: a stored value cannot be read: it is damaged, or a newer program
// wrote it.
var ErrDamaged = errors.New("authzstore: stored value cannot be read")

// Store is the nouns over one backend.
type Store struct{ kv kv.Store }

// New returns the store over a backend, which stays the caller's to close.
func New(backend kv.Store) *Store { return &Store{backend} }

// A Reader reads nouns, from a snapshot or inside a transaction.
type Reader struct{ from getter }

type getter interface {
	Get(key string) ([]byte, bool, error)
}

// A Tx reads and writes the nouns declared for it.
type Tx struct {
	Reader
	kv kv.Tx
}

// View runs fn on one consistent, durable snapshot (kv.Store.View).
func (s *Store) View(ctx context.Context, fn func(Reader) error) error {
	return s.kv.View(ctx, func(snap kv.Snap) error { return fn(Reader{snap}) })
}

// Update runs fn as one durable transaction (kv.Store.Update).
func (s *Store) Update(ctx context.Context, refs []kv.Ref, fn func(Tx) error) error {
	return s.kv.Update(ctx, refs, func(tx kv.Tx) error { return fn(Tx{Reader{tx}, tx}) })
}

// Failed is closed when a commit failed; the process must then exit.
func (s *Store) Failed() <-chan struct{} { return s.kv.Failed() }

// A stored value is one byte of version and CBOR (RFC 8949) with integer keys.
var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

// A noun checks itself whenever it is written and whenever it is read: what
// breaks a rule in the store is damaged, not merely odd.
type noun interface{ check() error }

func get[T noun](r Reader, key string, version byte) (T, bool, error) {
	var none, v T
	val, ok, err := r.from.Get(key)
	if err != nil || !ok {
		return none, false, err
	}
	if len(val) == 0 || val[0] != version {
		return none, false, fmt.Errorf("%w: %s: not version %d", ErrDamaged, key, version)
	}
	if err := decoding.Unmarshal(val[1:], &v); err != nil {
		return none, false, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	if err := v.check(); err != nil {
		return none, false, fmt.Errorf("%w: %s: %v", ErrDamaged, key, err)
	}
	return v, true, nil
}

func put[T noun](tx Tx, key string, version byte, v T) error {
	if err := v.check(); err != nil {
		return err
	}
	val, err := encoding.Marshal(v)
	if err != nil {
		return err
	}
	return tx.kv.Put(key, append([]byte{version}, val...))
}

// must is for values that only a programming error makes fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
