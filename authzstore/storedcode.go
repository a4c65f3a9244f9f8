package authzstore

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// StoredCodes are the codes that were agreed in advance with the people of one
// account, each to be used once with one of its terminals.
type StoredCodes struct {
	Account string       `cbor:"1,keyasint" json:"account"`
	Codes   []StoredCode `cbor:"2,keyasint,omitempty" json:"codes,omitempty"` // by slot, at most 8
	// LastSeq is the number of the last code that the account was given.
	LastSeq int64 `cbor:"3,keyasint,omitempty" json:"last_seq,omitempty"`
}

// A StoredCode is one such code. It stays where it is when it was used or has
// expired, until another takes its place.
type StoredCode struct {
	Slot int `cbor:"1,keyasint" json:"slot"` // from 0
	// Seq numbers the codes of the account from 1, and never comes again.
	Seq      int64  `cbor:"2,keyasint" json:"seq"`
	Terminal string `cbor:"3,keyasint" json:"terminal"` // trm_…
	// TerminalBoundAtNanos is that of the terminal when the code was made: bound
	// anew, it is another one.
	TerminalBoundAtNanos int64 `cbor:"4,keyasint" json:"terminal_bound_at_ns"`
	// Sealed is the code's secret as the sidecar's key encrypted it.
	Sealed []byte `cbor:"5,keyasint" json:"-"`
	Digits int    `cbor:"6,keyasint" json:"digits"` // 8
	// MaxAmountMinor is the most that it is good for, in minor units of Currency; 0:
	// no maximum of its own.
	MaxAmountMinor int64  `cbor:"7,keyasint,omitempty" json:"max_amount_minor,omitempty"`
	Currency       string `cbor:"8,keyasint,omitempty" json:"currency,omitempty"`
	CreatedAtNanos int64  `cbor:"9,keyasint" json:"created_at_ns"`
	ExpiresAtNanos int64  `cbor:"10,keyasint" json:"expires_at_ns"`
}

// Bounds of stored codes.
const (
	MaxStoredCodes   = 8
	StoredCodeDigits = 8
)

const (
	storedCodesVersion = 1
	storedCodesPrefix  = "stored_codes/"

	// storedCodeThings is how the names of what stored codes use up start.
	storedCodeThings = "stored_code/"
)

func (s StoredCodes) check() error {
	if err := checkID("account", "acc", s.Account); err != nil {
		return err
	}
	if len(s.Codes) > MaxStoredCodes {
		return fmt.Errorf("%w: %s has %d, at most %d", ErrTooManyCodes, s.Account, len(s.Codes), MaxStoredCodes)
	}
	var terminals []string
	slot := -1
	for _, c := range s.Codes {
		if err := c.check(); err != nil {
			return err
		}
		if c.Slot <= slot || c.Seq > s.LastSeq {
			return fmt.Errorf("%w: stored code %d of %s in slot %d, after slot %d and number %d", ErrInvalid, c.Seq, s.Account, c.Slot, slot, s.LastSeq)
		}
		slot, terminals = c.Slot, append(terminals, c.Terminal)
	}
	return checkIDs("terminal", "trm", terminals)
}

func (c StoredCode) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: a stored code "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case c.Slot < 0 || c.Slot >= MaxStoredCodes || c.Seq < 1:
		return bad("in slot %d with the number %d", c.Slot, c.Seq)
	case len(c.Sealed) == 0 || len(c.Sealed) > maxSealedBytes:
		return bad("with a sealed secret of %d bytes", len(c.Sealed))
	case c.Digits != StoredCodeDigits:
		return bad("of %d digits, not %d", c.Digits, StoredCodeDigits)
	case c.ExpiresAtNanos < c.CreatedAtNanos:
		return bad("made at %d that expires at %d", c.CreatedAtNanos, c.ExpiresAtNanos)
	}
	if err := checkPurpose(c.MaxAmountMinor, c.Currency, ""); err != nil {
		return err
	}
	return checkID("terminal", "trm", c.Terminal)
}

