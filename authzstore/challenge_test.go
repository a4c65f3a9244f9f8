package authzstore

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"
)

var bg = context.Background()

var agent = Identity{Kind: "agent", Issuer: "https://id.example", Subject: "agnes"}

// codes is a challenge by codes to Anna's two terminals.
func (d *desk) codes(id string) Challenge {
	return Challenge{
		ID: id, Kind: ChallengeCode, Account: "acc_anna", Initiator: agent, System: "agent_order", Operation: "order",
		Fingerprint: bytes.Repeat([]byte{1}, 32), Expects: ExpectsTerminals,
		Terminals:   []ChallengeTerminal{{Terminal: "trm_1", Counter: 1}, {Terminal: "trm_2", Counter: 2}},
		AmountMinor: 100, Currency: "EUR", Payee: "mer_bakery", Sealed: []byte("sealed"), Digits: 6,
		Condition: Condition{Entry: EntryAny}, MaxAttempts: 3, ExpiresAtNanos: d.now + hour,
	}
}

// approval is one of Anna's terminals.
func (d *desk) approval(id string) Challenge {
	c := d.codes(id)
	c.Kind, c.Sealed, c.Digits, c.Condition, c.MaxAttempts = ChallengeApproval, nil, 0, Condition{}, 0
	c.Terminals[0].Counter, c.Terminals[1].Counter = 0, 0
	return c
}

// askedDesk has Anna's two terminals.
func askedDesk(t testing.TB) *desk {
	t.Helper()
	d := newDesk(t)
	d.mustPutTerminal(t, terminal("trm_1"))
	d.mustPutTerminal(t, terminal("trm_2"))
	return d
}

func (d *desk) issue(c Challenge) error {
	return d.do(ChallengeRefs(c), func(tx *Tx) error { return tx.IssueChallenge(c) })
}

func (d *desk) mustIssue(t testing.TB, c Challenge) Challenge {
	t.Helper()
	if err := d.issue(c); err != nil {
		t.Fatal(err)
	}
	return d.challenge(t, c.ID)
}

func (d *desk) challenge(t testing.TB, id string) (c Challenge) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		c, _, err = s.Challenge(id)
		return err
	})
	return c
}

// set runs a setter of a challenge as it stands; one that there is not has Anna's
// terminals.
func (d *desk) set(t testing.TB, id string, fn func(*Tx) error) error {
	t.Helper()
	c := d.challenge(t, id)
	if c.ID == "" {
		c = d.codes(id)
	}
	return d.do(ChallengeRefs(c), fn)
}

// enter adds a right entry for each of the terminals, or a wrong one.
func (d *desk) enter(t testing.TB, id string, terminals ...int) error {
	t.Helper()
	return d.set(t, id, func(tx *Tx) error {
		for _, n := range terminals {
			if _, err := tx.AddEntry(id, Entry{Terminal: n}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *desk) initiator(t testing.TB, id Identity) (i Initiator) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		i, err = s.Initiator("acc_anna", id)
		return err
	})
	return i
}

func (d *desk) verification(t testing.TB) (v Verification) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		v, err = s.Verification("acc_anna")
		return err
	})
	return v
}

