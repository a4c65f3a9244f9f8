package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// Facts are what the store holds about a call; nil where there is none.
type Facts struct {
	Account    *authzstore.Account
	Usage      authzstore.Usage // of Account
	Delegates  authzstore.Delegates
	Grant      *authzstore.Grant
	GrantUsage authzstore.Usage // of Grant
	Merchant   *authzstore.Merchant
	Channel    string // of Merchant, that the caller stands for
}

// readFacts reads what a call leads to.
func (ck *check) readFacts(r authzstore.Reader, l leads) (f Facts, err error) {
	if l.account != "" {
		if f.Account, err = found(r.Account(l.account)); err != nil {
			return Facts{}, err
		}
		if f.Usage, err = r.Usage(l.account); err != nil {
			return Facts{}, err
		}
		if f.Delegates, err = r.Delegates(l.account); err != nil {
			return Facts{}, err
		}
	}
	if l.grant != "" {
		if f.Grant, err = found(r.Grant(l.grant)); err != nil {
			return Facts{}, err
		}
		if f.GrantUsage, err = r.Usage(l.grant); err != nil {
			return Facts{}, err
		}
	}
	if l.merchant != "" {
		m, channel, ok, err := r.MerchantOf(ck.call.Identity)
		if err != nil {
			return Facts{}, err
		}
		if ok {
			f.Merchant, f.Channel = &m, channel
		}
	}
	return f, nil
}

func found[T any](noun T, ok bool, err error) (*T, error) {
	if err != nil || !ok {
		return nil, err
	}
	return &noun, nil
}

// canPay tells whether an account, and the grant by which it pays if there is one,
// still pay at all: neither was frozen, closed or taken away, and the account has the
// owner who gave the grant.
func canPay(r authzstore.Reader, account, grant string) (bool, error) {
	a, ok, err := r.Account(account)
	if err != nil || !ok || a.State != authzstore.AccountActive {
		return false, err
	}
	if grant == "" {
		return true, nil
	}
	g, ok, err := r.Grant(grant)
	return ok && g.State == authzstore.GrantActive && g.Owner == a.Owner, err
}

// canBePaid tells whether the merchant that calls, nil for none, is still paid at all.
// Where a route does not ask who that is, nobody knows of any that is not.
func (ck *check) canBePaid(m *authzstore.Merchant) bool {
	return !ck.asksMerchant() || m != nil && m.State == authzstore.MerchantActive
}

func (ck *check) asksMerchant() bool {
	return slices.Contains(ck.call.Route.Facts, call.Fact{Name: factMerchant})
}
