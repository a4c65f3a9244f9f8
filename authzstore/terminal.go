package authzstore

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Terminal is a device bound to an account.
type Terminal struct {
	ID      string `cbor:"1,keyasint" json:"id"`      // trm_…
	Account string `cbor:"2,keyasint" json:"account"` // acc_…
	// Number is where messages to it go, such as a telephone number.
	Number string   `cbor:"3,keyasint,omitempty" json:"number,omitempty"`
	OS     string   `cbor:"4,keyasint,omitempty" json:"os,omitempty"`
	Rights []string `cbor:"5,keyasint,omitempty" json:"rights,omitempty"` // snake_case, such as order
	// PairedWith are the IDs of terminals that it is paired with.
	PairedWith []string      `cbor:"6,keyasint,omitempty" json:"paired_with,omitempty"`
	Identity   Identity      `cbor:"7,keyasint" json:"identity"`
	State      TerminalState `cbor:"8,keyasint" json:"state"`
	// BoundAtNanos is when it was bound last.
	BoundAtNanos int64 `cbor:"9,keyasint,omitempty" json:"bound_at_ns,omitempty"`
	// Webhook is where messages to it are delivered, an https URL; empty for none.
	Webhook string `cbor:"10,keyasint,omitempty" json:"webhook,omitempty"`
}

// TerminalState says whether a terminal acts for its account.
type TerminalState string

// The states of a terminal.
const (
	TerminalBound   TerminalState = "bound"
	TerminalFrozen  TerminalState = "frozen"
	TerminalUnbound TerminalState = "unbound"
)

const (
	terminalVersion = 1
	terminalPrefix  = "terminal/"

	// An index record terminal_of/ACCOUNT/TERMINAL stands for each terminal.
	terminalOfPrefix = "terminal_of/"

	maxRights       = 16
	maxPairings     = 16
	maxWebhookBytes = 512
)

func (t Terminal) check() error {
	if err := checkID("terminal", "trm", t.ID); err != nil {
		return err
	}
	if err := checkID("account", "acc", t.Account); err != nil {
		return err
	}
	if err := t.Identity.check(); err != nil {
		return err
	}
	switch {
	case t.Number != "" && !isName(t.Number), t.OS != "" && !isName(t.OS):
		return fmt.Errorf("%w: number and system of terminal %s are texts of at most %d bytes", ErrInvalid, t.ID, MaxNameBytes)
	case !slices.Contains([]TerminalState{TerminalBound, TerminalFrozen, TerminalUnbound}, t.State):
		return fmt.Errorf("%w: terminal state %q is none of bound, frozen and unbound", ErrInvalid, t.State)
	case len(t.Rights) > maxRights || len(t.PairedWith) > maxPairings:
		return fmt.Errorf("%w: terminal %s has %d rights and %d pairings", ErrInvalid, t.ID, len(t.Rights), len(t.PairedWith))
	}
	if err := checkWebhook(t.Webhook); err != nil {
		return err
	}
	for i, right := range t.Rights {
		if !IsSnakeCase(right) || slices.Contains(t.Rights[:i], right) {
			return fmt.Errorf("%w: right %q is not a snake_case name of its own", ErrInvalid, right)
		}
	}
	for i, id := range t.PairedWith {
		if err := checkID("terminal", "trm", id); err != nil {
			return err
		}
		if id == t.ID || slices.Contains(t.PairedWith[:i], id) {
			return fmt.Errorf("%w: terminal %s is paired with %s, itself or twice", ErrInvalid, t.ID, id)
		}
	}
	return nil
}

// checkWebhook refuses what is no https URL (RFC 9110, 4.2.2), and one with a user's name
// and password in it: it is shown and logged.
func checkWebhook(webhook string) error {
	if webhook == "" {
		return nil
	}
	u, err := url.Parse(webhook)
	if err != nil || len(webhook) > maxWebhookBytes || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%w: a webhook is an https URL of at most %d bytes, without a user or a fragment", ErrInvalid, maxWebhookBytes)
	}
	return nil
}

// listed tells whether the terminal is one of its account's: bound or frozen.
func (t Terminal) listed() bool { return t.State == TerminalBound || t.State == TerminalFrozen }

// TerminalRef declares a terminal.
func TerminalRef(id string, mode kv.Mode) kv.Ref { return kv.Ref{Key: terminalPrefix + id, Mode: mode} }

// TerminalRefs declares what PutTerminal touches: the terminal as it will be, and
// as a snapshot has it.
func TerminalRefs(terminals ...Terminal) []kv.Ref {
	var refs []kv.Ref
	for _, t := range terminals {
		refs = append(refs, TerminalRef(t.ID, kv.Exclusive), exclusive(terminalOfKey(t)),
			exclusive(accountTerminalsPrefix+t.Account), exclusive(terminalAsKey(t.Identity)))
	}
	return refs
}

func terminalOfKey(t Terminal) string { return terminalOfPrefix + t.Account + "/" + t.ID }

// Terminal returns a terminal, and whether it exists.
func (r Reader) Terminal(id string) (Terminal, bool, error) {
	return getOwn(r, terminalPrefix, id, terminalVersion, func(t Terminal) string { return t.ID })
}

// Terminals lists all terminals, by ID, as [Snapshot.Grants] does grants.
func (s Snapshot) Terminals(after string, most int) (terminals []Terminal, next string, err error) {
	return page[Terminal](s, terminalPrefix, terminalVersion, after, most)
}

// TerminalsOf lists the terminals of an account, unbound ones too, as
// [Snapshot.Grants] does grants.
func (s Snapshot) TerminalsOf(account, after string, most int) (terminals []Terminal, next string, err error) {
	return indexed(s, terminalOfPrefix+account+"/", after, most, s.Terminal)
}

// PutTerminal writes a terminal, new or in place of what it was. BoundAtNanos is
// filled in: now, unless it was bound to the same account with the same identity
// already. No identity acts for two terminals that are not unbound: ErrUsed if another
// one has it. ErrTooManyTerminals; ErrInvalid.
func (tx *Tx) PutTerminal(t Terminal) error {
	old, had, err := tx.Terminal(t.ID)
	if err != nil {
		return err
	}
	moved := had && old.Account != t.Account
	switch {
	case had && !moved && old.Identity == t.Identity && (old.State != TerminalUnbound || t.State == TerminalUnbound):
		t.BoundAtNanos = old.BoundAtNanos
	case t.State == TerminalUnbound:
		t.BoundAtNanos = old.BoundAtNanos
	default: // another binding than any before, also where the clock stands still
		t.BoundAtNanos = max(tx.Now(), old.BoundAtNanos+1)
	}
	if moved {
		if err := tx.delete(terminalOfKey(old)); err != nil {
			return err
		}
	}
	if err := put(tx, terminalPrefix+t.ID, terminalVersion, t); err != nil {
		return err
	}
	if err := tx.listTerminal(old, t); err != nil {
		return err
	}
	if err := tx.identifyTerminal(old, t); err != nil {
		return err
	}
	if had && !moved {
		return nil
	}
	return put(tx, terminalOfKey(t), indexVersion, indexMark{})
}
