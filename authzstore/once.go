package authzstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Use says that something was used up, and by which record.
type Use struct {
	Thing    string `cbor:"1,keyasint" json:"thing"` // its ID, such as chl_…
	RecordID string `cbor:"2,keyasint" json:"record_id"`
}

// An Effect says what a call under an idempotency key brought about.
type Effect struct {
	// Digest is the SHA-256 of the canonical call, without its secret fields.
	Digest []byte `cbor:"1,keyasint" json:"digest"`
	// RecordID is the decision that had the effect.
	RecordID string `cbor:"2,keyasint" json:"record_id"`
	// ReservationID is empty where the call moved no money.
	ReservationID string `cbor:"3,keyasint,omitempty" json:"reservation_id,omitempty"`
}

func (u Use) check() error {
	if u.Thing == "" || u.RecordID == "" {
		return fmt.Errorf("%w: a use without a thing or a record", ErrInvalid)
	}
	return nil
}

func (e Effect) check() error {
	if len(e.Digest) != sha256.Size || e.RecordID == "" {
		return fmt.Errorf("%w: an effect without a record, or with a digest of %d bytes", ErrInvalid, len(e.Digest))
	}
	return nil
}

const (
	useVersion    = 1
	usePrefix     = "use/"
	effectVersion = 1
	effectPrefix  = "effect/"
)

// UseRef declares a thing that UseOnce uses up.
func UseRef(thing string) kv.Ref { return kv.Ref{Key: usePrefix + thing, Mode: kv.Exclusive} }

// UseOnce uses a thing up: ErrUsed if it was before.
func (tx *Tx) UseOnce(thing string) error {
	key := usePrefix + thing
	use, used, err := get[Use](tx.Reader, key, useVersion)
	if err != nil {
		return err
	}
	if used {
		return fmt.Errorf("%w: %s, by %s", ErrUsed, thing, use.RecordID)
	}
	return put(tx, key, useVersion, Use{thing, tx.cause.ID})
}

// EffectRef declares the effect of an idempotency key.
func EffectRef(caller Identity, operation, key string) kv.Ref {
	return kv.Ref{Key: effectKey(caller, operation, key), Mode: kv.Exclusive}
}

// effectKey scopes a client's key to who calls and what for. It is a hash,
// because the client's key may be long and may hold anything.
func effectKey(caller Identity, operation, key string) string {
	h := sha256.New()
	for _, part := range []string{caller.Kind, caller.Issuer, caller.Subject, operation, key} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return effectPrefix + hex.EncodeToString(h.Sum(nil))
}

// OneEffect remembers the effect of a key. If the key has one already, nothing
// is written and that one is returned with had: the caller repeats its answer.
// ErrOtherCall if it is the effect of another call.
func (tx *Tx) OneEffect(caller Identity, operation, key string, digest []byte, reservationID string) (e Effect, had bool, err error) {
	at := effectKey(caller, operation, key)
	e, had, err = get[Effect](tx.Reader, at, effectVersion)
	switch {
	case err != nil:
		return Effect{}, false, err
	case had && !bytes.Equal(e.Digest, digest):
		return Effect{}, false, ErrOtherCall
	case had:
		return e, true, nil
	}
	e = Effect{digest, tx.cause.ID, reservationID}
	return e, false, put(tx, at, effectVersion, e)
}
