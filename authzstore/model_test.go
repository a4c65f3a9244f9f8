package authzstore_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/authzstore"
)

// TestMain asks rapid for 200 seeds of everything, unless the command line says
// otherwise.
func TestMain(m *testing.M) {
	childMain()
	guessMain()
	if err := flag.Set("rapid.checks", "200"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// model is an account with its reservations as they should be.
type model struct {
	limit        int64
	reservations map[string]*authzstore.Reservation
}

func (m *model) usage() (u authzstore.Usage) {
	for _, r := range m.reservations {
		switch {
		case r.Open():
			u.PendingMinor += r.AmountMinor
			u.Count++
		case r.State == authzstore.ReservationPosted:
			u.PostedMinor += r.PostedMinor
			u.Count++
		}
	}
	return u
}

// TestModel plays random changes of one account against the model.
func TestModel(t *testing.T) {
	w := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		id := authzstore.NewID("acc")
		m := &model{reservations: map[string]*authzstore.Reservation{}}
		var ids []string
		setLimit := func(rt *rapid.T) {
			m.limit = rapid.Int64Range(1, 3000).Draw(rt, "limit")
			must(rt, w.putAccount(account(id, authzstore.Limit{Name: "total", MaxAmountMinor: m.limit})))
		}
		setLimit(rt)
		resolve := func(rt *rapid.T, to authzstore.ReservationState, postedMinor int64, do func(*authzstore.Tx, string) error) {
			if len(ids) == 0 {
				return
			}
			r := m.reservations[rapid.SampledFrom(ids).Draw(rt, "reservation")]
			err := w.resolve(id, r.ID, func(tx *authzstore.Tx) error { return do(tx, r.ID) })
			switch {
			case !r.Open():
				mustBe(rt, err, authzstore.ErrResolved)
			case postedMinor > r.AmountMinor:
				mustBe(rt, err, authzstore.ErrInvalid)
			default:
				must(rt, err)
				r.State, r.PostedMinor = to, postedMinor
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"limit": setLimit,
			"reserve": func(rt *rapid.T) {
				amount := rapid.Int64Range(1, 1000).Draw(rt, "amount")
				u := m.usage()
				r := reservation(id, authzstore.NewID("rsv"), amount)
				err := w.reserve(id, r.ID, amount)
				if u.PendingMinor+u.PostedMinor+amount > m.limit {
					var over *authzstore.OverLimitError
					if !errors.As(err, &over) || over.RemainingMinor != max(0, m.limit-u.PendingMinor-u.PostedMinor) {
						rt.Fatalf("%d over a limit of %d with %+v: %v", amount, m.limit, u, err)
					}
					return
				}
				must(rt, err)
				r.State = authzstore.ReservationPending
				m.reservations[r.ID], ids = &r, append(ids, r.ID)
			},
			"post": func(rt *rapid.T) {
				amount := rapid.Int64Range(1, 1000).Draw(rt, "amount")
				resolve(rt, authzstore.ReservationPosted, amount, func(tx *authzstore.Tx, id string) error { return tx.Post(id, amount) })
			},
			"void": func(rt *rapid.T) {
				resolve(rt, authzstore.ReservationVoided, 0, func(tx *authzstore.Tx, id string) error { return tx.Void(id) })
			},
			"unknown": func(rt *rapid.T) {
				resolve(rt, authzstore.ReservationUnknown, 0, func(tx *authzstore.Tx, id string) error { return tx.MarkUnknown(id) })
			},
			"": func(rt *rapid.T) {
				want := m.usage()
				want.Holder = id
				if got := w.usage(t, id); !reflect.DeepEqual(got, want) {
					rt.Fatalf("usage %+v, want %+v", got, want)
				}
			},
		})
	})
	w.close(t)
	w.reopen(t)
	w.clean(t)
}

func must(rt *rapid.T, err error) {
	if err != nil {
		rt.Fatal(err)
	}
}

func mustBe(rt *rapid.T, err, want error) {
	if !errors.Is(err, want) {
		rt.Fatalf("got error %v, want %v", err, want)
	}
}

// TestLedger plays random payments of an account and two grants, with the clock
// leaping over the bounds of their periods, against a ledger that adds up anew.
func TestLedger(t *testing.T) {
	w := open(t)
	games := 0
	rapid.Check(t, func(rt *rapid.T) {
		games++
		l := newLedger(fmt.Sprintf("game_%d", games))
		must(rt, w.found(l))
		pick := func(n int64) int64 { return rapid.Int64Range(0, n-1).Draw(rt, "pick") }
		for range rapid.IntRange(1, 60).Draw(rt, "moves") {
			m := l.draw(pick)
			got := w.play(l, m)
			if want := l.play(m); got != want {
				rt.Fatalf("%+v: %s, want %s", m, got, want)
			}
			how, err := w.differs(l)
			must(rt, err)
			if how != "" {
				rt.Fatalf("after %+v:\n%s", m, how)
			}
		}
	})
	w.close(t)
	w.reopen(t)
	w.clean(t)
}
