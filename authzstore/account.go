package authzstore

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
)

// An Account is whose money pays.
type Account struct {
	ID    string       `cbor:"1,keyasint"` // acc_…
	Owner Identity     `cbor:"2,keyasint"`
	State AccountState `cbor:"3,keyasint"`
	// Currency is the ISO 4217 alphabetic code of everything on the account.
	Currency string `cbor:"4,keyasint"`
	// MaxPaymentMinor is the most for one payment, in minor units.
	MaxPaymentMinor int64 `cbor:"5,keyasint"`
}

// AccountState says whether an account pays.
type AccountState string

// The states of an account.
const (
	AccountActive AccountState = "active"
	AccountFrozen AccountState = "frozen"
)

// MaxAmountMinor is the largest amount, 2^53−1 minor units: the largest integer
// that every JSON reader holds exactly (RFC 7493, 2.2).
const MaxAmountMinor = 1<<53 - 1

const accountVersion = 1

var (
	accountIDPattern = regexp.MustCompile(`^acc_[A-Za-z0-9_-]{1,60}$`)
	currencyPattern  = regexp.MustCompile(`^[A-Z]{3}$`)
)

// IsAccountID tells whether s has the form of an account's ID.
func IsAccountID(s string) bool {
	return len(s) <= 64 && strings.HasPrefix(s, "acc_") && accountIDPattern.MatchString(s)
}

func accountKey(id string) string { return "account/" + id }

// AccountRef declares the account for an Update.
func AccountRef(id string, mode kv.Mode) kv.Ref { return kv.Ref{Key: accountKey(id), Mode: mode} }

// Account returns an account, and whether it exists.
func (r Reader) Account(id string) (Account, bool, error) {
	a, ok, err := get[Account](r, accountKey(id), accountVersion)
	if ok && a.ID != id {
		return Account{}, false, fmt.Errorf("%w: %s holds another account", ErrDamaged, accountKey(id))
	}
	return a, ok, err
}

// PutAccount writes an account. It must be declared Exclusive.
func (tx Tx) PutAccount(a Account) error { return put(tx, accountKey(a.ID), accountVersion, a) }

func (a Account) check() error {
	switch {
	case !IsAccountID(a.ID):
		return fmt.Errorf("%w: account id %q is not acc_ and 1 to 60 letters, digits, _ or -", ErrInvalid, a.ID)
	case a.State != AccountActive && a.State != AccountFrozen:
		return fmt.Errorf("%w: account state %q is neither active nor frozen", ErrInvalid, a.State)
	case !currencyPattern.MatchString(a.Currency):
		return fmt.Errorf("%w: currency %q is not an ISO 4217 alphabetic code", ErrInvalid, a.Currency)
	case a.MaxPaymentMinor < 1 || a.MaxPaymentMinor > MaxAmountMinor:
		return fmt.Errorf("%w: maximum for one payment %d is not from 1 to %d minor units", ErrInvalid, a.MaxPaymentMinor, int64(MaxAmountMinor))
	}
	return a.Owner.check()
}
