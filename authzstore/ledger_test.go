package authzstore_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A ledger is an account with two grants as they should be: a list of what was
// paid, which it adds up anew for every question. It keeps no counter, and knows
// of periods only which one a moment lies in.
type ledger struct {
	name    string
	now     int64
	limits  []authzstore.Limit // the account's
	created int64
	grants  []*authzstore.Grant
	entries []*entry
}

type entry struct {
	authzstore.Reservation
}

// A move is one thing that happens to a ledger.
type move struct {
	kind  string
	entry int   // whose, where it is about one
	by    int   // the grant that pays, -1: the account itself
	minor int64 // amount, or a limit's new bound
	limit int
	to    int64 // the clock
}

const noGrant = -1

func newLedger(name string) *ledger {
	berlin := "Europe/Berlin"
	l := &ledger{name: name, now: time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC).UnixNano()} // a day of 23 hours is near
	l.created = l.now
	l.limits = []authzstore.Limit{
		{Name: "ever", MaxAmountMinor: 40_000, Period: authzstore.Period{Kind: authzstore.Lifetime}},
		{Name: "daily", MaxAmountMinor: 3000, Period: authzstore.Period{Kind: authzstore.Day, Alignment: authzstore.ByCalendar, Zone: berlin}},
		{Name: "hourly", MaxCount: 6, Period: authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: 3600}},
	}
	for i := range 2 {
		terms := anyTerms()
		terms.RefundRestores = i == 0
		terms.Cooling = authzstore.Cooling{Mode: authzstore.ModeFirst, Seconds: 86400, MaxAmountMinor: 1500}
		terms.Limits = []authzstore.Limit{
			{Name: "monthly", MaxAmountMinor: 4000, MaxCount: 20, Period: authzstore.Period{Kind: authzstore.Month, Alignment: authzstore.ByConsent, Zone: berlin}},
			{Name: "weekly", MaxCount: 9, Period: authzstore.Period{Kind: authzstore.Week, Alignment: authzstore.ByCalendar, Zone: "UTC", WeekStart: "sunday"}},
			{Name: "two_days", MaxAmountMinor: 2000, Period: authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: 48 * 3600}},
			{Name: "half_an_hour", MaxCount: 4, Period: authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: 1800}},
			{Name: "all", MaxAmountMinor: 20_000, Period: authzstore.Period{Kind: authzstore.Lifetime}},
		}
		l.grants = append(l.grants, &authzstore.Grant{ID: fmt.Sprintf("grt_%s_%d", name, i), Account: l.account(), Terms: terms, AcceptedAtNanos: l.now,
			Delegate: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: fmt.Sprintf("ben %d", i)}})
	}
	return l
}

func anyTerms() authzstore.Terms {
	all := authzstore.Filter{Mode: authzstore.ModeAny}
	return authzstore.Terms{
		Currency: "EUR", MaxPaymentMinor: 900,
		ValidFrom: authzstore.Instant{Mode: authzstore.ModeAny}, ValidTo: authzstore.Instant{Mode: authzstore.ModeAny},
		Merchants: all, Categories: all, Countries: all, Channels: all,
		Hours: authzstore.Hours{Mode: authzstore.ModeAny}, Cooling: authzstore.Cooling{Mode: authzstore.ModeNone}, Delegation: authzstore.DelegationFull,
	}
}

func (l *ledger) account() string { return "acc_" + l.name }

// draw makes a move up of numbers from 0 to below n that pick returns.
func (l *ledger) draw(pick func(n int64) int64) move {
	kinds := []string{"reserve", "reserve", "reserve", "reserve", "clock", "bound"}
	if len(l.entries) > 0 {
		kinds = append(kinds, "post", "post", "void", "unknown", "refund", "refund", "expire")
	}
	m := move{kind: kinds[pick(int64(len(kinds)))], by: int(pick(3)) - 1}
	switch m.kind {
	case "reserve":
		m.minor = 1 + pick(1000)
	case "bound":
		m.limit, m.minor = int(pick(int64(len(*l.bounds(m.by))))), 1+pick(6000)
	case "clock":
		m.to = l.later(m.by, pick)
	default:
		m.entry = int(pick(int64(len(l.entries))))
		m.minor = 1 + pick(l.entries[m.entry].AmountMinor+1)
	}
	return m
}

