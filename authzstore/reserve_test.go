package authzstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

func utc(text string) int64 {
	at, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		panic(err)
	}
	return at.UnixNano()
}

type periodCase struct {
	period         Period
	starts, resets int64
}

func (c periodCase) limit(name string) Limit { return Limit{Name: name, MaxCount: 1, Period: c.period} }

// everyPeriod is one of each kind with the bounds that hold on 2 March 2026 at
// noon, when desks open and their grants are accepted.
var everyPeriod = []periodCase{
	{Period{Kind: Lifetime}, 0, 0},
	{Period{Kind: Day, Alignment: ByCalendar, Zone: "UTC"}, utc("2026-03-02T00:00:00"), utc("2026-03-03T00:00:00")},
	{Period{Kind: Week, Alignment: ByCalendar, Zone: "UTC", WeekStart: "sunday"}, utc("2026-03-01T00:00:00"), utc("2026-03-08T00:00:00")},
	{Period{Kind: Fortnight, Alignment: ByConsent, Zone: "UTC"}, utc("2026-03-02T00:00:00"), utc("2026-03-16T00:00:00")},
	{Period{Kind: Month, Alignment: ByCalendar, Zone: "UTC"}, utc("2026-03-01T00:00:00"), utc("2026-04-01T00:00:00")},
	{Period{Kind: Month, Alignment: ByConsent, Zone: "UTC"}, utc("2026-03-02T00:00:00"), utc("2026-04-02T00:00:00")},
	{Period{Kind: HalfYear, Alignment: ByCalendar, Zone: "UTC"}, utc("2026-01-01T00:00:00"), utc("2026-07-01T00:00:00")},
	{Period{Kind: Year, Alignment: ByConsent, Zone: "UTC"}, utc("2026-03-02T00:00:00"), utc("2027-03-02T00:00:00")},
	{Period{Kind: Sliding, WindowSeconds: 3600}, utc("2026-03-02T11:00:00") + 1, utc("2026-03-02T13:00:00")},
}

// TestEveryLimitExactly: of each kind of limit, on a grant and on an account, what
// fills it exactly passes and one more does not; a nanosecond before its end it
// still holds, and at its end it is whole again.
func TestEveryLimitExactly(t *testing.T) {
	for _, kind := range everyPeriod {
		for _, byGrant := range []bool{true, false} {
			for _, counts := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %s grant=%t count=%t", kind.period.Kind, kind.period.Alignment, byGrant, counts), func(t *testing.T) {
					t.Parallel()
					limit := Limit{Name: "bound", MaxAmountMinor: 1000, Period: kind.period}
					want := OverLimitError{Limit: "bound", RemainingMinor: 0, RemainingCount: -1, StartsAtNanos: kind.starts, ResetsAtNanos: kind.resets}
					if counts {
						limit.MaxAmountMinor, limit.MaxCount = 0, 2
						want.RemainingMinor, want.RemainingCount = -1, 0
					}
					exactly(t, limit, byGrant, want)
				})
			}
		}
	}
}

func exactly(t *testing.T, limit Limit, byGrant bool, want OverLimitError) {
	var d *desk
	grant := ""
	if want.Holder = "acc_anna"; byGrant {
		d = newDesk(t)
		d.accepted(t, "grt_1", grantTerms(limit))
		grant, want.Holder = "grt_1", "grt_1"
	} else {
		d = newDesk(t, limit)
	}
	if err := errors.Join(d.pay("rsv_1", grant, 400), d.pay("rsv_2", grant, 600)); err != nil {
		t.Fatal(err)
	}
	wantOver(t, d.pay("rsv_3", grant, 1), want)
	if limit.Period.Kind == Lifetime {
		d.now += 1000 * 24 * hour
		wantOver(t, d.pay("rsv_3", grant, 1), want)
		return
	}
	d.now = want.ResetsAtNanos - 1
	if limit.Period.Kind == Sliding {
		want.StartsAtNanos, _ = limit.Period.Bounds(0, d.now)
	}
	wantOver(t, d.pay("rsv_3", grant, 1), want)
	d.now++
	if err := d.pay("rsv_3", grant, 1000); err != nil {
		t.Errorf("at its end: %v", err)
	}
	d.clean(t)
}

