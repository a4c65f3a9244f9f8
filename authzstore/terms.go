package authzstore

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Terms are what a grant permits. Every restriction says outright whether there is
// one: what is left out is an error, never "no restriction". Amounts, counts,
// times and delegation are held by the setters; what is paid where (merchants,
// categories, countries, channels, hours) is for the policy to compare.
type Terms struct {
	Currency        string  `cbor:"1,keyasint" json:"currency"` // ISO 4217
	MaxPaymentMinor int64   `cbor:"2,keyasint" json:"max_payment_minor"`
	Limits          []Limit `cbor:"3,keyasint" json:"limits"` // 1 to 16
	// ValidFrom and ValidTo are the first and the last instant at which it pays.
	ValidFrom  Instant `cbor:"4,keyasint" json:"valid_from"`
	ValidTo    Instant `cbor:"5,keyasint" json:"valid_to"`
	Merchants  Filter  `cbor:"6,keyasint" json:"merchants"`  // mer_…
	Categories Filter  `cbor:"7,keyasint" json:"categories"` // MCC, 4 digits (ISO 18245)
	Countries  Filter  `cbor:"8,keyasint" json:"countries"`  // ISO 3166-1 alpha-2
	Channels   Filter  `cbor:"9,keyasint" json:"channels"`   // names, as merchants have them
	Hours      Hours   `cbor:"10,keyasint" json:"hours"`
	Cooling    Cooling `cbor:"11,keyasint" json:"cooling"`
	// Delegation is full: the delegate pays alone; or partial: the owner approves each
	// payment.
	Delegation string `cbor:"12,keyasint" json:"delegation"`
	// RefundRestores: what is refunded of a payment is free again in the periods
	// in which it counted. It is as the terms said when the payment was made.
	RefundRestores bool `cbor:"13,keyasint" json:"refund_restores"`
}

// The modes of restrictions.
const (
	ModeAny     = "any"     // no restriction
	ModeAt      = "at"      // an Instant
	ModeOnly    = "only"    // a Filter: these values and no others
	ModeExcept  = "except"  // a Filter: all but these values
	ModeBetween = "between" // Hours
	ModeNone    = "none"    // no Cooling
	ModeFirst   = "first"   // Cooling
)

// The delegations.
const (
	DelegationFull    = "full"
	DelegationPartial = "partial"
)

// An Instant is any time (mode any) or a point in time (mode at).
type Instant struct {
	Mode    string `cbor:"1,keyasint" json:"mode"`
	AtNanos int64  `cbor:"2,keyasint,omitempty" json:"at_ns,omitempty"` // since 1970-01-01 UTC
}

// A Filter restricts what something may be: not (mode any), to some values (only)
// or to all others (except); 1 to 64 values.
type Filter struct {
	Mode   string   `cbor:"1,keyasint" json:"mode"`
	Values []string `cbor:"2,keyasint,omitempty" json:"values,omitempty"`
}

// Hours restrict the time of day: not (mode any), or to between From and To on
// the clocks of a zone, both HH:MM and both allowed. Where To is before From they
// go over midnight.
type Hours struct {
	Mode string `cbor:"1,keyasint" json:"mode"`
	Zone string `cbor:"2,keyasint,omitempty" json:"zone,omitempty"`
	From string `cbor:"3,keyasint,omitempty" json:"from,omitempty"`
	To   string `cbor:"4,keyasint,omitempty" json:"to,omitempty"`
}

// Cooling bounds what is paid in the first Seconds after acceptance (mode first),
// all in all; or not (mode none).
type Cooling struct {
	Mode           string `cbor:"1,keyasint" json:"mode"`
	Seconds        int64  `cbor:"2,keyasint,omitempty" json:"seconds,omitempty"` // up to 90 days
	MaxAmountMinor int64  `cbor:"3,keyasint,omitempty" json:"max_amount_minor,omitempty"`
}

// looserThan tells whether c bounds less than the other, for a shorter time, or not at
// all.
func (c Cooling) looserThan(other Cooling) bool {
	return other.Mode == ModeFirst &&
		(c.Mode != ModeFirst || c.Seconds < other.Seconds || c.MaxAmountMinor > other.MaxAmountMinor)
}

const maxFilterValues = 64

var (
	categoryForm = regexp.MustCompile(`^[0-9]{4}$`)
	countryForm  = regexp.MustCompile(`^[A-Z]{2}$`)
)

func isMerchantID(s string) bool { return isID("mer", s) }

func (t Terms) check() error {
	if err := checkCurrency(t.Currency); err != nil {
		return err
	}
	if err := checkAmount("maximum for one payment", t.MaxPaymentMinor); err != nil {
		return err
	}
	if len(t.Limits) == 0 {
		return fmt.Errorf("%w: terms without a limit", ErrInvalid)
	}
	if err := checkLimits(t.Limits); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		err  error
	}{
		{"valid_from", t.ValidFrom.check()},
		{"valid_to", t.ValidTo.check()},
		{"merchants", t.Merchants.check(isMerchantID)},
		{"categories", t.Categories.check(categoryForm.MatchString)},
		{"countries", t.Countries.check(countryForm.MatchString)},
		{"channels", t.Channels.check(IsSnakeCase)},
		{"hours", t.Hours.check()},
		{"cooling", t.Cooling.check()},
	} {
		if part.err != nil {
			return fmt.Errorf("%s: %w", part.name, part.err)
		}
	}
	if t.ValidFrom.Mode == ModeAt && t.ValidTo.Mode == ModeAt && t.ValidTo.AtNanos < t.ValidFrom.AtNanos {
		return fmt.Errorf("%w: valid_to is before valid_from", ErrInvalid)
	}
	if t.Delegation != DelegationFull && t.Delegation != DelegationPartial {
		return fmt.Errorf("%w: delegation %q is neither full nor partial", ErrInvalid, t.Delegation)
	}
	return nil
}

