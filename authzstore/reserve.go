package authzstore

import "fmt"

// ReserveWithinLimits makes a pending reservation of r's account, grant, payee,
// amount and currency under r.ID, which is new, until r.ExpiresAtNanos. The rest
// of r is filled in. It holds the account, and the grant if there is one, to
// everything that bounds money and time: state, currency, the maximum for one
// payment, valid from and to, cooling, and every limit of both.
//
// It returns ErrUnknownID, ErrFrozen for the account, a *StateError for the grant
// (its state, "not valid yet" or "expired"), an *OverLimitError, or ErrInvalid.
func (tx *Tx) ReserveWithinLimits(r Reservation) error {
	r.State, r.PostedMinor, r.RefundedMinor, r.RecordID, r.AtNanos = ReservationPending, 0, 0, tx.cause.ID, tx.Now()
	r.RefundRestores, r.Counted = false, nil
	if err := r.check(); err != nil {
		return err
	}
	if r.ExpiresAtNanos != 0 && r.ExpiresAtNanos < tx.Now() {
		return fmt.Errorf("%w: reservation %s expires before it is made", ErrInvalid, r.ID)
	}
	if _, exists, err := tx.Reservation(r.ID); err != nil || exists {
		return orElse(err, fmt.Errorf("%w: reservation %s exists", ErrInvalid, r.ID))
	}
	account, err := tx.payingAccount(r)
	if err != nil {
		return err
	}
	if r.Grant != "" {
		grant, err := tx.payingGrant(r, account)
		if err != nil {
			return err
		}
		if err := tx.countWithin(&r, bounds{grant.ID, grant.Terms.MaxPaymentMinor, grant.Terms.Limits, grant.AcceptedAtNanos, grant.Terms.Cooling}); err != nil {
			return err
		}
		r.RefundRestores = grant.Terms.RefundRestores
	}
	if err := tx.countWithin(&r, bounds{account.ID, account.MaxPaymentMinor, account.Limits, account.CreatedAtNanos, Cooling{Mode: ModeNone}}); err != nil {
		return err
	}
	return tx.putReservation(r)
}

// payingAccount returns the account of a new reservation, if it may pay.
func (tx *Tx) payingAccount(r Reservation) (Account, error) {
	account, ok, err := tx.Account(r.Account)
	switch {
	case err != nil:
		return Account{}, err
	case !ok:
		return Account{}, fmt.Errorf("%w: account %s", ErrUnknownID, r.Account)
	case account.State != AccountActive:
		return Account{}, ErrFrozen
	case r.Currency != account.Currency:
		return Account{}, fmt.Errorf("%w: %s from an account in %s", ErrInvalid, r.Currency, account.Currency)
	}
	return account, nil
}

// payingGrant returns the grant of a new reservation, if it may pay.
func (tx *Tx) payingGrant(r Reservation, account Account) (Grant, error) {
	grant, ok, err := tx.Grant(r.Grant)
	switch {
	case err != nil:
		return Grant{}, err
	case !ok:
		return Grant{}, fmt.Errorf("%w: grant %s", ErrUnknownID, r.Grant)
	case grant.Account != r.Account:
		return Grant{}, fmt.Errorf("%w: a grant from another account", ErrInvalid)
	case grant.Owner != account.Owner:
		return Grant{}, fmt.Errorf("%w: a grant by another owner of the account", ErrInvalid)
	case grant.State != GrantActive:
		return Grant{}, &StateError{"grant", string(grant.State)}
	case r.Currency != grant.Terms.Currency:
		return Grant{}, fmt.Errorf("%w: %s by a grant in %s", ErrInvalid, r.Currency, grant.Terms.Currency)
	}
	from, to := grant.Terms.ValidFrom, grant.Terms.ValidTo
	switch {
	case from.Mode == ModeAt && tx.Now() < from.AtNanos:
		return Grant{}, &StateError{"grant", "not valid yet"}
	case to.Mode == ModeAt && tx.Now() > to.AtNanos:
		return Grant{}, &StateError{"grant", "expired"}
	}
	return grant, nil
}

// bounds are what holds one holder's payments.
type bounds struct {
	holder          string
	maxPaymentMinor int64
	limits          []Limit
	consentNanos    int64
	cooling         Cooling
}

// countWithin counts a new reservation in the sums of a holder, or returns an
// *OverLimitError.
func (tx *Tx) countWithin(r *Reservation, b bounds) error {
	usage, err := tx.Usage(b.holder)
	if err != nil {
		return err
	}
	usage.dropEnded(tx.Now())
	if err := b.within(usage, r.AmountMinor, tx.Now()); err != nil {
		return err
	}
	counted := count(b.holder, b.limits, b.consentNanos, tx.Now())
	if err := usage.replace(counted, sums{}, r.sums(b.holder)); err != nil {
		return err
	}
	r.Counted = append(r.Counted, counted...)
	return tx.putUsage(usage)
}

// within returns an *OverLimitError if one more payment would exceed a bound.
func (b bounds) within(u Usage, amountMinor, nowNanos int64) error {
	if amountMinor > b.maxPaymentMinor {
		return overLimit(b.holder, PaymentLimit, Room{Minor: b.maxPaymentMinor, Count: -1})
	}
	if room, cools := b.cooling.Remaining(u, b.consentNanos, nowNanos); cools && !room.admits(amountMinor) {
		return overLimit(b.holder, CoolingLimit, room)
	}
	for _, l := range b.limits {
		if room := l.Remaining(u, b.consentNanos, nowNanos); !room.admits(amountMinor) {
			return overLimit(b.holder, l.Name, room)
		}
	}
	return nil
}

// Remaining returns what the time after acceptance still allows beside u, the
// usage of the grant, and whether it bounds anything at nowNanos.
func (c Cooling) Remaining(u Usage, acceptedNanos, nowNanos int64) (Room, bool) {
	until := acceptedNanos + c.Seconds*nanosPerSecond
	if c.Mode != ModeFirst || nowNanos >= until {
		return Room{Minor: -1, Count: -1}, false
	}
	// All that the grant ever paid was within the time.
	return Room{Minor: max(0, c.MaxAmountMinor-u.sums().minor()), Count: -1, StartsAtNanos: acceptedNanos, ResetsAtNanos: until}, true
}
