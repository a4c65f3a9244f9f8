package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// Attempts counts the wrong answers that burnt one budget.
type Attempts struct {
	// Budget names whose attempts they are: a thing's (the answers of the sender
	// that it expects), or a sender's own.
	Budget string `cbor:"1,keyasint" json:"budget"`
	Burnt  int64  `cbor:"2,keyasint" json:"burnt"` // since SinceNanos
	// SinceNanos is when the first of them was burnt.
	SinceNanos int64 `cbor:"3,keyasint" json:"since_ns"`
}

// An Allowance is how many attempts a budget has: Max within WindowNanos from
// the first one, then anew. A window of 0 never ends.
type Allowance struct {
	Max         int64
	WindowNanos int64
}

const (
	attemptsVersion = 1
	attemptsPrefix  = "attempts/"
	maxBudgetBytes  = 768
)

func (a Attempts) check() error {
	if a.Budget == "" || len(a.Budget) > maxBudgetBytes || a.Burnt < 1 {
		return fmt.Errorf("%w: %d attempts of a budget of %d bytes", ErrInvalid, a.Burnt, len(a.Budget))
	}
	return nil
}

// SenderBudgets is how the names of the senders' own budgets start.
const SenderBudgets = "sender/"

// SenderBudget is the budget that a sender has of its own for a kind of evidence.
func SenderBudget(kind string, sender Identity) string {
	return SenderBudgets + kind + "/" + hashed(sender.parts()...)
}

// AttemptsRef declares a budget, at most 768 bytes of name.
func AttemptsRef(budget string) kv.Ref {
	return kv.Ref{Key: attemptsPrefix + budget, Mode: kv.Exclusive}
}

// AttemptsLeft returns how many attempts a budget has left at the transaction's
// time.
func (tx *Tx) AttemptsLeft(budget string, allowed Allowance) (int64, error) {
	a, err := tx.attempts(budget, allowed)
	return max(0, allowed.Max-a.Burnt), err
}

// BurnAttempt counts one more wrong answer. It counts beyond the allowance too:
// who goes on guessing stays locked out for the whole window.
func (tx *Tx) BurnAttempt(budget string, allowed Allowance) error {
	a, err := tx.attempts(budget, allowed)
	if err != nil {
		return err
	}
	if a.Burnt == 0 {
		a.SinceNanos = tx.Now()
	}
	a.Burnt++
	return put(tx, attemptsPrefix+budget, attemptsVersion, a)
}

// attempts returns the attempts of the window that is open now. The
// transaction's time never runs backwards inside a budget, so a clock that steps
// back opens no new one.
func (tx *Tx) attempts(budget string, allowed Allowance) (Attempts, error) {
	a, had, err := get[Attempts](tx.Reader, attemptsPrefix+budget, attemptsVersion)
	if err != nil {
		return Attempts{}, err
	}
	if !had || allowed.WindowNanos > 0 && tx.Now()-a.SinceNanos > allowed.WindowNanos {
		return Attempts{Budget: budget}, nil
	}
	return a, nil
}
