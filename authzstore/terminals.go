package authzstore

import (
	"fmt"
	"slices"
)

// AccountTerminals are the terminals of one account that are not unbound. Being
// one noun, they are locked together: who asks all of them leaves none out.
type AccountTerminals struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// Terminals are their IDs, in the order in which they were bound.
	Terminals []string `cbor:"2,keyasint,omitempty" json:"terminals"`
}

// A TerminalIdentity says which terminal an identity acts for: the index of
// terminals.
type TerminalIdentity struct {
	Terminal string `cbor:"1,keyasint" json:"terminal"`
}

// MaxTerminals is how many terminals of an account are not unbound at most.
const MaxTerminals = 16

const (
	accountTerminalsVersion = 1
	accountTerminalsPrefix  = "account_terminals/"

	// A record terminal_as/IDENTITY, the identity hashed, stands for each terminal
	// that is not unbound.
	terminalAsVersion = 1
	terminalAsPrefix  = "terminal_as/"
)

func (a AccountTerminals) check() error {
	if len(a.Terminals) > MaxTerminals {
		return fmt.Errorf("%w: %s has %d, at most %d", ErrTooManyTerminals, a.Account, len(a.Terminals), MaxTerminals)
	}
	if err := checkIDs("terminal", "trm", a.Terminals); err != nil {
		return err
	}
	return checkID("account", "acc", a.Account)
}

func (t TerminalIdentity) check() error { return checkID("terminal", "trm", t.Terminal) }

func terminalAsKey(identity Identity) string { return terminalAsPrefix + hashed(identity.parts()...) }

// AccountTerminals returns the terminals of an account that are not unbound.
func (r Reader) AccountTerminals(account string) (AccountTerminals, error) {
	a, ok, err := getOwn(r, accountTerminalsPrefix, account, accountTerminalsVersion, func(a AccountTerminals) string { return a.Account })
	if !ok {
		a.Account = account
	}
	return a, err
}

// TerminalAs returns the terminal that an identity acts for, and whether there is
// one.
func (r Reader) TerminalAs(identity Identity) (Terminal, bool, error) {
	as, ok, err := get[TerminalIdentity](r, terminalAsKey(identity), terminalAsVersion)
	if err != nil || !ok {
		return Terminal{}, false, err
	}
	return r.Terminal(as.Terminal)
}

// listTerminal keeps the terminals of the accounts as a terminal was and as it is.
func (tx *Tx) listTerminal(old, t Terminal) error {
	stays := old.listed() && t.listed() && old.Account == t.Account && old.BoundAtNanos == t.BoundAtNanos
	if old.listed() && !stays {
		if err := tx.unlistTerminal(old); err != nil {
			return err
		}
	}
	if !t.listed() || stays {
		return nil
	}
	a, err := tx.AccountTerminals(t.Account)
	if err != nil {
		return err
	}
	a.Terminals = append(a.Terminals, t.ID)
	return put(tx, accountTerminalsPrefix+t.Account, accountTerminalsVersion, a)
}

func (tx *Tx) unlistTerminal(t Terminal) error {
	a, err := tx.AccountTerminals(t.Account)
	if err != nil {
		return err
	}
	a.Terminals = slices.DeleteFunc(a.Terminals, func(id string) bool { return id == t.ID })
	return put(tx, accountTerminalsPrefix+t.Account, accountTerminalsVersion, a)
}

// identifyTerminal keeps which terminal the identities of a terminal act for, as it was
// and as it is.
func (tx *Tx) identifyTerminal(old, t Terminal) error {
	stays := old.listed() && t.listed() && old.Identity == t.Identity
	if old.listed() && !stays {
		if err := tx.delete(terminalAsKey(old.Identity)); err != nil {
			return err
		}
	}
	if !t.listed() || stays {
		return nil
	}
	key := terminalAsKey(t.Identity)
	if as, taken, err := get[TerminalIdentity](tx.Reader, key, terminalAsVersion); err != nil || taken {
		return orElse(err, fmt.Errorf("%w: the identity of terminal %s acts for %s", ErrUsed, t.ID, as.Terminal))
	}
	return put(tx, key, terminalAsVersion, TerminalIdentity{t.ID})
}
