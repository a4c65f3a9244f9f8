package decide

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyNumber     = policy.NewKey("number")
	keyOS         = policy.NewKey("os")
	keyRights     = policy.NewKey("rights")
	keyPairedWith = policy.NewKey("paired_with")
	keyBoundAt    = policy.NewKey("bound_at_ns")
)

func terminalValue(t authzstore.Terminal) policy.Value {
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(t.ID)},
		policy.Member{Key: keyAccount, Value: policy.String(t.Account)},
		policy.Member{Key: keyState, Value: policy.String(string(t.State))},
		policy.Member{Key: keyNumber, Value: textUnlessEmpty(t.Number)},
		policy.Member{Key: keyOS, Value: textUnlessEmpty(t.OS)},
		policy.Member{Key: keyRights, Value: textsValue(t.Rights)},
		policy.Member{Key: keyPairedWith, Value: textsValue(t.PairedWith)},
		policy.Member{Key: keyBoundAt, Value: policy.Int(t.BoundAtNanos)},
		policy.Member{Key: keyIdentity, Value: identityValue(t.Identity)},
	)
}
