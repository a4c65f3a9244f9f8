package decide

import (
	"errors"
	"fmt"

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
	movesMoney  bool
	account     string
	grant       string // by which account pays, "" where it pays by itself
	payee       string
	amountMinor int64
	currency    string
	unmatched   string // name of a field
}

func (ck *check) claim(f Facts) claim {
	c := claim{
		movesMoney:  ck.call.Route.MovesMoney,
		account:     ck.call.Text("account"),
		payee:       ck.call.Text("payee"),
		amountMinor: ck.call.AmountMinor(),
		currency:    ck.call.Text("currency"),
	}
	if ck.call.Route.PaysByGrant() {
		c.account, c.grant = "", ""
		if f.Grant != nil {
			c.account, c.grant = f.Grant.Account, f.Grant.ID
		}
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
	if err := v.CheckEffects(); err != nil {
		return contradiction("%w", err)
	}
	for _, effect := range v.Effects {
		e, known := effect.(policy.Reserve)
		switch {
		case !known:
			return contradiction("effect %s is not known here", effect.Type())
		case !c.movesMoney:
			return contradiction("a reservation on a route that moves no money")
		case e.Account != c.account:
			return contradiction("a reservation of another account")
		case e.Grant != c.grant:
			return contradiction("a reservation by another grant")
		case e.Payee != c.payee:
			return contradiction("a reservation for another payee")
		case e.AmountMinor != c.amountMinor:
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

// carryOut does what the verdict wants done, once it was held to the call, and what
// the call itself does if it is allowed. The Execution is what an allow lets the
// service behind Envoy do, nil where that is nothing to count. tx is nil for a call
// that needs no store: it has nothing to write.
func (ck *check) carryOut(tx *authzstore.Tx, f Facts, v policy.Decision) (*Execution, error) {
	c := ck.claim(f)
	switch err := c.hold(v); {
	case err != nil:
		return nil, err
	case !v.Allow:
		return nil, nil
	case ck.call.Route.Does != "":
		return ck.builtIn(tx, f)
	case !c.movesMoney:
		return nil, nil
	case !ck.writes():
		return nil, contradiction("a reservation of an account that the route does not declare `write`")
	}
	r := authzstore.Reservation{
		ID:             ck.reservationID,
		Account:        c.account,
		Grant:          c.grant,
		Payee:          c.payee,
		AmountMinor:    c.amountMinor,
		Currency:       c.currency,
		ExpiresAtNanos: tx.Now() + ck.call.Route.Upstream.Expires.Nanoseconds(),
	}
	if err := tx.ReserveWithinLimits(r); err != nil {
		return nil, refusedByStore(err)
	}
	return ck.execution(r), nil
}

// execution is what an allow lets the payment service do with its reservation.
func (ck *check) execution(r authzstore.Reservation) *Execution {
	return &Execution{
		Audience:      ck.call.Route.Upstream.Audience,
		Identity:      ck.call.Identity,
		System:        ck.call.Route.System,
		Operation:     ck.call.Route.Operation,
		Account:       r.Account,
		Grant:         r.Grant,
		Payee:         r.Payee,
		Currency:      r.Currency,
		AmountMinor:   r.AmountMinor,
		ReservationID: r.ID,
	}
}

// refusedByStore is a contradiction where a setter says that what the policy allows
// must not be; any other error stays.
func refusedByStore(err error) error {
	_, overLimit := errors.AsType[*authzstore.OverLimitError](err)
	for _, refusal := range []error{authzstore.ErrFrozen, authzstore.ErrState, authzstore.ErrUnknownID, authzstore.ErrInvalid, authzstore.ErrTooManyDelegates, authzstore.ErrNotSupported} {
		if overLimit || errors.Is(err, refusal) {
			return contradiction("the store refuses what the policy allows: %s", withoutValues(err))
		}
	}
	return err
}
