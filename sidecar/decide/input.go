package decide

import (
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// inputVersion is the version of the document that newInput builds.
// policies/schemas/input.json describes it.
const inputVersion = 1

var (
	keyVersion          = policy.NewKey("version")
	keyNow              = policy.NewKey("now_ns")
	keyArrived          = policy.NewKey("arrived_ns")
	keyEvidence         = policy.NewKey("evidence")
	keyMatched          = policy.NewKey("matched")
	keyMatchedWhenAsked = policy.NewKey("matched_when_asked")
	keyCall             = policy.NewKey("call")
	keyIdentity         = policy.NewKey("identity")
	keyFacts            = policy.NewKey("facts")

	keySystem    = policy.NewKey("system")
	keyOperation = policy.NewKey("operation")

	keyKind       = policy.NewKey("kind")
	keyIssuer     = policy.NewKey("issuer")
	keySubject    = policy.NewKey("subject")
	keyOnBehalfOf = policy.NewKey("on_behalf_of")
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
	case f.Type == call.GrantTerms:
		terms, err := policy.ParseValue([]byte(v.Text))
		if err != nil {
			panic(fmt.Errorf("terms as they were decoded: %w", err))
		}
		return terms
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
		facts := append([]policy.Member{
			{Key: keyMatched, Value: policy.Bool(e.finding.Matched)},
			{Key: keyMatchedWhenAsked, Value: policy.Bool(e.carried)},
		}, e.finding.Facts...)
		members = append(members, policy.Member{Key: policy.NewKey(e.name), Value: policy.Object(facts...)})
	}
	return policy.Object(members...)
}
