package decide

import (
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
	Usage   authzstore.Usage    // of Account
}

// canSpend tells whether what the call would spend from is there and not frozen.
func (f Facts) canSpend() bool {
	return f.Account != nil && f.Account.State == authzstore.AccountActive
}

// readFacts reads what the links of a call lead to.
func readFacts(r authzstore.Reader, links []link) (f Facts, err error) {
	for _, l := range links {
		if l.noun != nounAccount {
			continue
		}
		account, ok, err := r.Account(l.id)
		if err != nil {
			return Facts{}, err
		}
		if ok {
			f.Account = &account
		}
		if f.Usage, err = r.Usage(l.id); err != nil {
			return Facts{}, err
		}
	}
	return f, nil
}

var (
	keyVersion  = policy.NewKey("version")
	keyNow      = policy.NewKey("now_ns")
	keyArrived  = policy.NewKey("arrived_ns")
	keyEvidence = policy.NewKey("evidence")
	keyMatched  = policy.NewKey("matched")
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
	keyLimits     = policy.NewKey("limits")

	keyName           = policy.NewKey("name")
	keyAmount         = policy.NewKey("amount")
	keyCount          = policy.NewKey("count")
	keyMode           = policy.NewKey("mode")
	keyMax            = policy.NewKey("max")
	keyMaxMinor       = policy.NewKey("max_minor")
	keyRemaining      = policy.NewKey("remaining")
	keyRemainingMinor = policy.NewKey("remaining_minor")
)

// newInput builds the document that the policy decides on, a pure function of
// its arguments. It holds what the route maps and the facts the route names, and
// nothing else of the request: no header, no token, no unmapped body, no secret.
func newInput(nowNanos int64, ck *check, f Facts) policy.Value {
	return policy.Object(
		policy.Member{Key: keyVersion, Value: policy.Int(inputVersion)},
		policy.Member{Key: keyNow, Value: policy.Int(nowNanos)},
		policy.Member{Key: keyArrived, Value: policy.Int(ck.arrived.UnixNano())},
		policy.Member{Key: keyCall, Value: callValue(ck.call)},
		policy.Member{Key: keyIdentity, Value: identityValue(ck.call.Identity)},
		policy.Member{Key: keyEvidence, Value: evidenceValue(ck.evidence)},
		policy.Member{Key: keyFacts, Value: factsValue(f, nowNanos)},
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

// evidenceValue is what was found out about each secret field that was shown;
// absent where none was.
func evidenceValue(evidence []*shown) policy.Value {
	if len(evidence) == 0 {
		return policy.Value{}
	}
	members := make([]policy.Member, 0, len(evidence))
	for _, e := range evidence {
		facts := append([]policy.Member{{Key: keyMatched, Value: policy.Bool(e.finding.Matched)}}, e.finding.Facts...)
		members = append(members, policy.Member{Key: policy.NewKey(e.name), Value: policy.Object(facts...)})
	}
	return policy.Object(members...)
}

func factsValue(f Facts, nowNanos int64) policy.Value {
	var members []policy.Member
	if a := f.Account; a != nil {
		members = append(members, policy.Member{Key: keyAccount, Value: policy.Object(
			policy.Member{Key: keyID, Value: policy.String(a.ID)},
			policy.Member{Key: keyOwner, Value: identityValue(a.Owner)},
			policy.Member{Key: keyState, Value: policy.String(string(a.State))},
			policy.Member{Key: keyCurrency, Value: policy.String(a.Currency)},
			policy.Member{Key: keyMaxPayment, Value: policy.Int(a.MaxPaymentMinor)},
			policy.Member{Key: keyLimits, Value: limitsValue(a.Limits, f.Usage, a.CreatedAtNanos, nowNanos)},
		)})
	}
	return policy.Object(members...)
}

// limitsValue says of each limit what remains of it, or outright that it bounds
// nothing: a member that is missing must never read as "no limit".
func limitsValue(limits []authzstore.Limit, u authzstore.Usage, consentNanos, nowNanos int64) policy.Value {
	values := make([]policy.Value, 0, len(limits))
	for _, l := range limits {
		room := l.Remaining(u, consentNanos, nowNanos)
		values = append(values, policy.Object(
			policy.Member{Key: keyName, Value: policy.String(l.Name)},
			policy.Member{Key: keyAmount, Value: bound(keyMaxMinor, l.MaxAmountMinor, keyRemainingMinor, room.Minor)},
			policy.Member{Key: keyCount, Value: bound(keyMax, l.MaxCount, keyRemaining, room.Count)},
		))
	}
	return policy.Array(values...)
}

func bound(maxKey policy.Key, atMost int64, remainingKey policy.Key, remaining int64) policy.Value {
	if atMost == 0 {
		return policy.Object(policy.Member{Key: keyMode, Value: policy.String("any")})
	}
	return policy.Object(
		policy.Member{Key: keyMode, Value: policy.String("at_most")},
		policy.Member{Key: maxKey, Value: policy.Int(atMost)},
		policy.Member{Key: remainingKey, Value: policy.Int(remaining)},
	)
}
