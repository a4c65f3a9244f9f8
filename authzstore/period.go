package authzstore

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones are known on hosts that have no list of them
)

// PeriodKind is how long a period is.
type PeriodKind string

// The kinds of periods. A lifetime never ends. A sliding window is always the
// last so many seconds; all others follow one another without a gap.
const (
	Lifetime  PeriodKind = "lifetime"
	Day       PeriodKind = "day"
	Week      PeriodKind = "week"
	Fortnight PeriodKind = "fortnight"
	Month     PeriodKind = "month"
	HalfYear  PeriodKind = "half_year"
	Year      PeriodKind = "year"
	Sliding   PeriodKind = "sliding"
)

// Alignment is where periods start.
type Alignment string

// The alignments. Periods by the calendar start at the midnight that starts a
// day, a week, a month, January or July, a year. Periods by consent start at the
// midnight that starts the date of consent, and then every so many days or months
// from that date; in a month that is too short, on its last day.
const (
	ByCalendar Alignment = "calendar"
	ByConsent  Alignment = "consent"
)

// A Period is over what a limit counts. The kinds are those of the UK's Open
// Banking VRP consents (v4.0.0), plus lifetime and sliding windows. The zero
// Period is a lifetime.
type Period struct {
	Kind PeriodKind `cbor:"1,keyasint" json:"kind"`
	// Alignment is empty for lifetime and sliding; a fortnight is always by
	// consent.
	Alignment Alignment `cbor:"2,keyasint,omitempty" json:"alignment,omitempty"`
	// Zone is the IANA name of the time zone whose midnights count, such as
	// Europe/Berlin; empty for lifetime and sliding.
	Zone string `cbor:"3,keyasint,omitempty" json:"zone,omitempty"`
	// WeekStart is monday to sunday for a week by the calendar, else empty.
	WeekStart string `cbor:"4,keyasint,omitempty" json:"week_start,omitempty"`
	// WindowSeconds is the length of a sliding window, from 10 seconds to 90 days;
	// else 0.
	WindowSeconds int64 `cbor:"5,keyasint,omitempty" json:"window_seconds,omitempty"`
}

const (
	minWindowSeconds = 10
	maxWindowSeconds = 90 * 24 * 60 * 60
	nanosPerSecond   = int64(time.Second)
)

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

func (p Period) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: period "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch p.Kind {
	case "", Lifetime:
		if p != (Period{Kind: p.Kind}) {
			return bad("lifetime has no alignment, zone, week start or window")
		}
		return nil
	case Sliding:
		switch {
		case p != Period{Kind: Sliding, WindowSeconds: p.WindowSeconds}:
			return bad("sliding has no alignment, zone or week start")
		case p.WindowSeconds < minWindowSeconds || p.WindowSeconds > maxWindowSeconds:
			return bad("sliding over %d seconds, not %d to %d", p.WindowSeconds, minWindowSeconds, maxWindowSeconds)
		}
		return nil
	case Day, Week, Fortnight, Month, HalfYear, Year:
	default:
		return bad("%q is not known", p.Kind)
	}
	if p.Alignment != ByConsent && (p.Alignment != ByCalendar || p.Kind == Fortnight) {
		return bad("%s cannot be aligned by %q", p.Kind, p.Alignment)
	}
	if weekly := p.Kind == Week && p.Alignment == ByCalendar; weekly != slices.Contains(weekdays, p.WeekStart) || !weekly && p.WeekStart != "" {
		return bad("%s by %s with the week start %q", p.Kind, p.Alignment, p.WeekStart)
	}
	if p.WindowSeconds != 0 {
		return bad("%s has no window", p.Kind)
	}
	_, err := zone(p.Zone)
	return err
}

// Bounds returns the period that holds nowNanos: from startNanos on, and before
// endNanos. consentNanos is when the holder of the limit began, which matters to
// a lifetime, which starts there and ends never (math.MaxInt64), and to periods
// by consent. A sliding window ends with now: of the same instant a window
// before, nothing is left in it. The period passed its check. All in nanoseconds
// since 1970-01-01 UTC.
func (p Period) Bounds(consentNanos, nowNanos int64) (startNanos, endNanos int64) {
	switch p.Kind {
	case "", Lifetime:
		return consentNanos, math.MaxInt64
	case Sliding:
		return nowNanos - p.WindowSeconds*nanosPerSecond + 1, nowNanos + 1
	}
	loc, err := zone(p.Zone)
	if err != nil {
		panic(err) // check refuses it
	}
	now := dateIn(loc, nowNanos)
	start := p.dates(dateIn(loc, consentNanos), now)
	n := 0
	// A clock that is set back over midnight shows yesterday's date again, though
	// today has begun: a day begins once.
	for start(n+1).begins(loc) <= nowNanos {
		n++
	}
	return start(n).begins(loc), start(n + 1).begins(loc)
}

