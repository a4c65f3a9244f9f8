package authzstore

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
)

// order is an intent of Anna's.
func (d *desk) order(id string) Intent {
	return Intent{
		ID: id, System: "agent_order", Kind: "order", State: "ordered", Account: "acc_anna", Initiator: agent, Terminal: "trm_1",
		Terminals: []string{"trm_1"}, AmountMinor: 100, Currency: "EUR", Payee: "mer_bakery",
		Attributes: map[string]string{"mode": "proxy"}, ExpiresAtNanos: d.now + hour,
	}
}

func (d *desk) open(i Intent) error {
	return d.do(IntentRefs(i), func(tx *Tx) error { return tx.OpenIntent(i) })
}

func (d *desk) mustOpen(t testing.TB, i Intent) {
	t.Helper()
	if err := d.open(i); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) advance(id, from string, a IntentAdvance) error {
	return d.do(IntentRefs(Intent{ID: id, Account: "acc_anna"}), func(tx *Tx) error { return tx.AdvanceIntent(id, from, a) })
}

func (d *desk) intent(t testing.TB, id string) (i Intent) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		i, _, err = s.Intent(id)
		return err
	})
	return i
}

func (d *desk) openIntents(t testing.TB) (ids string) {
	t.Helper()
	d.read(t, func(s Snapshot) error {
		o, err := s.OpenIntents("acc_anna")
		ids = strings.Join(o.Intents, " ")
		return err
	})
	return ids
}

// TestIntentLife: an intent goes from step to step, each with when and by whom, and
// what it is for stays.
func TestIntentLife(t *testing.T) {
	d := newDesk(t)
	i := d.order("int_1")
	i.OpenedAtNanos, i.Closed, i.Steps = 5, true, []IntentStep{{State: "paid"}}
	opened := d.now
	d.mustOpen(t, i)
	d.now += 10
	trm := identityOf("trm_2")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.advance("int_1", "ordered", IntentAdvance{To: "scanned", Terminals: []string{"trm_2", "trm_3"}, Parties: map[string]string{"agent": "acc_ben"}, By: trm, Terminal: "trm_2"}))
	d.now += 10
	must(d.advance("int_1", "scanned", IntentAdvance{To: "confirmed", Parties: map[string]string{"till": "7"}, By: ben}))
	if got := d.openIntents(t); got != "int_1" {
		t.Errorf("open: %q", got)
	}
	d.now += 10
	must(d.advance("int_1", "confirmed", IntentAdvance{To: "paid", Close: true, By: ben}))
	got := d.intent(t, "int_1")
	for n, s := range got.Steps {
		if !strings.HasPrefix(s.RecordID, "chg_") {
			t.Errorf("step %d by record %q", n, s.RecordID)
		}
		got.Steps[n].RecordID = ""
	}
	want := d.order("int_1")
	want.State, want.Closed, want.OpenedAtNanos, want.ExpiresAtNanos = "paid", true, opened, opened+hour
	want.Terminals = []string{"trm_2", "trm_3"}
	want.Parties = map[string]string{"agent": "acc_ben", "till": "7"}
	want.Steps = []IntentStep{
		{"ordered", opened, agent, "trm_1", ""}, {"scanned", opened + 10, trm, "trm_2", ""},
		{"confirmed", opened + 20, ben, "", ""}, {"paid", opened + 30, ben, "", ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it is %+v, want %+v", got, want)
	}
	if got := d.openIntents(t); got != "" {
		t.Errorf("open: %q", got)
	}
	d.clean(t)
}

