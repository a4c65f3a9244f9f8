package authzstore

import (
	"context"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// spoilt writes a noun as no setter would, with a record like any other.
func spoilt[T checked](t *testing.T, d *desk, key string, version byte, bend func(*T)) {
	t.Helper()
	d.must(t, []kv.Ref{exclusive(key)}, func(tx *Tx) error {
		noun, _, err := get[T](tx.Reader, key, version)
		if err != nil {
			return err
		}
		bend(&noun)
		return put(tx, key, version, noun)
	})
}

// TestVerifyBetweenNouns: each invariant between nouns, broken by a value that is
// sound by itself.
func TestVerifyBetweenNouns(t *testing.T) {
	const (
		usageSums = "usage is the sum of the reservations"
		indexes   = "the indexes hold the nouns"
		delegates = "the delegates of an account are its open grants"
		credits   = "an accepted grant has at most one credential in force, its own"
	)
	gone := func(t *testing.T, d *desk, key string) {
		d.must(t, []kv.Ref{exclusive(key)}, func(tx *Tx) error { return tx.delete(key) })
	}
	usage := func(bend func(*Usage)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) { spoilt(t, d, "usage/grt_1", usageVersion, bend) }
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, d *desk)
		want  string
	}{
		"a grant's sum":      {usage(func(u *Usage) { u.PendingMinor++ }), usageSums},
		"a period's sum":     {usage(func(u *Usage) { u.Periods[0].PostedMinor++ }), usageSums},
		"a period's count":   {usage(func(u *Usage) { u.Periods[0].Count-- }), usageSums},
		"a period forgotten": {usage(func(u *Usage) { u.Periods = nil }), usageSums},
		"a period moved":     {usage(func(u *Usage) { u.Periods[0].StartsAtNanos++ }), usageSums},
		"a window's entry":   {usage(func(u *Usage) { u.Window[0].Minor++ }), usageSums},
		"an entry forgotten": {usage(func(u *Usage) { u.Window = nil }), usageSums},
		"an entry twice":     {usage(func(u *Usage) { u.Window = append(u.Window, u.Window[0]) }), usageSums},
		"usage without reservations": {func(t *testing.T, d *desk) {
			spoilt(t, d, "usage/grt_0", usageVersion, func(u *Usage) { u.Holder, u.Count = "grt_0", 1 })
		}, usageSums},
		"an open grant not listed": {func(t *testing.T, d *desk) { gone(t, d, "delegates/acc_anna") }, delegates},
		"a closed grant listed": {func(t *testing.T, d *desk) {
			spoilt(t, d, "delegates/acc_anna", delegatesVersion, func(l *Delegates) { l.Open = append(l.Open, "grt_2") })
		}, delegates},
		"a grant listed elsewhere": {func(t *testing.T, d *desk) {
			spoilt(t, d, "delegates/acc_ben", delegatesVersion, func(l *Delegates) { *l = Delegates{"acc_ben", []string{"grt_1"}} })
		}, delegates},
		"a grant not in its account":  {func(t *testing.T, d *desk) { gone(t, d, "granted/acc_anna/grt_1") }, indexes},
		"a grant not at its delegate": {func(t *testing.T, d *desk) { gone(t, d, delegatedOf(ben)+"grt_1") }, indexes},
		"an index entry too many":     {func(t *testing.T, d *desk) { spoilt(t, d, "granted/acc_anna/grt_3", indexVersion, func(*indexMark) {}) }, indexes},
		"an expiry forgotten": {func(t *testing.T, d *desk) {
			spoilt(t, d, "open/acc_anna/rsv_1", openVersion, func(m *openMark) { m.ExpiresAtNanos = 0 })
		}, indexes},
		"a merchant's identity gone": {func(t *testing.T, d *desk) { gone(t, d, merchantOfKey(baker())) }, indexes},
		"another channel": {func(t *testing.T, d *desk) {
			spoilt(t, d, merchantOfKey(baker()), merchantOfVersion, func(m *MerchantIdentity) { m.Channel = "web" })
		}, indexes},
		"another merchant": {func(t *testing.T, d *desk) {
			spoilt(t, d, merchantOfKey(baker()), merchantOfVersion, func(m *MerchantIdentity) { m.Merchant = "mer_thief" })
		}, indexes},
		"a terminal not in its list": {func(t *testing.T, d *desk) { gone(t, d, "terminal_of/acc_anna/trm_1") }, indexes},
		"a second credential": {func(t *testing.T, d *desk) {
			spoilt(t, d, "credential/0000000099", credentialVersion, func(c *Credential) { *c = d.credential(); c.Handle, c.Grant = "0000000099", "grt_1" })
		}, credits},
		"a credential gone": {func(t *testing.T, d *desk) { gone(t, d, "credential/"+d.grant(t, "grt_1").Handle) }, credits},
		"a credential ended": {func(t *testing.T, d *desk) {
			spoilt(t, d, "credential/"+d.grant(t, "grt_1").Handle, credentialVersion, func(c *Credential) { c.Ended = true })
		}, credits},
		"a revoked grant that pays": {func(t *testing.T, d *desk) {
			spoilt(t, d, "credential/0000000002", credentialVersion, func(c *Credential) { c.Ended = false })
		}, credits},
		"a credential of no grant": {func(t *testing.T, d *desk) {
			spoilt(t, d, "credential/"+d.grant(t, "grt_1").Handle, credentialVersion, func(c *Credential) { c.Grant = "grt_0" })
		}, credits},
		"a reservation by no grant": {func(t *testing.T, d *desk) {
			spoilt(t, d, "reservation/rsv_1", reservationVersion, func(r *Reservation) { r.Grant = "grt_0" })
		}, "a reservation is by a grant from its account"},
		"a reservation counts for x": {func(t *testing.T, d *desk) {
			spoilt(t, d, "reservation/rsv_1", reservationVersion, func(r *Reservation) { r.Counted[0].Holder = "grt_2" })
		}, "a reservation counts for its account and its grant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := fullDesk(t)
			d.clean(t)
			test.spoil(t, d)
			problems, err := d.Verify(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if p.Invariant == test.want {
					return
				}
				if strings.HasPrefix(p.Invariant, "every") {
					t.Errorf("the value is not sound by itself: %s", p)
				}
			}
			t.Errorf("no problem says %q: %v", test.want, problems)
		})
	}
}

