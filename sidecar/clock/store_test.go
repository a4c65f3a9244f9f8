package clock

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
)

var anna = authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"}

// A desk is a machine with a clock and a store that something was used up in, and
// whose account has nothing left to spend.
type desk struct {
	*machine
	dir     string
	clock   *Clock
	store   *authzstore.Store
	written int64 // the newest time of a transaction on the account
}

const thing = "chl_once"

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{machine: newMachine(), dir: filepath.Join(t.TempDir(), "data")}
	d.start(t)
	t.Cleanup(func() { d.stop(t) })
	account := authzstore.Account{
		ID: "acc_anna", Owner: anna, State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1000,
		Limits: []authzstore.Limit{{Name: "total", MaxAmountMinor: 1000}},
	}
	refs := append(authzstore.ReserveRefs(reservation("rsv_first")), authzstore.UseRef(thing))
	err := d.update(append(refs, authzstore.AccountRef(account.ID, kv.Exclusive)), func(tx *authzstore.Tx) error {
		return errors.Join(tx.PutAccount(account), tx.UseOnce(thing), tx.ReserveWithinLimits(reservation("rsv_first")))
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func reservation(id string) authzstore.Reservation {
	return authzstore.Reservation{ID: id, Account: "acc_anna", Payee: "mer_bakery", AmountMinor: 1000, Currency: "EUR"}
}

func (d *desk) start(t *testing.T) {
	t.Helper()
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: d.dir, BallastBytes: -1, VerifyEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	d.store = authzstore.New(backend)
	d.clock, err = Open(d.dir, func() (time.Time, error) {
		nanos, ok, err := d.store.LastRecordAt(context.Background())
		if !ok {
			return time.Time{}, err
		}
		return time.Unix(0, nanos), err
	}, d.config())
	if err != nil {
		t.Fatal(err)
	}
}

func (d *desk) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(d.clock.save(), d.store.Close()); err != nil {
		t.Error(err)
	}
}

// update runs a transaction at the clock's time.
func (d *desk) update(refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	now, err := d.clock.Now()
	if err != nil {
		return err
	}
	cause := authzstore.Cause{ID: authzstore.NewID("dec"), Actor: anna, NowNanos: now.UnixNano()}
	return d.store.Update(context.Background(), cause, refs, fn)
}

// decides tells whether the desk can decide, and fails the test if what was used
// can be used again, a limit has room again, or time went back on the account.
func (d *desk) decides(t *testing.T) bool {
	t.Helper()
	if _, err := d.clock.Now(); errors.Is(err, ErrJumped) {
		return false
	}
	err := d.update([]kv.Ref{authzstore.UseRef(thing)}, func(tx *authzstore.Tx) error { return tx.UseOnce(thing) })
	if !errors.Is(err, authzstore.ErrUsed) {
		t.Errorf("used again: %v", err)
	}
	id := authzstore.NewID("rsv")
	err = d.update(authzstore.ReserveRefs(reservation(id)), func(tx *authzstore.Tx) error {
		return tx.ReserveWithinLimits(reservation(id))
	})
	var over *authzstore.OverLimitError
	if !errors.As(err, &over) || over.RemainingMinor != 0 {
		t.Errorf("reserved over the limit: %v", err)
	}
	err = d.update([]kv.Ref{authzstore.AccountRef("acc_anna", kv.Exclusive)}, func(tx *authzstore.Tx) error {
		if tx.Now() < d.written {
			t.Errorf("a transaction at %d after one at %d", tx.Now(), d.written)
		}
		d.written = tx.Now()
		account, _, err := tx.Account("acc_anna")
		return errors.Join(err, tx.PutAccount(account))
	})
	if err != nil {
		t.Errorf("update: %v", err)
	}
	return true
}

func (d *desk) want(t *testing.T, when string, decides bool) {
	t.Helper()
	if got := d.decides(t); got != decides {
		_, err := d.clock.Now()
		t.Fatalf("%s: decides %v, want %v: %v", when, got, decides, err)
	}
}

// acceptNow has an operator accept the clock, and the clock take it up.
func (d *desk) acceptNow(t *testing.T) {
	t.Helper()
	if err := d.accept(d.dir, true); err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	d.clock.look(context.Background(), r.record)
	if len(r.seen) != 1 {
		t.Fatalf("taken up %d times", len(r.seen))
	}
}

// The clock goes wrong by so much, while the sidecar runs, over a restart of it, and
// over a reboot: either nothing is decided until the clock is back or an operator
// has accepted it, or decisions go on; and whatever happens, nothing that was used is
// new, no limit is reset, and no noun gets older.
func TestJumps(t *testing.T) {
	const day = 24 * time.Hour
	jumps := map[string]time.Duration{"-1h": -time.Hour, "+1d": day, "+1month": 30 * day, "+10y": 3652 * day}
	events := map[string]func(*testing.T, *desk){
		"live":    func(*testing.T, *desk) {},
		"restart": func(t *testing.T, d *desk) { d.stop(t); d.start(t) },
		"reboot":  func(t *testing.T, d *desk) { d.stop(t); d.reboot(time.Minute); d.start(t) },
		"crash":   func(t *testing.T, d *desk) { d.crash(t); d.start(t) },
	}
	for jumpName, jump := range jumps {
		for eventName, event := range events {
			// A day off is no more than a day off.
			believed := eventName == "reboot" && jump == day
			t.Run(fmt.Sprintf("%s/%s/and back", jumpName, eventName), func(t *testing.T) {
				d := newDesk(t)
				d.want(t, "before", true)
				d.pass(time.Minute)
				d.wrong = jump
				event(t, d)
				d.want(t, "wrong", believed)
				d.pass(30 * time.Minute)
				d.want(t, "half an hour later", believed)
				d.wrong = 0
				event(t, d)
				d.want(t, "right again", !believed)
				if believed {
					d.acceptNow(t)
				}
				d.want(t, "at the end", true)
				d.isRight(t)
			})
			t.Run(fmt.Sprintf("%s/%s/accepted", jumpName, eventName), func(t *testing.T) {
				d := newDesk(t)
				d.pass(time.Minute)
				d.wrong = jump
				event(t, d)
				if !believed {
					d.want(t, "wrong", false)
					d.acceptNow(t)
				}
				d.want(t, "accepted", true)
				event(t, d)
				d.want(t, "and later", true)
				d.isRight(t)
				d.wrong = 0
				event(t, d)
				if back := jump < 0; back && eventName == "reboot" {
					d.want(t, "an hour ahead after a reboot", true)
				} else {
					d.want(t, "right again", false)
					d.acceptNow(t)
				}
				d.want(t, "at the end", true)
				d.isRight(t)
			})
		}
	}
}

// isRight: the clock tells what the wall clock shows.
func (d *desk) isRight(t *testing.T) {
	t.Helper()
	if now, err := d.clock.Now(); err != nil || now.Before(d.wall()) || now.Sub(d.wall()) > 10*time.Second {
		t.Errorf("it is %v, %v; the wall clock shows %v", now, err, d.wall())
	}
}

// crash ends the process without a last save of the clock.
func (d *desk) crash(t *testing.T) {
	t.Helper()
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
}
