package authzstore

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

func bakery() Merchant {
	return Merchant{
		ID: "mer_bakery", Name: "Bäckerei Brot & Söhne", Category: "5462", Country: "DE", State: MerchantActive,
		Channels: []MerchantChannel{{"shop", baker()}},
	}
}

func phone() Terminal {
	return Terminal{
		ID: "trm_1", Account: "acc_anna", Number: "+49 30 123456", OS: "android", Rights: []string{"order"},
		Identity: Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "phone"}, State: TerminalBound,
	}
}

// TestMerchantIdentities: an identity calls for one merchant, through one channel,
// and only as long as the merchant says so.
func TestMerchantIdentities(t *testing.T) {
	d := newDesk(t)
	put := func(old, m Merchant) error {
		return d.do(MerchantRefs(old, m), func(tx *Tx) error { return tx.PutMerchant(m) })
	}
	of := func(identity Identity) (id, channel string) {
		d.read(t, func(s Snapshot) error {
			m, c, ok, err := s.MerchantOf(identity)
			if ok {
				id, channel = m.ID, c
			}
			return err
		})
		return id, channel
	}
	web := Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery web"}
	m := bakery()
	if err := put(m, m); err != nil {
		t.Fatal(err)
	}
	if id, channel := of(baker()); id != "mer_bakery" || channel != "shop" {
		t.Errorf("the till is %s at %s", channel, id)
	}
	moved := bakery()
	moved.State, moved.Channels = MerchantFrozen, []MerchantChannel{{"web", web}}
	if err := put(m, moved); err != nil {
		t.Fatal(err)
	}
	if id, _ := of(baker()); id != "" {
		t.Errorf("the till still calls for %s", id)
	}
	if id, channel := of(web); id != "mer_bakery" || channel != "web" {
		t.Errorf("the web shop is %s at %s", channel, id)
	}
	thief := Merchant{ID: "mer_thief", Name: "Thief", Category: "5999", Country: "DE", State: MerchantActive, Channels: []MerchantChannel{{"web", web}}}
	wantError(t, put(thief, thief), ErrUsed)
	if id, _ := of(web); id != "mer_bakery" {
		t.Errorf("the web shop calls for %s", id)
	}
	for note, bend := range map[string]func(*Merchant){
		"no name":               func(m *Merchant) { m.Name = "" },
		"a name with a line":    func(m *Merchant) { m.Name = "a\nb" },
		"a category of 3":       func(m *Merchant) { m.Category = "546" },
		"a country in full":     func(m *Merchant) { m.Country = "Germany" },
		"a country, lower case": func(m *Merchant) { m.Country = "de" },
		"no state":              func(m *Merchant) { m.State = "" },
		"a channel in capitals": func(m *Merchant) { m.Channels[0].Channel = "Shop" },
		"one identity twice":    func(m *Merchant) { m.Channels = []MerchantChannel{{"shop", web}, {"web", web}} },
		"an id of an account":   func(m *Merchant) { m.ID = "acc_bakery" },
	} {
		bad := bakery()
		bend(&bad)
		if err := put(moved, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	d.read(t, func(s Snapshot) error {
		all, next, err := s.Merchants("", 10)
		if len(all) != 1 || next != "" || !reflect.DeepEqual(all[0], moved) {
			t.Errorf("merchants %+v, then %q", all, next)
		}
		return err
	})
	d.clean(t)
}

// TestTerminals: when a terminal was bound is kept until it is bound again.
func TestTerminals(t *testing.T) {
	d := newDesk(t)
	var old Terminal
	put := func(bend func(*Terminal)) Terminal {
		t.Helper()
		d.now += hour
		trm := phone()
		bend(&trm)
		refs := TerminalRefs(trm)
		if old.ID != "" {
			refs = TerminalRefs(old, trm)
		}
		d.must(t, refs, func(tx *Tx) error { return tx.PutTerminal(trm) })
		d.read(t, func(s Snapshot) (err error) {
			old, _, err = s.Terminal("trm_1")
			return err
		})
		return old
	}
	bound := put(func(*Terminal) {}).BoundAtNanos
	if bound != d.now {
		t.Errorf("bound at %d, want %d", bound, d.now)
	}
	for _, step := range []struct {
		note string
		bend func(*Terminal)
	}{
		{"again", func(*Terminal) {}},
		{"frozen", func(t *Terminal) { t.State = TerminalFrozen }},
		{"renumbered", func(t *Terminal) { t.Number = "+49 30 654321" }},
		{"unbound", func(t *Terminal) { t.State = TerminalUnbound }},
	} {
		if got := put(step.bend).BoundAtNanos; got != bound {
			t.Errorf("%s: bound at %d, want %d", step.note, got, bound)
		}
	}
	if got := put(func(*Terminal) {}).BoundAtNanos; got != d.now {
		t.Errorf("bound again at %d, want %d", got, d.now)
	}
	if got := put(func(t *Terminal) { t.Identity.Subject = "another phone" }).BoundAtNanos; got != d.now {
		t.Errorf("another device was bound at %d, want %d", got, d.now)
	}
	if got := put(func(t *Terminal) { t.Account = "acc_cara" }).BoundAtNanos; got != d.now {
		t.Errorf("for another account it was bound at %d, want %d", got, d.now)
	}
	d.read(t, func(s Snapshot) error {
		annas, _, err := s.TerminalsOf("acc_anna", "", 10)
		caras, _, err2 := s.TerminalsOf("acc_cara", "", 10)
		if len(annas) != 0 || len(caras) != 1 {
			t.Errorf("%d terminals of Anna, %d of Cara", len(annas), len(caras))
		}
		return errors.Join(err, err2)
	})
	for note, bend := range map[string]func(*Terminal){
		"no state":            func(t *Terminal) { t.State = "" },
		"paired with itself":  func(t *Terminal) { t.PairedWith = []string{"trm_1"} },
		"paired twice":        func(t *Terminal) { t.PairedWith = []string{"trm_2", "trm_2"} },
		"a right in capitals": func(t *Terminal) { t.Rights = []string{"Order"} },
		"no account":          func(t *Terminal) { t.Account = "" },
		"no identity":         func(t *Terminal) { t.Identity = Identity{} },
	} {
		bad := old
		bend(&bad)
		if err := d.do(TerminalRefs(old, bad), func(tx *Tx) error { return tx.PutTerminal(bad) }); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	d.clean(t)
}

func TestAPITokens(t *testing.T) {
	d := newDesk(t)
	token := APIToken{ID: "tok_1", Name: "backend", Role: "operator", Hash: bytes.Repeat([]byte{7}, 32), ExpiresAtNanos: d.now + hour, RevokedAtNanos: 5}
	refs := []kv.Ref{APITokenRef("tok_1", kv.Exclusive)}
	add := func(token APIToken) error { return d.do(refs, func(tx *Tx) error { return tx.AddAPIToken(token) }) }
	for note, bend := range map[string]func(*APIToken){
		"a short hash":             func(t *APIToken) { t.Hash = t.Hash[:31] },
		"no role":                  func(t *APIToken) { t.Role = "" },
		"no name":                  func(t *APIToken) { t.Name = "" },
		"expired before it exists": func(t *APIToken) { t.ExpiresAtNanos = d.now - 1 },
	} {
		bad := token
		bend(&bad)
		if err := add(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	if err := add(token); err != nil {
		t.Fatal(err)
	}
	wantError(t, add(token), ErrInvalid)
	read := func() (got APIToken) {
		d.read(t, func(s Snapshot) (err error) {
			got, _, err = s.APIToken("tok_1")
			return err
		})
		return got
	}
	if got := read(); got.CreatedAtNanos != d.now || !got.Works(d.now+hour) || got.Works(d.now+hour+1) {
		t.Errorf("a token for an hour: %+v", got)
	}
	revoke := func() error { return d.do(refs, func(tx *Tx) error { return tx.RevokeAPIToken("tok_1") }) }
	if err := revoke(); err != nil {
		t.Fatal(err)
	}
	wantError(t, revoke(), ErrState)
	if got := read(); got.Works(d.now) {
		t.Error("a revoked token works")
	}
	d.clean(t)
}

func TestFreezeAccount(t *testing.T) {
	d := newDesk(t)
	d.accepted(t, "grt_1", grantTerms(total))
	set := func(fn func(*Tx, string) error) error {
		return d.do([]kv.Ref{AccountRef("acc_anna", kv.Exclusive)}, func(tx *Tx) error { return fn(tx, "acc_anna") })
	}
	wantError(t, set((*Tx).UnfreezeAccount), ErrState)
	if err := set((*Tx).FreezeAccount); err != nil {
		t.Fatal(err)
	}
	wantError(t, set((*Tx).FreezeAccount), ErrState)
	wantError(t, d.pay("rsv_1", "", 1), ErrFrozen)
	wantError(t, d.pay("rsv_1", "grt_1", 1), ErrFrozen)
	if err := set((*Tx).UnfreezeAccount); err != nil {
		t.Fatal(err)
	}
	if err := d.pay("rsv_1", "grt_1", 1); err != nil {
		t.Error(err)
	}
	wantError(t, d.do([]kv.Ref{AccountRef("acc_x", kv.Exclusive)}, func(tx *Tx) error { return tx.FreezeAccount("acc_x") }), ErrUnknownID)
	d.clean(t)
}

func TestUseStep(t *testing.T) {
	d := newDesk(t)
	use := func(thing string, step int64) error {
		return d.do([]kv.Ref{UseRef(thing)}, func(tx *Tx) error {
			if step == 0 {
				return tx.UseOnce(thing)
			}
			return tx.UseStep(thing, step)
		})
	}
	for _, c := range []struct {
		step int64
		want error
	}{{5, nil}, {5, ErrUsed}, {4, ErrUsed}, {1, ErrUsed}, {0, ErrUsed}, {6, nil}, {5, ErrUsed}, {100, nil}, {99, ErrUsed}, {-1, ErrInvalid}} {
		if err := use("code/1", c.step); !errors.Is(err, c.want) {
			t.Errorf("step %d: %v, want %v", c.step, err, c.want)
		}
	}
	if err := use("chl_1", 0); err != nil {
		t.Fatal(err)
	}
	wantError(t, use("chl_1", 1000), ErrUsed)
	d.clean(t)
}