func baker() Identity {
	return Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery till"}
}

// fullDesk has one or two of every noun: an active grant that paid, a revoked one,
// a merchant, a terminal.
func fullDesk(t *testing.T) *desk {
	d := newDesk(t)
	d.accepted(t, "grt_1", grantTerms(
		Limit{Name: "daily", MaxAmountMinor: 5000, Period: Period{Kind: Day, Alignment: ByCalendar, Zone: "UTC"}},
		Limit{Name: "burst", MaxCount: 9, Period: Period{Kind: Sliding, WindowSeconds: 600}}))
	d.accepted(t, "grt_2", grantTerms(total))
	if err := d.change(t, "grt_2", func(tx *Tx, _ Credential) error { return tx.RevokeGrant("grt_2") }); err != nil {
		t.Fatal(err)
	}
	r := Reservation{ID: "rsv_1", Account: "acc_anna", Grant: "grt_1", Payee: "mer_bakery", AmountMinor: 100, Currency: "EUR", ExpiresAtNanos: d.now + hour}
	d.must(t, ReserveRefs(r), func(tx *Tx) error { return tx.ReserveWithinLimits(r) })
	m := bakery()
	d.must(t, MerchantRefs(m), func(tx *Tx) error { return tx.PutMerchant(m) })
	trm := phone()
	d.must(t, TerminalRefs(trm), func(tx *Tx) error { return tx.PutTerminal(trm) })
	return d
}
