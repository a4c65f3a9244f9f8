package authzstore

import (
	"fmt"
	"strings"

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
	// Grant is by which the payment was made, empty where the owner paid.
	Grant string `cbor:"10,keyasint,omitempty" json:"grant,omitempty"`
	// RefundedMinor is what the payee gave back, at most PostedMinor.
	RefundedMinor int64 `cbor:"11,keyasint,omitempty" json:"refunded_minor,omitempty"`
	// RefundRestores: a refund is free again under the grant's limits. It is the
	// grant's term at the time of the payment.
	RefundRestores bool `cbor:"12,keyasint,omitempty" json:"refund_restores,omitempty"`
	// ExpiresAtNanos is the last instant at which it is pending without doubt; 0:
	// for ever.
	ExpiresAtNanos int64 `cbor:"13,keyasint,omitempty" json:"expires_at_ns,omitempty"`
	// Counted are the periods and windows in which it counts.
	Counted []Counted `cbor:"14,keyasint,omitempty" json:"counted,omitempty"`
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

// holders are whose sums the reservation is in.
func (r Reservation) holders() []string {
	if r.Grant == "" {
		return []string{r.Account}
	}
	return []string{r.Account, r.Grant}
}

// sums is what the reservation counts in each sum of a holder. A refund is free
// again under a grant's limits only: what is paid from the account was paid.
func (r Reservation) sums(holder string) sums {
	switch {
	case r.Open():
		return sums{pendingMinor: r.AmountMinor, count: 1}
	case r.State == ReservationPosted && r.RefundRestores && holder == r.Grant:
		return sums{postedMinor: r.PostedMinor - r.RefundedMinor, count: 1}
	case r.State == ReservationPosted:
		return sums{postedMinor: r.PostedMinor, count: 1}
	}
	return sums{}
}

const maxCounted = 2 * (maxLimits + 1)

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
	if r.Grant != "" {
		if err := checkID("grant", "grt", r.Grant); err != nil {
			return err
		}
	}
	if r.RefundRestores && r.Grant == "" || r.ExpiresAtNanos < 0 || len(r.Counted) > maxCounted {
		return fmt.Errorf("%w: reservation %s restores without a grant, expires at %d, or counts %d times", ErrInvalid, r.ID, r.ExpiresAtNanos, len(r.Counted))
	}
	posted := r.PostedMinor >= 1 && r.PostedMinor <= r.AmountMinor
	switch r.State {
	case ReservationPending, ReservationUnknown, ReservationVoided:
		if r.PostedMinor == 0 && r.RefundedMinor == 0 {
			return nil
		}
	case ReservationPosted:
		if posted && r.RefundedMinor >= 0 && r.RefundedMinor <= r.PostedMinor {
			return nil
		}
	}
	return fmt.Errorf("%w: reservation %s is %q with %d of %d posted and %d refunded", ErrInvalid, r.ID, r.State, r.PostedMinor, r.AmountMinor, r.RefundedMinor)
}

const (
	reservationVersion = 1
	reservationPrefix  = "reservation/"

	// An index record open/ACCOUNT/RESERVATION stands for each open reservation.
	openVersion = 1
	openPrefix  = "open/"
)

// openMark is the value of an index record.
type openMark struct {
	// ExpiresAtNanos is the reservation's while it is pending, else 0.
	ExpiresAtNanos int64 `cbor:"1,keyasint,omitempty" json:"expires_at_ns,omitempty"`
}

func (openMark) check() error { return nil }

func openKey(account, id string) string { return openPrefix + account + "/" + id }

// ReserveRefs declares what ReserveWithinLimits touches. Of r, only ID, Account and
// Grant count.
func ReserveRefs(r Reservation) []kv.Ref {
	refs := append(ResolveRefs(r), AccountRef(r.Account, kv.Shared))
	if r.Grant != "" {
		refs = append(refs, GrantRef(r.Grant, kv.Shared))
	}
	return refs
}

// ResolveRefs declares what Post, Void, MarkUnknown, Refund and Expire touch. Of
// r, only ID, Account and Grant count, which never change.
func ResolveRefs(r Reservation) []kv.Ref {
	refs := []kv.Ref{exclusive(reservationPrefix + r.ID), exclusive(openKey(r.Account, r.ID))}
	for _, holder := range r.holders() {
		refs = append(refs, UsageRef(holder, kv.Exclusive))
	}
	return refs
}

// Reservation returns a reservation, and whether it exists.
func (r Reader) Reservation(id string) (Reservation, bool, error) {
	return getOwn(r, reservationPrefix, id, reservationVersion, func(r Reservation) string { return r.ID })
}

// Reservations lists all reservations, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Reservations(after string, most int) (reservations []Reservation, next string, err error) {
	return page[Reservation](s, reservationPrefix, reservationVersion, after, most)
}

// OpenReservations lists the reservations that nobody has resolved, for
// reconciliation with the payment service: those of an account, or with an empty
// account all, as [Snapshot.Grants] does grants. Only what it returned is to go on
// after.
func (s Snapshot) OpenReservations(account, after string, most int) (reservations []Reservation, next string, err error) {
	return s.openReservations(account, after, most, func(openMark) bool { return true })
}