func TestGrantBounds(t *testing.T) {
	d := newDesk(t)
	terms := grantTerms(total)
	terms.ValidFrom, terms.ValidTo = Instant{ModeAt, d.now + hour}, Instant{ModeAt, d.now + 100*hour}
	terms.Cooling = Cooling{ModeFirst, 24 * 3600, 700}
	accepted := d.now
	d.accepted(t, "grt_1", terms)
	wantState := func(err error, state string) {
		t.Helper()
		if got, ok := errors.AsType[*StateError](err); !ok || *got != (StateError{"grant", state}) {
			t.Errorf("error %v, want a grant that is %s", err, state)
		}
	}
	d.now = accepted + hour - 1
	wantState(d.pay("rsv_0", "grt_1", 1), "not valid yet")
	d.now++
	cooling := OverLimitError{Holder: "grt_1", Limit: CoolingLimit, RemainingMinor: 700, RemainingCount: -1, StartsAtNanos: accepted, ResetsAtNanos: accepted + 24*hour}
	wantOver(t, d.pay("rsv_0", "grt_1", 1001), OverLimitError{Holder: "grt_1", Limit: PaymentLimit, RemainingMinor: 1000, RemainingCount: -1})
	wantOver(t, d.pay("rsv_0", "grt_1", 701), cooling)
	if err := d.pay("rsv_1", "grt_1", 700); err != nil {
		t.Fatal(err)
	}
	d.now = accepted + 24*hour - 1
	cooling.RemainingMinor = 0
	wantOver(t, d.pay("rsv_0", "grt_1", 1), cooling)
	d.now++
	if err := d.pay("rsv_2", "grt_1", 1000); err != nil {
		t.Errorf("after cooling: %v", err)
	}
	wantError(t, d.pay("rsv_0", "grt_nobody", 1), ErrUnknownID)
	wantError(t, d.pay("rsv_2", "grt_1", 1), ErrInvalid)
	d.now = accepted + 100*hour
	if err := d.pay("rsv_3", "grt_1", 1); err != nil {
		t.Errorf("at the last instant: %v", err)
	}
	d.now++
	wantState(d.pay("rsv_0", "grt_1", 1), "expired")

	// Who is not the owner any more lets nobody pay.
	d.accepted(t, "grt_2", grantTerms(total))
	account := annaWith(func(a *Account) { a.Owner.Subject = "dora" })
	d.must(t, []kv.Ref{AccountRef("acc_anna", kv.Exclusive)}, func(tx *Tx) error { return tx.PutAccount(account) })
	wantError(t, d.pay("rsv_0", "grt_2", 1), ErrInvalid)
	d.clean(t)
}

// TestOnlyActiveGrantsPay, and what was reserved before can still be resolved.
func TestOnlyActiveGrantsPay(t *testing.T) {
	d := newDesk(t)
	if err := d.offer(newGrant("grt_0", grantTerms(total))); err != nil {
		t.Fatal(err)
	}
	wantError(t, d.pay("rsv_0", "grt_0", 1), ErrState)
	for _, step := range []string{"freeze", "revoke", "end"} {
		d.accepted(t, "grt_"+step, grantTerms(total))
		if err := errors.Join(d.pay("rsv_1"+step, "grt_"+step, 100), d.pay("rsv_2"+step, "grt_"+step, 100)); err != nil {
			t.Fatal(err)
		}
		if err := d.change(t, "grt_"+step, func(tx *Tx, c Credential) error { return steps[step](tx, "grt_"+step, c) }); err != nil {
			t.Fatal(err)
		}
		wantError(t, d.pay("rsv_0", "grt_"+step, 1), ErrState)
		if err := errors.Join(
			d.resolve("rsv_1"+step, "grt_"+step, func(tx *Tx) error { return tx.Post("rsv_1"+step, 60) }),
			d.resolve("rsv_1"+step, "grt_"+step, func(tx *Tx) error { return tx.Refund("rsv_1"+step, 60) }),
			d.resolve("rsv_2"+step, "grt_"+step, func(tx *Tx) error { return tx.Void("rsv_2" + step) }),
		); err != nil {
			t.Errorf("after %s: %v", step, err)
		}
	}
	d.clean(t)
}

