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

	Terminal  *authzstore.Terminal
	Terminals []authzstore.Terminal // of Account, that are not unbound; nil where the route does not ask
	Intent    *authzstore.Intent
	// IntentTerminals are the one that opened Intent and those that it was pushed to,
	// without those that are unbound; nil where the route does not ask.
	IntentTerminals []authzstore.Terminal
	// OpenIntents are those of Account that are neither closed nor expired, of the
	// call's system; nil where the route does not ask.
	OpenIntents []authzstore.Intent
	// IntentAccount is the account of Intent.
	IntentAccount   *authzstore.Account
	IntentUsage     authzstore.Usage
	IntentDelegates authzstore.Delegates

	// Challenge is the one that a built-in operation is about, or that the call's key
	// stands for, in the state that counts now ([authzstore.Reader.StandingAt]).
	Challenge *authzstore.Challenge
	// Initiator is what the caller has asked of the people of Account.
	Initiator *authzstore.Initiator
	// Verification tells whether the people of Account can be asked for codes.
	Verification *authzstore.Verification

	hidden bool // the policy does not see Challenge

	leads leads
	// devices are all terminals that the call leads to, by ID.
	devices map[string]authzstore.Terminal
}

// readFacts reads what a call leads to, as it is now.
func (ck *check) readFacts(r authzstore.Reader, l leads, nowNanos int64) (f Facts, err error) {
	if f.Account, f.Usage, f.Delegates, err = readAccount(r, l.account); err != nil {
		return Facts{}, err
	}
	if f.IntentAccount, f.IntentUsage, f.IntentDelegates, err = readAccount(r, l.intentAccount); err != nil {
		return Facts{}, err
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
	f.leads = l
	for _, read := range []func(*check, authzstore.Reader, leads, int64, *Facts) error{
		(*check).readTerminals, (*check).readIntents, (*check).readChallenge, (*check).readAsking,
	} {
		if err := read(ck, r, l, nowNanos, &f); err != nil {
			return Facts{}, err
		}
	}
	return f, nil
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