// ExpiredReservations lists the reservations that are pending past their expiry,
// for [Tx.Expire], as OpenReservations does.
func (s Snapshot) ExpiredReservations(nowNanos int64, after string, most int) (reservations []Reservation, next string, err error) {
	return s.openReservations("", after, most, func(m openMark) bool {
		return m.ExpiresAtNanos != 0 && m.ExpiresAtNanos < nowNanos
	})
}

func (s Snapshot) openReservations(account, after string, most int, want func(openMark) bool) (reservations []Reservation, next string, err error) {
	prefix := openPrefix
	if account != "" {
		prefix += account + "/"
	}
	next, err = s.scanPage(prefix, after, most, func(name, key string, val []byte) (bool, error) {
		mark, _, err := decode[openMark](key, openVersion, val)
		if err != nil || !want(mark) {
			return false, err
		}
		r, ok, err := s.Reservation(name[strings.LastIndexByte(name, '/')+1:])
		if err == nil && !ok {
			err = fmt.Errorf("%w: %s: the reservation is not there", ErrDamaged, key)
		}
		reservations = append(reservations, r)
		return true, err
	})
	return reservations, next, err
}

// Post resolves an open reservation: the payment took postedMinor, from 1 to the
// amount reserved, and the rest is free again. ErrResolved if it was resolved
// before.
func (tx *Tx) Post(id string, postedMinor int64) error {
	r, err := tx.open(id)
	if err != nil {
		return err
	}
	if postedMinor < 1 || postedMinor > r.AmountMinor {
		return fmt.Errorf("%w: posting %d of a reservation of %d minor units", ErrInvalid, postedMinor, r.AmountMinor)
	}
	posted := r
	posted.State, posted.PostedMinor = ReservationPosted, postedMinor
	return tx.replaceReservation(r, posted)
}

// Void resolves an open reservation: the payment was not made, and everything
// reserved is free again, in the periods in which it counted. ErrResolved if it
// was resolved before.
func (tx *Tx) Void(id string) error {
	r, err := tx.open(id)
	if err != nil {
		return err
	}
	voided := r
	voided.State = ReservationVoided
	return tx.replaceReservation(r, voided)
}

// MarkUnknown says that nobody knows whether the payment was made. The
// reservation goes on counting, and can still be posted or voided.
func (tx *Tx) MarkUnknown(id string) error {
	r, err := tx.open(id)
	if err != nil {
		return err
	}
	unknown := r
	unknown.State = ReservationUnknown
	return tx.replaceReservation(r, unknown)
}

// Expire makes a reservation unknown that is pending past its expiry. Before, and
// in any other state, it is a *StateError. ErrUnknownID.
func (tx *Tx) Expire(id string) error {
	r, err := tx.existing(id)
	switch {
	case err != nil:
		return err
	case r.State != ReservationPending || r.ExpiresAtNanos == 0 || tx.Now() <= r.ExpiresAtNanos:
		return &StateError{"reservation", string(r.State)}
	}
	return tx.MarkUnknown(id)
}

// Refund says that the payee gave back minor of a posted payment, from 1 to what
// was posted and not refunded yet. It is free again in the grant's periods in
// which the payment counted, if the terms said so when it was made; the payment
// still counts as one. ErrUnknownID, ErrInvalid, or a *StateError where it is not
// posted.
func (tx *Tx) Refund(id string, minor int64) error {
	r, err := tx.existing(id)
	switch {
	case err != nil:
		return err
	case r.State != ReservationPosted:
		return &StateError{"reservation", string(r.State)}
	case minor < 1 || minor > r.PostedMinor-r.RefundedMinor:
		return fmt.Errorf("%w: refunding %d of %d minor units", ErrInvalid, minor, r.PostedMinor-r.RefundedMinor)
	}
	refunded := r
	refunded.RefundedMinor += minor
	return tx.replaceReservation(r, refunded)
}

func (tx *Tx) existing(id string) (Reservation, error) {
	r, ok, err := tx.Reservation(id)
	if err != nil || !ok {
		return Reservation{}, orElse(err, fmt.Errorf("%w: reservation %s", ErrUnknownID, id))
	}
	return r, nil
}

// open returns an open reservation.
func (tx *Tx) open(id string) (Reservation, error) {
	r, err := tx.existing(id)
	if err == nil && !r.Open() {
		return Reservation{}, fmt.Errorf("%w: %s is %s", ErrResolved, id, r.State)
	}
	return r, err
}

// replaceReservation writes what a reservation has become, and counts it for that
// in the sums of its holders.
func (tx *Tx) replaceReservation(before, after Reservation) error {
	for _, holder := range after.holders() {
		was, is := before.sums(holder), after.sums(holder)
		if was == is {
			continue
		}
		usage, err := tx.Usage(holder)
		if err != nil {
			return err
		}
		if err := usage.replace(after.Counted, was, is); err != nil {
			return err
		}
		if err := tx.putUsage(usage); err != nil {
			return err
		}
	}
	return tx.putReservation(after)
}

// putReservation writes a reservation with its index record.
func (tx *Tx) putReservation(r Reservation) error {
	if err := put(tx, reservationPrefix+r.ID, reservationVersion, r); err != nil {
		return err
	}
	key := openKey(r.Account, r.ID)
	if !r.Open() {
		if _, listed, err := tx.kv.Get(key); err != nil || !listed {
			return err
		}
		return tx.delete(key)
	}
	mark := openMark{}
	if r.State == ReservationPending {
		mark.ExpiresAtNanos = r.ExpiresAtNanos
	}
	return put(tx, key, openVersion, mark)
}
