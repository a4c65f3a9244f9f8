package decide

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// readGrant: the field grant names it, or where the route has none, the evidence leads
// to it. The call's account is then the grant's.
func (ck *check) readGrant(r authzstore.Reader, f *Facts) (err error) {
	id := ck.evidenceLead()
	if _, named := ck.call.Route.Field("grant"); named {
		id = ck.call.Text("grant")
	}
	if id == "" {
		return nil
	}
	if f.Grant, err = found(r.Grant(id)); err != nil || f.Grant == nil {
		return err
	}
	if f.GrantUsage, err = r.Usage(id); err != nil {
		return err
	}
	f.Account, f.Usage, f.Delegates, err = readAccount(r, f.Grant.Account)
	return err
}

// readAccount: the field account names it, or where the route has none, it is the
// terminal's, or the intent's.
func (ck *check) readAccount(r authzstore.Reader, f *Facts) (err error) {
	id := ""
	switch _, named := ck.call.Route.Field("account"); {
	case named:
		id = ck.call.Text("account")
	case f.Terminal != nil:
		id = f.Terminal.Account
	case f.Intent != nil && !ck.asksFor(call.FactTerminal):
		id = f.Intent.Account
	}
	f.Account, f.Usage, f.Delegates, err = readAccount(r, id)
	return err
}

func (ck *check) readIntentAccount(r authzstore.Reader, f *Facts) (err error) {
	if f.Intent == nil {
		return nil
	}
	f.IntentAccount, f.IntentUsage, f.IntentDelegates, err = readAccount(r, f.Intent.Account)
	return err
}

func readAccount(r authzstore.Reader, id string) (a *authzstore.Account, u authzstore.Usage, d authzstore.Delegates, err error) {
	if id == "" {
		return nil, u, d, nil
	}
	if a, err = found(r.Account(id)); err != nil {
		return nil, u, d, err
	}
	if u, err = r.Usage(id); err != nil {
		return nil, u, d, err
	}
	d, err = r.Delegates(id)
	return a, u, d, err
}

// readMerchant: it is whose the caller's identity is.
func (ck *check) readMerchant(r authzstore.Reader, f *Facts) error {
	m, channel, ok, err := r.MerchantOf(ck.call.Identity)
	if ok {
		f.Merchant, f.Channel = &m, channel
	}
	return err
}

// accountPays tells whether an account, and the grant by which it pays if there is one,
// still pay at all: neither was frozen, closed or taken away, and the account has the
// owner who gave the grant.
func accountPays(r authzstore.Reader, account, grant string) (bool, error) {
	a, ok, err := r.Account(account)
	if err != nil || !ok || grant == "" {
		return ok && pays(a, nil), err
	}
	g, ok, err := r.Grant(grant)
	return ok && pays(a, &g), err
}

// pays is accountPays of what was read. by is nil where the account pays by itself.
func pays(a authzstore.Account, by *authzstore.Grant) bool {
	return a.State == authzstore.AccountActive && (by == nil || by.State == authzstore.GrantActive && by.Owner == a.Owner)
}

// merchantIsPaid tells whether the merchant that calls is still paid at all. Where a route
// does not ask who that is, nobody knows of any that is not.
func (ck *check) merchantIsPaid(f Facts) bool {
	return !ck.asksFor(call.FactMerchant) || f.Merchant != nil && f.Merchant.State == authzstore.MerchantActive
}
