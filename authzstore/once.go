package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Use says that something was used up, and by which record.
type Use struct {
	Thing    string `cbor:"1,keyasint" json:"thing"` // its ID, such as chl_…
	RecordID string `cbor:"2,keyasint" json:"record_id"`
}

func (u Use) check() error {
	if u.Thing == "" || u.RecordID == "" {
		return fmt.Errorf("%w: a use without a thing or a record", ErrInvalid)
	}
	return nil
}

const (
	useVersion = 1
	usePrefix  = "use/"
)

// UseRef declares a thing that UseOnce uses up.
func UseRef(thing string) kv.Ref { return kv.Ref{Key: usePrefix + thing, Mode: kv.Exclusive} }

// Use returns by what a thing was used, and whether it was.
func (r Reader) Use(thing string) (Use, bool, error) {
	return get[Use](r, usePrefix+thing, useVersion)
}

// UseOnce uses a thing up: ErrUsed if it was before.
func (tx *Tx) UseOnce(thing string) error {
	use, used, err := tx.Use(thing)
	if err != nil {
		return err
	}
	if used {
		return fmt.Errorf("%w: %s, by %s", ErrUsed, thing, use.RecordID)
	}
	return put(tx, usePrefix+thing, useVersion, Use{thing, tx.cause.ID})
}
