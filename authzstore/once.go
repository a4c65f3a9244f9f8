package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Use says that something was used up, and by which record. Something with
// steps, such as the time steps of a code, can be used again at a later step.
type Use struct {
	Thing    string `cbor:"1,keyasint" json:"thing"` // its name, such as stored_code/…
	RecordID string `cbor:"2,keyasint" json:"record_id"`
	Step     int64  `cbor:"3,keyasint,omitempty" json:"step,omitempty"` // of the last use; 0 for what works once
}

const (
	useVersion    = 1
	usePrefix     = "use/"
	maxThingBytes = 768
)

func (u Use) check() error {
	if u.Thing == "" || len(u.Thing) > maxThingBytes || u.RecordID == "" || u.Step < 0 {
		return fmt.Errorf("%w: a use at step %d without a thing or a record", ErrInvalid, u.Step)
	}
	return nil
}

// UseRef declares a thing that UseOnce or UseStep uses up.
func UseRef(thing string) kv.Ref { return kv.Ref{Key: usePrefix + thing, Mode: kv.Exclusive} }

// Use returns by what a thing was used last, and whether it was.
func (r Reader) Use(thing string) (Use, bool, error) {
	return get[Use](r, usePrefix+thing, useVersion)
}

// UseOnce uses a thing up for good: ErrUsed if it was before.
func (tx *Tx) UseOnce(thing string) error { return tx.use(thing, 0) }

// UseStep uses a step of a thing up, and with it all earlier ones. Steps start at
// 1. ErrUsed if the step was used up before.
func (tx *Tx) UseStep(thing string, step int64) error {
	if step < 1 {
		return fmt.Errorf("%w: step %d of %s", ErrInvalid, step, thing)
	}
	return tx.use(thing, step)
}

func (tx *Tx) use(thing string, step int64) error {
	last, used, err := tx.Use(thing)
	if err != nil {
		return err
	}
	// What works once has no step that comes after.
	if used && (step <= last.Step || last.Step == 0) {
		return fmt.Errorf("%w: %s at step %d, by %s", ErrUsed, thing, last.Step, last.RecordID)
	}
	return put(tx, usePrefix+thing, useVersion, Use{thing, tx.cause.ID, step})
}
