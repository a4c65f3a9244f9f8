package decide

import (
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// inputVersion is the version of the document that newInput builds.
// policies/schemas/input.json describes it.
const inputVersion = 1

// Facts is what the store holds about a call.
type Facts struct {
	Account *authzstore.Account // nil where there is none
}

var (
	keyVersion  = policy.NewKey("version")
	keyNow      = policy.NewKey("now_ns")
	keyCall     = policy.NewKey("call")
	keyIdentity = policy.NewKey("identity")
	keyFacts    = policy.NewKey("facts")

	keySystem    = policy.NewKey("system")
	keyOperation = policy.NewKey("operation")

	keyKind    = policy.NewKey("kind")
	keyIssuer  = policy.NewKey("issuer")
	keySubject = policy.NewKey("subject")

	keyAccount    = policy.NewKey("account")
	keyID         = policy.NewKey("id")
	keyOwner      = policy.NewKey("owner")
	keyState      = policy.NewKey("state")
	keyCurrency   = policy.NewKey("currency")
	keyMaxPayment = policy.NewKey("max_payment_minor")
)

// fieldKeys are those of the call's fields, by name.
var fieldKeys = func() map[string]policy.Key {
	keys := map[string]policy.Key{}
	for _, name := range call.FieldNames() {
		keys[name] = policy.NewKey(name)
	}
	return keys
}()

// newInput builds the document that the policy decides on, a pure function of
// its arguments. It holds what the route maps and the facts the route names, and
// nothing else of the request: no header, no token, no unmapped body.
func newInput(now time.Time, c call.Call, f Facts) policy.Value {
	return policy.Object(
		policy.Member{Key: keyVersion, Value: policy.Int(inputVersion)},
		policy.Member{Key: keyNow, Value: policy.Int(now.UnixNano())},
		policy.Member{Key: keyCall, Value: callValue(c)},
		policy.Member{Key: keyIdentity, Value: identityValue(c.Identity)},
		policy.Member{Key: keyFacts, Value: factsValue(f)},
	)
}

func callValue(c call.Call) policy.Value {
	members := make([]policy.Member, 0, 2+len(c.Fields))
	members = append(members,
		policy.Member{Key: keySystem, Value: policy.String(c.Route.System)},
		policy.Member{Key: keyOperation, Value: policy.String(c.Route.Operation)},
	)
	for i, field := range c.Route.Fields {
		value := policy.String(c.Fields[i].Text)
		if field.IsAmount() {
			value = policy.Int(c.Fields[i].Int)
		}
		members = append(members, policy.Member{Key: fieldKeys[field.Name], Value: value})
	}
	return policy.Object(members...)
}

func identityValue(id authzstore.Identity) policy.Value {
	return policy.Object(
		policy.Member{Key: keyKind, Value: policy.String(id.Kind)},
		policy.Member{Key: keyIssuer, Value: policy.String(id.Issuer)},
		policy.Member{Key: keySubject, Value: policy.String(id.Subject)},
	)
}

func factsValue(f Facts) policy.Value {
	var members []policy.Member
	if a := f.Account; a != nil {
		members = append(members, policy.Member{Key: keyAccount, Value: policy.Object(
			policy.Member{Key: keyID, Value: policy.String(a.ID)},
			policy.Member{Key: keyOwner, Value: identityValue(a.Owner)},
			policy.Member{Key: keyState, Value: policy.String(string(a.State))},
			policy.Member{Key: keyCurrency, Value: policy.String(a.Currency)},
			policy.Member{Key: keyMaxPayment, Value: policy.Int(a.MaxPaymentMinor)},
		)})
	}
	return policy.Object(members...)
}
