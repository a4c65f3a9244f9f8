package authzstore

import (
	"bufio"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// parseIn reads a time and checks that the zone's clocks had its offset.
func parseIn(t *testing.T, zone, text string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	if local := at.In(loc).Format(time.RFC3339Nano); local != text {
		t.Errorf("%s is %s in %s", text, local, zone)
	}
	return at.UnixNano()
}

func inZone(t *testing.T, zone string, nanos int64) string {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, nanos).In(loc).Format(time.RFC3339Nano)
}

// TestPeriodGoldens compares the periods with a table that was written by hand.
func TestPeriodGoldens(t *testing.T) {
	file, err := os.Open("testdata/periods.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	compared := 0
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		kind := strings.Fields(parts[0])
		if len(parts) != 5 || len(kind) != 4 {
			t.Fatalf("line %d is not a golden: %s", number, line)
		}
		p := Period{Kind: PeriodKind(kind[0]), Alignment: Alignment(kind[1]), Zone: kind[2], WeekStart: strings.Trim(kind[3], "-")}
		if err := p.check(); err != nil {
			t.Fatalf("line %d: %v", number, err)
		}
		consent, err := time.Parse(time.RFC3339Nano, parts[1])
		if err != nil {
			t.Fatal(err)
		}
		now, start, end := parseIn(t, p.Zone, parts[2]), parseIn(t, p.Zone, parts[3]), parseIn(t, p.Zone, parts[4])
		gotStart, gotEnd := p.Bounds(consent.UnixNano(), now)
		if gotStart != start || gotEnd != end {
			t.Errorf("line %d: %s\n got %s to %s", number, line, inZone(t, p.Zone, gotStart), inZone(t, p.Zone, gotEnd))
		}
		compared++
	}
	if err := lines.Err(); err != nil || compared < 60 {
		t.Errorf("%d goldens, %v", compared, err)
	}
}

func TestEndlessAndSlidingPeriods(t *testing.T) {
	for _, kind := range []PeriodKind{"", Lifetime} {
		if start, end := (Period{Kind: kind}).Bounds(7, 1<<60); start != 7 || end != math.MaxInt64 {
			t.Errorf("a lifetime goes from %d to %d", start, end)
		}
	}
	now := int64(1_800_000_000_000_000_000)
	start, end := Period{Kind: Sliding, WindowSeconds: 10}.Bounds(7, now)
	if start != now-10_000_000_000+1 || end != now+1 {
		t.Errorf("a window of 10 seconds goes from now%+d to now%+d", start-now, end-now)
	}
}

func TestPeriodRules(t *testing.T) {
	for note, bad := range map[string]Period{
		"a kind that there is not":     {Kind: "decade", Alignment: ByCalendar, Zone: "UTC"},
		"no kind, but a zone":          {Zone: "UTC"},
		"a lifetime by the calendar":   {Kind: Lifetime, Alignment: ByCalendar},
		"a lifetime with a window":     {Kind: Lifetime, WindowSeconds: 60},
		"a day without alignment":      {Kind: Day, Zone: "UTC"},
		"a day without zone":           {Kind: Day, Alignment: ByCalendar},
		"a day with a window":          {Kind: Day, Alignment: ByCalendar, Zone: "UTC", WindowSeconds: 60},
		"a day with a week start":      {Kind: Day, Alignment: ByCalendar, Zone: "UTC", WeekStart: "monday"},
		"an alignment in capitals":     {Kind: Day, Alignment: "Calendar", Zone: "UTC"},
		"a fortnight by the calendar":  {Kind: Fortnight, Alignment: ByCalendar, Zone: "UTC"},
		"a week without a start":       {Kind: Week, Alignment: ByCalendar, Zone: "UTC"},
		"a week with a strange start":  {Kind: Week, Alignment: ByCalendar, Zone: "UTC", WeekStart: "Mon"},
		"a week by consent, starting":  {Kind: Week, Alignment: ByConsent, Zone: "UTC", WeekStart: "monday"},
		"a month with a week start":    {Kind: Month, Alignment: ByConsent, Zone: "UTC", WeekStart: "monday"},
		"the host's zone":              {Kind: Day, Alignment: ByCalendar, Zone: "Local"},
		"a zone that there is not":     {Kind: Day, Alignment: ByCalendar, Zone: "Europe/Atlantis"},
		"a zone that is a path":        {Kind: Day, Alignment: ByCalendar, Zone: "../UTC"},
		"a window of 9 seconds":        {Kind: Sliding, WindowSeconds: 9},
		"a window beyond 90 days":      {Kind: Sliding, WindowSeconds: 90*24*60*60 + 1},
		"a window with a zone":         {Kind: Sliding, WindowSeconds: 60, Zone: "UTC"},
		"a window by consent":          {Kind: Sliding, WindowSeconds: 60, Alignment: ByConsent},
		"a sliding period of no width": {Kind: Sliding},
	} {
		if err := bad.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	for _, good := range []Period{{}, {Kind: Lifetime}, {Kind: Sliding, WindowSeconds: 10}, {Kind: Sliding, WindowSeconds: 90 * 24 * 60 * 60}} {
		if err := good.check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

// TestPeriodsFollowOneAnother: whatever the zone, a period holds its moment, the
// next begins where it ends, and every moment in it has the same period.
func TestPeriodsFollowOneAnother(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca", "America/Havana"}
	first, last := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	rapid.Check(t, func(rt *rapid.T) {
		p := Period{
			Kind:      rapid.SampledFrom([]PeriodKind{Day, Week, Fortnight, Month, HalfYear, Year}).Draw(rt, "kind"),
			Alignment: rapid.SampledFrom([]Alignment{ByCalendar, ByConsent}).Draw(rt, "alignment"),
			Zone:      rapid.SampledFrom(zones).Draw(rt, "zone"),
		}
		if p.Kind == Fortnight {
			p.Alignment = ByConsent
		}
		if p.Kind == Week && p.Alignment == ByCalendar {
			p.WeekStart = rapid.SampledFrom(weekdays).Draw(rt, "week start")
		}
		consent := rapid.Int64Range(first, last).Draw(rt, "consent")
		now := rapid.Int64Range(first, last).Draw(rt, "now")
		start, end := p.Bounds(consent, now)
		if now < start || now >= end {
			rt.Fatalf("%d is not in %d to %d", now, start, end)
		}
		within := rapid.Int64Range(start, end-1).Draw(rt, "within")
		for _, at := range []int64{start, within, end - 1} {
			if s, e := p.Bounds(consent, at); s != start || e != end {
				rt.Fatalf("at %d: %d to %d, and at %d: %d to %d", now, start, end, at, s, e)
			}
		}
		if s, _ := p.Bounds(consent, end); s != end {
			rt.Fatalf("one period ends at %d, the next starts at %d", end, s)
		}
		if _, e := p.Bounds(consent, start-1); e != start {
			rt.Fatalf("one period starts at %d, the one before ends at %d", start, e)
		}
	})
}
