package decide

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

// errContradiction: the policy wants what must not be. It is a defect of the
// policy, never an allow.
var errContradiction = errors.New("the policy contradicts the call or the store")

func contradiction(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errContradiction}, args...)...)
}

// A claim is what a verdict is held to: what the call says of money, and which of
// its evidence did not match, empty where all did.
type claim struct {
	movesMoney bool
	account    string
	payee      string
	amount     int64 // minor units
	currency   string
	unmatched  string // name of a field
}

func (ck *check) claim() claim {
	c := claim{
		movesMoney: ck.call.Route.MovesMoney,
		account:    ck.call.Text("account"),
		payee:      ck.call.Text("payee"),
		amount:     ck.call.AmountMinor(),
		currency:   ck.call.Text("currency"),
	}
	for _, e := range ck.evidence {
		if !e.finding.Matched {
			c.unmatched = e.name
		}
	}
	return c
}

// hold holds a verdict to the call: an allow that moves money has exactly one
// reservation, the call's own, and no allow shows evidence that did not match.
func (c claim) hold(v policy.Decision) error {
	if v.Allow && c.unmatched != "" {
		return contradiction("an allow with evidence %s that did not match", c.unmatched)
	}
	for _, e := range v.Effects {
		switch {
		case e.Type != policy.Reserve:
			return contradiction("effect %s is not known here", e.Type)
		case !v.Allow:
			return contradiction("a denial that reserves")
		case !c.movesMoney:
			return contradiction("a reservation on a route that moves no money")
		case e.Account != c.account:
			return contradiction("a reservation of another account")
		case e.Payee != c.payee:
			return contradiction("a reservation for another payee")
		case e.AmountMinor != c.amount:
			return contradiction("a reservation of another amount")
		case e.Currency != c.currency:
			return contradiction("a reservation in another currency")
		}
	}
	if v.Allow && c.movesMoney && len(v.Effects) != 1 {
		return contradiction("an allow that moves money with %d reservations", len(v.Effects))
	}
	return nil
}

// carryOut does what the verdict wants done, once it was held to the call.
func (ck *check) carryOut(tx *authzstore.Tx, links []link, v policy.Decision) error {
	if err := ck.claim().hold(v); err != nil {
		return err
	}
	if len(v.Effects) == 0 {
		return nil
	}
	if !slices.Contains(links, link{nounAccount, v.Effects[0].Account, true}) {
		return contradiction("a reservation of an account that the route does not declare `write`")
	}
	return ck.reserve(tx)
}

func (ck *check) reserve(tx *authzstore.Tx) error {
	err := tx.ReserveWithinLimits(authzstore.Reservation{
		ID:          ck.reservationID,
		Account:     ck.call.Text("account"),
		Payee:       ck.call.Text("payee"),
		AmountMinor: ck.call.AmountMinor(),
		Currency:    ck.call.Text("currency"),
	})
	_, overLimit := errors.AsType[*authzstore.OverLimitError](err)
	if overLimit || errors.Is(err, authzstore.ErrFrozen) || errors.Is(err, authzstore.ErrUnknownID) || errors.Is(err, authzstore.ErrInvalid) {
		return contradiction("the store refuses what the policy allows: %s", withoutValues(err))
	}
	return err
}
