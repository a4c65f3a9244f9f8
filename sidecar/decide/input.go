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

	keyKind       = policy.NewKey("kind")
	keyIssuer     = policy.NewKey("issuer")
	keySubject    = policy.NewKey("subject")
	keyOnBehalfOf = policy.NewKey("on_behalf_of")

	keyAccount    = policy.NewKey("account")
	keyID         = policy.NewKey("id")
	keyOwner      = policy.NewKey("owner")
	keyState      = policy.NewKey("state")
	keyCurrency   = policy.NewKey("currency")
	keyMaxPayment = policy.NewKey("max_payment_minor")
)

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
		members = append(members, policy.Member{Key: policy.NewKey(field.Name), Value: fieldValue(field, c.Fields[i])})
	}
	return policy.Object(members...)
}

// fieldValue is absent where the call has no value.
func fieldValue(f call.Field, v call.Value) policy.Value {
	switch {
	case v.Absent:
		return policy.Value{}
	case f.Type == call.Integer, f.Type == call.Amount:
		return policy.Int(v.Int)
	case f.Type == call.Boolean:
		return policy.Bool(v.Bool)
	default:
		return policy.String(v.Text)
	}
}

func identityValue(id authzstore.Identity) policy.Value {
	var onBehalfOf policy.Value
	if id.OnBehalfOf != "" {
		onBehalfOf = policy.String(id.OnBehalfOf)
	}
	return policy.Object(
		policy.Member{Key: keyKind, Value: policy.String(id.Kind)},
		policy.Member{Key: keyIssuer, Value: policy.String(id.Issuer)},
		policy.Member{Key: keySubject, Value: policy.String(id.Subject)},
		policy.Member{Key: keyOnBehalfOf, Value: onBehalfOf},
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
