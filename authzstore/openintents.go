package authzstore

import (
	"fmt"
	"slices"
)

// OpenIntents are the intents of one account that are not closed. Being one noun,
// they are locked together.
type OpenIntents struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// Intents are their IDs, oldest first. Those that have expired stay until
	// another is opened.
	Intents []string `cbor:"2,keyasint,omitempty" json:"intents"`
	// ExpireAtNanos is when each of them expires.
	ExpireAtNanos []int64 `cbor:"3,keyasint,omitempty" json:"expire_at_ns"`
}

// MaxOpenIntents is how many intents of an account are open at most.
const MaxOpenIntents = 32

const (
	openIntentsVersion = 1
	openIntentsPrefix  = "open_intents/"
)

func (o OpenIntents) check() error {
	switch {
	case len(o.Intents) > MaxOpenIntents:
		return fmt.Errorf("%w: %s has %d, at most %d", ErrTooManyIntents, o.Account, len(o.Intents), MaxOpenIntents)
	case len(o.Intents) != len(o.ExpireAtNanos):
		return fmt.Errorf("%w: %d intents of %s, and %d expiries", ErrInvalid, len(o.Intents), o.Account, len(o.ExpireAtNanos))
	}
	if err := checkIDs("intent", "int", o.Intents); err != nil {
		return err
	}
	return checkID("account", "acc", o.Account)
}

// OpenIntents returns the intents of an account that are not closed.
func (r Reader) OpenIntents(account string) (OpenIntents, error) {
	o, ok, err := getOwn(r, openIntentsPrefix, account, openIntentsVersion, func(o OpenIntents) string { return o.Account })
	if !ok {
		o.Account = account
	}
	return o, err
}

// addOpenIntent lists an intent, and drops those that have expired.
func (tx *Tx) addOpenIntent(i Intent) error {
	o, err := tx.OpenIntents(i.Account)
	if err != nil {
		return err
	}
	kept := OpenIntents{Account: i.Account}
	for n, id := range o.Intents {
		if tx.Now() <= o.ExpireAtNanos[n] {
			kept.Intents = append(kept.Intents, id)
			kept.ExpireAtNanos = append(kept.ExpireAtNanos, o.ExpireAtNanos[n])
		}
	}
	kept.Intents = append(kept.Intents, i.ID)
	kept.ExpireAtNanos = append(kept.ExpireAtNanos, i.ExpiresAtNanos)
	return tx.putOpenIntents(kept)
}

func (tx *Tx) removeOpenIntent(i Intent) error {
	o, err := tx.OpenIntents(i.Account)
	if err != nil {
		return err
	}
	n := slices.Index(o.Intents, i.ID)
	if n < 0 {
		return nil // it had expired
	}
	o.Intents = slices.Delete(o.Intents, n, n+1)
	o.ExpireAtNanos = slices.Delete(o.ExpireAtNanos, n, n+1)
	return tx.putOpenIntents(o)
}

func (tx *Tx) putOpenIntents(o OpenIntents) error {
	return put(tx, openIntentsPrefix+o.Account, openIntentsVersion, o)
}
