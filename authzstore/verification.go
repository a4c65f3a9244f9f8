package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Verification says whether the people of an account can be asked for codes.
type Verification struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// FailedInARow is how many sets of codes failed, of whatever challenges, without
	// one being right in between.
	FailedInARow int64 `cbor:"2,keyasint,omitempty" json:"failed_in_a_row"`
	// LockedAtNanos is when that locked the account's codes; 0: it did not.
	LockedAtNanos int64 `cbor:"3,keyasint,omitempty" json:"locked_at_ns,omitempty"`
}

// MaxFailedInARow sets of codes that fail in a row, of whatever challenges, lock the
// account's codes: Delegated Regulation (EU) 2018/389, article 4(3)(b).
const MaxFailedInARow = 5

const (
	verificationVersion = 1
	verificationPrefix  = "verification/"
)

// Locked tells whether the account's codes are locked.
func (v Verification) Locked() bool { return v.LockedAtNanos != 0 }

func (v Verification) check() error {
	if v.FailedInARow < 0 || (v.FailedInARow >= MaxFailedInARow) != v.Locked() {
		return fmt.Errorf("%w: verification of %s with %d failed sets in a row, locked at %d", ErrInvalid, v.Account, v.FailedInARow, v.LockedAtNanos)
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

// noteVerified ends the row of failed sets.
func (tx *Tx) noteVerified(account string) error {
	v, err := tx.Verification(account)
	if err != nil || v.FailedInARow == 0 || v.Locked() {
		return err
	}
	v.FailedInARow = 0
	return tx.putVerification(v)
}

// noteFailed counts a failed set, and tells whether the account's codes are locked.
func (tx *Tx) noteFailed(account string) (locked bool, err error) {
	v, err := tx.Verification(account)
	if err != nil {
		return false, err
	}
	v.FailedInARow++
	if v.FailedInARow >= MaxFailedInARow && !v.Locked() {
		v.LockedAtNanos = tx.Now()
	}
	return v.Locked(), tx.putVerification(v)
}

func (tx *Tx) putVerification(v Verification) error {
	return put(tx, verificationPrefix+v.Account, verificationVersion, v)
}
