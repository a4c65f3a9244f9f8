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

// carryOut does what the verdict wants done, and holds it to the call: an allow
// that moves money has exactly one reservation, the call's own (I11), and shows
// no evidence that did not match (I12).
func (ck *check) carryOut(tx *authzstore.Tx, links []link, v policy.Decision) error {
	if v.Allow {
		for _, e := range ck.evidence {
			if !e.finding.Matched {
				return contradiction("an allow with evidence %s that did not match", e.name)
			}
		}
	}
	reserved := 0
	for _, effect := range v.Effects {
		if effect.Type != policy.Reserve {
			return contradiction("effect %s is not known here", effect.Type)
		}
		reserved++
		if err := ck.mayReserve(links, v.Allow, effect); err != nil {
			return err
		}
	}
	switch {
	case !v.Allow || !ck.call.Route.MovesMoney:
		return nil
	case reserved != 1:
		return contradiction("an allow that moves money with %d reservations", reserved)
	}
	return ck.reserve(tx)
}

// mayReserve refuses every reservation but the call's own.
func (ck *check) mayReserve(links []link, allowed bool, e policy.Effect) error {
	c := ck.call
	switch {
	case !allowed:
		return contradiction("a denial that reserves")
	case !c.Route.MovesMoney:
		return contradiction("a reservation on a route that moves no money")
	case e.Payee != c.Text("payee"):
		return contradiction("a reservation for another payee")
	case e.AmountMinor != c.AmountMinor():
		return contradiction("a reservation of another amount")
	case e.Currency != c.Text("currency"):
		return contradiction("a reservation in another currency")
	}
	if !slices.Contains(links, link{nounAccount, e.Account, true}) {
		return contradiction("a reservation of an account that is not the call's, or that the route does not declare `write`")
	}
	return nil
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
		return contradiction("the store refuses what the policy allows: %w", err)
	}
	return err
}
