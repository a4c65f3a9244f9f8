package authzstore

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
)

// Usage is what the reservations of a holder, an account or a grant, come to:
// since it exists, and in every period that has not ended.
//
// The sums since it exists are whatever the limits are or were: a lifetime that
// is added later counts what came before. A period's sums begin when its limit
// is set.
type Usage struct {
	Holder string `cbor:"1,keyasint" json:"holder"` // acc_… or grt_…
	// PendingMinor is reserved and not resolved; reservations whose outcome is
	// unknown are among it.
	PendingMinor int64 `cbor:"2,keyasint" json:"pending_minor"`
	// PostedMinor is what was paid, less what a refund gave back to the limits.
	PostedMinor int64 `cbor:"3,keyasint" json:"posted_minor"`
	// Count is the number of reservations that are not voided.
	Count int64 `cbor:"4,keyasint" json:"count"`
	// Periods are the sums of periods. Those that ended go with the next
	// reservation: no transaction of the holder can see them any more, because its
	// time never runs back.
	Periods []PeriodUsage `cbor:"5,keyasint,omitempty" json:"periods,omitempty"`
	// Window is what sliding windows look back on, oldest first.
	Window []WindowEntry `cbor:"6,keyasint,omitempty" json:"window,omitempty"`
}

// PeriodUsage is what one limit counted in one of its periods.
type PeriodUsage struct {
	Limit         string `cbor:"1,keyasint" json:"limit"`
	StartsAtNanos int64  `cbor:"2,keyasint" json:"starts_at_ns"`
	EndsAtNanos   int64  `cbor:"3,keyasint" json:"ends_at_ns"`
	PendingMinor  int64  `cbor:"4,keyasint" json:"pending_minor"`
	PostedMinor   int64  `cbor:"5,keyasint" json:"posted_minor"`
	Count         int64  `cbor:"6,keyasint" json:"count"`
}

// A WindowEntry is one reservation that sliding windows count. It is kept for as
// long as the longest one that its holder had then looks back. All windows of a
// holder share the entries.
type WindowEntry struct {
	_           struct{} `cbor:",toarray"`
	AtNanos     int64    `json:"at_ns"`
	Minor       int64    `json:"minor"` // what it counts, minor units
	KeptSeconds int64    `json:"kept_seconds"`
}

func (e WindowEntry) leavesNanos() int64 { return e.AtNanos + e.KeptSeconds*nanosPerSecond }

const (
	usageVersion = 1
	usagePrefix  = "usage/"

	// maxWindow is how many payments sliding windows count exactly. One more is
	// refused.
	maxWindow = 1000
	// maxPeriods is more than limits in force can need: limits that were replaced
	// leave theirs until the period ends.
	maxPeriods = 4 * maxLimits
)

func (u Usage) check() error {
	switch {
	case u.PendingMinor < 0 || u.PostedMinor < 0 || u.Count < 0:
		return fmt.Errorf("%w: usage of %s is negative", ErrInvalid, u.Holder)
	case len(u.Periods) > maxPeriods || len(u.Window) > maxWindow:
		return fmt.Errorf("%w: usage of %s in %d periods and a window of %d", ErrInvalid, u.Holder, len(u.Periods), len(u.Window))
	}
	for _, p := range u.Periods {
		if p.PendingMinor < 0 || p.PostedMinor < 0 || p.Count < 0 {
			return fmt.Errorf("%w: usage of %s under %s is negative", ErrInvalid, u.Holder, p.Limit)
		}
	}
	for _, e := range u.Window {
		if e.Minor < 0 || e.KeptSeconds < minWindowSeconds || e.KeptSeconds > maxWindowSeconds {
			return fmt.Errorf("%w: usage of %s has a window entry of %d minor units for %d seconds", ErrInvalid, u.Holder, e.Minor, e.KeptSeconds)
		}
	}
	if strings.HasPrefix(u.Holder, "grt_") {
		return checkID("grant", "grt", u.Holder)
	}
	return checkID("account", "acc", u.Holder)
}

// UsageRef declares the sums of an account or a grant.
func UsageRef(holder string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: usagePrefix + holder, Mode: mode}
}

// Usage returns the sums of an account or a grant, which are zero before its
// first reservation.
func (r Reader) Usage(holder string) (Usage, error) {
	u, ok, err := get[Usage](r, usagePrefix+holder, usageVersion)
	if !ok {
		u.Holder = holder
	}
	return u, err
}

func (tx *Tx) putUsage(u Usage) error {
	return put(tx, usagePrefix+u.Holder, usageVersion, u)
}

// sums are what reservations come to.
type sums struct{ pendingMinor, postedMinor, count int64 }

func (s sums) plus(t sums) sums {
	return sums{s.pendingMinor + t.pendingMinor, s.postedMinor + t.postedMinor, s.count + t.count}
}

func (s sums) minus(t sums) sums {
	return s.plus(sums{-t.pendingMinor, -t.postedMinor, -t.count})
}

// minor has no upper bound in time, but never overflows: it stops at the largest
// int64, which is over every limit.
func (s sums) minor() int64 {
	if s.pendingMinor > math.MaxInt64-s.postedMinor {
		return math.MaxInt64
	}
	return s.pendingMinor + s.postedMinor
}

func (u Usage) sums() sums { return sums{u.PendingMinor, u.PostedMinor, u.Count} }

func (p PeriodUsage) sums() sums { return sums{p.PendingMinor, p.PostedMinor, p.Count} }

