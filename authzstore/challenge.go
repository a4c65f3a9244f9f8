package authzstore

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Challenge asks the people of an account to prove that they want one call: by
// codes that were sent to terminals, or by the approval of a terminal. It works
// once.
type Challenge struct {
	ID      string        `cbor:"1,keyasint" json:"id"` // chl_…
	Kind    ChallengeKind `cbor:"2,keyasint" json:"kind"`
	Account string        `cbor:"3,keyasint" json:"account"` // acc_…
	// Initiator is who made the call.
	Initiator Identity `cbor:"4,keyasint" json:"initiator"`
	System    string   `cbor:"5,keyasint" json:"system"`
	Operation string   `cbor:"6,keyasint" json:"operation"`
	// Fingerprint is the SHA-256 of the canonical call that it is bound to.
	Fingerprint []byte `cbor:"7,keyasint" json:"fingerprint"`
	// Intent is what the call is about, int_…; empty where there is none.
	Intent string `cbor:"8,keyasint,omitempty" json:"intent,omitempty"`
	// Terminals are who is asked, in the order that the condition "terminals" wants.
	Terminals []ChallengeTerminal `cbor:"9,keyasint" json:"terminals"`
	// Expects says whose entries count. Approvals are the terminals'.
	Expects Expects `cbor:"10,keyasint" json:"expects"`
	// What it is for; 0 and empty where the call has none.
	AmountMinor int64  `cbor:"11,keyasint,omitempty" json:"amount_minor,omitempty"`
	Currency    string `cbor:"12,keyasint,omitempty" json:"currency,omitempty"`
	Payee       string `cbor:"13,keyasint,omitempty" json:"payee,omitempty"`
	// Of codes: the secret that they are made from, as the sidecar's key encrypted
	// it, the digits of one, 6 to 8, and what the entries must be like.
	Sealed    []byte    `cbor:"14,keyasint,omitempty" json:"-"`
	Digits    int       `cbor:"15,keyasint,omitempty" json:"digits,omitempty"`
	Condition Condition `cbor:"16,keyasint" json:"condition,omitzero"`
	// MaxAttempts is how many failed sets of codes lock it, 1 to 5, if those of the
	// account's other challenges do not before; Burnt, how many there were.
	MaxAttempts int64 `cbor:"17,keyasint,omitempty" json:"max_attempts,omitempty"`
	Burnt       int64 `cbor:"18,keyasint,omitempty" json:"burnt,omitempty"`
	// Entries are those of the set that is being entered, or that was right.
	Entries        []Entry        `cbor:"19,keyasint,omitempty" json:"entries,omitempty"`
	State          ChallengeState `cbor:"20,keyasint" json:"state"`
	IssuedAtNanos  int64          `cbor:"21,keyasint" json:"issued_at_ns"`
	ExpiresAtNanos int64          `cbor:"22,keyasint" json:"expires_at_ns"`
	// DecidedAtNanos is when it was open no more; 0: it is.
	DecidedAtNanos int64 `cbor:"23,keyasint,omitempty" json:"decided_at_ns,omitempty"`
	// DecidedBy is the terminal (trm_…) that approved or rejected; empty otherwise.
	DecidedBy string `cbor:"24,keyasint,omitempty" json:"decided_by,omitempty"`
	// Grant is the one by which the call wants to pay, or that it is about: an answer for
	// one says nothing for another. "" for none.
	Grant string `cbor:"25,keyasint,omitempty" json:"grant,omitempty"` // grt_…
}

// ChallengeKind says how a challenge is answered.
type ChallengeKind string

// The kinds of challenges.
const (
	ChallengeCode     ChallengeKind = "code"
	ChallengeApproval ChallengeKind = "approval"
)

// ChallengeKinds returns all of them.
func ChallengeKinds() []ChallengeKind { return []ChallengeKind{ChallengeCode, ChallengeApproval} }

// Expects says whose answers to a challenge count.
type Expects string

// Who is expected: the identity that made the call, or those of the terminals.
const (
	ExpectsInitiator Expects = "initiator"
	ExpectsTerminals Expects = "terminals"
)

// AllExpects returns all of them.
func AllExpects() []Expects { return []Expects{ExpectsInitiator, ExpectsTerminals} }

// ChallengeState says how far a challenge has come.
type ChallengeState string