// TestLoweredLimit: what is spent stays spent, and nothing remains.
func TestLoweredLimit(t *testing.T) {
	d := newDesk(t)
	monthly := Limit{Name: "monthly", MaxAmountMinor: 1000, MaxCount: 5, Period: Period{Kind: Month, Alignment: ByCalendar, Zone: "UTC"}}
	d.accepted(t, "grt_1", grantTerms(monthly))
	if err := errors.Join(d.pay("rsv_1", "grt_1", 300), d.pay("rsv_2", "grt_1", 300)); err != nil {
		t.Fatal(err)
	}
	lowered := monthly
	lowered.MaxAmountMinor, lowered.MaxCount = 500, 1
	if err := d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", grantTerms(lowered)) }); err != nil {
		t.Fatal(err)
	}
	over := OverLimitError{Holder: "grt_1", Limit: "monthly", StartsAtNanos: utc("2026-03-01T00:00:00"), ResetsAtNanos: utc("2026-04-01T00:00:00")}
	wantOver(t, d.pay("rsv_3", "grt_1", 1), over)
	d.clean(t)
}

// TestVoidGivesBackItsOwnPeriod: a payment of March that is voided in April leaves
// April as it is.
func TestVoidGivesBackItsOwnPeriod(t *testing.T) {
	d := newDesk(t)
	monthly := Limit{Name: "monthly", MaxAmountMinor: 1000, Period: Period{Kind: Month, Alignment: ByCalendar, Zone: "UTC"}}
	d.accepted(t, "grt_1", grantTerms(monthly, total))
	remaining := func() Room { return monthly.Remaining(d.usage(t, "grt_1"), 0, d.now) }
	want := func(minor int64) {
		t.Helper()
		if got := remaining().Minor; got != minor {
			t.Errorf("%d remain, want %d", got, minor)
		}
		d.clean(t)
	}
	if err := errors.Join(d.pay("rsv_1", "grt_1", 300), d.pay("rsv_2", "grt_1", 200), d.pay("rsv_3", "grt_1", 100)); err != nil {
		t.Fatal(err)
	}
	want(400)
	void := func(id string) {
		t.Helper()
		if err := d.resolve(id, "grt_1", func(tx *Tx) error { return tx.Void(id) }); err != nil {
			t.Fatal(err)
		}
	}
	void("rsv_3")
	want(500)
	d.now = utc("2026-04-15T00:00:00")
	want(1000)
	void("rsv_1") // nothing was written in April yet: March is still there
	want(1000)
	if err := d.pay("rsv_4", "grt_1", 50); err != nil {
		t.Fatal(err)
	}
	if u := d.usage(t, "grt_1"); len(u.Periods) != 1 {
		t.Errorf("March is still kept: %+v", u.Periods)
	}
	void("rsv_2")
	want(950)
	if u := d.usage(t, "grt_1"); u.PendingMinor != 50 || u.Count != 1 {
		t.Errorf("all in all %+v", u)
	}
}

