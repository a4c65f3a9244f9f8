package authzstore

import (
	"context"
	"fmt"

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
	// Limits on everything that is paid from the account, by whatever grant.
	Limits []Limit `cbor:"6,keyasint,omitempty" json:"limits,omitempty"`
	// CreatedAtNanos is when the account was first written. Its periods by consent
	// and its lifetimes start there.
	CreatedAtNanos int64 `cbor:"7,keyasint,omitempty" json:"created_at_ns,omitempty"`
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
)

// AccountRef declares an account for an Update.
func AccountRef(id string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: accountPrefix + id, Mode: mode}
}

// Account returns an account, and whether it exists.
func (r Reader) Account(id string) (Account, bool, error) {
	a, ok, err := getOwn(r, accountPrefix, id, accountVersion, func(a Account) string { return a.ID })
	a.Limits = withKinds(a.Limits)
	return a, ok, err
}

// PutAccount is a transaction of its own with [Tx.PutAccount]. It may freeze the
// account, so it is urgent ([kv.Urgent]): payments that queue up on the account do not
// keep it out.
func (s *Store) PutAccount(ctx context.Context, cause Cause, a Account) error {
	refs := []kv.Ref{AccountRef(a.ID, kv.Exclusive)}
	return s.Update(kv.Urgent(ctx), cause, refs, func(tx *Tx) error { return tx.PutAccount(a) })
}

// PutAccount writes an account, new or in place of what it was. Its
// CreatedAtNanos is filled in. A limit that is new, or has another period than
// before, counts from now. It must be declared Exclusive.
func (tx *Tx) PutAccount(a Account) error {
	old, had, err := tx.Account(a.ID)
	if err != nil {
		return err
	}
	a.CreatedAtNanos = tx.Now()
	if had {
		a.CreatedAtNanos = old.CreatedAtNanos
	}
	a.Limits = withKinds(a.Limits)
	return put(tx, accountPrefix+a.ID, accountVersion, a)
}

// FreezeAccount stops everything that the account pays, by whatever grant, until
// it is unfrozen. It must be declared Exclusive. ErrUnknownID, or a *StateError
// where the account is frozen.
func (tx *Tx) FreezeAccount(id string) error {
	return tx.setAccountState(id, AccountActive, AccountFrozen)
}

// UnfreezeAccount lets a frozen account pay again. It must be declared Exclusive.
// ErrUnknownID, or a *StateError where the account is not frozen.
func (tx *Tx) UnfreezeAccount(id string) error {
	return tx.setAccountState(id, AccountFrozen, AccountActive)
}

func (tx *Tx) setAccountState(id string, from, to AccountState) error {
	a, ok, err := tx.Account(id)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: account %s", ErrUnknownID, id)
	case a.State != from:
		return &StateError{"account", string(a.State)}
	}
	a.State = to
	return put(tx, accountPrefix+id, accountVersion, a)
}

// Accounts lists all accounts, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Accounts(after string, most int) (accounts []Account, next string, err error) {
	return page[Account](s, accountPrefix, accountVersion, after, most)
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
