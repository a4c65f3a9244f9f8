package authzstore

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestLargestNounsFit: a payment by a grant writes the usage of two holders, and
// its record holds each before and after. All that leaves half of a record to the
// decision.
func TestLargestNounsFit(t *testing.T) {
	id := func(kind string, i int) string { return fmt.Sprintf("%s_%0*d", kind, maxIDBytes-len(kind)-1, i) }
	size := func(val []byte, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return len(val)
	}
	u := Usage{Holder: id("grt", 1), PendingMinor: math.MaxInt64, PostedMinor: math.MaxInt64, Count: math.MaxInt64}
	for range maxPeriods {
		u.Periods = append(u.Periods, PeriodUsage{strings.Repeat("a", 32), math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64})
	}
	for range maxWindow {
		u.Window = append(u.Window, WindowEntry{AtNanos: math.MaxInt64, Minor: MaxAmountMinor, KeptSeconds: maxWindowSeconds})
	}
	if got := 4 * size(encode(usageVersion, 1, u)); got > kv.MaxValue/2 {
		t.Errorf("usage comes to %d bytes of a record of %d", got, kv.MaxValue)
	}

	var limits []Limit
	for i := range maxLimits {
		limits = append(limits, Limit{fmt.Sprintf("a%031d", i), MaxAmountMinor, MaxAmountMinor, Period{Kind: Week, Alignment: ByCalendar, Zone: "America/Argentina/ComodRivadavia", WeekStart: "wednesday"}})
	}
	g := newGrant(id("grt", 1), grantTerms(limits...))
	g.Terms.Merchants.Mode, g.Terms.Categories.Mode, g.Terms.Countries.Mode, g.Terms.Channels.Mode = ModeOnly, ModeOnly, ModeOnly, ModeOnly
	for i := range maxFilterValues {
		g.Terms.Merchants.Values = append(g.Terms.Merchants.Values, id("mer", i))
		g.Terms.Categories.Values = append(g.Terms.Categories.Values, fmt.Sprintf("%04d", i))
		g.Terms.Countries.Values = append(g.Terms.Countries.Values, fmt.Sprintf("%c%c", 'A'+i/26, 'A'+i%26))
		g.Terms.Channels.Values = append(g.Terms.Channels.Values, fmt.Sprintf("a%031d", i))
	}
	long := Identity{strings.Repeat("a", 256), strings.Repeat("b", 256), strings.Repeat("c", 256), ""}
	g.Owner, g.Delegate = long, long
	g.Delegate.Subject = strings.Repeat("d", 256)
	g.State, g.AcceptedAtNanos, g.Handle = GrantActive, 1, "0123456789"
	for range maxRaises {
		g.Raises = append(g.Raises, Raise{math.MaxInt64, MaxAmountMinor, limits})
	}
	d := Delegates{Account: id("acc", 1)}
	for i := range MaxDelegates {
		d.Open = append(d.Open, id("grt", i))
	}
	if got := 2 * (size(encode(grantVersion, 1, g)) + size(encode(delegatesVersion, 1, d))); got > kv.MaxValue/2 {
		t.Errorf("a change of a grant comes to %d bytes of a record of %d", got, kv.MaxValue)
	}
}
