package authzstore

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const fullTerms = `{
	"currency": "EUR",
	"max_payment_minor": 5000,
	"limits": [
		{"name": "monthly", "max_amount_minor": 15000, "max_count": 30, "period": {"kind": "month", "alignment": "consent", "zone": "Europe/Berlin"}},
		{"name": "weekly", "max_count": 5, "period": {"kind": "week", "alignment": "calendar", "zone": "UTC", "week_start": "sunday"}},
		{"name": "burst", "max_count": 3, "period": {"kind": "sliding", "window_seconds": 600}},
		{"name": "ever", "max_amount_minor": 100000, "period": {"kind": "lifetime"}}
	],
	"valid_from": {"mode": "at", "at_ns": 1764547200000000000},
	"valid_to": {"mode": "any"},
	"merchants": {"mode": "only", "values": ["mer_bakery", "mer_school"]},
	"categories": {"mode": "except", "values": ["5813", "7995"]},
	"countries": {"mode": "only", "values": ["DE"]},
	"channels": {"mode": "any"},
	"hours": {"mode": "between", "zone": "Europe/Berlin", "from": "08:00", "to": "20:00"},
	"cooling": {"mode": "first", "seconds": 86400, "max_amount_minor": 5000},
	"delegation": "full",
	"refund_restores": true
}`

// TestParseTerms: what is parsed is what stands there, and its own JSON parses to
// the same.
func TestParseTerms(t *testing.T) {
	want := Terms{
		Currency: "EUR", MaxPaymentMinor: 5000,
		Limits: []Limit{
			{"monthly", 15000, 30, Period{Kind: Month, Alignment: ByConsent, Zone: "Europe/Berlin"}},
			{"weekly", 0, 5, Period{Kind: Week, Alignment: ByCalendar, Zone: "UTC", WeekStart: "sunday"}},
			{"burst", 0, 3, Period{Kind: Sliding, WindowSeconds: 600}},
			{"ever", 100000, 0, Period{Kind: Lifetime}},
		},
		ValidFrom:  Instant{ModeAt, 1764547200000000000},
		ValidTo:    Instant{Mode: ModeAny},
		Merchants:  Filter{ModeOnly, []string{"mer_bakery", "mer_school"}},
		Categories: Filter{ModeExcept, []string{"5813", "7995"}},
		Countries:  Filter{ModeOnly, []string{"DE"}},
		Channels:   Filter{Mode: ModeAny},
		Hours:      Hours{ModeBetween, "Europe/Berlin", "08:00", "20:00"},
		Cooling:    Cooling{ModeFirst, 86400, 5000},
		Delegation: DelegationFull, RefundRestores: true,
	}
	got, err := ParseTerms([]byte(fullTerms))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
	}
	for _, terms := range []Terms{want, grantTerms(total)} {
		text, err := json.Marshal(terms)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseTerms(text); err != nil || !reflect.DeepEqual(again, terms) {
			t.Errorf("%s: %v, %+v", text, err, again)
		}
	}
}

