package authzstore

import (
	"context"
	"fmt"
	"regexp"

	"github.com/countersign/countersign/authzstore/kv"
)

// An Account is whose money pays.
type Account struct {
	ID    string       `cbor:"1,keyasint" json:"id"` // acc_…
	Owner Identity     `cbor:"2,keyasint" json:"owner"`
	State AccountState `cbor:"3,keyasint" json:"state"`
	// Currency is the ISO 4217 alphabetic code of everything on the account.
	Currency string `cbor:"4,keyasint" json:"currency"`
	// MaxPaymentMinor is the most for one payment, in minor units.
	MaxPaymentMinor int64 `cbor:"5,keyasint" json:"max_payment_minor"`
	// Limits on everything the account ever spends.
	Limits []Limit `cbor:"6,keyasint,omitempty" json:"limits,omitempty"`
}

// A Limit bounds what an account's reservations, pending and posted, may come
// to over its life. Zero means no bound.
type Limit struct {
	Name           string `cbor:"1,keyasint" json:"name"` // snake_case, its own within the account
	MaxAmountMinor int64  `cbor:"2,keyasint,omitempty" json:"max_amount_minor,omitempty"`
	MaxCount       int64  `cbor:"3,keyasint,omitempty" json:"max_count,omitempty"`
}

// AccountState says whether an account pays.
type AccountState string

// The states of an account.
const (
	AccountActive AccountState = "active"
	AccountFrozen AccountState = "frozen"
)

const (
	accountVersion = 1
	accountPrefix  = "account/"
	maxLimits      = 16
)

var limitName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// AccountRef declares an account for an Update.
func AccountRef(id string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: accountPrefix + id, Mode: mode}
}

// Account returns an account, and whether it exists.
func (r Reader) Account(id string) (Account, bool, error) {
	a, ok, err := get[Account](r, accountPrefix+id, accountVersion)
	if ok && a.ID != id {
		return Account{}, false, fmt.Errorf("%w: %s holds another account", ErrDamaged, accountPrefix+id)
	}
	return a, ok, err
}

// PutAccount is a transaction of its own with [Tx.PutAccount]. It is how an
// operator freezes an account, so it is urgent ([kv.Urgent]): payments that queue
// up on the account do not keep it out.
func (s *Store) PutAccount(ctx context.Context, cause Cause, a Account) error {
	refs := []kv.Ref{AccountRef(a.ID, kv.Exclusive)}
	return s.Update(kv.Urgent(ctx), cause, refs, func(tx *Tx) error { return tx.PutAccount(a) })
}

// PutAccount writes an account, new or in place of what it was. It must be
// declared Exclusive.
func (tx *Tx) PutAccount(a Account) error {
	return put(tx, accountPrefix+a.ID, accountVersion, a)
}

func (a Account) check() error {
	if err := checkID("account", "acc", a.ID); err != nil {
		return err
	}
	if a.State != AccountActive && a.State != AccountFrozen {
		return fmt.Errorf("%w: account state %q is neither active nor frozen", ErrInvalid, a.State)
	}
	if err := a.Owner.check(); err != nil {
		return err
	}
	if a.Owner.OnBehalfOf != "" {
		return fmt.Errorf("%w: the owner of an account acts for itself", ErrInvalid)
	}
	if err := checkCurrency(a.Currency); err != nil {
		return err
	}
	if err := checkAmount("maximum for one payment", a.MaxPaymentMinor); err != nil {
		return err
	}
	return checkLimits(a.Limits)
}

func checkLimits(limits []Limit) error {
	if len(limits) > maxLimits {
		return fmt.Errorf("%w: %d limits, at most %d", ErrInvalid, len(limits), maxLimits)
	}
	seen := map[string]bool{}
	for _, l := range limits {
		switch {
		case !limitName.MatchString(l.Name) || seen[l.Name]:
			return fmt.Errorf("%w: limit name %q is not a snake_case name of its own", ErrInvalid, l.Name)
		case l.MaxAmountMinor == 0 && l.MaxCount == 0:
			return fmt.Errorf("%w: limit %s bounds nothing", ErrInvalid, l.Name)
		case l.MaxAmountMinor < 0 || l.MaxAmountMinor > MaxAmountMinor || l.MaxCount < 0:
			return fmt.Errorf("%w: limit %s is out of range", ErrInvalid, l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}