// later is a while from now, or the last moment of a period, or the first of the
// next.
func (l *ledger) later(by int, pick func(n int64) int64) int64 {
	whiles := []time.Duration{1, time.Second, time.Hour - 1, time.Hour, 25 * time.Hour, 9 * 24 * time.Hour, 40 * 24 * time.Hour}
	if i := pick(int64(len(whiles) + 4)); i < int64(len(whiles)) {
		return l.now + int64(whiles[i])
	}
	limits := *l.bounds(by)
	limit := limits[pick(int64(len(limits)))]
	if limit.Period.Kind == authzstore.Lifetime {
		return l.now
	}
	_, end := limit.Period.Bounds(l.consent(by), l.now)
	return max(l.now, end-1+pick(2))
}

func (l *ledger) bounds(by int) *[]authzstore.Limit {
	if by == noGrant {
		return &l.limits
	}
	return &l.grants[by].Terms.Limits
}

func (l *ledger) consent(by int) int64 {
	if by == noGrant {
		return l.created
	}
	return l.grants[by].AcceptedAtNanos
}

func (l *ledger) holder(by int) string {
	if by == noGrant {
		return l.account()
	}
	return l.grants[by].ID
}

// spent adds up what a holder's payments from start to before end come to.
func (l *ledger) spent(by int, start, end int64) (pending, posted, count int64) {
	for _, e := range l.entries {
		if by != noGrant && e.Grant != l.grants[by].ID || e.AtNanos < start || e.AtNanos >= end {
			continue
		}
		switch {
		case e.State == authzstore.ReservationVoided:
			continue
		case e.Open():
			pending += e.AmountMinor
		case by == 0: // the grant that gives refunds back
			posted += e.PostedMinor - e.RefundedMinor
		default:
			posted += e.PostedMinor
		}
		count++
	}
	return pending, posted, count
}

// remaining is what a limit allows.
func (l *ledger) remaining(by int, limit authzstore.Limit) (minor, count int64) {
	start, end := limit.Period.Bounds(l.consent(by), l.now)
	pending, posted, n := l.spent(by, start, end)
	minor, count = -1, -1
	if limit.MaxAmountMinor > 0 {
		minor = max(0, limit.MaxAmountMinor-pending-posted)
	}
	if limit.MaxCount > 0 {
		count = max(0, limit.MaxCount-n)
	}
	return minor, count
}

// over is what a payment is told that a holder's limits do not allow; empty if
// they do.
func (l *ledger) over(by int, amount int64) string {
	limits := []authzstore.Limit{{Name: "payment", MaxAmountMinor: 50000}}
	if by != noGrant {
		limits[0].MaxAmountMinor = l.grants[by].Terms.MaxPaymentMinor
	}
	for i, limit := range append(limits, *l.bounds(by)...) {
		minor, count := limit.MaxAmountMinor, int64(-1)
		if i > 0 {
			minor, count = l.remaining(by, limit)
		}
		if minor >= 0 && amount > minor || count == 0 {
			return fmt.Sprintf("over %s of %s: %d, %d", limit.Name, l.holder(by), minor, count)
		}
		if cooling := int64(1500); i == 0 && by != noGrant && l.now < l.consent(by)+86400*int64(time.Second) {
			pending, posted, _ := l.spent(by, 0, l.now+1)
			if left := max(0, cooling-pending-posted); amount > left {
				return fmt.Sprintf("over cooling of %s: %d, -1", l.holder(by), left)
			}
		}
	}
	return ""
}

