package authzstore

import (
	"fmt"
	"strconv"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

const (
	maxTermsBytes  = 64 << 10
	maxTermsDepth  = 8
	maxTermsValues = 1024
)

// ParseTerms reads terms from their JSON form, strictly: every member is there, in
// exactly its case, once, and no other; a restriction that does not apply says so
// with its mode. Of a limit and a period, what does not belong to it is left out.
// ErrInvalid says what is wrong, without the text.
func ParseTerms(text []byte) (Terms, error) {
	doc, err := strictjson.Parse(text, strictjson.Limits{MaxBytes: maxTermsBytes, MaxDepth: maxTermsDepth, MaxMembers: maxTermsValues})
	if err != nil {
		return Terms{}, fmt.Errorf("%w: terms: %v", ErrInvalid, err)
	}
	return ReadTerms(doc.Root())
}

// ReadTerms is ParseTerms for a value of a text that is parsed already.
func ReadTerms(v strictjson.Value) (Terms, error) {
	r := &termsReader{}
	t := r.terms(v)
	if r.err != nil {
		return Terms{}, r.err
	}
	if err := t.check(); err != nil {
		return Terms{}, err
	}
	return t, nil
}

// A termsReader keeps the first error.
type termsReader struct{ err error }

func (r *termsReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: terms: "+format, append([]any{ErrInvalid}, args...)...)
	}
}

// members returns the members of an object, which are these and no others.
func (r *termsReader) members(what string, v strictjson.Value, names ...string) map[string]strictjson.Value {
	found := make(map[string]strictjson.Value, len(names))
	if v.Kind() != strictjson.Object {
		r.fail("%s is not an object", what)
		return found
	}
	for _, name := range names {
		member, ok := v.Member(name)
		if !ok {
			r.fail("%s has no %s", what, name)
		}
		found[name] = member
	}
	if r.err == nil && v.Len() != len(names) {
		r.fail("%s has a member that does not belong there", what)
	}
	return found
}

// mode reads the member that says which others there are.
func (r *termsReader) mode(what, name string, v strictjson.Value) string {
	mode, ok := v.Member(name)
	if !ok {
		r.fail("%s has no %s", what, name)
	}
	return r.text(what+"."+name, mode)
}

func (r *termsReader) text(what string, v strictjson.Value) string {
	if v.Kind() != strictjson.String {
		r.fail("%s is not a string", what)
	}
	return v.String()
}

func (r *termsReader) integer(what string, v strictjson.Value) int64 {
	n, ok := v.Int()
	if !ok {
		r.fail("%s is not an integer", what)
	}
	return n
}

// nanos reads a time. It is past the integers that every reader holds exactly, but
// not past what it stands for: readers that round are off by less than a
// microsecond.
func (r *termsReader) nanos(what string, v strictjson.Value) int64 {
	n, err := strconv.ParseInt(v.Number(), 10, 64)
	if err != nil {
		r.fail("%s is not an integer", what)
	}
	return n
}

func (r *termsReader) boolean(what string, v strictjson.Value) bool {
	if v.Kind() != strictjson.Bool {
		r.fail("%s is not true or false", what)
	}
	return v.Bool()
}

func (r *termsReader) terms(v strictjson.Value) Terms {
	m := r.members("the object", v, "currency", "max_payment_minor", "limits", "valid_from", "valid_to", "merchants",
		"categories", "countries", "channels", "hours", "cooling", "delegation", "refund_restores")
	return Terms{
		Currency:        r.text("currency", m["currency"]),
		MaxPaymentMinor: r.integer("max_payment_minor", m["max_payment_minor"]),
		Limits:          r.limits(m["limits"]),
		ValidFrom:       r.instant("valid_from", m["valid_from"]),
		ValidTo:         r.instant("valid_to", m["valid_to"]),
		Merchants:       r.filter("merchants", m["merchants"]),
		Categories:      r.filter("categories", m["categories"]),
		Countries:       r.filter("countries", m["countries"]),
		Channels:        r.filter("channels", m["channels"]),
		Hours:           r.hours(m["hours"]),
		Cooling:         r.cooling(m["cooling"]),
		Delegation:      r.text("delegation", m["delegation"]),
		RefundRestores:  r.boolean("refund_restores", m["refund_restores"]),
	}
}