// StoredCodesRef declares the stored codes of an account.
func StoredCodesRef(account string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: storedCodesPrefix + account, Mode: mode}
}

// AddStoredCodeRefs declares what AddStoredCode touches.
func AddStoredCodeRefs(account, terminal string) []kv.Ref {
	refs := []kv.Ref{StoredCodesRef(account, kv.Exclusive), TerminalRef(terminal, kv.Shared)}
	for slot := range MaxStoredCodes {
		refs = append(refs, kv.Ref{Key: UseRef(StoredCodeThing(account, slot)).Key, Mode: kv.Shared})
	}
	return refs
}

// StoredCodeThing names what a stored code uses up, the code's number being the
// step.
func StoredCodeThing(account string, slot int) string {
	return fmt.Sprintf("%s%s/%d", storedCodeThings, account, slot)
}

// StoredCodes returns the stored codes of an account, used and expired ones too.
func (r Reader) StoredCodes(account string) (StoredCodes, error) {
	s, ok, err := getOwn(r, storedCodesPrefix, account, storedCodesVersion, func(s StoredCodes) string { return s.Account })
	if !ok {
		s.Account = account
	}
	return s, err
}

// AddStoredCode keeps a code for an account in a slot that is free, or whose code
// is used or expired; in place of the one that the terminal had, if it had one. It
// returns the code with its slot, its number and when it was made. ErrTooManyCodes;
// ErrUnknownID without the terminal; a *StateError where it is not bound to the
// account, or bound anew since TerminalBoundAtNanos; ErrInvalid, also for an expiry
// that is past.
func (tx *Tx) AddStoredCode(account string, c StoredCode) (StoredCode, error) {
	t, ok, err := tx.Terminal(c.Terminal)
	switch {
	case err != nil:
		return StoredCode{}, err
	case !ok:
		return StoredCode{}, fmt.Errorf("%w: terminal %s", ErrUnknownID, c.Terminal)
	case t.Account != account:
		return StoredCode{}, &StateError{"terminal", "another account's"}
	case t.State != TerminalBound:
		return StoredCode{}, &StateError{"terminal", string(t.State)}
	case t.BoundAtNanos != c.TerminalBoundAtNanos:
		return StoredCode{}, &StateError{"terminal", "bound anew"}
	}
	s, err := tx.StoredCodes(account)
	if err != nil {
		return StoredCode{}, err
	}
	s.Codes = slices.DeleteFunc(s.Codes, func(old StoredCode) bool { return old.Terminal == c.Terminal })
	slot, err := tx.freeSlot(s)
	if err != nil {
		return StoredCode{}, err
	}
	s.LastSeq++
	c.Slot, c.Seq, c.CreatedAtNanos = slot, s.LastSeq, tx.Now()
	s.Codes = slices.DeleteFunc(s.Codes, func(old StoredCode) bool { return old.Slot == slot })
	s.Codes = append(s.Codes, c)
	slices.SortFunc(s.Codes, func(a, b StoredCode) int { return a.Slot - b.Slot })
	return c, put(tx, storedCodesPrefix+account, storedCodesVersion, s)
}

// freeSlot finds a slot without a code that still works.
func (tx *Tx) freeSlot(s StoredCodes) (int, error) {
	for slot := range MaxStoredCodes {
		i := slices.IndexFunc(s.Codes, func(c StoredCode) bool { return c.Slot == slot })
		if i < 0 || tx.Now() > s.Codes[i].ExpiresAtNanos {
			return slot, nil
		}
		use, used, err := tx.Use(StoredCodeThing(s.Account, slot))
		if err != nil {
			return 0, err
		}
		if used && use.Step >= s.Codes[i].Seq {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("%w: %s has %d that work", ErrTooManyCodes, s.Account, MaxStoredCodes)
}