// play makes a move and returns what the store must say to it.
func (l *ledger) play(m move) string {
	switch m.kind {
	case "clock":
		l.now = m.to
		return "ok"
	case "bound":
		limits := slices.Clone(*l.bounds(m.by))
		if limits[m.limit].MaxAmountMinor > 0 {
			limits[m.limit].MaxAmountMinor = m.minor
		} else {
			limits[m.limit].MaxCount = 1 + m.minor%10
		}
		*l.bounds(m.by) = limits
		return "ok"
	case "reserve":
		return l.reserve(m)
	}
	e := l.entries[m.entry]
	switch {
	case m.kind == "refund" && e.State != authzstore.ReservationPosted:
		return "state"
	case m.kind == "refund" && m.minor > e.PostedMinor-e.RefundedMinor:
		return "invalid"
	case m.kind == "refund":
		e.RefundedMinor += m.minor
	case m.kind == "expire" && (e.State != authzstore.ReservationPending || e.ExpiresAtNanos == 0 || l.now <= e.ExpiresAtNanos):
		return "state"
	case !e.Open():
		return "resolved"
	case m.kind == "post" && m.minor > e.AmountMinor:
		return "invalid"
	case m.kind == "post":
		e.State, e.PostedMinor = authzstore.ReservationPosted, m.minor
	case m.kind == "void":
		e.State = authzstore.ReservationVoided
	default:
		e.State = authzstore.ReservationUnknown
	}
	return "ok"
}

func (l *ledger) reserve(m move) string {
	if m.by != noGrant {
		if over := l.over(m.by, m.minor); over != "" {
			return over
		}
	}
	if over := l.over(noGrant, m.minor); over != "" {
		return over
	}
	r := l.reservation(m)
	r.State, r.AtNanos = authzstore.ReservationPending, l.now
	l.entries = append(l.entries, &entry{r})
	return "ok"
}

// reservation is the next one. Every other expires after an hour.
func (l *ledger) reservation(m move) authzstore.Reservation {
	r := reservation(l.account(), fmt.Sprintf("rsv_%s_%d", l.name, len(l.entries)), m.minor)
	if m.by != noGrant {
		r.Grant = l.grants[m.by].ID
	}
	if len(l.entries)%2 == 0 {
		r.ExpiresAtNanos = l.now + int64(time.Hour)
	}
	return r
}

// found makes a ledger's account and grants in the store.
func (w *world) found(l *ledger) error {
	at := func(refs []kv.Ref, fn func(*authzstore.Tx) error) error { return w.at(l.now, refs, fn) }
	a := account(l.account(), l.limits...)
	err := at([]kv.Ref{authzstore.AccountRef(a.ID, kv.Exclusive)}, func(tx *authzstore.Tx) error { return tx.PutAccount(a) })
	for i, g := range l.grants {
		c := authzstore.Credential{Handle: fmt.Sprintf("%05d%05d", len(l.name)*100+i, w.handles.Add(1)), Sealed: []byte("sealed"), Digits: 6, PeriodSeconds: 30, Algorithm: "SHA1"}
		refs := append(authzstore.OfferRefs(*g), authzstore.CredentialRef(c.Handle, kv.Exclusive))
		err = errors.Join(err, at(refs, func(tx *authzstore.Tx) error { return errors.Join(tx.OfferGrant(*g), tx.AcceptGrant(g.ID, c)) }))
	}
	return err
}

func (w *world) at(now int64, refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	return w.Update(context.Background(), authzstore.Cause{ID: authzstore.NewID("dec"), Actor: operator, NowNanos: now}, refs, fn)
}

// play makes a move of a ledger in the store, before the ledger does, and returns
// what came of it.
func (w *world) play(l *ledger, m move) string {
	switch m.kind {
	case "clock":
		return "ok"
	case "bound":
		return answer(w.bound(l, m))
	case "reserve":
		r := l.reservation(m)
		return answer(w.at(l.now, authzstore.ReserveRefs(r), func(tx *authzstore.Tx) error { return tx.ReserveWithinLimits(r) }))
	}
	r := l.entries[m.entry].Reservation
	return answer(w.at(l.now, authzstore.ResolveRefs(r), func(tx *authzstore.Tx) error {
		switch m.kind {
		case "post":
			return tx.Post(r.ID, m.minor)
		case "void":
			return tx.Void(r.ID)
		case "unknown":
			return tx.MarkUnknown(r.ID)
		case "refund":
			return tx.Refund(r.ID, m.minor)
		default:
			return tx.Expire(r.ID)
		}
	}))
}