// The states. An open challenge is answered and satisfied, and the call that it is
// bound to consumes it; all others are final.
const (
	ChallengeOpen      ChallengeState = "open"
	ChallengeSatisfied ChallengeState = "satisfied"
	ChallengeConsumed  ChallengeState = "consumed"
	ChallengeLocked    ChallengeState = "locked"   // by failed sets of codes
	ChallengeRejected  ChallengeState = "rejected" // by a terminal
	ChallengeReplaced  ChallengeState = "replaced" // by another challenge
	// ChallengeExpired is told and not stored: open or satisfied past the expiry.
	ChallengeExpired ChallengeState = "expired"
)

// A ChallengeTerminal is a terminal that a challenge asks.
type ChallengeTerminal struct {
	Terminal string `cbor:"1,keyasint" json:"terminal"`
	// Counter is that of the terminal's code (RFC 4226), from 1: a message with the counter
	// 0 brings no code.
	Counter uint64 `cbor:"2,keyasint,omitempty" json:"counter,omitempty"`
	// BoundAtNanos is that of the terminal at issue: bound anew, it is another one.
	BoundAtNanos int64 `cbor:"3,keyasint" json:"bound_at_ns"`
}

// An Entry is what is kept of a code that was entered.
type Entry struct {
	// Terminal is whose code it was, an index into Terminals; -1: nobody's. Of a
	// sum: 0 the right one, -1 not.
	Terminal int `cbor:"1,keyasint" json:"terminal"`
	// ArrivedNanos is when it arrived at the sidecar.
	ArrivedNanos int64 `cbor:"2,keyasint" json:"arrived_ns"`
	// Rank is that of the code among all, by number, from 0.
	Rank int `cbor:"3,keyasint,omitempty" json:"rank,omitempty"`
}

// A Condition says what a set of entries must be like besides right.
type Condition struct {
	Entry EntryOrder `cbor:"1,keyasint,omitempty" json:"entry,omitempty"`
	// WithinNanos is how long after issue the whole set is entered at most; 0: no
	// bound.
	WithinNanos int64 `cbor:"2,keyasint,omitempty" json:"within_ns,omitempty"`
	// Between one entry and the next lie at least and at most so many nanoseconds;
	// 0: no bound.
	MinGapNanos int64 `cbor:"3,keyasint,omitempty" json:"min_gap_ns,omitempty"`
	MaxGapNanos int64 `cbor:"4,keyasint,omitempty" json:"max_gap_ns,omitempty"`
}

// EntryOrder says in which order codes are entered.
type EntryOrder string

// The orders: as they come, by terminal, by the numbers that the codes are, or the
// sum of all codes as one entry.
const (
	EntryAny        EntryOrder = "any"
	EntryTerminals  EntryOrder = "terminals"
	EntryAscending  EntryOrder = "ascending"
	EntryDescending EntryOrder = "descending"
	EntrySum        EntryOrder = "sum"
)

// EntryOrders returns all of them.
func EntryOrders() []EntryOrder {
	return []EntryOrder{EntryAny, EntryTerminals, EntryAscending, EntryDescending, EntrySum}
}

// Bounds of challenges.
const (
	// MinCodeDigits to MaxCodeDigits are the digits of one code: Digit of RFC 4226 (5.3).
	MinCodeDigits        = 6
	MaxCodeDigits        = 8
	MaxChallengeAttempts = 5
	// MaxChallengeLife is how long a challenge stays open at most.
	MaxChallengeLife = 24 * time.Hour
	// MinSumDigits keeps a sum above 20 bits (NIST SP 800-63B, 5.1.3.2).
	MinSumDigits = 7
)

const (
	challengeVersion = 1
	challengePrefix  = "challenge/"
)

// Check refuses a condition that makes no sense for codes of so many digits from a
// number of terminals, or leaves too little to guess: ErrInvalid.
func (c Condition) Check(digits, terminals int) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: a condition "+format, append([]any{ErrInvalid}, args...)...)
	}
	gaps := c.MinGapNanos != 0 || c.MaxGapNanos != 0
	ordered := c.Entry != EntryAny
	switch {
	case digits < MinCodeDigits || digits > MaxCodeDigits:
		return bad("on codes of %d digits, not %d to %d", digits, MinCodeDigits, MaxCodeDigits)
	case terminals < 1 || terminals > MaxTerminals:
		return bad("on codes of %d terminals, not 1 to %d", terminals, MaxTerminals)
	case !slices.Contains(EntryOrders(), c.Entry):
		return bad("with the entry %q", c.Entry)
	case c.WithinNanos < 0 || c.MinGapNanos < 0 || c.MaxGapNanos < 0:
		return bad("with a negative time")
	case c.MaxGapNanos != 0 && c.MinGapNanos > c.MaxGapNanos:
		return bad("with gaps of %d ns at least and %d ns at most", c.MinGapNanos, c.MaxGapNanos)
	case c.Entry == EntrySum && gaps:
		return bad("with gaps in one entry, a sum")
	case c.Entry == EntrySum && digits < MinSumDigits:
		return bad("with a sum of codes of %d digits, at least %d", digits, MinSumDigits)
	case (ordered || gaps) && terminals < 2:
		return bad("with an order or gaps of one code")
	}
	return nil
}

