package authzstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// A desk is a store with a clock, and Anna's account in it.
type desk struct {
	*Store
	now     int64
	handles int
}

var ben = Identity{Kind: "user", Issuer: "https://id.example", Subject: "ben"}

const hour = int64(time.Hour)

func newDesk(t testing.TB, limits ...Limit) *desk {
	t.Helper()
	s, _ := newStore(t)
	d := &desk{Store: s, now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC).UnixNano()}
	d.must(t, []kv.Ref{AccountRef("acc_anna", kv.Exclusive)}, func(tx *Tx) error {
		return tx.PutAccount(annaWith(func(a *Account) { a.Limits = limits }))
	})
	return d
}

func (d *desk) do(refs []kv.Ref, fn func(*Tx) error) error {
	return d.Update(context.Background(), Cause{ID: NewID("chg"), Actor: anna().Owner, NowNanos: d.now}, refs, fn)
}

func (d *desk) must(t testing.TB, refs []kv.Ref, fn func(*Tx) error) {
	t.Helper()
	if err := d.do(refs, fn); err != nil {
		t.Fatal(err)
	}
}

// read runs fn on a snapshot.
func (d *desk) read(t testing.TB, fn func(Snapshot) error) {
	t.Helper()
	if err := d.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) grant(t testing.TB, id string) (g Grant) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		g, _, err = s.Grant(id)
		return err
	})
	return g
}

func (d *desk) usage(t testing.TB, holder string) (u Usage) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		u, err = s.Usage(holder)
		return err
	})
	return u
}

// clean fails the test if the store breaks an invariant.
func (d *desk) clean(t testing.TB) {
	t.Helper()
	problems, err := d.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// grantTerms are terms without a restriction but the limits.
func grantTerms(limits ...Limit) Terms {
	all := Filter{Mode: ModeAny}
	return Terms{
		Currency: "EUR", MaxPaymentMinor: 1000, Limits: limits,
		ValidFrom: Instant{Mode: ModeAny}, ValidTo: Instant{Mode: ModeAny},
		Merchants: all, Categories: all, Countries: all, Channels: all,
		Hours: Hours{Mode: ModeAny}, Cooling: Cooling{Mode: ModeNone}, Delegation: DelegationFull,
	}
}

var total = Limit{Name: "total", MaxAmountMinor: 1_000_000, Period: Period{Kind: Lifetime}}

func newGrant(id string, terms Terms) Grant {
	return Grant{ID: id, Account: "acc_anna", Delegate: ben, Terms: terms}
}

func (d *desk) offer(g Grant) error {
	return d.do(OfferRefs(g), func(tx *Tx) error { return tx.OfferGrant(g) })
}

// credential is a new one, its handle counted.
func (d *desk) credential() Credential {
	d.handles++
	return Credential{Handle: fmt.Sprintf("%010d", d.handles), Sealed: []byte("sealed"), Digits: 6, PeriodSeconds: 30, Algorithm: "SHA1"}
}

// change runs a setter of a grant as it stands, with a new credential declared.
func (d *desk) change(t testing.TB, id string, fn func(*Tx, Credential) error) error {
	t.Helper()
	c := d.credential()
	g := d.grant(t, id)
	if g.ID == "" {
		g = newGrant(id, Terms{})
	}
	return d.do(append(GrantRefs(g), CredentialRef(c.Handle, kv.Exclusive)), func(tx *Tx) error { return fn(tx, c) })
}

// accepted makes an active grant.
func (d *desk) accepted(t testing.TB, id string, terms Terms) Grant {
	t.Helper()
	err := d.offer(newGrant(id, terms))
	if err == nil {
		err = d.change(t, id, func(tx *Tx, c Credential) error { return tx.AcceptGrant(id, c) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.grant(t, id)
}

// pay reserves under an ID, by a grant unless it is empty.
func (d *desk) pay(id, grant string, amountMinor int64) error {
	r := Reservation{ID: id, Account: "acc_anna", Grant: grant, Payee: "mer_bakery", AmountMinor: amountMinor, Currency: "EUR"}
	return d.do(ReserveRefs(r), func(tx *Tx) error { return tx.ReserveWithinLimits(r) })
}

// resolve runs one of the setters of a reservation.
func (d *desk) resolve(id, grant string, fn func(*Tx) error) error {
	return d.do(ResolveRefs(Reservation{ID: id, Account: "acc_anna", Grant: grant}), fn)
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// wantOver checks the limit that an error names, and what it says remains.
func wantOver(t testing.TB, err error, want OverLimitError) {
	t.Helper()
	over, ok := errors.AsType[*OverLimitError](err)
	if !ok || *over != want {
		t.Errorf("error %+v, want %+v", err, want)
	}
}
