package authzstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A CallKey is an idempotency key in its scope: who calls, and what for. The
// payee is not in the scope, so that a call with another payee under the same
// key is another call, and refused, instead of a second payment.
type CallKey struct {
	Caller    Identity
	System    string
	Operation string
	Key       string // the client's: at most a few hundred bytes, of any content
}

// A KeyedCall is what became of the calls under one idempotency key.
type KeyedCall struct {
	// Fingerprint is the SHA-256 of the canonical call, without its secret fields.
	Fingerprint []byte `cbor:"1,keyasint" json:"fingerprint"`
	// Evidence is a keyed MAC of the secret fields that the last evaluation was
	// shown, empty where the call has none.
	Evidence []byte     `cbor:"2,keyasint,omitempty" json:"evidence,omitempty"`
	State    KeyedState `cbor:"3,keyasint" json:"state"`
	// RecordID is the decision that left it so.
	RecordID string `cbor:"4,keyasint" json:"record_id"`
	// SpentBy is the decision that spent Evidence: the first one that was shown it
	// under this key.
	SpentBy string `cbor:"5,keyasint,omitempty" json:"spent_by,omitempty"`
	// ReservationID is that of an allowed call that moves money.
	ReservationID string `cbor:"6,keyasint,omitempty" json:"reservation_id,omitempty"`
	// Grant is the one by which the money moves, or of a built-in operation the grant
	// that it made or was about; empty where there is none.
	Grant string `cbor:"10,keyasint,omitempty" json:"grant,omitempty"`
	// RunsOnceAt is the service that the call was allowed to go to, if it runs a
	// reservation or an intent once: an allowed call may be forwarded to it again, and to no
	// other. Empty where the service promised no such thing.
	RunsOnceAt string `cbor:"9,keyasint,omitempty" json:"runs_once_at,omitempty"`
	// Answer is what a denied call was told, to tell it again: JSON.
	Answer json.RawMessage `cbor:"7,keyasint,omitempty" json:"answer,omitempty"`
	// LockedOut: Evidence came when no attempt was left for it. It was not looked
	// at, so nothing has paid for a look when it comes again.
	LockedOut bool `cbor:"8,keyasint,omitempty" json:"locked_out,omitempty"`
	// Challenge is that which was issued last for the call (chl_…), and Intent that
	// which an allowed call opened (int_…); empty where there is none.
	Challenge string `cbor:"11,keyasint,omitempty" json:"challenge,omitempty"`
	Intent    string `cbor:"12,keyasint,omitempty" json:"intent,omitempty"`
	// EvidenceMatched: Evidence was right when SpentBy was shown it.
	EvidenceMatched bool `cbor:"13,keyasint,omitempty" json:"evidence_matched,omitempty"`
}

// KeyedState says how far the calls under a key have come.
type KeyedState string

// The states. Pending calls got no final answer, and are evaluated again; a
// denied one is evaluated again with other evidence; an allowed one never.
const (
	KeyedPending KeyedState = "pending"
	KeyedDenied  KeyedState = "denied"
	KeyedAllowed KeyedState = "allowed"
)

const (
	keyedVersion = 1
	keyedPrefix  = "keyed/"
)

func (k KeyedCall) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: a keyed call "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case len(k.Fingerprint) != sha256.Size:
		return fail("with a fingerprint of %d bytes", len(k.Fingerprint))
	case len(k.Evidence) != 0 && len(k.Evidence) != sha256.Size:
		return fail("with a MAC of %d bytes", len(k.Evidence))
	case (len(k.Evidence) == 0) != (k.SpentBy == ""):
		return fail("with evidence that nobody spent, or spent without evidence")
	case k.LockedOut && len(k.Evidence) == 0:
		return fail("locked out without evidence")
	case k.RecordID == "":
		return fail("without a record")
	case k.State != KeyedPending && k.State != KeyedDenied && k.State != KeyedAllowed:
		return fail("in the state %q", k.State)
	case (k.State == KeyedDenied) != (k.Answer != nil):
		return fail("that is %s, with an answer of %d bytes", k.State, len(k.Answer))
	case k.State != KeyedAllowed && (k.ReservationID != "" || k.Grant != ""):
		return fail("that is %s, with a reservation or a grant", k.State)
	case k.State != KeyedAllowed && k.Intent != "":
		return fail("that is %s, with an intent", k.State)
	case k.Challenge != "" && !isID("chl", k.Challenge) || k.Intent != "" && !isID("int", k.Intent):
		return fail("with the challenge %q and the intent %q", k.Challenge, k.Intent)
	case k.EvidenceMatched && (len(k.Evidence) == 0 || k.LockedOut):
		return fail("with evidence that matched and was not looked at")
	case k.RunsOnceAt != "" && k.ReservationID == "" && k.Intent == "":
		return fail("that can be forwarded again, without a reservation or an intent")
	}
	return nil
}

// Ref declares what is known about the key, to be answered.
func (k CallKey) Ref() kv.Ref { return kv.Ref{Key: k.storeKey(), Mode: kv.Exclusive} }

func (k CallKey) storeKey() string {
	return keyedPrefix + hashed(append(k.Caller.parts(), k.System, k.Operation, k.Key)...)
}

// KeyedCall returns what became of the calls under a key, and whether there was
// one.
func (r Reader) KeyedCall(k CallKey) (KeyedCall, bool, error) {
	return get[KeyedCall](r, k.storeKey(), keyedVersion)
}

// AnswerOnce writes what became of a call under a key. Its RecordID is the
// transaction's cause. ErrOtherCall if the key stands for another call,
// ErrAnswered if it has a final answer: an allow, or a denial of the same
// evidence.
func (tx *Tx) AnswerOnce(key CallKey, k KeyedCall) error {
	k.RecordID = tx.cause.ID
	old, had, err := tx.KeyedCall(key)
	switch {
	case err != nil:
		return err
	case had && !bytes.Equal(old.Fingerprint, k.Fingerprint):
		return ErrOtherCall
	case had && old.State == KeyedAllowed,
		had && old.State == KeyedDenied && bytes.Equal(old.Evidence, k.Evidence):
		return fmt.Errorf("%w: %s by %s", ErrAnswered, old.State, old.RecordID)
	}
	return put(tx, key.storeKey(), keyedVersion, k)
}