// TestAdvanceIntent: every way that a step can be refused.
func TestAdvanceIntent(t *testing.T) {
	d := newDesk(t)
	to := func(state string) IntentAdvance { return IntentAdvance{To: state, By: ben} }
	closing := func(state string) IntentAdvance { return IntentAdvance{To: state, By: ben, Close: true} }
	d.mustOpen(t, d.order("int_1"))
	wantError(t, d.advance("int_2", "ordered", to("paid")), ErrUnknownID)
	wantError(t, d.advance("int_1", "paid", to("paid")), ErrState)
	party := to("scanned")
	party.Parties = map[string]string{"agent": "acc_ben"}
	if err := d.advance("int_1", "ordered", party); err != nil {
		t.Fatal(err)
	}
	wantError(t, d.advance("int_1", "ordered", to("paid")), ErrState)
	wantError(t, d.advance("int_1", "scanned", party), ErrUsed)
	for note, bend := range map[string]func(*IntentAdvance){
		"a state in capitals":       func(a *IntentAdvance) { a.To = "Paid" },
		"no state":                  func(a *IntentAdvance) { a.To = "" },
		"nobody":                    func(a *IntentAdvance) { a.By = Identity{} },
		"a terminal that is none":   func(a *IntentAdvance) { a.Terminal = "acc_1" },
		"terminals that are none":   func(a *IntentAdvance) { a.Terminals = []string{"acc_1"} },
		"one terminal twice":        func(a *IntentAdvance) { a.Terminals = []string{"trm_1", "trm_1"} },
		"seventeen terminals":       func(a *IntentAdvance) { a.Terminals = manyIDs("trm", MaxIntentTerminals+1) },
		"a party in capitals":       func(a *IntentAdvance) { a.Parties = map[string]string{"Agent": "x"} },
		"a party with a line":       func(a *IntentAdvance) { a.Parties = map[string]string{"till": "a\nb"} },
		"eight parties more":        func(a *IntentAdvance) { a.Parties = manyTexts(MaxIntentParties) },
		"a party of too many bytes": func(a *IntentAdvance) { a.Parties = map[string]string{"till": strings.Repeat("x", 257)} },
	} {
		bad := to("paid")
		bend(&bad)
		if err := d.advance("int_1", "scanned", bad); err == nil {
			t.Errorf("%s: advanced", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	i := d.intent(t, "int_1")
	d.now = i.ExpiresAtNanos
	if err := d.advance("int_1", "scanned", to("confirmed")); err != nil || i.ExpiredAt(d.now) {
		t.Errorf("at its expiry: %v", err)
	}
	d.now++
	wantError(t, d.advance("int_1", "confirmed", to("paid")), ErrState)
	if err := d.advance("int_1", "confirmed", closing("failed")); err != nil || !i.ExpiredAt(d.now) {
		t.Errorf("closed after its expiry: %v", err)
	}
	wantError(t, d.advance("int_1", "failed", to("paid")), ErrState)
	wantError(t, d.advance("int_1", "failed", closing("failed")), ErrState)
	d.clean(t)
}

func manyIDs(kind string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s_%d", kind, i))
	}
	return ids
}

func manyTexts(n int) map[string]string {
	texts := map[string]string{}
	for i := range n {
		texts[fmt.Sprintf("text_%d", i)] = "x"
	}
	return texts
}

// TestMaxSteps: the last step of an intent closes it.
func TestMaxSteps(t *testing.T) {
	d := newDesk(t)
	d.mustOpen(t, d.order("int_1"))
	from := "ordered"
	for n := 2; n < MaxIntentSteps; n++ {
		to := fmt.Sprintf("state_%d", n)
		if err := d.advance("int_1", from, IntentAdvance{To: to, By: ben}); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	wantError(t, d.advance("int_1", from, IntentAdvance{To: "more", By: ben}), ErrTooManySteps)
	if err := d.advance("int_1", from, IntentAdvance{To: "paid", By: ben, Close: true}); err != nil {
		t.Error(err)
	}
	if i := d.intent(t, "int_1"); len(i.Steps) != MaxIntentSteps {
		t.Errorf("%d steps", len(i.Steps))
	}
	d.clean(t)
}

// TestOpenIntentRules: what an intent must be.
func TestOpenIntentRules(t *testing.T) {
	d := newDesk(t)
	d.mustOpen(t, d.order("int_0"))
	for note, bend := range map[string]func(*Intent){
		"one that exists":           func(i *Intent) { i.ID = "int_0" },
		"an id of a challenge":      func(i *Intent) { i.ID = "chl_1" },
		"no system":                 func(i *Intent) { i.System = "" },
		"a kind in capitals":        func(i *Intent) { i.Kind = "Order" },
		"a kind of 65 bytes":        func(i *Intent) { i.Kind = strings.Repeat("k", 65) },
		"no state":                  func(i *Intent) { i.State = "" },
		"nobody's":                  func(i *Intent) { i.Initiator = Identity{} },
		"from what is no terminal":  func(i *Intent) { i.Terminal = "acc_1" },
		"to what is no terminal":    func(i *Intent) { i.Terminals = []string{"acc_1"} },
		"to seventeen terminals":    func(i *Intent) { i.Terminals = manyIDs("trm", MaxIntentTerminals+1) },
		"a negative amount":         func(i *Intent) { i.AmountMinor = -1 },
		"an amount of nothing":      func(i *Intent) { i.Currency = "" },
		"a payee with a line":       func(i *Intent) { i.Payee = "a\nb" },
		"seventeen attributes":      func(i *Intent) { i.Attributes = manyTexts(MaxIntentAttributes + 1) },
		"an attribute in capitals":  func(i *Intent) { i.Attributes = map[string]string{"Mode": "x"} },
		"an attribute not in UTF-8": func(i *Intent) { i.Attributes = map[string]string{"mode": "\xff"} },
		"with a party":              func(i *Intent) { i.Parties = map[string]string{"agent": "acc_1"} },
		"expired":                   func(i *Intent) { i.ExpiresAtNanos = d.now - 1 },
	} {
		bad := d.order("int_1")
		bad.Attributes = maps.Clone(bad.Attributes)
		bend(&bad)
		if err := d.open(bad); err == nil {
			t.Errorf("%s: opened", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	bad := d.order("int_1")
	bad.Account = "anna"
	wantError(t, d.open(bad), ErrInvalid)
	least := d.order("int_1")
	least.Terminal, least.Terminals, least.AmountMinor, least.Currency, least.Payee, least.Attributes = "", nil, 0, "", "", nil
	most := d.order("int_2")
	most.Terminals, most.Attributes = manyIDs("trm", MaxIntentTerminals), manyTexts(MaxIntentAttributes)
	most.System, most.Kind, most.State = strings.Repeat("s", 64), strings.Repeat("k", 64), strings.Repeat("o", 64)
	for _, i := range []Intent{least, most} {
		d.mustOpen(t, i)
	}
	d.clean(t)
}

// TestMaxOpenIntents: closed and expired ones make room.
func TestMaxOpenIntents(t *testing.T) {
	d := newDesk(t)
	for n := range MaxOpenIntents {
		i := d.order(fmt.Sprintf("int_%d", n))
		i.ExpiresAtNanos += int64(n)
		d.mustOpen(t, i)
	}
	wantError(t, d.open(d.order("int_a")), ErrTooManyIntents)
	if err := d.advance("int_5", "ordered", IntentAdvance{To: "paid", By: ben, Close: true}); err != nil {
		t.Fatal(err)
	}
	d.mustOpen(t, d.order("int_a"))
	wantError(t, d.open(d.order("int_b")), ErrTooManyIntents)
	d.now = d.intent(t, "int_1").ExpiresAtNanos
	d.mustOpen(t, d.order("int_b")) // int_0 and int_a have expired, and int_1 has not
	if got := d.openIntents(t); !strings.HasPrefix(got, "int_1 int_2 ") || !strings.HasSuffix(got, " int_31 int_b") {
		t.Errorf("open: %s", got)
	}
	if err := d.advance("int_0", "ordered", IntentAdvance{To: "late", By: ben, Close: true}); err != nil {
		t.Error(err) // dropped from the list, and can be closed
	}
	other := d.order("int_c")
	other.Account = "acc_ben"
	d.must(t, IntentRefs(Intent{ID: "int_c", Account: "acc_ben"}), func(tx *Tx) error { return tx.OpenIntent(other) })
	d.clean(t)
}