// TestRefunds: they go where the payment counted, if the terms said so then, and
// never back to the account.
func TestRefunds(t *testing.T) {
	for _, restores := range []bool{true, false} {
		daily := Limit{Name: "daily", MaxAmountMinor: 1000, MaxCount: 3, Period: Period{Kind: Day, Alignment: ByCalendar, Zone: "UTC"}}
		burst := Limit{Name: "burst", MaxAmountMinor: 1000, Period: Period{Kind: Sliding, WindowSeconds: 48 * 3600}}
		d := newDesk(t, Limit{Name: "total", MaxAmountMinor: 1000})
		terms := grantTerms(daily, burst)
		terms.RefundRestores = restores
		d.accepted(t, "grt_1", terms)
		if err := d.pay("rsv_1", "grt_1", 900); err != nil {
			t.Fatal(err)
		}
		refund := func(minor int64) error {
			return d.resolve("rsv_1", "grt_1", func(tx *Tx) error { return tx.Refund("rsv_1", minor) })
		}
		wantError(t, refund(1), ErrState)
		if err := d.resolve("rsv_1", "grt_1", func(tx *Tx) error { return tx.Post("rsv_1", 800) }); err != nil {
			t.Fatal(err)
		}
		// The terms of the payment count, not those of today.
		terms.RefundRestores = !restores
		if err := d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", terms) }); err != nil {
			t.Fatal(err)
		}
		wantError(t, refund(0), ErrInvalid)
		wantError(t, refund(801), ErrInvalid)
		if err := errors.Join(refund(300), refund(100)); err != nil {
			t.Fatal(err)
		}
		wantError(t, refund(401), ErrInvalid)
		want := int64(200)
		if restores {
			want = 600
		}
		u := d.usage(t, "grt_1")
		for _, l := range []Limit{daily, burst} {
			if room := l.Remaining(u, 0, d.now); room.Minor != want {
				t.Errorf("restores %t: %d remain of %s, want %d", restores, room.Minor, l.Name, want)
			}
		}
		if room := daily.Remaining(u, 0, d.now); room.Count != 2 {
			t.Errorf("a refund leaves %d payments, want 2", room.Count)
		}
		if room := (Limit{MaxAmountMinor: 1000}).Remaining(d.usage(t, "acc_anna"), 0, d.now); room.Minor != 200 {
			t.Errorf("%d remain of the account's limit, want 200", room.Minor)
		}
		// A day later the day is another one, the window the same.
		d.now += 24 * hour
		if err := refund(400); err != nil {
			t.Fatal(err)
		}
		wantError(t, refund(1), ErrInvalid)
		if restores {
			want = 1000
		}
		u = d.usage(t, "grt_1")
		if day, window := daily.Remaining(u, 0, d.now).Minor, burst.Remaining(u, 0, d.now).Minor; day != 1000 || window != want {
			t.Errorf("restores %t: %d remain of the day, %d of the window; want 1000 and %d", restores, day, window, want)
		}
		d.clean(t)
	}
}