func TestConditions(t *testing.T) {
	second := int64(time.Second)
	for _, c := range []struct {
		note              string
		condition         Condition
		length, terminals int
		ok                bool
	}{
		{"as they come", Condition{Entry: EntryAny}, 6, 1, true},
		{"of eight digits", Condition{Entry: EntryAny}, 8, 16, true},
		{"within a time", Condition{Entry: EntryAny, WithinNanos: 1}, 6, 1, true},
		{"by terminal", Condition{Entry: EntryTerminals}, 6, 2, true},
		{"rising in time", Condition{Entry: EntryAscending, WithinNanos: second, MinGapNanos: 1, MaxGapNanos: second}, 6, 2, true},
		{"falling", Condition{Entry: EntryDescending, MinGapNanos: second, MaxGapNanos: second}, 6, 2, true},
		{"gaps without a maximum", Condition{Entry: EntryAny, MinGapNanos: second}, 6, 2, true},
		{"a sum in time", Condition{Entry: EntrySum, WithinNanos: second}, 7, 2, true},
		{"of five digits", Condition{Entry: EntryAny}, 5, 1, false},
		{"of nine digits", Condition{Entry: EntryAny}, 9, 1, false},
		{"of no terminal", Condition{Entry: EntryAny}, 6, 0, false},
		{"of seventeen terminals", Condition{Entry: EntryAny}, 6, 17, false},
		{"without an order", Condition{}, 6, 2, false},
		{"of an unknown order", Condition{Entry: "shuffled"}, 6, 2, false},
		{"a negative time", Condition{Entry: EntryAny, WithinNanos: -1}, 6, 2, false},
		{"a negative gap", Condition{Entry: EntryAny, MinGapNanos: -1}, 6, 2, false},
		{"a negative maximum", Condition{Entry: EntryAny, MaxGapNanos: -1}, 6, 2, false},
		{"gaps that cannot be", Condition{Entry: EntryAny, MinGapNanos: 2, MaxGapNanos: 1}, 6, 2, false},
		{"a sum with a gap", Condition{Entry: EntrySum, MinGapNanos: 1}, 7, 2, false},
		{"a sum with a longest gap", Condition{Entry: EntrySum, MaxGapNanos: 1}, 7, 2, false},
		{"a short sum", Condition{Entry: EntrySum}, 6, 2, false},
		{"a sum of one", Condition{Entry: EntrySum}, 7, 1, false},
		{"an order of one", Condition{Entry: EntryTerminals}, 6, 1, false},
		{"a rising one", Condition{Entry: EntryAscending}, 6, 1, false},
		{"a falling one", Condition{Entry: EntryDescending}, 6, 1, false},
		{"a gap in one", Condition{Entry: EntryAny, MinGapNanos: 1}, 6, 1, false},
		{"a longest gap in one", Condition{Entry: EntryAny, MaxGapNanos: 1}, 6, 1, false},
	} {
		if err := c.condition.Check(c.length, c.terminals); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.note, err)
		} else if !c.ok {
			wantError(t, err, ErrInvalid)
		}
	}
}

