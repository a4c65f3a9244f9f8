package authzstore

import (
	"fmt"
	"math"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Reservation is money of an account that one allowed payment may take.
type Reservation struct {
	ID          string           `cbor:"1,keyasint" json:"id"` // rsv_…
	Account     string           `cbor:"2,keyasint" json:"account"`
	Payee       string           `cbor:"3,keyasint" json:"payee"`
	AmountMinor int64            `cbor:"4,keyasint" json:"amount_minor"`
	Currency    string           `cbor:"5,keyasint" json:"currency"`
	State       ReservationState `cbor:"6,keyasint" json:"state"`
	// PostedMinor is what the payment took, at most AmountMinor.
	PostedMinor int64 `cbor:"7,keyasint,omitempty" json:"posted_minor,omitempty"`
	// RecordID is the decision that made it.
	RecordID string `cbor:"8,keyasint" json:"record_id"`
	AtNanos  int64  `cbor:"9,keyasint" json:"at_ns"`
}

// ReservationState says what became of a reservation.
type ReservationState string

// The states. Pending and unknown ones are open: they count, and can still be
// posted or voided.
const (
	ReservationPending ReservationState = "pending"
	ReservationUnknown ReservationState = "unknown"
	ReservationPosted  ReservationState = "posted"
	ReservationVoided  ReservationState = "voided"
)

// Open tells whether the reservation can still be resolved.
func (r Reservation) Open() bool {
	return r.State == ReservationPending || r.State == ReservationUnknown
}

func (r Reservation) check() error {
	if err := checkID("reservation", "rsv", r.ID); err != nil {
		return err
	}
	if err := checkAmount("amount", r.AmountMinor); err != nil {
		return err
	}
	if err := checkCurrency(r.Currency); err != nil {
		return err
	}
	posted := r.PostedMinor >= 1 && r.PostedMinor <= r.AmountMinor
	switch r.State {
	case ReservationPending, ReservationUnknown, ReservationVoided:
		if r.PostedMinor == 0 {
			return nil
		}
	case ReservationPosted:
		if posted {
			return nil
		}
	}
	return fmt.Errorf("%w: reservation %s is %q with %d of %d posted", ErrInvalid, r.ID, r.State, r.PostedMinor, r.AmountMinor)
}

const (
	reservationVersion = 1
	reservationPrefix  = "reservation/"

	// An index record open/ACCOUNT/RESERVATION stands for each open reservation.
	openVersion = 1
	openPrefix  = "open/"
)

// openMark is the value of an index record: its key says everything.
type openMark struct{}

func (openMark) check() error { return nil }

func openKey(account, id string) string { return openPrefix + account + "/" + id }

// ReservationRef declares a reservation that is only read.
func ReservationRef(id string) kv.Ref {
	return kv.Ref{Key: reservationPrefix + id, Mode: kv.Shared}
}

// ReserveRefs declares what ReserveWithinLimits touches.
func ReserveRefs(account, id string) []kv.Ref {
	return append(ResolveRefs(account, id), AccountRef(account, kv.Shared))
}

// ResolveRefs declares what Post, Void and MarkUnknown touch.
func ResolveRefs(account, id string) []kv.Ref {
	return []kv.Ref{
		{Key: reservationPrefix + id, Mode: kv.Exclusive},
		{Key: openKey(account, id), Mode: kv.Exclusive},
		UsageRef(account, kv.Exclusive),
	}
}

// Reservation returns a reservation, and whether it exists.
func (r Reader) Reservation(id string) (Reservation, bool, error) {
	return get[Reservation](r, reservationPrefix+id, reservationVersion)
}

// ReserveWithinLimits makes a pending reservation of r's account, payee, amount
// and currency under r.ID, which is new. The rest of r is filled in. It returns
// ErrUnknownID, ErrFrozen, an *OverLimitError, or ErrInvalid.
func (tx *Tx) ReserveWithinLimits(r Reservation) error {
	r.State, r.PostedMinor, r.RecordID, r.AtNanos = ReservationPending, 0, tx.cause.ID, tx.Now()
	if err := r.check(); err != nil {
		return err
	}
	account, ok, err := tx.Account(r.Account)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: account %s", ErrUnknownID, r.Account)
	case account.State != AccountActive:
		return ErrFrozen
	case r.Currency != account.Currency:
		return fmt.Errorf("%w: %s from an account in %s", ErrInvalid, r.Currency, account.Currency)
	}
	if _, exists, err := tx.Reservation(r.ID); err != nil || exists {
		return orElse(err, fmt.Errorf("%w: reservation %s exists", ErrInvalid, r.ID))
	}
	usage, err := tx.Usage(r.Account)
	if err != nil {
		return err
	}
	if err := usage.within(account, r.AmountMinor); err != nil {
		return err
	}
	if usage.PendingMinor > math.MaxInt64-r.AmountMinor {
		return fmt.Errorf("%w: the sum of the account's reservations is out of range", ErrInvalid)
	}
	usage.PendingMinor += r.AmountMinor
	usage.Count++
	return tx.putReservation(r, usage)
}

