package decide

import (
	"cmp"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// intentRefs declares what opening and advancing intents touches.
func (ck *check) intentRefs(f Facts) []kv.Ref {
	var refs []kv.Ref
	if ck.mayWrite(call.FactIntent) && f.Intent != nil {
		refs = append(refs, authzstore.IntentRefs(*f.Intent)...)
	}
	if ck.mayWrite(call.FactOpenIntents) && f.Account != nil {
		refs = append(refs, authzstore.IntentRefs(authzstore.Intent{ID: ck.intentID, Account: f.Account.ID})...)
		for _, i := range f.OpenIntents {
			refs = append(refs, authzstore.IntentRef(i.ID, kv.Exclusive))
		}
	}
	return refs
}

// effectsOnIntents opens and advances intents. about is the one that the call opened, or
// names, or alone advanced.
func (ck *check) effectsOnIntents(tx *authzstore.Tx, f Facts, effects []policy.Effect) (about *authzstore.Intent, opened bool, err error) {
	about = f.Intent
	advanced := 0
	for _, effect := range effects {
		switch e := effect.(type) {
		case policy.OpenIntent:
			opened = true
			if about, err = ck.openIntent(tx, f, e); err != nil {
				return nil, false, err
			}
		case policy.AdvanceIntent:
			advanced++
			intent, err := ck.advanceIntent(tx, f, e)
			switch {
			case err != nil:
				return nil, false, err
			case opened || f.Intent != nil:
			case advanced == 1:
				about = intent
			default:
				about = nil
			}
		}
	}
	return about, opened, nil
}

// openIntent opens an intent of the call's account, for what the effect or else the call
// says.
func (ck *check) openIntent(tx *authzstore.Tx, f Facts, e policy.OpenIntent) (*authzstore.Intent, error) {
	if f.Account == nil || !ck.mayWrite(call.FactOpenIntents) {
		return nil, contradiction("an intent of no account, or on a route that does not declare open_intents `write`")
	}
	if err := ledTo(f, e.Terminals); err != nil {
		return nil, err
	}
	p := ck.purpose(f.Intent)
	i := authzstore.Intent{
		ID:             ck.intentID,
		System:         ck.call.Route.System,
		Kind:           e.Kind,
		State:          e.State,
		Account:        f.Account.ID,
		Initiator:      ck.call.Identity,
		Terminal:       ck.fromTerminal(f),
		Terminals:      e.Terminals,
		AmountMinor:    cmp.Or(e.AmountMinor, p.amountMinor),
		Currency:       cmp.Or(e.Currency, p.currency),
		Payee:          cmp.Or(e.Payee, p.payee),
		Attributes:     e.Attributes,
		ExpiresAtNanos: e.ExpiresAtNanos,
	}
	return &i, tx.OpenIntent(i)
}

// advanceIntent takes an intent that the call leads to from one state to another, and
// returns it as it was.
func (ck *check) advanceIntent(tx *authzstore.Tx, f Facts, e policy.AdvanceIntent) (*authzstore.Intent, error) {
	i := ck.advanceable(f, e.Intent)
	if i == nil {
		return nil, contradiction("an intent that the call does not lead to, or that the route does not declare `write`")
	}
	if err := ledTo(f, e.Terminals); err != nil {
		return nil, err
	}
	return i, tx.AdvanceIntent(e.Intent, e.From, authzstore.IntentAdvance{
		To: e.To, Terminals: e.Terminals, Parties: e.Parties, Close: e.Close, By: ck.call.Identity, Terminal: ck.fromTerminal(f),
	})
}

// ledTo holds the terminals of an intent to those that the call leads to.
func ledTo(f Facts, terminals []string) error {
	for _, id := range terminals {
		if _, known := f.devices[id]; !known {
			return contradiction("an intent for a terminal that the call does not lead to")
		}
	}
	return nil
}

func theIntent(_ *check, _ Facts, done effected, e *Execution) {
	if done.intent != nil {
		e.Intent = done.intent.ID
	}
}

// takesPart: the caller opened the intent that its call came to be about, owns its
// account, or is a terminal of it.
func (ck *check) takesPart(f Facts) bool {
	i := f.earlier.intent
	if i == nil {
		return true // nothing to be shown
	}
	if i.Initiator == ck.call.Identity || f.Account != nil && f.Account.ID == i.Account && f.Account.Owner == ck.call.Identity {
		return true
	}
	from := ck.fromTerminal(f)
	return from != "" && (f.Terminal.Account == i.Account || slices.Contains(pushedTo(*i), from))
}