func (i Instant) check() error {
	if i.Mode == ModeAt && i.AtNanos > 0 || i == (Instant{Mode: ModeAny}) {
		return nil
	}
	return fmt.Errorf("%w: an instant is any, or at a time after 1970", ErrInvalid)
}

func (f Filter) check(valid func(string) bool) error {
	switch f.Mode {
	case ModeAny:
		if len(f.Values) != 0 {
			return fmt.Errorf("%w: a filter that lets any pass has no values", ErrInvalid)
		}
		return nil
	case ModeOnly, ModeExcept:
	default:
		return fmt.Errorf("%w: a filter's mode is %q, not any, only or except", ErrInvalid, f.Mode)
	}
	if len(f.Values) < 1 || len(f.Values) > maxFilterValues {
		return fmt.Errorf("%w: a filter of %d values, not 1 to %d", ErrInvalid, len(f.Values), maxFilterValues)
	}
	for i, v := range f.Values {
		if !valid(v) || slices.Contains(f.Values[:i], v) {
			return fmt.Errorf("%w: %q does not belong in the filter, or stands in it twice", ErrInvalid, v)
		}
	}
	return nil
}

func (h Hours) check() error {
	switch {
	case h == Hours{Mode: ModeAny}:
		return nil
	case h.Mode != ModeBetween:
		return fmt.Errorf("%w: hours are any, or between two times in a zone", ErrInvalid)
	}
	if _, err := zone(h.Zone); err != nil {
		return err
	}
	_, _, err := h.Minutes()
	return err
}

// Minutes returns From and To in minutes of the day, 0 to 1439.
func (h Hours) Minutes() (from, to int, err error) {
	if from, err = minuteOfDay(h.From); err != nil {
		return 0, 0, err
	}
	to, err = minuteOfDay(h.To)
	return from, to, err
}

func minuteOfDay(text string) (int, error) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%w: %q is not a time of day, 00:00 to 23:59", ErrInvalid, text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// Minute returns the minute of the day that the zone's clocks show at nowNanos, 0
// to 1439, and whether it has just begun, to the nanosecond. Zero where any hour
// is allowed.
func (h Hours) Minute(nowNanos int64) (minute int, begins bool) {
	if h.Mode != ModeBetween {
		return 0, false
	}
	loc, err := zone(h.Zone)
	if err != nil {
		panic(err) // check refuses it
	}
	now := time.Unix(0, nowNanos).In(loc)
	return now.Hour()*60 + now.Minute(), now.Second() == 0 && now.Nanosecond() == 0
}

func (c Cooling) check() error {
	switch {
	case c == Cooling{Mode: ModeNone}:
		return nil
	case c.Mode != ModeFirst, c.Seconds < 1, c.Seconds > maxWindowSeconds:
		return fmt.Errorf("%w: cooling is none, or the first 1 to %d seconds", ErrInvalid, maxWindowSeconds)
	}
	return checkAmount("maximum while cooling", c.MaxAmountMinor)
}

// changeTo returns an error unless terms may take the place of t: money stays in
// one currency, and a limit that stays keeps its period.
func (t Terms) changeTo(terms Terms) error {
	if terms.Currency != t.Currency {
		return fmt.Errorf("%w: a grant keeps its currency", ErrInvalid)
	}
	for _, l := range terms.Limits {
		i := slices.IndexFunc(t.Limits, func(old Limit) bool { return old.Name == l.Name })
		if i >= 0 && t.Limits[i].Period != l.Period {
			return fmt.Errorf("%w: limit %s keeps its period; one over another period has another name", ErrInvalid, l.Name)
		}
	}
	return nil
}

// raisedBy tells whether terms allow more money than t in anything, or allow without the
// owner's approval what t allowed with it.
func (t Terms) raisedBy(terms Terms) bool {
	unasked := t.Delegation == DelegationPartial && terms.Delegation != DelegationPartial
	if unasked || terms.MaxPaymentMinor > t.MaxPaymentMinor {
		return true
	}
	return slices.ContainsFunc(t.Limits, func(old Limit) bool {
		i := slices.IndexFunc(terms.Limits, func(l Limit) bool { return l.Name == old.Name })
		return i < 0 || looser(terms.Limits[i].MaxAmountMinor, old.MaxAmountMinor) || looser(terms.Limits[i].MaxCount, old.MaxCount)
	})
}

// looser compares two bounds, of which 0 is none.
func looser(bound, old int64) bool { return old != 0 && (bound == 0 || bound > old) }