// EntriesWanted is how many entries make a whole set.
func (c Challenge) EntriesWanted() int {
	switch {
	case c.Kind != ChallengeCode:
		return 0
	case c.Condition.Entry == EntrySum:
		return 1
	}
	return len(c.Terminals)
}

// AttemptsLeft is how many sets of codes may still fail.
func (c Challenge) AttemptsLeft() int64 {
	if c.State == ChallengeLocked {
		return 0
	}
	return c.MaxAttempts - c.Burnt
}

// Asks tells whether a terminal is one of those that are asked.
func (c Challenge) Asks(terminal string) bool {
	return slices.ContainsFunc(c.Terminals, func(t ChallengeTerminal) bool { return t.Terminal == terminal })
}

// StillAsks tells whether a terminal, as it is now, is one of those that are asked: bound
// to the account as it was at issue.
func (c Challenge) StillAsks(t Terminal) bool {
	return t.State == TerminalBound && t.Account == c.Account &&
		slices.ContainsFunc(c.Terminals, func(asked ChallengeTerminal) bool {
			return asked.Terminal == t.ID && asked.BoundAtNanos == t.BoundAtNanos
		})
}

// Live tells whether the challenge can still come to something, but for its
// expiry and for what became of its terminals.
func (c Challenge) Live() bool {
	return c.State == ChallengeOpen || c.State == ChallengeSatisfied
}

// StateAt is the state at a time: expired, where it is open or satisfied and past
// its expiry.
func (c Challenge) StateAt(nowNanos int64) ChallengeState {
	if c.Live() && nowNanos > c.ExpiresAtNanos {
		return ChallengeExpired
	}
	return c.State
}

func (c Challenge) check() error {
	for _, err := range []error{
		checkID("challenge", "chl", c.ID), checkID("account", "acc", c.Account), c.Initiator.check(),
		checkPurpose(c.AmountMinor, c.Currency, c.Payee), c.checkTerminals(), c.checkCodes(), c.checkState(),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case !isName(c.System) || !isName(c.Operation):
		return c.bad("is for the operation %q of the system %q", c.Operation, c.System)
	case len(c.Fingerprint) != sha256.Size:
		return c.bad("has a fingerprint of %d bytes", len(c.Fingerprint))
	case c.ExpiresAtNanos < c.IssuedAtNanos || c.ExpiresAtNanos-c.IssuedAtNanos > int64(MaxChallengeLife):
		return c.bad("is issued at %d and expires at %d, at most %v later", c.IssuedAtNanos, c.ExpiresAtNanos, MaxChallengeLife)
	}
	if c.Intent != "" {
		if err := checkID("intent", "int", c.Intent); err != nil {
			return err
		}
	}
	if c.Grant != "" {
		return checkID("grant", "grt", c.Grant)
	}
	return nil
}

func (c Challenge) bad(format string, args ...any) error {
	return fmt.Errorf("%w: challenge %s "+format, append([]any{ErrInvalid, c.ID}, args...)...)
}

func (c Challenge) checkTerminals() error {
	if len(c.Terminals) < 1 || len(c.Terminals) > MaxTerminals {
		return c.bad("asks %d terminals, not 1 to %d", len(c.Terminals), MaxTerminals)
	}
	for i, t := range c.Terminals {
		if err := checkID("terminal", "trm", t.Terminal); err != nil {
			return err
		}
		for _, b := range c.Terminals[:i] {
			if b.Terminal == t.Terminal || c.Kind == ChallengeCode && b.Counter == t.Counter {
				return c.bad("asks %s and %s for one code, or twice", b.Terminal, t.Terminal)
			}
		}
	}
	return nil
}

