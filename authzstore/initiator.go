package authzstore

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// An Initiator is what one caller has asked of one account's people.
type Initiator struct {
	Account  string   `cbor:"1,keyasint" json:"account"`
	Identity Identity `cbor:"2,keyasint" json:"identity"`
	// StartsNanos are when challenges were issued for its calls, the latest 32,
	// oldest first.
	StartsNanos []int64 `cbor:"3,keyasint,omitempty" json:"starts_ns,omitempty"`
	// Open are the challenges that are open or satisfied, expired ones perhaps among
	// them, the latest 8, oldest first.
	Open []OpenChallenge `cbor:"4,keyasint,omitempty" json:"open,omitempty"`
	// RejectedInARow is how many the account's people rejected without approving one
	// in between, and RejectedAtNanos when they last did; 0: never.
	RejectedInARow  int64 `cbor:"5,keyasint,omitempty" json:"rejected_in_a_row,omitempty"`
	RejectedAtNanos int64 `cbor:"6,keyasint,omitempty" json:"rejected_at_ns,omitempty"`
}

// An OpenChallenge is a challenge and the call that it is bound to.
type OpenChallenge struct {
	Fingerprint    []byte `cbor:"1,keyasint" json:"fingerprint"`
	Challenge      string `cbor:"2,keyasint" json:"challenge"`
	ExpiresAtNanos int64  `cbor:"3,keyasint" json:"expires_at_ns"`
}

// Bounds of initiators.
const (
	// MaxStarts is how many challenges an initiator starts at an account within
	// StartsWindow, in any case. Policies allow fewer.
	MaxStarts    = 32
	StartsWindow = time.Hour
	// MaxOpenChallenges is how many open ones are remembered.
	MaxOpenChallenges = 8
)

const (
	initiatorVersion = 1
	// A record initiator/ACCOUNT/IDENTITY, the identity hashed, stands for each.
	initiatorPrefix = "initiator/"
)

func (i Initiator) check() error {
	if err := checkID("account", "acc", i.Account); err != nil {
		return err
	}
	if err := i.Identity.check(); err != nil {
		return err
	}
	switch {
	case len(i.StartsNanos) > MaxStarts || !slices.IsSorted(i.StartsNanos):
		return fmt.Errorf("%w: an initiator with %d starts, at most %d and in order", ErrInvalid, len(i.StartsNanos), MaxStarts)
	case len(i.Open) > MaxOpenChallenges:
		return fmt.Errorf("%w: an initiator with %d open challenges, at most %d", ErrInvalid, len(i.Open), MaxOpenChallenges)
	case i.RejectedInARow < 0 || i.RejectedInARow > 0 && i.RejectedAtNanos == 0:
		return fmt.Errorf("%w: an initiator who was rejected %d times, last at %d", ErrInvalid, i.RejectedInARow, i.RejectedAtNanos)
	}
	var ids []string
	for _, o := range i.Open {
		if len(o.Fingerprint) != sha256.Size {
			return fmt.Errorf("%w: an open challenge with a fingerprint of %d bytes", ErrInvalid, len(o.Fingerprint))
		}
		ids = append(ids, o.Challenge)
	}
	return checkIDs("challenge", "chl", ids)
}

// InitiatorRef declares what an identity has asked of an account.
func InitiatorRef(account string, id Identity, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: initiatorKey(account, id), Mode: mode}
}

func initiatorKey(account string, id Identity) string {
	return initiatorPrefix + account + "/" + hashed(id.parts()...)
}

// Initiator returns what an identity has asked of an account's people.
func (r Reader) Initiator(account string, id Identity) (Initiator, error) {
	key := initiatorKey(account, id)
	i, ok, err := get[Initiator](r, key, initiatorVersion)
	switch {
	case err != nil:
		return Initiator{}, err
	case !ok:
		return Initiator{Account: account, Identity: id}, nil
	case i.Account != account || i.Identity != id:
		return Initiator{}, fmt.Errorf("%w: %s holds another initiator", ErrDamaged, key)
	}
	return i, nil
}

// noteStart counts a challenge that is issued. Where more are open than are
// remembered, the expired and then the oldest are forgotten.
func (tx *Tx) noteStart(c Challenge) error {
	i, err := tx.Initiator(c.Account, c.Initiator)
	if err != nil {
		return err
	}
	if n := len(i.StartsNanos); n >= MaxStarts && tx.Now()-i.StartsNanos[n-MaxStarts] < int64(StartsWindow) {
		return fmt.Errorf("%w: %d within %v", ErrTooManyStarts, MaxStarts, StartsWindow)
	}
	i.StartsNanos = latest(append(i.StartsNanos, tx.Now()), MaxStarts)
	i.Open = slices.DeleteFunc(i.Open, func(o OpenChallenge) bool { return tx.Now() > o.ExpiresAtNanos })
	i.Open = latest(append(i.Open, OpenChallenge{c.Fingerprint, c.ID, c.ExpiresAtNanos}), MaxOpenChallenges)
	return tx.putInitiator(i)
}

// noteEnd forgets a challenge that was open.
func (tx *Tx) noteEnd(c Challenge) error {
	i, err := tx.Initiator(c.Account, c.Initiator)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(i.Open, func(o OpenChallenge) bool { return o.Challenge == c.ID })
	if n < 0 {
		return nil
	}
	i.Open = slices.Delete(i.Open, n, n+1)
	return tx.putInitiator(i)
}

// noteRejected counts that the account's people rejected what was asked.
func (tx *Tx) noteRejected(c Challenge) error {
	i, err := tx.Initiator(c.Account, c.Initiator)
	if err != nil {
		return err
	}
	i.RejectedInARow, i.RejectedAtNanos = i.RejectedInARow+1, tx.Now()
	return tx.putInitiator(i)
}

// noteApproved says that they approved it, which ends the row of rejections.
func (tx *Tx) noteApproved(c Challenge) error {
	i, err := tx.Initiator(c.Account, c.Initiator)
	if err != nil || i.RejectedInARow == 0 {
		return err
	}
	i.RejectedInARow = 0
	return tx.putInitiator(i)
}

func (tx *Tx) putInitiator(i Initiator) error {
	return put(tx, initiatorKey(i.Account, i.Identity), initiatorVersion, i)
}

// latest returns the last of a list, at most so many.
func latest[T any](list []T, most int) []T { return list[max(0, len(list)-most):] }
