package authzstore

import (
	"fmt"
	"slices"
)

// Delegates are the open grants from one account. Being one noun, they are locked
// together: who counts them counts right.
type Delegates struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// Open are the IDs of the grants that are offered, active or frozen, oldest
	// first.
	Open []string `cbor:"2,keyasint,omitempty" json:"open"`
}

// MaxDelegates is how many open grants an account may have in any case. Policies
// allow fewer.
const MaxDelegates = 256

const (
	delegatesVersion = 1
	delegatesPrefix  = "delegates/"
)

func (d Delegates) check() error {
	if len(d.Open) > MaxDelegates {
		return fmt.Errorf("%w: %s has %d open grants, at most %d", ErrTooManyDelegates, d.Account, len(d.Open), MaxDelegates)
	}
	for i, id := range d.Open {
		if err := checkID("grant", "grt", id); err != nil {
			return err
		}
		if slices.Contains(d.Open[:i], id) {
			return fmt.Errorf("%w: %s stands twice among the delegates of %s", ErrInvalid, id, d.Account)
		}
	}
	return checkID("account", "acc", d.Account)
}

// Delegates returns the open grants from an account.
func (r Reader) Delegates(account string) (Delegates, error) {
	d, ok, err := getOwn(r, delegatesPrefix, account, delegatesVersion, func(d Delegates) string { return d.Account })
	if !ok {
		d.Account = account
	}
	return d, err
}

func (tx *Tx) addDelegate(account, grant string) error {
	d, err := tx.Delegates(account)
	if err != nil {
		return err
	}
	d.Open = append(d.Open, grant)
	return put(tx, delegatesPrefix+account, delegatesVersion, d)
}

func (tx *Tx) removeDelegate(account, grant string) error {
	d, err := tx.Delegates(account)
	if err != nil {
		return err
	}
	d.Open = slices.DeleteFunc(d.Open, func(id string) bool { return id == grant })
	return put(tx, delegatesPrefix+account, delegatesVersion, d)
}
