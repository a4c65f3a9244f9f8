package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
)

func (ck *check) readTerminals(r authzstore.Reader, l leads, _ int64, f *Facts) error {
	for _, id := range l.devices() {
		t, ok, err := r.Terminal(id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if f.devices == nil {
			f.devices = map[string]authzstore.Terminal{}
		}
		f.devices[id] = t
	}
	if t, ok := f.devices[l.terminal]; ok {
		f.Terminal = &t
	}
	if l.account != "" && ck.reads(factTerminals) {
		f.Terminals = f.bound(l.terminals)
	}
	if l.intentOwner != "" && ck.reads(factIntentTerminals) {
		f.IntentTerminals = f.bound(l.pushed)
	}
	return nil
}

// bound are those of terminals that are not unbound; not nil.
func (f Facts) bound(ids []string) []authzstore.Terminal {
	terminals := make([]authzstore.Terminal, 0, len(ids))
	for _, id := range ids {
		if t, ok := f.devices[id]; ok && t.State != authzstore.TerminalUnbound {
			terminals = append(terminals, t)
		}
	}
	return terminals
}

func (ck *check) readIntents(r authzstore.Reader, l leads, nowNanos int64, f *Facts) (err error) {
	if l.intent != "" {
		if f.Intent, err = found(r.Intent(l.intent)); err != nil {
			return err
		}
	}
	if l.account == "" || !ck.reads(factOpenIntents) {
		return nil
	}
	f.OpenIntents = make([]authzstore.Intent, 0, len(l.intents))
	for _, id := range l.intents {
		i, ok, err := r.Intent(id)
		if err != nil {
			return err
		}
		if ok && i.System == ck.call.Route.System && !i.Closed && !i.ExpiredAt(nowNanos) {
			f.OpenIntents = append(f.OpenIntents, i)
		}
	}
	return nil
}

func (ck *check) readChallenge(r authzstore.Reader, l leads, nowNanos int64, f *Facts) error {
	if l.challenge == "" {
		return nil
	}
	c, err := found(r.Challenge(l.challenge))
	if err != nil || c == nil {
		return err
	}
	if c.State, err = r.StandingAt(*c, nowNanos); err != nil {
		return err
	}
	if ck.call.Route.AsksPeople() && c.Account != l.account {
		c.State = authzstore.ChallengeReplaced // asked of the people of another one
	}
	f.Challenge, f.hidden = c, ck.entry != nil
	return nil
}

// readAsking reads what counts where people may be asked: by this caller before, and
// whether they can be.
func (ck *check) readAsking(r authzstore.Reader, l leads, _ int64, f *Facts) error {
	if f.Account == nil || !ck.asksVerification() {
		return nil
	}
	v, err := r.Verification(l.account)
	if err != nil {
		return err
	}
	f.Verification = &v
	if !ck.call.Route.AsksPeople() {
		return nil
	}
	i, err := r.Initiator(l.account, ck.call.Identity)
	f.Initiator = &i
	return err
}

// advanceable returns an intent that the call may advance.
func (ck *check) advanceable(f Facts, id string) *authzstore.Intent {
	if f.Intent != nil && f.Intent.ID == id && ck.mayWrite(factIntent) {
		return f.Intent
	}
	if i := slices.IndexFunc(f.OpenIntents, func(i authzstore.Intent) bool { return i.ID == id }); i >= 0 && ck.mayWrite(factOpenIntents) {
		return &f.OpenIntents[i]
	}
	return nil
}
