package authzstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/authzstore/kv"
)

// An Intent is a request that waits for more: an order, a proxied business or a
// checkout. It goes from state to state, each of them the policy's, and what it is
// for never changes.
type Intent struct {
	ID      string `cbor:"1,keyasint" json:"id"` // int_…
	System  string `cbor:"2,keyasint" json:"system"`
	Kind    string `cbor:"3,keyasint" json:"kind"`
	State   string `cbor:"4,keyasint" json:"state"`
	Account string `cbor:"5,keyasint" json:"account"` // acc_…
	// Initiator is who opened it, and Terminal (trm_…) from which terminal; empty
	// where from none.
	Initiator Identity `cbor:"6,keyasint" json:"initiator"`
	Terminal  string   `cbor:"7,keyasint,omitempty" json:"terminal,omitempty"`
	// Terminals are to whom it was pushed, or who takes part.
	Terminals []string `cbor:"8,keyasint,omitempty" json:"terminals,omitempty"`
	// What it is for; 0 and empty where it has none.
	AmountMinor int64             `cbor:"9,keyasint,omitempty" json:"amount_minor,omitempty"`
	Currency    string            `cbor:"10,keyasint,omitempty" json:"currency,omitempty"`
	Payee       string            `cbor:"11,keyasint,omitempty" json:"payee,omitempty"`
	Attributes  map[string]string `cbor:"12,keyasint,omitempty" json:"attributes,omitempty"`
	// Parties are who else takes part, each named once, by a later step.
	Parties map[string]string `cbor:"13,keyasint,omitempty" json:"parties,omitempty"`
	// Steps are all its states so far; the first is that in which it was opened.
	Steps          []IntentStep `cbor:"14,keyasint" json:"steps"`
	OpenedAtNanos  int64        `cbor:"15,keyasint" json:"opened_at_ns"`
	ExpiresAtNanos int64        `cbor:"16,keyasint" json:"expires_at_ns"`
	// Closed: no step follows.
	Closed bool `cbor:"17,keyasint,omitempty" json:"closed,omitempty"`
}

// An IntentStep says when an intent came to a state, by whom, from which terminal
// if any, and by which record.
type IntentStep struct {
	State    string   `cbor:"1,keyasint" json:"state"`
	AtNanos  int64    `cbor:"2,keyasint" json:"at_ns"`
	By       Identity `cbor:"3,keyasint" json:"by"`
	Terminal string   `cbor:"4,keyasint,omitempty" json:"terminal,omitempty"`
	RecordID string   `cbor:"5,keyasint" json:"record_id"`
}

// An IntentAdvance is a step of an intent.
type IntentAdvance struct {
	To        string
	Terminals []string          // take the place of the intent's; nil: they stay
	Parties   map[string]string // to be added
	Close     bool
	By        Identity
	Terminal  string // trm_… that it came from; empty where from none
}

// Bounds of intents.
const (
	MaxIntentTerminals  = 16
	MaxIntentAttributes = 16
	MaxIntentParties    = 8
	MaxIntentSteps      = 32
)

const (
	intentVersion = 1
	intentPrefix  = "intent/"
)

// ExpiredAt tells whether the intent is past its expiry.
func (i Intent) ExpiredAt(nowNanos int64) bool { return nowNanos > i.ExpiresAtNanos }

func (i Intent) bad(format string, args ...any) error {
	return fmt.Errorf("%w: intent %s "+format, append([]any{ErrInvalid, i.ID}, args...)...)
}

func (i Intent) check() error {
	for _, err := range []error{
		checkID("intent", "int", i.ID), checkID("account", "acc", i.Account), i.Initiator.check(),
		checkPurpose(i.AmountMinor, i.Currency, i.Payee), checkIDs("terminal", "trm", i.Terminals),
		checkTexts("attribute", i.Attributes, MaxIntentAttributes), checkTexts("party", i.Parties, MaxIntentParties),
		i.checkSteps(),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case !IsSnakeCase(i.System) || !IsSnakeCase(i.Kind):
		return i.bad("is a %q of the system %q", i.Kind, i.System)
	case len(i.Terminals) > MaxIntentTerminals:
		return i.bad("has %d terminals, at most %d", len(i.Terminals), MaxIntentTerminals)
	case i.ExpiresAtNanos < i.OpenedAtNanos:
		return i.bad("is opened at %d and expires at %d", i.OpenedAtNanos, i.ExpiresAtNanos)
	case i.Terminal != "":
		return checkID("terminal", "trm", i.Terminal)
	}
	return nil
}

