package authzstore

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
)

func anna() Account {
	return Account{
		ID:              "acc_anna",
		Owner:           Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
		State:           AccountActive,
		Currency:        "EUR",
		MaxPaymentMinor: 50000,
		CreatedAtNanos:  written,
	}
}

func annaWith(change func(*Account)) Account {
	a := anna()
	change(&a)
	return a
}

func newStore(t testing.TB) (*Store, kv.Store) {
	t.Helper()
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: t.TempDir(), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(backend), backend
}

// written is the clock of every cause.
const written = int64(1)

func someCause() Cause { return Cause{ID: NewID("chg"), Actor: anna().Owner, NowNanos: written} }

func same(a, b Account) bool { return reflect.DeepEqual(a, b) }

func putAccount(s *Store, a Account, mode kv.Mode) error {
	return s.Update(context.Background(), someCause(), []kv.Ref{AccountRef(a.ID, mode)}, func(tx *Tx) error { return tx.PutAccount(a) })
}

func account(s *Store, id string) (a Account, ok bool, err error) {
	err = s.View(context.Background(), func(r Snapshot) (err error) {
		a, ok, err = r.Account(id)
		return err
	})
	return a, ok, err
}

// What was written is read back, whole, in a snapshot and in a transaction.
func TestAccountRoundTrip(t *testing.T) {
	s, _ := newStore(t)
	if a, ok, err := account(s, "acc_anna"); ok || err != nil || !same(a, Account{}) {
		t.Fatalf("before the write: %+v, %v, %v", a, ok, err)
	}
	for name, want := range map[string]Account{
		"plain":         anna(),
		"frozen":        annaWith(func(a *Account) { a.State = AccountFrozen }),
		"least":         annaWith(func(a *Account) { a.MaxPaymentMinor = 1 }),
		"most":          annaWith(func(a *Account) { a.MaxPaymentMinor = MaxAmountMinor }),
		"longest id":    annaWith(func(a *Account) { a.ID = "acc_" + strings.Repeat("a", 60) }),
		"longest owner": annaWith(func(a *Account) { a.Owner.Subject = strings.Repeat("é", 128) }),
	} {
		t.Run(name, func(t *testing.T) {
			if err := putAccount(s, want, kv.Exclusive); err != nil {
				t.Fatal(err)
			}
			if got, ok, err := account(s, want.ID); !same(got, want) || !ok || err != nil {
				t.Errorf("read %+v, %v, %v, want %+v", got, ok, err, want)
			}
			refs := []kv.Ref{AccountRef(want.ID, kv.Shared)}
			err := s.Update(context.Background(), someCause(), refs, func(tx *Tx) error {
				got, ok, err := tx.Account(want.ID)
				if !same(got, want) || !ok {
					t.Errorf("read in a transaction %+v, %v, want %+v", got, ok, want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// An account that breaks a rule is not written, and what was there stays.
func TestAccountRules(t *testing.T) {
	for name, change := range map[string]func(*Account){
		"no id":                  func(a *Account) { a.ID = "" },
		"id without prefix":      func(a *Account) { a.ID = "anna" },
		"id of another kind":     func(a *Account) { a.ID = "grt_anna" },
		"id of the prefix alone": func(a *Account) { a.ID = "acc_" },
		"long id":                func(a *Account) { a.ID = "acc_" + strings.Repeat("a", 61) },
		"id with a slash":        func(a *Account) { a.ID = "acc_a/b" },
		"id with a dot":          func(a *Account) { a.ID = "acc_a.b" },
		"id with a line feed":    func(a *Account) { a.ID = "acc_anna\n" },
		"id not ASCII":           func(a *Account) { a.ID = "acc_änna" },
		"no state":               func(a *Account) { a.State = "" },
		"unknown state":          func(a *Account) { a.State = "closed" },
		"state in capitals":      func(a *Account) { a.State = "Active" },
		"no currency":            func(a *Account) { a.Currency = "" },
		"currency in lower case": func(a *Account) { a.Currency = "eur" },
		"long currency":          func(a *Account) { a.Currency = "EURO" },
		"currency and line feed": func(a *Account) { a.Currency = "EUR\n" },
		"maximum 0":              func(a *Account) { a.MaxPaymentMinor = 0 },
		"maximum negative":       func(a *Account) { a.MaxPaymentMinor = -1 },
		"maximum 2^53":           func(a *Account) { a.MaxPaymentMinor = MaxAmountMinor + 1 },
		"owner without kind":     func(a *Account) { a.Owner.Kind = "" },
		"owner without issuer":   func(a *Account) { a.Owner.Issuer = "" },
		"owner without subject":  func(a *Account) { a.Owner.Subject = "" },
		"long subject":           func(a *Account) { a.Owner.Subject = strings.Repeat("a", 257) },
		"subject not UTF-8":      func(a *Account) { a.Owner.Subject = "anna\xff" },
		"issuer not UTF-8":       func(a *Account) { a.Owner.Issuer = "\xff" },
		"subject with NUL":       func(a *Account) { a.Owner.Subject = "anna\x00" },
		"subject with line feed": func(a *Account) { a.Owner.Subject = "anna\n" },
		"owner for another":      func(a *Account) { a.Owner.OnBehalfOf = "ben" },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			if err := putAccount(s, anna(), kv.Exclusive); err != nil {
				t.Fatal(err)
			}
			bad := annaWith(change)
			refs := []kv.Ref{AccountRef("acc_anna", kv.Exclusive), AccountRef(bad.ID, kv.Exclusive)}
			err := s.Update(context.Background(), someCause(), refs, func(tx *Tx) error { return tx.PutAccount(bad) })
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v, want %v", err, ErrInvalid)
			}
			if got, ok, err := account(s, "acc_anna"); !same(got, anna()) || !ok || err != nil {
				t.Errorf("afterwards: %+v, %v, %v", got, ok, err)
			}
		})
	}
}

// The setter writes only what was declared Exclusive.
func TestAccountDeclared(t *testing.T) {
	s, _ := newStore(t)
	if err := putAccount(s, anna(), kv.Shared); !errors.Is(err, kv.ErrUndeclared) {
		t.Errorf("declared Shared: %v", err)
	}
	err := s.Update(context.Background(), someCause(), nil, func(tx *Tx) error { return tx.PutAccount(anna()) })
	if !errors.Is(err, kv.ErrUndeclared) {
		t.Errorf("not declared: %v", err)
	}
	err = s.Update(context.Background(), someCause(), nil, func(tx *Tx) error { _, _, err := tx.Account("acc_anna"); return err })
	if !errors.Is(err, kv.ErrUndeclared) {
		t.Errorf("read and not declared: %v", err)
	}
}

// stored is the account as integer keys, as it stands in the store.
// TestFreezeIsNotShed: an operator's freeze gets in where so many payments queue
// up on the account that others are refused.
func TestFreezeIsNotShed(t *testing.T) {
	s, _ := newStore(t)
	ctx := context.Background()
	if err := s.PutAccount(ctx, someCause(), anna()); err != nil {
		t.Fatal(err)
	}
	refs := []kv.Ref{AccountRef("acc_anna", kv.Exclusive)}
	held, release, shed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var first, once sync.Once
	var payments sync.WaitGroup
	for range 300 { // more than may wait
		payments.Go(func() {
			err := s.Update(ctx, someCause(), refs, func(*Tx) error {
				first.Do(func() { close(held); <-release })
				return nil
			})
			if errors.Is(err, kv.ErrOverloaded) {
				once.Do(func() { close(shed) })
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	<-held
	<-shed
	frozen := make(chan error, 1)
	go func() {
		frozen <- s.PutAccount(ctx, someCause(), annaWith(func(a *Account) { a.State = AccountFrozen }))
	}()
	select {
	case err := <-frozen:
		close(release)
		t.Fatalf("while the account is held: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-frozen; err != nil {
		t.Error(err)
	}
	payments.Wait()
	if a, _, err := account(s, "acc_anna"); err != nil || a.State != AccountFrozen {
		t.Errorf("the account is %s, %v", a.State, err)
	}
}

func stored() map[int]any {
	return map[int]any{
		1: "acc_anna", 2: map[int]any{1: "user", 2: "https://id.example", 3: "anna"}, 3: "active", 4: "EUR", 5: 50000, 7: written,
	}
}

func asCBOR(t *testing.T, v any) []byte {
	t.Helper()
	text, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// value is a stored value: version 1, when it was written, and CBOR.
func value(cbor ...byte) []byte {
	return append([]byte{1, 0, 0, 0, 0, 0, 0, 0, byte(written)}, cbor...)
}

func storedWith(t *testing.T, change func(map[int]any)) []byte {
	t.Helper()
	v := stored()
	change(v)
	return value(asCBOR(t, v)...)
}

// A stored value that is damaged, of another version, or breaks a rule is an
// error, and never an account or the absence of one.
func TestDamagedAccounts(t *testing.T) {
	sound := storedWith(t, func(map[int]any) {})
	values := map[string][]byte{
		"empty":                   {},
		"version alone":           {1},
		"header alone":            value(),
		"version 0":               append([]byte{0}, sound[1:]...),
		"version 2":               append([]byte{2}, sound[1:]...),
		"null":                    value(0xf6),
		"undefined":               value(0xf7),
		"number":                  value(0x07),
		"empty map":               value(0xa0),
		"array":                   value(asCBOR(t, []any{"acc_anna"})...),
		"cut off":                 sound[:len(sound)-1],
		"more behind it":          append(append([]byte{}, sound...), 0),
		"field twice":             value(0xa2, 0x01, 0x61, 'a', 0x01, 0x61, 'a'),
		"unknown field":           storedWith(t, func(v map[int]any) { v[8] = true }),
		"unknown field of owner":  storedWith(t, func(v map[int]any) { v[2].(map[int]any)[5] = "x" }),
		"amount a float":          storedWith(t, func(v map[int]any) { v[5] = 50000.5 }),
		"amount a text":           storedWith(t, func(v map[int]any) { v[5] = "50000" }),
		"amount past int64":       storedWith(t, func(v map[int]any) { v[5] = uint64(1) << 63 }),
		"amount past the maximum": storedWith(t, func(v map[int]any) { v[5] = int64(1) << 53 }),
		"amount negative":         storedWith(t, func(v map[int]any) { v[5] = -1 }),
		"state unknown":           storedWith(t, func(v map[int]any) { v[3] = "closed" }),
		"another account":         storedWith(t, func(v map[int]any) { v[1] = "acc_bob" }),
		"text not UTF-8":          []byte(strings.Replace(string(sound), "active", "activ\xff", 1)),
	}
	for key := 1; key <= 5; key++ {
		values["without field "+string(rune('0'+key))] = storedWith(t, func(v map[int]any) { delete(v, key) })
		values["null for field "+string(rune('0'+key))] = storedWith(t, func(v map[int]any) { v[key] = nil })
	}
	s, backend := newStore(t)
	write := func(t *testing.T, value []byte) {
		t.Helper()
		err := backend.Update(context.Background(), []kv.Ref{AccountRef("acc_anna", kv.Exclusive)}, func(tx kv.Tx) error {
			return tx.Put(AccountRef("acc_anna", 0).Key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			write(t, value)
			if a, ok, err := account(s, "acc_anna"); !errors.Is(err, ErrDamaged) || ok || !same(a, Account{}) {
				t.Errorf("read %+v, %v, %v, want %v", a, ok, err, ErrDamaged)
			}
		})
	}
	write(t, sound)
	if a, ok, err := account(s, "acc_anna"); !same(a, anna()) || !ok || err != nil {
		t.Errorf("the sound value: %+v, %v, %v", a, ok, err)
	}
}

// The stored form is fixed: another program reads it.
func TestAccountEncoding(t *testing.T) {
	s, backend := newStore(t)
	if err := putAccount(s, anna(), kv.Exclusive); err != nil {
		t.Fatal(err)
	}
	want := "\x01\x00\x00\x00\x00\x00\x00\x00\x01\xa6\x01\x68acc_anna\x02\xa3\x01\x64user\x02\x72https://id.example\x03\x64anna\x03\x66active\x04\x63EUR\x05\x19\xc3\x50\x07\x01"
	err := backend.View(context.Background(), func(snap kv.Snap) error {
		got, ok, err := snap.Get("account/acc_anna")
		if string(got) != want || !ok {
			t.Errorf("stored as %q, want %q", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What the backend says of itself and of its errors goes through.
func TestBackendErrors(t *testing.T) {
	s, backend := newStore(t)
	if s.Failed() != backend.Failed() {
		t.Error("Failed is not the backend's")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.View(ctx, func(Snapshot) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	if err := s.Update(ctx, someCause(), nil, func(*Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	failure := errors.New("no")
	if err := s.View(context.Background(), func(Snapshot) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("View: %v", err)
	}
}