func (r *termsReader) limits(v strictjson.Value) []Limit {
	if v.Kind() != strictjson.Array {
		r.fail("limits is not an array")
	}
	var limits []Limit
	for _, item := range v.Elements() {
		names := []string{"name", "period"}
		for _, bound := range []string{"max_amount_minor", "max_count"} {
			if _, there := item.Member(bound); there {
				names = append(names, bound)
			}
		}
		m := r.members("a limit", item, names...)
		limits = append(limits, Limit{
			Name:           r.text("name", m["name"]),
			MaxAmountMinor: r.bound("max_amount_minor", m),
			MaxCount:       r.bound("max_count", m),
			Period:         r.period(m["period"]),
		})
	}
	return limits
}

// bound reads a bound that may be left out; 0 would not be one.
func (r *termsReader) bound(name string, m map[string]strictjson.Value) int64 {
	v, there := m[name]
	if !there {
		return 0
	}
	n := r.integer(name, v)
	if n < 1 {
		r.fail("%s is not above zero", name)
	}
	return n
}

func (r *termsReader) period(v strictjson.Value) Period {
	p := Period{Kind: PeriodKind(r.mode("period", "kind", v))}
	switch p.Kind {
	case "":
		r.fail("a period has no kind")
	case Lifetime:
		r.members("a lifetime", v, "kind")
	case Sliding:
		m := r.members("a sliding period", v, "kind", "window_seconds")
		p.WindowSeconds = r.integer("window_seconds", m["window_seconds"])
	default:
		names := []string{"kind", "alignment", "zone"}
		p.Alignment = Alignment(r.mode("period", "alignment", v))
		if p.Kind == Week && p.Alignment == ByCalendar {
			names = append(names, "week_start")
		}
		m := r.members("a period", v, names...)
		p.Zone = r.text("zone", m["zone"])
		p.WeekStart = m["week_start"].String()
	}
	return p
}

func (r *termsReader) instant(what string, v strictjson.Value) Instant {
	i := Instant{Mode: r.mode(what, "mode", v)}
	if i.Mode == ModeAny {
		r.members(what, v, "mode")
		return i
	}
	m := r.members(what, v, "mode", "at_ns")
	i.AtNanos = r.nanos(what+".at_ns", m["at_ns"])
	return i
}

func (r *termsReader) filter(what string, v strictjson.Value) Filter {
	f := Filter{Mode: r.mode(what, "mode", v)}
	if f.Mode == ModeAny {
		r.members(what, v, "mode")
		return f
	}
	m := r.members(what, v, "mode", "values")
	if m["values"].Kind() != strictjson.Array {
		r.fail("%s.values is not an array", what)
	}
	for _, value := range m["values"].Elements() {
		f.Values = append(f.Values, r.text("a value of "+what, value))
	}
	return f
}

func (r *termsReader) hours(v strictjson.Value) Hours {
	h := Hours{Mode: r.mode("hours", "mode", v)}
	if h.Mode == ModeAny {
		r.members("hours", v, "mode")
		return h
	}
	m := r.members("hours", v, "mode", "zone", "from", "to")
	h.Zone, h.From, h.To = r.text("hours.zone", m["zone"]), r.text("hours.from", m["from"]), r.text("hours.to", m["to"])
	return h
}

func (r *termsReader) cooling(v strictjson.Value) Cooling {
	c := Cooling{Mode: r.mode("cooling", "mode", v)}
	if c.Mode == ModeNone {
		r.members("cooling", v, "mode")
		return c
	}
	m := r.members("cooling", v, "mode", "seconds", "max_amount_minor")
	c.Seconds, c.MaxAmountMinor = r.integer("cooling.seconds", m["seconds"]), r.integer("cooling.max_amount_minor", m["max_amount_minor"])
	return c
}