func (i Intent) checkSteps() error {
	if len(i.Steps) < 1 || len(i.Steps) > MaxIntentSteps {
		return i.bad("has %d steps, not 1 to %d", len(i.Steps), MaxIntentSteps)
	}
	first, last := i.Steps[0], i.Steps[len(i.Steps)-1]
	if first.AtNanos != i.OpenedAtNanos || first.By != i.Initiator || first.Terminal != i.Terminal || last.State != i.State {
		return i.bad("is %q, and its steps say that it is %q, or that another opened it", i.State, last.State)
	}
	after := i.OpenedAtNanos
	for _, s := range i.Steps {
		if !IsSnakeCase(s.State) || s.AtNanos < after || s.RecordID == "" {
			return i.bad("has the step %+v", s)
		}
		if err := s.By.check(); err != nil {
			return err
		}
		if s.Terminal != "" {
			if err := checkID("terminal", "trm", s.Terminal); err != nil {
				return err
			}
		}
		after = s.AtNanos
	}
	return nil
}

// checkTexts checks texts with names in snake_case: UTF-8 of at most 256 bytes
// without control characters.
func checkTexts(what string, texts map[string]string, most int) error {
	if len(texts) > most {
		return fmt.Errorf("%w: %d texts as %s, at most %d", ErrInvalid, len(texts), what, most)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		if !IsSnakeCase(name) || len(text) > MaxNameBytes || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%w: %s %q is not a text of at most %d bytes under a snake_case name", ErrInvalid, what, name, MaxNameBytes)
		}
	}
	return nil
}

// IntentRef declares an intent.
func IntentRef(id string, mode kv.Mode) kv.Ref { return kv.Ref{Key: intentPrefix + id, Mode: mode} }

// IntentRefs declares what OpenIntent and AdvanceIntent touch, i as it will be or
// as a snapshot has it.
func IntentRefs(i Intent) []kv.Ref {
	return []kv.Ref{IntentRef(i.ID, kv.Exclusive), exclusive(openIntentsPrefix + i.Account)}
}

// Intent returns an intent, and whether it exists.
func (r Reader) Intent(id string) (Intent, bool, error) {
	return getOwn(r, intentPrefix, id, intentVersion, func(i Intent) string { return i.ID })
}

// Intents lists all intents, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Intents(after string, most int) (intents []Intent, next string, err error) {
	return page[Intent](s, intentPrefix, intentVersion, after, most)
}

// OpenIntent opens an intent under i.ID, which is new, in the state i.State. Its
// steps and the time are filled in. ErrInvalid, also for an expiry that is past, and
// for parties; ErrTooManyIntents.
func (tx *Tx) OpenIntent(i Intent) error {
	if _, exists, err := tx.Intent(i.ID); err != nil || exists {
		return orElse(err, i.bad("exists"))
	}
	if len(i.Parties) > 0 {
		return i.bad("is opened with parties")
	}
	i.OpenedAtNanos, i.Closed = tx.Now(), false
	i.Steps = []IntentStep{{i.State, tx.Now(), i.Initiator, i.Terminal, tx.cause.ID}}
	if err := tx.addOpenIntent(i); err != nil {
		return err
	}
	return put(tx, intentPrefix+i.ID, intentVersion, i)
}

// AdvanceIntent takes an intent from one state to another, if it is in that one. A
// step that closes it may come after its expiry, so that this can be written down.
// ErrUnknownID; a *StateError where it is in another state, closed or expired;
// ErrUsed for a party that was named before; ErrTooManySteps; ErrInvalid.
func (tx *Tx) AdvanceIntent(id, from string, a IntentAdvance) error {
	i, ok, err := tx.Intent(id)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: intent %s", ErrUnknownID, id)
	case i.Closed || i.State != from:
		return &StateError{"intent", i.State}
	case i.ExpiredAt(tx.Now()) && !a.Close:
		return &StateError{"intent", "expired"}
	case len(i.Steps) >= MaxIntentSteps-1 && !a.Close:
		return fmt.Errorf("%w: %d", ErrTooManySteps, len(i.Steps))
	}
	for name, party := range a.Parties {
		if _, named := i.Parties[name]; named {
			return fmt.Errorf("%w: the party %s of intent %s", ErrUsed, name, id)
		}
		if i.Parties == nil {
			i.Parties = map[string]string{}
		}
		i.Parties[name] = party
	}
	if a.Terminals != nil {
		i.Terminals = a.Terminals
	}
	i.State, i.Closed = a.To, a.Close
	i.Steps = append(i.Steps, IntentStep{a.To, tx.Now(), a.By, a.Terminal, tx.cause.ID})
	if i.Closed {
		if err := tx.removeOpenIntent(i); err != nil {
			return err
		}
	}
	return put(tx, intentPrefix+i.ID, intentVersion, i)
}
