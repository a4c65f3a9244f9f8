package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// limitHelp says what a limit is.
const limitHelp = `A limit bounds what payments may come to: in minor units, in number, or both, and
without a period all that are ever made. Written NAME=amount:MINOR,count:N, and

  per:month@Europe/Berlin           anew in each period, by the calendar of a zone: day,
                                    week, month, half_year, year; or fortnight
  per:week@UTC,week_start:sunday    weeks from another day than monday on
  per:month@UTC,by:consent          periods counted from the day of consent, which is
                                    when a grant was accepted or an account made
  per:24h                           always the last so long, 10s to 2160h`

// limitsFlag is a flag that may be repeated, for limits.
type limitsFlag []authzstore.Limit

func (f *limitsFlag) Type() string   { return "NAME=amount:MINOR,count:N,per:PERIOD" }
func (f *limitsFlag) String() string { return "" } // the default: none

func (f *limitsFlag) Set(text string) error {
	name, parts, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("write a limit as NAME=amount:MINOR,count:N,per:PERIOD")
	}
	l := authzstore.Limit{Name: name}
	seen := map[string]bool{}
	by, weekStart := "", ""
	for part := range strings.SplitSeq(parts, ",") {
		kind, value, _ := strings.Cut(part, ":")
		if seen[kind] {
			return fmt.Errorf("%s stands twice", kind)
		}
		seen[kind] = true
		var err error
		switch kind {
		case "by":
			by = value
		case "week_start":
			weekStart = value
		case "amount":
			l.MaxAmountMinor, err = bound(kind, value)
		case "count":
			l.MaxCount, err = bound(kind, value)
		case "per":
			l.Period, err = period(value)
		default:
			err = fmt.Errorf("%q is none of amount:MINOR, count:N, per:PERIOD, by:consent and week_start:DAY", part)
		}
		if err != nil {
			return err
		}
	}
	if l.MaxAmountMinor == 0 && l.MaxCount == 0 {
		return errors.New("a limit has amount:MINOR, count:N or both")
	}
	if l.Period.Kind == "" {
		l.Period.Kind = authzstore.Lifetime
	}
	if by != "" {
		l.Period.Alignment = authzstore.Alignment(by)
		l.Period.WeekStart = ""
	}
	if weekStart != "" {
		l.Period.WeekStart = weekStart
	}
	*f = append(*f, l)
	return nil
}

func bound(kind, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 { // to the store, zero is no bound
		return 0, fmt.Errorf("%s is not a whole number above zero", kind)
	}
	return n, nil
}

// period reads KIND@ZONE, by the calendar where the kind has one, or a duration:
// that of a sliding window. The store checks what it says.
func period(value string) (authzstore.Period, error) {
	if kind, zone, ok := strings.Cut(value, "@"); ok {
		p := authzstore.Period{Kind: authzstore.PeriodKind(kind), Alignment: authzstore.ByCalendar, Zone: zone}
		switch p.Kind {
		case authzstore.Fortnight:
			p.Alignment = authzstore.ByConsent
		case authzstore.Week:
			p.WeekStart = "monday"
		}
		return p, nil
	}
	window, err := time.ParseDuration(value)
	if err != nil || window <= 0 || window%time.Second != 0 {
		return authzstore.Period{}, errors.New("per is neither KIND@ZONE, such as month@Europe/Berlin, nor the length of a sliding window, such as 24h")
	}
	return authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: int64(window.Seconds())}, nil
}
