package authzstore

import (
	"fmt"
	"slices"
)

// A Limit bounds what the reservations of its holder, an account or a grant, may
// come to in one period, pending and posted. Zero means no bound.
type Limit struct {
	Name           string `cbor:"1,keyasint" json:"name"` // snake_case, its own within the holder
	MaxAmountMinor int64  `cbor:"2,keyasint,omitempty" json:"max_amount_minor,omitempty"`
	MaxCount       int64  `cbor:"3,keyasint,omitempty" json:"max_count,omitempty"`
	Period         Period `cbor:"4,keyasint,omitzero" json:"period"`
}

// PaymentLimit and CoolingLimit name, in an [OverLimitError], the maximum for one
// payment and that of the time after acceptance. No limit has such a name.
const (
	PaymentLimit = "payment"
	CoolingLimit = "cooling"
)

const maxLimits = 16

func checkLimits(limits []Limit) error {
	if len(limits) > maxLimits {
		return fmt.Errorf("%w: %d limits, at most %d", ErrInvalid, len(limits), maxLimits)
	}
	seen := map[string]bool{PaymentLimit: true, CoolingLimit: true}
	for _, l := range limits {
		switch {
		case !IsSnakeCase(l.Name) || seen[l.Name]:
			return fmt.Errorf("%w: limit name %q is not a snake_case name of its own", ErrInvalid, l.Name)
		case l.MaxAmountMinor == 0 && l.MaxCount == 0:
			return fmt.Errorf("%w: limit %s bounds nothing", ErrInvalid, l.Name)
		case l.MaxAmountMinor < 0 || l.MaxAmountMinor > MaxAmountMinor || l.MaxCount < 0 || l.MaxCount > MaxAmountMinor:
			return fmt.Errorf("%w: limit %s is out of range", ErrInvalid, l.Name)
		}
		if err := l.Period.check(); err != nil {
			return fmt.Errorf("limit %s: %w", l.Name, err)
		}
		seen[l.Name] = true
	}
	return nil
}

// withKinds writes lifetime where a limit says nothing of its period, in limits of
// its own.
func withKinds(limits []Limit) []Limit {
	unsaid := func(l Limit) bool { return l.Period == Period{} }
	if !slices.ContainsFunc(limits, unsaid) {
		return limits
	}
	limits = slices.Clone(limits)
	for i := range limits {
		if unsaid(limits[i]) {
			limits[i].Period.Kind = Lifetime
		}
	}
	return limits
}

// Room is what a limit still allows at one moment.
type Room struct {
	Minor int64 // minor units; -1 where amounts are not bounded
	Count int64 // payments; -1 where they are not bounded
	// StartsAtNanos is when the period began, 0 for a lifetime.
	StartsAtNanos int64
	// ResetsAtNanos is when the period ends. Of a sliding window it is when the
	// first of what fills it has left. 0 for a lifetime and an empty window.
	ResetsAtNanos int64
	// WindowFull: the window holds so many payments that no other can be counted,
	// whatever Minor and Count say.
	WindowFull bool
}

// admits tells whether one more payment fits.
func (r Room) admits(amountMinor int64) bool {
	return !r.WindowFull && (r.Minor < 0 || amountMinor <= r.Minor) && r.Count != 0
}

// Remaining returns what the limit allows at nowNanos beside u, the usage of its
// holder. consentNanos is the holder's: [Account.CreatedAtNanos] or
// [Grant.AcceptedAtNanos].
func (l Limit) Remaining(u Usage, consentNanos, nowNanos int64) Room {
	room := Room{Minor: -1, Count: -1}
	var spent sums
	switch l.Period.Kind {
	case "", Lifetime:
		spent = u.sums()
	case Sliding:
		room.StartsAtNanos, _ = l.Period.Bounds(consentNanos, nowNanos)
		spent, room.ResetsAtNanos, room.WindowFull = u.window(l.Period.WindowSeconds, nowNanos)
	default:
		room.StartsAtNanos, room.ResetsAtNanos = l.Period.Bounds(consentNanos, nowNanos)
		spent = u.period(l.Name, room.StartsAtNanos, room.ResetsAtNanos)
	}
	if l.MaxAmountMinor > 0 {
		room.Minor = max(0, l.MaxAmountMinor-spent.minor())
	}
	if l.MaxCount > 0 {
		room.Count = max(0, l.MaxCount-spent.count)
	}
	return room
}