// period returns the sums of a period of a limit.
func (u Usage) period(limit string, startsAtNanos, endsAtNanos int64) sums {
	for _, p := range u.Periods {
		if p.Limit == limit && p.StartsAtNanos == startsAtNanos && p.EndsAtNanos == endsAtNanos {
			return p.sums()
		}
	}
	return sums{}
}

// window returns the sums of a sliding window that ends at nowNanos, when the
// first of what is in it leaves (0: nothing is), and whether there is no place for
// another entry.
func (u Usage) window(seconds, nowNanos int64) (in sums, leavesNanos int64, full bool) {
	kept, firstKept := 0, int64(math.MaxInt64)
	for _, e := range u.Window {
		if e.leavesNanos() > nowNanos {
			kept++
			firstKept = min(firstKept, e.leavesNanos())
		}
		if e.AtNanos <= nowNanos-seconds*nanosPerSecond {
			continue
		}
		if in.count == 0 {
			leavesNanos = e.AtNanos + seconds*nanosPerSecond
		}
		in.pendingMinor += e.Minor
		in.count++
	}
	if full = kept >= maxWindow; full {
		leavesNanos = firstKept
	}
	return in, leavesNanos, full
}

// A Counted names sums that a reservation is in, beside those since its holder
// exists: those of a period of a limit, or with an empty Limit the holder's
// sliding windows, from when it was reserved until the longest has gone by.
type Counted struct {
	Holder        string `cbor:"1,keyasint" json:"holder"`
	Limit         string `cbor:"2,keyasint,omitempty" json:"limit,omitempty"`
	StartsAtNanos int64  `cbor:"3,keyasint" json:"starts_at_ns"`
	EndsAtNanos   int64  `cbor:"4,keyasint" json:"ends_at_ns"`
}

// entry is what stands in the window for a reservation that comes to s.
func (c Counted) entry(s sums) WindowEntry {
	return WindowEntry{AtNanos: c.StartsAtNanos, Minor: s.minor(), KeptSeconds: (c.EndsAtNanos - c.StartsAtNanos) / nanosPerSecond}
}

// count returns what a payment at nowNanos is counted in under the limits of a
// holder.
func count(holder string, limits []Limit, consentNanos, nowNanos int64) []Counted {
	var in []Counted
	var window int64
	for _, l := range limits {
		switch l.Period.Kind {
		case "", Lifetime:
		case Sliding:
			window = max(window, l.Period.WindowSeconds)
		default:
			start, end := l.Period.Bounds(consentNanos, nowNanos)
			in = append(in, Counted{holder, l.Name, start, end})
		}
	}
	if window > 0 {
		in = append(in, Counted{holder, "", nowNanos, nowNanos + window*nanosPerSecond})
	}
	return in
}

// dropEnded removes what no time from nowNanos on can see.
func (u *Usage) dropEnded(nowNanos int64) {
	u.Periods = slices.DeleteFunc(u.Periods, func(p PeriodUsage) bool { return p.EndsAtNanos <= nowNanos })
	u.Window = slices.DeleteFunc(u.Window, func(e WindowEntry) bool { return e.leavesNanos() <= nowNanos })
}

// replace counts a reservation for after instead of before, in the sums that it
// is in. A zero before adds it, a zero after takes it out. Sums that have been
// dropped stay so.
func (u *Usage) replace(in []Counted, before, after sums) error {
	total := u.sums().minus(before)
	if total.pendingMinor > math.MaxInt64-after.pendingMinor || total.postedMinor > math.MaxInt64-after.postedMinor {
		return fmt.Errorf("%w: the sum of the reservations of %s is out of range", ErrInvalid, u.Holder)
	}
	total = total.plus(after)
	u.PendingMinor, u.PostedMinor, u.Count = total.pendingMinor, total.postedMinor, total.count
	for _, c := range in {
		switch {
		case c.Holder != u.Holder:
		case c.Limit == "":
			u.replaceEntry(c, before, after)
		default:
			u.replacePeriod(c, before, after)
		}
	}
	return nil
}

func (u *Usage) replacePeriod(c Counted, before, after sums) {
	i := slices.IndexFunc(u.Periods, func(p PeriodUsage) bool {
		return p.Limit == c.Limit && p.StartsAtNanos == c.StartsAtNanos && p.EndsAtNanos == c.EndsAtNanos
	})
	if i < 0 {
		if before != (sums{}) {
			return // dropped
		}
		i = len(u.Periods)
		u.Periods = append(u.Periods, PeriodUsage{Limit: c.Limit, StartsAtNanos: c.StartsAtNanos, EndsAtNanos: c.EndsAtNanos})
	}
	p := &u.Periods[i]
	s := p.sums().minus(before).plus(after)
	p.PendingMinor, p.PostedMinor, p.Count = s.pendingMinor, s.postedMinor, s.count
}

// replaceEntry finds an entry by what it holds: those that hold the same are
// interchangeable.
func (u *Usage) replaceEntry(c Counted, before, after sums) {
	if before != (sums{}) {
		i := slices.Index(u.Window, c.entry(before))
		if i < 0 {
			return // dropped
		}
		u.Window = slices.Delete(u.Window, i, i+1)
	}
	if after != (sums{}) {
		i, _ := slices.BinarySearchFunc(u.Window, c.StartsAtNanos, func(e WindowEntry, at int64) int {
			if e.AtNanos > at {
				return 1
			}
			return -1
		})
		u.Window = slices.Insert(u.Window, i, c.entry(after))
	}
}