// bound changes one limit in the store as the ledger will.
func (w *world) bound(l *ledger, m move) error {
	after := &ledger{name: l.name, limits: l.limits, grants: []*authzstore.Grant{}}
	for _, g := range l.grants {
		copied := *g
		after.grants = append(after.grants, &copied)
	}
	after.play(m)
	if m.by == noGrant {
		a := account(l.account(), after.limits...)
		return w.at(l.now, []kv.Ref{authzstore.AccountRef(a.ID, kv.Exclusive)}, func(tx *authzstore.Tx) error { return tx.PutAccount(a) })
	}
	stored, err := w.grant(l.grants[m.by].ID)
	if err != nil {
		return err
	}
	return w.at(l.now, authzstore.GrantRefs(stored), func(tx *authzstore.Tx) error {
		return tx.ChangeGrant(stored.ID, after.grants[m.by].Terms)
	})
}

func (w *world) grant(id string) (g authzstore.Grant, err error) {
	err = w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		g, _, err = s.Grant(id)
		return err
	})
	return g, err
}

// answer is an error in the words of a ledger.
func answer(err error) string {
	if over, ok := errors.AsType[*authzstore.OverLimitError](err); ok {
		return fmt.Sprintf("over %s of %s: %d, %d", over.Limit, over.Holder, over.RemainingMinor, over.RemainingCount)
	}
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, authzstore.ErrState):
		return "state"
	case errors.Is(err, authzstore.ErrResolved):
		return "resolved"
	case errors.Is(err, authzstore.ErrInvalid):
		return "invalid"
	}
	return err.Error()
}

// differs says how the store differs from a ledger; empty if it does not.
func (w *world) differs(l *ledger) (how string, err error) {
	tell := func(format string, args ...any) { how += fmt.Sprintf(format+"\n", args...) }
	err = w.View(context.Background(), func(s authzstore.Snapshot) error {
		for by := noGrant; by < len(l.grants); by++ {
			u, err := s.Usage(l.holder(by))
			if err != nil {
				return err
			}
			pending, posted, count := l.spent(by, 0, l.now+1)
			if u.PendingMinor != pending || u.PostedMinor != posted || u.Count != count {
				tell("%s: %+v, want %d, %d, %d", l.holder(by), u, pending, posted, count)
			}
			for _, limit := range *l.bounds(by) {
				minor, n := l.remaining(by, limit)
				if room := limit.Remaining(u, l.consent(by), l.now); room.Minor != minor || room.Count != n {
					tell("%s of %s: %+v remains, want %d, %d", limit.Name, l.holder(by), room, minor, n)
				}
			}
		}
		a, _, err := s.Account(l.account())
		if err == nil && !reflect.DeepEqual(a.Limits, l.limits) {
			tell("the account's limits are %+v, want %+v", a.Limits, l.limits)
		}
		for _, g := range l.grants {
			stored, _, err2 := s.Grant(g.ID)
			if err = errors.Join(err, err2); err == nil && !reflect.DeepEqual(stored.Terms, g.Terms) {
				tell("terms of %s: %+v, want %+v", g.ID, stored.Terms, g.Terms)
			}
		}
		for _, e := range l.entries {
			r, _, err2 := s.Reservation(e.ID)
			err = errors.Join(err, err2)
			if r.State != e.State || r.PostedMinor != e.PostedMinor || r.RefundedMinor != e.RefundedMinor || r.AtNanos != e.AtNanos {
				tell("%s: %+v, want %+v", e.ID, r, e.Reservation)
			}
		}
		return err
	})
	return how, err
}