// checkCodes checks what only challenges by code have.
func (c Challenge) checkCodes() error {
	if c.Kind == ChallengeApproval {
		if len(c.Sealed) != 0 || c.Digits != 0 || c.Condition != (Condition{}) || c.MaxAttempts != 0 || c.Burnt != 0 || len(c.Entries) != 0 {
			return c.bad("is an approval, with codes")
		}
		if c.Expects != ExpectsTerminals {
			return c.bad("is an approval that is not the terminals'")
		}
		return nil
	}
	switch {
	case c.Kind != ChallengeCode:
		return c.bad("is of the kind %q", c.Kind)
	case !slices.Contains(AllExpects(), c.Expects):
		return c.bad("expects %q", c.Expects)
	case len(c.Sealed) == 0 || len(c.Sealed) > maxSealedBytes:
		return c.bad("has a sealed secret of %d bytes", len(c.Sealed))
	case c.MaxAttempts < 1 || c.MaxAttempts > MaxChallengeAttempts:
		return c.bad("has %d attempts, not 1 to %d", c.MaxAttempts, MaxChallengeAttempts)
	case c.Burnt < 0 || c.Burnt > c.MaxAttempts || c.State == ChallengeLocked && c.Burnt == 0 || c.State != ChallengeLocked && c.Burnt == c.MaxAttempts:
		return c.bad("is %s after %d failed sets of %d", c.State, c.Burnt, c.MaxAttempts)
	case len(c.Entries) > c.EntriesWanted():
		return c.bad("has %d entries, at most %d", len(c.Entries), c.EntriesWanted())
	}
	after := c.IssuedAtNanos
	for _, e := range c.Entries {
		matchable := c.EntriesWanted()
		if e.Terminal < -1 || e.Terminal >= matchable || e.Rank < 0 || e.Rank >= len(c.Terminals) || e.ArrivedNanos < after {
			return c.bad("has the entry %+v", e)
		}
		after = e.ArrivedNanos
	}
	return c.Condition.Check(c.Digits, len(c.Terminals))
}

func (c Challenge) checkState() error {
	decided, byTerminal := true, false
	switch c.State {
	case ChallengeOpen:
		decided = false
	case ChallengeSatisfied, ChallengeConsumed:
		byTerminal = c.Kind == ChallengeApproval
		if c.Kind == ChallengeCode && !c.Matched() {
			return c.bad("is %s without the code of every terminal", c.State)
		}
	case ChallengeRejected:
		byTerminal = true
	case ChallengeReplaced:
		byTerminal = c.DecidedBy != "" && c.Kind == ChallengeApproval
	case ChallengeLocked:
		if c.Kind != ChallengeCode {
			return c.bad("is an approval that failed sets locked")
		}
	default:
		return c.bad("is %q", c.State)
	}
	switch {
	case decided != (c.DecidedAtNanos != 0):
		return c.bad("is %s, decided at %d", c.State, c.DecidedAtNanos)
	case byTerminal != (c.DecidedBy != "") || byTerminal && !c.Asks(c.DecidedBy):
		return c.bad("is %s by %q", c.State, c.DecidedBy)
	}
	return nil
}

// Matched tells whether the entries are a whole set in which every code stands
// once, or the sum. In which order and when is not looked at.
func (c Challenge) Matched() bool {
	seen := make([]bool, c.EntriesWanted())
	for _, e := range c.Entries {
		if e.Terminal < 0 || e.Terminal >= len(seen) || seen[e.Terminal] {
			return false
		}
		seen[e.Terminal] = true
	}
	return len(seen) > 0 && len(c.Entries) == len(seen)
}

// checkPurpose checks what a challenge, an intent or a message is for, as far as
// it is for money.
func checkPurpose(amountMinor int64, currency, payee string) error {
	if amountMinor != 0 {
		if err := checkAmount("amount", amountMinor); err != nil {
			return err
		}
	}
	if currency != "" {
		if err := checkCurrency(currency); err != nil {
			return err
		}
	}
	switch {
	case amountMinor != 0 && currency == "":
		return fmt.Errorf("%w: an amount of %d in no currency", ErrInvalid, amountMinor)
	case payee != "" && !isName(payee):
		return fmt.Errorf("%w: the payee is not a text of at most %d bytes", ErrInvalid, MaxNameBytes)
	}
	return nil
}

// ChallengeRef declares a challenge.
func ChallengeRef(id string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: challengePrefix + id, Mode: mode}
}

// Challenge returns a challenge, and whether it exists.
func (r Reader) Challenge(id string) (Challenge, bool, error) {
	return getOwn(r, challengePrefix, id, challengeVersion, func(c Challenge) string { return c.ID })
}

// Challenges lists all challenges, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Challenges(after string, most int) (challenges []Challenge, next string, err error) {
	return page[Challenge](s, challengePrefix, challengeVersion, after, most)
}
