package authzstore

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// storedCode is one for a terminal of Anna's, as it is bound.
func (d *desk) storedCode(t testing.TB, terminal string) (c StoredCode) {
	t.Helper()
	d.read(t, func(s Snapshot) error {
		trm, _, err := s.Terminal(terminal)
		c = StoredCode{Terminal: terminal, TerminalBoundAtNanos: trm.BoundAtNanos, Sealed: []byte("sealed"), Digits: 8, ExpiresAtNanos: d.now + hour}
		return err
	})
	return c
}

func (d *desk) addCode(c StoredCode) (added StoredCode, err error) {
	err = d.do(AddStoredCodeRefs("acc_anna", c.Terminal), func(tx *Tx) error {
		added, err = tx.AddStoredCode("acc_anna", c)
		return err
	})
	return added, err
}

func (d *desk) storedCodes(t testing.TB) (s StoredCodes) {
	t.Helper()
	d.read(t, func(snap Snapshot) (err error) {
		s, err = snap.StoredCodes("acc_anna")
		return err
	})
	return s
}

// fullSlots has Anna's nine terminals, the first eight with a stored code.
func fullSlots(t *testing.T) *desk {
	d := newDesk(t)
	for n := range MaxStoredCodes + 1 {
		id := fmt.Sprintf("trm_%d", n)
		d.mustPutTerminal(t, terminal(id))
		if n == MaxStoredCodes {
			break
		}
		c := d.storedCode(t, id)
		c.ExpiresAtNanos += int64(n)
		added, err := d.addCode(c)
		if err != nil || added.Slot != n || added.Seq != int64(n+1) || added.CreatedAtNanos != d.now {
			t.Fatalf("code %d: %+v, %v", n, added, err)
		}
	}
	return d
}

// TestStoredCodeSlots: a slot is free again when its code was used or has expired;
// a terminal has one code; numbers never come again.
func TestStoredCodeSlots(t *testing.T) {
	d := fullSlots(t)
	more := func(terminal string) (StoredCode, error) { return d.addCode(d.storedCode(t, terminal)) }
	_, err := more("trm_8")
	wantError(t, err, ErrTooManyCodes)
	again, err := more("trm_3")
	if err != nil || again.Slot != 3 || again.Seq != 9 {
		t.Errorf("in place of its own: %+v, %v", again, err)
	}
	use := func(slot int, seq int64) error {
		thing := StoredCodeThing("acc_anna", slot)
		return d.do([]kv.Ref{UseRef(thing)}, func(tx *Tx) error { return tx.UseStep(thing, seq) })
	}
	if err := use(3, 4); err != nil { // the code that trm_3 had before
		t.Error(err)
	}
	_, err = more("trm_8")
	wantError(t, err, ErrTooManyCodes)
	if err := use(5, 6); err != nil {
		t.Error(err)
	}
	wantError(t, use(5, 6), ErrUsed)
	inUsed, err := more("trm_8")
	if err != nil || inUsed.Slot != 5 || inUsed.Seq != 10 {
		t.Errorf("in place of a used one: %+v, %v", inUsed, err)
	}
	if err := use(5, 10); err != nil {
		t.Error(err)
	}
	d.mustPutTerminal(t, terminal("trm_9"))
	if _, err := more("trm_9"); err != nil {
		t.Error(err)
	}
	d.now = d.storedCodes(t).Codes[0].ExpiresAtNanos
	d.mustPutTerminal(t, terminal("trm_10"))
	_, err = more("trm_10")
	wantError(t, err, ErrTooManyCodes)
	d.now++
	inExpired, err := more("trm_10")
	if err != nil || inExpired.Slot != 0 || inExpired.Seq != 12 {
		t.Errorf("in place of an expired one: %+v, %v", inExpired, err)
	}
	s := d.storedCodes(t)
	if len(s.Codes) != MaxStoredCodes || s.LastSeq != 12 {
		t.Errorf("%+v", s)
	}
	d.clean(t)
}

// TestStoredCodeRules: what a stored code must be, and of which terminal.
func TestStoredCodeRules(t *testing.T) {
	d := askedDesk(t)
	for note, bend := range map[string]func(*StoredCode){
		"no secret":          func(c *StoredCode) { c.Sealed = nil },
		"a long secret":      func(c *StoredCode) { c.Sealed = make([]byte, maxSealedBytes+1) },
		"six digits":         func(c *StoredCode) { c.Digits = 6 },
		"expired":            func(c *StoredCode) { c.ExpiresAtNanos = d.now - 1 },
		"a negative maximum": func(c *StoredCode) { c.MaxAmountMinor = -1 },
		"a maximum of what":  func(c *StoredCode) { c.MaxAmountMinor = 1 },
		"no currency":        func(c *StoredCode) { c.Currency = "EURO" },
	} {
		bad := d.storedCode(t, "trm_1")
		bend(&bad)
		if _, err := d.addCode(bad); err == nil {
			t.Errorf("%s: added", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	_, err := d.addCode(d.storedCode(t, "trm_none"))
	wantError(t, err, ErrUnknownID)
	foreign := terminal("trm_ben")
	foreign.Account = "acc_ben"
	d.mustPutTerminal(t, foreign)
	_, err = d.addCode(d.storedCode(t, "trm_ben"))
	wantError(t, err, ErrState)
	frozen := terminal("trm_1")
	frozen.State = TerminalFrozen
	d.mustPutTerminal(t, frozen)
	_, err = d.addCode(d.storedCode(t, "trm_1"))
	wantError(t, err, ErrState)
	old := d.storedCode(t, "trm_2")
	d.now++
	other := terminal("trm_2")
	other.Identity.Subject = "new"
	d.mustPutTerminal(t, other)
	_, err = d.addCode(old)
	wantError(t, err, ErrState)
	good := d.storedCode(t, "trm_2")
	good.MaxAmountMinor, good.Currency, good.Slot, good.Seq, good.CreatedAtNanos = 100, "EUR", 7, 70, 700
	added, err := d.addCode(good)
	if err != nil || added.Slot != 0 || added.Seq != 1 || added.CreatedAtNanos != d.now || added.MaxAmountMinor != 100 {
		t.Errorf("%+v, %v", added, err)
	}
	d.clean(t)
}
