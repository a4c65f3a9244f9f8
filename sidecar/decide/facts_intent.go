package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// readIntent: the field intent names it. Messages may go to its terminals where an
// effect may change it.
func (ck *check) readIntent(r authzstore.Reader, f *Facts) (err error) {
	id := ck.call.Text("intent")
	if id == "" {
		return nil
	}
	if f.Intent, err = found(r.Intent(id)); err != nil || f.Intent == nil || !ck.mayWrite(call.FactIntent) {
		return err
	}
	_, err = f.bound(r, pushedTo(*f.Intent))
	return err
}

// pushedTo are the terminals of an intent: the one that opened it, and those that it was
// pushed to.
func pushedTo(i authzstore.Intent) []string {
	var all []string
	if i.Terminal != "" {
		all = append(all, i.Terminal)
	}
	for _, id := range i.Terminals {
		if id != i.Terminal {
			all = append(all, id)
		}
	}
	return all
}

func (ck *check) readOpenIntents(r authzstore.Reader, f *Facts) error {
	if f.Account == nil {
		return nil
	}
	open, err := r.OpenIntents(f.Account.ID)
	if err != nil {
		return err
	}
	f.OpenIntents = make([]authzstore.Intent, 0, len(open.Intents))
	for _, id := range open.Intents {
		i, ok, err := r.Intent(id)
		if err != nil {
			return err
		}
		if ok && i.System == ck.call.Route.System && !i.Closed && !i.ExpiredAt(f.nowNanos) {
			f.OpenIntents = append(f.OpenIntents, i)
		}
	}
	return nil
}

// advanceable returns an intent that the call may advance, nil for none.
func (ck *check) advanceable(f Facts, id string) *authzstore.Intent {
	if f.Intent != nil && f.Intent.ID == id && ck.mayWrite(call.FactIntent) {
		return f.Intent
	}
	if i := slices.IndexFunc(f.OpenIntents, func(i authzstore.Intent) bool { return i.ID == id }); i >= 0 && ck.mayWrite(call.FactOpenIntents) {
		return &f.OpenIntents[i]
	}
	return nil
}