// TestExpiry: a pending reservation is pending up to its expiry, then unknown, and
// still counts until it is resolved.
func TestExpiry(t *testing.T) {
	d := newDesk(t)
	d.accepted(t, "grt_1", grantTerms(total))
	reserve := func(id string, expires int64) error {
		r := Reservation{ID: id, Account: "acc_anna", Grant: "grt_1", Payee: "mer_bakery", AmountMinor: 100, Currency: "EUR", ExpiresAtNanos: expires}
		return d.do(ReserveRefs(r), func(tx *Tx) error { return tx.ReserveWithinLimits(r) })
	}
	wantError(t, reserve("rsv_0", d.now-1), ErrInvalid)
	expires := d.now + hour
	if err := errors.Join(reserve("rsv_1", expires), reserve("rsv_2", expires+1), reserve("rsv_3", 0), reserve("rsv_4", expires)); err != nil {
		t.Fatal(err)
	}
	expire := func(id string) error {
		return d.resolve(id, "grt_1", func(tx *Tx) error { return tx.Expire(id) })
	}
	expired := func() (ids []string) {
		d.read(t, func(s Snapshot) error {
			found, next, err := s.ExpiredReservations(d.now, "", 10)
			if next != "" {
				t.Errorf("more follows: %q", next)
			}
			for _, r := range found {
				ids = append(ids, r.ID)
			}
			return err
		})
		return ids
	}
	d.now = expires
	if got := expired(); got != nil {
		t.Errorf("at its expiry: %v", got)
	}
	wantError(t, expire("rsv_1"), ErrState)
	d.now++
	if got := expired(); !reflect.DeepEqual(got, []string{"rsv_1", "rsv_4"}) {
		t.Errorf("past their expiry are %v", got)
	}
	for _, id := range []string{"rsv_1", "rsv_4"} {
		if err := expire(id); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, expire("rsv_1"), ErrState)
	wantError(t, expire("rsv_3"), ErrState)
	wantError(t, expire("rsv_9"), ErrUnknownID)
	if got := expired(); got != nil {
		t.Errorf("unknown ones are listed again: %v", got)
	}
	if u := d.usage(t, "grt_1"); u.PendingMinor != 400 || u.Count != 4 {
		t.Errorf("expired ones do not count: %+v", u)
	}
	d.now += 1000 * hour // a late post is not lost
	if err := errors.Join(
		d.resolve("rsv_1", "grt_1", func(tx *Tx) error { return tx.Post("rsv_1", 100) }),
		d.resolve("rsv_4", "grt_1", func(tx *Tx) error { return tx.Void("rsv_4") }),
	); err != nil {
		t.Fatal(err)
	}
	if u := d.usage(t, "grt_1"); u.PendingMinor != 200 || u.PostedMinor != 100 || u.Count != 3 {
		t.Errorf("after a late post and a void: %+v", u)
	}
	d.read(t, func(s Snapshot) error {
		first, next, err := s.OpenReservations("acc_anna", "", 1)
		rest, end, err2 := s.OpenReservations("acc_anna", next, 10)
		all, _, err3 := s.OpenReservations("", "", 10)
		if len(first) != 1 || len(rest) != 1 || len(all) != 2 || end != "" || first[0].ID != "rsv_2" || rest[0].ID != "rsv_3" {
			t.Errorf("open are %+v, then %+v", first, rest)
		}
		return errors.Join(err, err2, err3)
	})
	d.clean(t)
}

// TestExpireReservations: what is past its expiry becomes unknown, once, and under
// a record of its own; what is not, or is resolved, stays.
func TestExpireReservations(t *testing.T) {
	d := newDesk(t)
	for i := range 5 {
		r := Reservation{ID: fmt.Sprintf("rsv_%d", i), Account: "acc_anna", Payee: "mer_bakery", AmountMinor: 1, Currency: "EUR", ExpiresAtNanos: d.now + int64(i)*hour}
		d.must(t, ReserveRefs(r), func(tx *Tx) error { return tx.ReserveWithinLimits(r) })
	}
	if err := d.resolve("rsv_0", "", func(tx *Tx) error { return tx.Void("rsv_0") }); err != nil {
		t.Fatal(err)
	}
	d.now += 3 * hour
	for _, want := range []int{2, 0} {
		got, err := d.ExpireReservations(context.Background(), func() Cause { return Cause{NewID("chg"), ben, d.now} })
		if got != want || err != nil {
			t.Errorf("%d expired, %v; want %d", got, err, want)
		}
	}
	d.read(t, func(s Snapshot) error {
		for i, want := range []ReservationState{ReservationVoided, ReservationUnknown, ReservationUnknown, ReservationPending, ReservationPending} {
			r, _, err := s.Reservation(fmt.Sprintf("rsv_%d", i))
			if r.State != want || err != nil {
				t.Errorf("%s is %s, %v; want %s", r.ID, r.State, err, want)
			}
		}
		return nil
	})
	d.clean(t)
}

