package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Verification says whether the people of an account can be asked for codes.
type Verification struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// LockedInARow is how many challenges were locked without one being satisfied by
	// codes in between.
	LockedInARow int64 `cbor:"2,keyasint,omitempty" json:"locked_in_a_row"`
	// LockedAtNanos is when that locked the account's codes; 0: it did not.
	LockedAtNanos int64 `cbor:"3,keyasint,omitempty" json:"locked_at_ns,omitempty"`
}

// MaxLockedInARow challenges locked in a row, without one satisfied between, lock
// the account's codes.
const MaxLockedInARow = 3

const (
	verificationVersion = 1
	verificationPrefix  = "verification/"
)

// Locked tells whether the account's codes are locked.
func (v Verification) Locked() bool { return v.LockedAtNanos != 0 }

func (v Verification) check() error {
	if v.LockedInARow < 0 || (v.LockedInARow >= MaxLockedInARow) != v.Locked() {
		return fmt.Errorf("%w: verification of %s with %d challenges locked in a row, locked at %d", ErrInvalid, v.Account, v.LockedInARow, v.LockedAtNanos)
	}
	return checkID("account", "acc", v.Account)
}

// VerificationRef declares the verification of an account.
func VerificationRef(account string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: verificationPrefix + account, Mode: mode}
}

// Verification returns whether an account's people can be asked for codes.
func (r Reader) Verification(account string) (Verification, error) {
	v, ok, err := getOwn(r, verificationPrefix, account, verificationVersion, func(v Verification) string { return v.Account })
	if !ok {
		v.Account = account
	}
	return v, err
}

// UnlockVerification lets the account's people be asked for codes again. It must be
// declared Exclusive. A *StateError where they can be.
func (tx *Tx) UnlockVerification(account string) error {
	v, err := tx.Verification(account)
	switch {
	case err != nil:
		return err
	case !v.Locked():
		return &StateError{"verification", "open"}
	}
	return tx.putVerification(Verification{Account: account})
}

// verificationOpen returns a *StateError where the account's codes are locked.
func (tx *Tx) verificationOpen(account string) error {
	v, err := tx.Verification(account)
	if err == nil && v.Locked() {
		err = &StateError{"verification", "locked"}
	}
	return err
}

// noteVerified ends the row of locked challenges.
func (tx *Tx) noteVerified(account string) error {
	v, err := tx.Verification(account)
	if err != nil || v.LockedInARow == 0 || v.Locked() {
		return err
	}
	v.LockedInARow = 0
	return tx.putVerification(v)
}

// noteLocked counts a locked challenge.
func (tx *Tx) noteLocked(account string) error {
	v, err := tx.Verification(account)
	if err != nil {
		return err
	}
	v.LockedInARow++
	if v.LockedInARow >= MaxLockedInARow && !v.Locked() {
		v.LockedAtNanos = tx.Now()
	}
	return tx.putVerification(v)
}

func (tx *Tx) putVerification(v Verification) error {
	return put(tx, verificationPrefix+v.Account, verificationVersion, v)
}