// TestIssueChallenge: what a challenge must be, and what is filled in.
func TestIssueChallenge(t *testing.T) {
	d := askedDesk(t)
	d.now += hour
	c := d.codes("chl_1")
	c.State, c.Burnt, c.IssuedAtNanos, c.DecidedAtNanos, c.DecidedBy = ChallengeSatisfied, 2, 1, 2, "trm_1"
	c.Entries, c.Terminals[0].BoundAtNanos = []Entry{{Terminal: 0}}, 7
	got := d.mustIssue(t, c)
	want := d.codes("chl_1")
	want.State, want.IssuedAtNanos = ChallengeOpen, d.now
	want.Terminals[0].BoundAtNanos, want.Terminals[1].BoundAtNanos = d.now-hour, d.now-hour
	if !reflect.DeepEqual(got, want) {
		t.Errorf("issued %+v, want %+v", got, want)
	}
	if c.Terminals[0].BoundAtNanos != 7 {
		t.Error("issuing changed the caller's terminals")
	}
	wantError(t, d.issue(d.codes("chl_1")), ErrInvalid)
	for note, bend := range map[string]func(*Challenge){
		"an id of an intent":         func(c *Challenge) { c.ID = "int_1" },
		"no kind":                    func(c *Challenge) { c.Kind = "" },
		"a gesture":                  func(c *Challenge) { c.Kind = "gesture" },
		"no initiator":               func(c *Challenge) { c.Initiator = Identity{} },
		"no system":                  func(c *Challenge) { c.System = "" },
		"no operation":               func(c *Challenge) { c.Operation = "" },
		"a short fingerprint":        func(c *Challenge) { c.Fingerprint = c.Fingerprint[:31] },
		"an intent that is none":     func(c *Challenge) { c.Intent = "chl_2" },
		"nobody asked":               func(c *Challenge) { c.Terminals = nil },
		"one asked twice":            func(c *Challenge) { c.Terminals[1].Terminal = "trm_1" },
		"one code for both":          func(c *Challenge) { c.Terminals[1].Counter = 1 },
		"nobody expected":            func(c *Challenge) { c.Expects = "" },
		"a negative amount":          func(c *Challenge) { c.AmountMinor = -1 },
		"an amount too large":        func(c *Challenge) { c.AmountMinor = 1 << 53 },
		"an amount of nothing":       func(c *Challenge) { c.Currency = "" },
		"a currency that is none":    func(c *Challenge) { c.Currency = "EURO" },
		"a payee with a line":        func(c *Challenge) { c.Payee = "a\nb" },
		"no secret":                  func(c *Challenge) { c.Sealed = nil },
		"a long secret":              func(c *Challenge) { c.Sealed = make([]byte, maxSealedBytes+1) },
		"codes of 5 digits":          func(c *Challenge) { c.Digits = 5 },
		"codes of 9 digits":          func(c *Challenge) { c.Digits = 9 },
		"no condition":               func(c *Challenge) { c.Condition = Condition{} },
		"no attempts":                func(c *Challenge) { c.MaxAttempts = 0 },
		"six attempts":               func(c *Challenge) { c.MaxAttempts = 6 },
		"expired before it is there": func(c *Challenge) { c.ExpiresAtNanos = d.now - 1 },
		"a day too long":             func(c *Challenge) { c.ExpiresAtNanos = d.now + int64(MaxChallengeLife) + 1 },
	} {
		bad := d.codes("chl_2")
		bend(&bad)
		if err := d.issue(bad); err == nil {
			t.Errorf("%s: issued", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	for note, bend := range map[string]func(*Challenge){
		"with a secret":           func(c *Challenge) { c.Sealed = []byte("sealed") },
		"with a length":           func(c *Challenge) { c.Digits = 6 },
		"with a condition":        func(c *Challenge) { c.Condition.Entry = EntryAny },
		"with attempts":           func(c *Challenge) { c.MaxAttempts = 3 },
		"by whoever asks":         func(c *Challenge) { c.Expects = ExpectsInitiator },
		"by nobody in particular": func(c *Challenge) { c.Expects = "" },
	} {
		bad := d.approval("chl_2")
		bend(&bad)
		if err := d.issue(bad); err == nil {
			t.Errorf("an approval %s: issued", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	longest := d.approval("chl_2")
	longest.ExpiresAtNanos = d.now + int64(MaxChallengeLife)
	longest.AmountMinor, longest.Currency, longest.Payee = 0, "", ""
	d.mustIssue(t, longest)
	d.clean(t)
}

// TestIssueNeedsTerminals: who is asked is bound to the account now.
func TestIssueNeedsTerminals(t *testing.T) {
	d := askedDesk(t)
	other := terminal("trm_ben")
	other.Account = "acc_ben"
	d.mustPutTerminal(t, other)
	for _, c := range []struct {
		terminal string
		want     error
	}{{"trm_none", ErrUnknownID}, {"trm_ben", ErrState}} {
		bad := d.codes("chl_1")
		bad.Terminals[1].Terminal = c.terminal
		wantError(t, d.issue(bad), c.want)
	}
	for _, state := range []TerminalState{TerminalFrozen, TerminalUnbound} {
		trm := terminal("trm_2")
		trm.State = state
		d.mustPutTerminal(t, trm)
		wantError(t, d.issue(d.codes("chl_1")), ErrState)
		wantError(t, d.issue(d.approval("chl_1")), ErrState)
	}
	d.clean(t)
}

// TestEntries: what an entry must be, and when it arrived.
func TestEntries(t *testing.T) {
	d := askedDesk(t)
	c := d.codes("chl_1")
	d.mustIssue(t, c)
	for note, bad := range map[string]Entry{
		"of no terminal":   {Terminal: 2},
		"of less than one": {Terminal: -2},
		"of no rank":       {Terminal: 0, Rank: 2},
		"of less than no":  {Terminal: 0, Rank: -1},
	} {
		if err := d.set(t, "chl_1", func(tx *Tx) error { _, err := tx.AddEntry("chl_1", bad); return err }); err == nil {
			t.Errorf("%s: added", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	issued := d.now
	add := func(arrived int64, rank int) error {
		return d.set(t, "chl_1", func(tx *Tx) error {
			_, err := tx.AddEntry("chl_1", Entry{Terminal: -1, ArrivedNanos: arrived, Rank: rank})
			return err
		})
	}
	if err := add(issued-5, 0); err != nil { // before the issue, by a clock that was set back
		t.Fatal(err)
	}
	d.now += 10
	if err := add(0, 1); err != nil {
		t.Fatal(err)
	}
	if got := d.challenge(t, "chl_1").Entries; !reflect.DeepEqual(got, []Entry{{-1, issued, 0}, {-1, issued + 10, 1}}) {
		t.Errorf("entries %+v", got)
	}
	wantError(t, add(0, 0), ErrInvalid) // the set is whole
	d.clean(t)
}

// TestEntriesInOrder: an entry that waited for its turn did not arrive before the
// one that was added first.
func TestEntriesInOrder(t *testing.T) {
	d := askedDesk(t)
	d.mustIssue(t, d.codes("chl_1"))
	issued := d.now
	for _, arrived := range []int64{issued + 20, issued + 10} {
		err := d.set(t, "chl_1", func(tx *Tx) error {
			c, err := tx.AddEntry("chl_1", Entry{Terminal: 0, ArrivedNanos: arrived})
			if err == nil && c.Entries[len(c.Entries)-1].ArrivedNanos != issued+20 {
				t.Errorf("%+v", c.Entries)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSatisfyNeedsEveryCode: the store takes no set that lacks a code, whatever the
// caller says, and no approval but an asked terminal's.
func TestSatisfyNeedsEveryCode(t *testing.T) {
	d := askedDesk(t)
	satisfy := func(id, by string) error {
		return d.set(t, id, func(tx *Tx) error { return tx.SatisfyChallenge(id, by) })
	}
	n := 0
	sum := func(c *Challenge) { c.Condition, c.Digits = Condition{Entry: EntrySum}, 7 }
	for _, c := range []struct {
		entries []int
		bend    func(*Challenge)
		ok      bool
	}{
		{nil, nil, false},
		{[]int{0}, nil, false},
		{[]int{0, 0}, nil, false},
		{[]int{0, -1}, nil, false},
		{[]int{-1, -1}, nil, false},
		{[]int{0, 1}, nil, true},
		{[]int{1, 0}, nil, true},
		{[]int{-1}, sum, false},
		{[]int{0}, sum, true},
	} {
		n++
		ch := d.codes(fmt.Sprintf("chl_%d", n))
		if c.bend != nil {
			c.bend(&ch)
		}
		d.mustIssue(t, ch)
		if err := d.enter(t, ch.ID, c.entries...); err != nil {
			t.Fatal(err)
		}
		wantError(t, satisfy(ch.ID, "trm_1"), ErrInvalid)
		err := satisfy(ch.ID, "")
		if c.ok && err != nil {
			t.Errorf("%v: %v", c.entries, err)
		} else if !c.ok {
			wantError(t, err, ErrInvalid)
		}
	}
	d.mustIssue(t, d.approval("chl_a"))
	wantError(t, satisfy("chl_a", ""), ErrInvalid)
	wantError(t, satisfy("chl_a", "trm_3"), ErrInvalid)
	wantError(t, d.set(t, "chl_a", func(tx *Tx) error { return tx.RejectChallenge("chl_a", "trm_3") }), ErrInvalid)
	wantError(t, d.set(t, "chl_a", func(tx *Tx) error { return tx.RejectChallenge("chl_a", "") }), ErrInvalid)
	if err := satisfy("chl_a", "trm_2"); err != nil {
		t.Error(err)
	}
	if c := d.challenge(t, "chl_a"); c.DecidedBy != "trm_2" || c.DecidedAtNanos != d.now {
		t.Errorf("decided by %q at %d", c.DecidedBy, c.DecidedAtNanos)
	}
	d.clean(t)
}

// TestFailNeedsAWholeSet: nothing is burnt by a set that is still being entered.
func TestFailNeedsAWholeSet(t *testing.T) {
	d := askedDesk(t)
	d.mustIssue(t, d.codes("chl_1"))
	fail := func() error {
		return d.set(t, "chl_1", func(tx *Tx) error { _, err := tx.FailChallenge("chl_1"); return err })
	}
	wantError(t, fail(), ErrInvalid)
	if err := d.enter(t, "chl_1", 0); err != nil {
		t.Fatal(err)
	}
	wantError(t, fail(), ErrInvalid)
	if err := d.enter(t, "chl_1", -1); err != nil {
		t.Fatal(err)
	}
	if err := fail(); err != nil {
		t.Fatal(err)
	}
	if c := d.challenge(t, "chl_1"); c.Burnt != 1 || len(c.Entries) != 0 || c.State != ChallengeOpen {
		t.Errorf("after a failed set: %+v", c)
	}
	d.clean(t)
}

// TestChallengeExpiry: at its expiry it works, a nanosecond later it does not.
func TestChallengeExpiry(t *testing.T) {
	d := askedDesk(t)
	for n, late := range []int64{0, 1} {
		var want error
		if late > 0 {
			want = ErrState
		}
		open, satisfied, approval := fmt.Sprintf("chl_o%d", n), fmt.Sprintf("chl_s%d", n), fmt.Sprintf("chl_a%d", n)
		d.into(t, ChallengeCode, ChallengeOpen, open)
		d.into(t, ChallengeCode, ChallengeSatisfied, satisfied)
		d.into(t, ChallengeApproval, ChallengeOpen, approval)
		c := d.challenge(t, open)
		d.now = c.ExpiresAtNanos + late
		if state := c.StateAt(d.now); (state == ChallengeExpired) != (late > 0) {
			t.Errorf("%d ns late it is %s", late, state)
		}
		wantError(t, d.enter(t, open, 0), want)
		wantError(t, d.set(t, satisfied, func(tx *Tx) error { return tx.ConsumeChallenge(satisfied) }), want)
		wantError(t, d.set(t, approval, func(tx *Tx) error { return tx.SatisfyChallenge(approval, "trm_1") }), want)
	}
	d.clean(t)
}