// TestWindowIsBounded: a sliding window counts a thousand payments exactly, and
// refuses to count another one less exactly.
func TestWindowIsBounded(t *testing.T) {
	d := newDesk(t)
	short := Limit{Name: "short", MaxCount: 2000, Period: Period{Kind: Sliding, WindowSeconds: 60}}
	long := Limit{Name: "long", MaxCount: 5000, Period: Period{Kind: Sliding, WindowSeconds: 3600}}
	d.accepted(t, "grt_1", grantTerms(short, long))
	first := d.now
	for range 20 { // not one by one: a disk has better things to do
		var refs []kv.Ref
		var all []Reservation
		for range maxWindow / 20 {
			r := Reservation{ID: NewID("rsv"), Account: "acc_anna", Grant: "grt_1", Payee: "mer_bakery", AmountMinor: 1, Currency: "EUR"}
			all, refs = append(all, r), append(refs, ReserveRefs(r)...)
		}
		d.must(t, refs, func(tx *Tx) error {
			for _, r := range all {
				if err := tx.ReserveWithinLimits(r); err != nil {
					return err
				}
			}
			return nil
		})
		d.now += int64(time.Second)
	}
	err := d.pay("rsv_last", "grt_1", 1)
	over, ok := errors.AsType[*OverLimitError](err)
	if !ok || !over.WindowFull || over.ResetsAtNanos != first+hour {
		t.Errorf("one more: %+v", err)
	}
	d.now = first + hour
	if err := d.pay("rsv_last", "grt_1", 1); err != nil {
		t.Errorf("once the first has left: %v", err)
	}
	d.clean(t)
}

// TestSumsDoNotOverflow: sums past every limit stay such.
func TestSumsDoNotOverflow(t *testing.T) {
	u := Usage{PendingMinor: math.MaxInt64, PostedMinor: math.MaxInt64, Count: 1}
	if room := (Limit{MaxAmountMinor: MaxAmountMinor}).Remaining(u, 0, 0); room.Minor != 0 {
		t.Errorf("%d remain", room.Minor)
	}
	if err := u.replace(nil, sums{}, sums{pendingMinor: 1, count: 1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one more: %v", err)
	}
}

// TestCallersAgainstEveryLimit: of 64 callers at once, as many pay as each kind of
// limit has room for, no matter whose it is.
func TestCallersAgainstEveryLimit(t *testing.T) {
	const room = 25
	for i, kind := range everyPeriod {
		for _, limit := range []Limit{
			{Name: "bound", MaxAmountMinor: room * 7, Period: kind.period},
			{Name: "bound", MaxCount: room, Period: kind.period},
			{Name: "bound", MaxAmountMinor: room*7 + 6, Period: kind.period},
		} {
			t.Run(fmt.Sprintf("%s %s", kind.period.Kind, kind.period.Alignment), func(t *testing.T) {
				t.Parallel()
				if i%2 == 0 {
					d := newDesk(t, total)
					d.accepted(t, "grt_1", grantTerms(limit))
					callersPay(t, d, "grt_1", room)
				} else {
					callersPay(t, newDesk(t, limit), "", room)
				}
			})
		}
	}
	t.Run("cooling", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		terms := grantTerms(total)
		terms.Cooling = Cooling{ModeFirst, 3600, room*7 + 6}
		d.accepted(t, "grt_1", terms)
		callersPay(t, d, "grt_1", room)
	})
}

func callersPay(t *testing.T, d *desk, grant string, room int) {
	const callers = 64
	var wg sync.WaitGroup
	var mu sync.Mutex
	paid := 0
	for caller := range callers {
		wg.Go(func() {
			err := d.pay(fmt.Sprintf("rsv_%d", caller), grant, 7)
			_, over := errors.AsType[*OverLimitError](err)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				paid++
			} else if !over {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if paid != room {
		t.Errorf("%d of %d paid, want exactly %d", paid, callers, room)
	}
	d.clean(t)
}