// TestParseTermsIsStrict takes every member away, and bends one thing at a time.
func TestParseTermsIsStrict(t *testing.T) {
	refused := func(note, text string) {
		t.Helper()
		if text == fullTerms {
			t.Fatalf("%s changes nothing", note)
		}
		if terms, err := ParseTerms([]byte(text)); !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(terms, Terms{}) {
			t.Errorf("%s: %v, %+v", note, err, terms)
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(fullTerms), &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		for note, bend := range map[string]func(map[string]json.RawMessage){
			"without ":      func(m map[string]json.RawMessage) { delete(m, name) },
			"null for ":     func(m map[string]json.RawMessage) { m[name] = json.RawMessage("null") },
			"a number for ": func(m map[string]json.RawMessage) { m[name] = json.RawMessage("-7") },
			"a list for ":   func(m map[string]json.RawMessage) { m[name] = json.RawMessage("[7]") },
			"capitals in ":  func(m map[string]json.RawMessage) { delete(m, name); m[strings.ToUpper(name)] = value },
		} {
			bent := map[string]json.RawMessage{}
			for k, v := range members {
				bent[k] = v
			}
			bend(bent)
			text, err := json.Marshal(bent)
			if err != nil {
				t.Fatal(err)
			}
			refused(note+name, string(text))
		}
	}
	for _, c := range [][2]string{
		{`"currency": "EUR",`, `"currency": "EUR", "currency": "EUR",`},
		{`"currency": "EUR",`, `"currency": "EUR", "color": "red",`},
		{`"currency": "EUR",`, `"currency": "eur",`},
		{`"max_payment_minor": 5000,`, `"max_payment_minor": 5000.0,`},
		{`"max_payment_minor": 5000,`, `"max_payment_minor": 0,`},
		{`"max_payment_minor": 5000,`, `"max_payment_minor": 9007199254740992,`},
		{`"max_amount_minor": 15000,`, `"max_amount_minor": 0,`},
		{`"max_count": 5,`, ``},
		{`"max_count": 5,`, `"max_count": null,`},
		{`"max_count": 5,`, `"max_count": 5, "per": "week",`},
		{`"name": "weekly"`, `"name": "monthly"`},
		{`"name": "weekly"`, `"name": "cooling"`},
		{`"name": "weekly"`, `"name": "payment"`},
		{`, "period": {"kind": "lifetime"}`, ``},
		{`{"kind": "lifetime"}`, `{}`},
		{`{"kind": "lifetime"}`, `{"kind": ""}`},
		{`{"kind": "lifetime"}`, `{"kind": "lifetime", "zone": "UTC"}`},
		{`{"kind": "lifetime"}`, `"lifetime"`},
		{`"kind": "month"`, `"kind": "fortnight", "week_start": "monday"`},
		{`, "week_start": "sunday"`, ``},
		{`"week_start": "sunday"`, `"week_start": 7`},
		{`"window_seconds": 600`, `"window_seconds": 9`},
		{`"window_seconds": 600`, `"window_seconds": 600, "zone": "UTC"`},
		{`"zone": "Europe/Berlin"}}`, `"zone": "Europe/Atlantis"}}`},
		{`{"mode": "at", "at_ns": 1764547200000000000}`, `{"mode": "at"}`},
		{`{"mode": "at", "at_ns": 1764547200000000000}`, `{"mode": "at", "at_ns": 1.7e18}`},
		{`{"mode": "at", "at_ns": 1764547200000000000}`, `{"mode": "any", "at_ns": 1764547200000000000}`},
		{`"valid_to": {"mode": "any"}`, `"valid_to": {"mode": "at", "at_ns": 1764547199999999999}`},
		{`"valid_to": {"mode": "any"}`, `"valid_to": {"mode": "never"}`},
		{`"valid_to": {"mode": "any"}`, `"valid_to": {}`},
		{`"mer_school"`, `"school"`},
		{`"mer_school"`, `"mer_bakery"`},
		{`["mer_bakery", "mer_school"]`, `[]`},
		{`["mer_bakery", "mer_school"]`, `[` + strings.Repeat(`"mer_a",`, 64) + `"mer_b"]`},
		{`["mer_bakery", "mer_school"]`, `[null]`},
		{`"values": ["DE"]`, `"values": ["GERMANY"]`},
		{`"5813"`, `5813`},
		{`"channels": {"mode": "any"}`, `"channels": {"mode": "any", "values": []}`},
		{`"08:00"`, `"8:00"`}, {`"08:00"`, `"24:00"`}, {`"20:00"`, `"20:00:00"`}, {`"20:00"`, `"20:60"`},
		{`"hours": {"mode": "between", "zone": "Europe/Berlin",`, `"hours": {"mode": "between",`},
		{`"seconds": 86400,`, ``}, {`"seconds": 86400,`, `"seconds": 0,`}, {`"seconds": 86400,`, `"seconds": 7776001,`},
		{`"delegation": "full"`, `"delegation": "none"`},
		{`"refund_restores": true`, `"refund_restores": "true"`},
	} {
		refused(c[0]+" → "+c[1], strings.Replace(fullTerms, c[0], c[1], 1))
	}
	for _, text := range []string{``, `null`, `[]`, fullTerms + `{}`, `{}`} {
		refused(text, text)
	}
	partial, err := ParseTerms([]byte(strings.Replace(fullTerms, `"full"`, `"partial"`, 1)))
	if err != nil || partial.Delegation != DelegationPartial {
		t.Errorf("partial delegation can be said: %v", err)
	}
}

func TestHoursMinute(t *testing.T) {
	h := Hours{ModeBetween, "Europe/Berlin", "08:00", "20:00"}
	for text, want := range map[string]struct {
		minute int
		begins bool
	}{
		"2026-03-01T08:00:00+01:00":           {480, true},
		"2026-03-01T07:59:59.999999999+01:00": {479, false},
		"2026-03-01T20:00:00.000000001+01:00": {1200, false},
		"2026-07-01T20:00:00+02:00":           {1200, true},
		"2026-03-29T03:00:00+02:00":           {180, true}, // an hour after 01:59 had passed at once
	} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if minute, begins := h.Minute(at.UnixNano()); minute != want.minute || begins != want.begins {
			t.Errorf("%s: minute %d, begins %t", text, minute, begins)
		}
	}
	from, to, err := h.Minutes()
	if from != 480 || to != 1200 || err != nil {
		t.Errorf("from %d to %d, %v", from, to, err)
	}
}