// Post resolves an open reservation: the payment took postedMinor, from 1 to the
// amount reserved, and the rest is free again. ErrResolved if it was resolved
// before.
func (tx *Tx) Post(id string, postedMinor int64) error {
	r, usage, err := tx.open(id)
	if err != nil {
		return err
	}
	if postedMinor < 1 || postedMinor > r.AmountMinor {
		return fmt.Errorf("%w: posting %d of a reservation of %d minor units", ErrInvalid, postedMinor, r.AmountMinor)
	}
	if usage.PostedMinor > math.MaxInt64-postedMinor {
		return fmt.Errorf("%w: the sum of the account's payments is out of range", ErrInvalid)
	}
	usage.PendingMinor -= r.AmountMinor
	usage.PostedMinor += postedMinor
	r.State, r.PostedMinor = ReservationPosted, postedMinor
	return tx.putReservation(r, usage)
}

// Void resolves an open reservation: the payment was not made, and everything
// reserved is free again. ErrResolved if it was resolved before.
func (tx *Tx) Void(id string) error {
	r, usage, err := tx.open(id)
	if err != nil {
		return err
	}
	usage.PendingMinor -= r.AmountMinor
	usage.Count--
	r.State = ReservationVoided
	return tx.putReservation(r, usage)
}

// MarkUnknown says that nobody knows whether the payment was made. The
// reservation goes on counting, and can still be posted or voided.
func (tx *Tx) MarkUnknown(id string) error {
	r, usage, err := tx.open(id)
	if err != nil {
		return err
	}
	r.State = ReservationUnknown
	return tx.putReservation(r, usage)
}

// open returns an open reservation and the usage that it counts in.
func (tx *Tx) open(id string) (Reservation, Usage, error) {
	r, ok, err := tx.Reservation(id)
	switch {
	case err != nil:
		return Reservation{}, Usage{}, err
	case !ok:
		return Reservation{}, Usage{}, fmt.Errorf("%w: reservation %s", ErrUnknownID, id)
	case !r.Open():
		return Reservation{}, Usage{}, fmt.Errorf("%w: %s is %s", ErrResolved, id, r.State)
	}
	usage, err := tx.Usage(r.Account)
	return r, usage, err
}

// putReservation writes a reservation with its index record and the usage that
// it counts in: the three change together or not at all.
func (tx *Tx) putReservation(r Reservation, usage Usage) error {
	if err := put(tx, reservationPrefix+r.ID, reservationVersion, r); err != nil {
		return err
	}
	if err := tx.putUsage(usage); err != nil {
		return err
	}
	if !r.Open() {
		return tx.delete(openKey(r.Account, r.ID))
	}
	return put(tx, openKey(r.Account, r.ID), openVersion, openMark{})
}
