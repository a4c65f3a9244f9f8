package decide

import (
	"cmp"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// A claim is what a verdict is held to: what the call says of money, and which of
// its evidence did not match, empty where all did.
type claim struct {
	movesMoney bool
	payers     []string // the accounts that may pay
	parties    []string // all accounts that the call is about
	grant      string   // by which an account pays, "" where it pays by itself
	// payee is "" where neither the call nor its intent names one: then it is the
	// account of parties that does not pay.
	payee       string
	amountMinor int64
	currency    string
	unmatched   string // name of a field
}

// claim is what the call says, and where it says nothing, its intent.
func (ck *check) claim(f Facts) claim {
	p := ck.purpose(f.Intent)
	c := claim{movesMoney: ck.call.Route.MovesMoney, payee: p.payee, amountMinor: p.amountMinor, currency: p.currency}
	if f.Account != nil {
		c.parties = append(c.parties, f.Account.ID)
	}
	if f.IntentAccount != nil {
		c.parties = append(c.parties, f.IntentAccount.ID)
	}
	switch {
	case ck.call.Route.PaysByGrant():
		if f.Grant != nil {
			c.payers, c.grant = []string{f.Grant.Account}, f.Grant.ID
		}
	default:
		if f.Account != nil && ck.mayWrite(call.FactAccount) {
			c.payers = append(c.payers, f.Account.ID)
		}
		if f.IntentAccount != nil && ck.mayWrite(call.FactIntentAccount) {
			c.payers = append(c.payers, f.IntentAccount.ID)
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
		return contradiction("%v", err)
	}
	reservations := 0
	for _, effect := range v.Effects {
		switch e := effect.(type) {
		case policy.Reserve:
			reservations++
			if err := c.holdReservation(e); err != nil {
				return err
			}
		case policy.IssueChallenge, policy.OpenIntent, policy.AdvanceIntent, policy.Notify:
		default:
			return contradiction("effect %s is not known here", effect.Type())
		}
	}
	if v.Allow && c.movesMoney && reservations != 1 {
		return contradiction("an allow that moves money with %d reservations", reservations)
	}
	return nil
}

func (c claim) holdReservation(e policy.Reserve) error {
	switch {
	case !c.movesMoney:
		return contradiction("a reservation on a route that moves no money")
	case !slices.Contains(c.payers, e.Account):
		return contradiction("a reservation of another account, or of one that the route does not declare `write`")
	case e.Grant != c.grant:
		return contradiction("a reservation by another grant")
	case e.Payee != cmp.Or(c.payee, c.otherThan(e.Account)):
		return contradiction("a reservation for another payee")
	case e.AmountMinor != c.amountMinor:
		return contradiction("a reservation of another amount")
	case e.Currency != c.currency:
		return contradiction("a reservation in another currency")
	}
	return nil
}

// otherThan is the account of the call that is not this one, "" where there is none or
// not one alone.
func (c claim) otherThan(account string) string {
	others := slices.DeleteFunc(slices.Clone(c.parties), func(id string) bool { return id == account })
	if len(others) != 1 {
		return ""
	}
	return others[0]
}

// purpose is what a call is for, as far as it is for money; 0 and "" where it is for
// none.
type purpose struct {
	amountMinor     int64
	currency, payee string
}

// purpose is what the call says, and where it says nothing, the intent, nil for none.
func (ck *check) purpose(intent *authzstore.Intent) purpose {
	p := purpose{ck.call.AmountMinor(), ck.call.Text("currency"), ck.call.Text("payee")}
	if intent == nil {
		return p
	}
	if p.amountMinor == 0 {
		p.amountMinor, p.currency = intent.AmountMinor, cmp.Or(p.currency, intent.Currency)
	}
	p.payee = cmp.Or(p.payee, intent.Payee)
	return p
}

// mayPass holds an allow to what the call's people were asked: under a key that was asked
// for a challenge it passes by that one, satisfied, or not at all, also where its route
// asks no more; and a payment by a grant of partial delegation needs an approval.
func (ck *check) mayPass(f Facts) error {
	asked := f.earlier != nil && f.earlier.known.Challenge != ""
	satisfied := ck.call.Route.AsksPeople() && f.Challenge != nil && f.Challenge.State == authzstore.ChallengeSatisfied
	switch {
	case asked && !satisfied:
		return contradiction("an allow though the challenge of its key is not satisfied")
	case ck.needsApproval(f) && !(satisfied && f.Challenge.Kind == authzstore.ChallengeApproval):
		return contradiction("an allow by a grant whose owner approves each payment, without an approval")
	}
	return nil
}

// needsApproval tells whether a grant pays whose owner approves each payment.
func (ck *check) needsApproval(f Facts) bool {
	return ck.call.Route.PaysByGrant() && f.Grant != nil && f.Grant.Terms.Delegation == authzstore.DelegationPartial
}
