package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// readTerminal: the field terminal names it, or where the route has none, the caller is
// it.
func (ck *check) readTerminal(r authzstore.Reader, f *Facts) (err error) {
	if _, named := ck.call.Route.Field("terminal"); named {
		f.Terminal, err = found(r.Terminal(ck.call.Text("terminal")))
	} else {
		f.Terminal, err = found(r.TerminalAs(ck.call.Identity))
	}
	if f.Terminal != nil {
		f.led(*f.Terminal)
	}
	return err
}

func (ck *check) readTerminals(r authzstore.Reader, f *Facts) (err error) {
	if err = ck.readAccountTerminals(r, f); err != nil || f.Account == nil {
		return err
	}
	f.Terminals, err = f.bound(r, f.accountTerminals)
	return err
}

func (ck *check) readIntentTerminals(r authzstore.Reader, f *Facts) (err error) {
	if f.Intent != nil {
		f.IntentTerminals, err = f.bound(r, pushedTo(*f.Intent))
	}
	return err
}

// readAccountTerminals reads which terminals the account has. Evidence may want that of
// a route that does not name them.
func (ck *check) readAccountTerminals(r authzstore.Reader, f *Facts) error {
	if f.Account == nil || f.accountTerminals != nil {
		return nil
	}
	of, err := r.AccountTerminals(f.Account.ID)
	f.accountTerminals = of.Terminals
	return err
}

func (ck *check) showsStoredCode() bool {
	return slices.ContainsFunc(ck.evidence, func(e *shown) bool { return e.kindID == evidence.StoredCode })
}

// bound are those of the terminals that are not unbound; not nil.
func (f *Facts) bound(r authzstore.Reader, ids []string) ([]authzstore.Terminal, error) {
	terminals := make([]authzstore.Terminal, 0, len(ids))
	for _, id := range ids {
		t, ok, err := f.device(r, id)
		if err != nil {
			return nil, err
		}
		if ok && t.State != authzstore.TerminalUnbound {
			terminals = append(terminals, t)
		}
	}
	return terminals, nil
}

// device is a terminal that the call leads to.
func (f *Facts) device(r authzstore.Reader, id string) (authzstore.Terminal, bool, error) {
	if t, known := f.devices[id]; known {
		return t, true, nil
	}
	t, ok, err := r.Terminal(id)
	if ok {
		f.led(t)
	}
	return t, ok, err
}

func (f *Facts) led(to authzstore.Terminal) {
	if f.devices == nil {
		f.devices = map[string]authzstore.Terminal{}
	}
	f.devices[to.ID] = to
}

// fromTerminal is the terminal that the call comes from, "" for none.
func (ck *check) fromTerminal(f Facts) string {
	if t := f.Terminal; t != nil && t.State != authzstore.TerminalUnbound && t.Identity == ck.call.Identity {
		return t.ID
	}
	return ""
}

// messaged are the terminals that messages of the call may go to, each once.
func (ck *check) messaged(f Facts) []string {
	var all []string
	if f.Intent != nil && (ck.mayWrite(call.FactIntent) || ck.mayWrite(call.FactIntentTerminals)) {
		all = append(all, pushedTo(*f.Intent)...)
	}
	if ck.mayWrite(call.FactTerminals) {
		all = append(all, f.accountTerminals...)
	}
	if ck.mayWrite(call.FactTerminal) && f.Terminal != nil {
		all = append(all, f.Terminal.ID)
	}
	if f.expected {
		all = append(append(all, asked(*f.Challenge)...), f.told...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