// dates returns the first date of the period that is n periods after the one
// that holds the date now.
func (p Period) dates(consent, now date) func(n int) date {
	days := map[PeriodKind]int{Day: 1, Week: 7, Fortnight: 14}[p.Kind]
	months := map[PeriodKind]int{Month: 1, HalfYear: 6, Year: 12}[p.Kind]
	from := consent
	if p.Alignment == ByCalendar {
		// Periods of days start anywhere, weeks on a weekday, those of months in January.
		from = date{now.year, time.January, 1}
		if p.Kind == Week {
			from = from.plusDays(slices.Index(weekdays, p.WeekStart) - int(from.weekday()))
		}
	}
	if days > 0 {
		held := floorDiv(now.number()-from.number(), days)
		return func(n int) date { return from.plusDays((held + n) * days) }
	}
	held := floorDiv(now.months()-from.months(), months)
	if now.number() < from.plusMonths(held*months).number() {
		held-- // the period starts later in this month
	}
	return func(n int) date { return from.plusMonths((held + n) * months) }
}

// A date is a day of the Gregorian calendar, in no zone.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateIn(loc *time.Location, nanos int64) date { return dateOf(time.Unix(0, nanos).In(loc)) }

func dateOf(t time.Time) date {
	year, month, day := t.Date()
	return date{year, month, day}
}

func (d date) utc() time.Time { return time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC) }

// number counts days, from 1970-01-01.
func (d date) number() int { return int(d.utc().Unix() / (24 * 60 * 60)) }

func (d date) weekday() time.Weekday { return d.utc().Weekday() }

// months counts months, from the year 0.
func (d date) months() int { return d.year*12 + int(d.month) - 1 }

func (d date) plusDays(n int) date { return dateOf(d.utc().AddDate(0, 0, n)) }

// plusMonths returns the same day n months later, or the last day of a month that
// is too short for it.
func (d date) plusMonths(n int) date {
	months := d.months() + n
	first := date{floorDiv(months, 12), time.Month(months-12*floorDiv(months, 12)) + 1, 1}
	last := dateOf(time.Date(first.year, first.month+1, 0, 0, 0, 0, 0, time.UTC))
	return date{first.year, first.month, min(d.day, last.day)}
}

// begins returns the first instant at which clocks of the zone show the date, or
// a later one where they leap over it; math.MaxInt64 beyond the year 2261.
func (d date) begins(loc *time.Location) int64 {
	if d.year > 2261 {
		return math.MaxInt64
	}
	// Two days before, in any zone, the date has not begun.
	return firstShowing(d, d.utc().Add(-48*time.Hour).In(loc)).UnixNano()
}

// firstShowing walks from a time before the date through the stretches of equal
// offset, to the first instant that shows the date or a later one.
func firstShowing(d date, from time.Time) time.Time {
	for {
		_, offset := from.Zone()
		midnight := d.utc().Add(-time.Duration(offset) * time.Second)
		end := stretchEnd(from)
		if midnight.Before(from) {
			return from // the clock leapt over midnight
		}
		if end.IsZero() || midnight.Before(end) {
			return midnight
		}
		from = end
	}
}

// stretchEnd returns a time up to which the offset from UTC stays, later than from;
// zero: it stays for ever. Beyond the transitions that a zone lists, to 2037 or only to
// the last change of its rules, package time knows them year by year, of 365 days: on
// the last day of a leap year it says that the stretch is over already (Go 1.26). It
// goes on to the end of the year.
func stretchEnd(from time.Time) time.Time {
	_, end := from.ZoneBounds()
	if !end.IsZero() && !end.After(from) {
		end = time.Date(from.UTC().Year()+1, time.January, 1, 0, 0, 0, 0, time.UTC).In(from.Location())
	}
	return end
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

var zones sync.Map // of *time.Location, by name

// zone returns the time zone of an IANA name. The host's own list comes first, the
// one that is linked in where there is none.
func zone(name string) (*time.Location, error) {
	if loc, known := zones.Load(name); known {
		return loc.(*time.Location), nil
	}
	// Local is whatever the host is set to.
	if name == "" || name == "Local" || len(name) > maxIDBytes || strings.TrimSpace(name) != name {
		return nil, fmt.Errorf("%w: time zone %q is not an IANA name", ErrInvalid, name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w: time zone %q is not an IANA name", ErrInvalid, name)
	}
	zones.Store(name, loc)
	return loc, nil
}
