package decide

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyPayee       = policy.NewKey("payee")
	keyAmountMinor = policy.NewKey("amount_minor")
	keyAttributes  = policy.NewKey("attributes")
	keyParties     = policy.NewKey("parties")
	keySteps       = policy.NewKey("steps")
	keyBy          = policy.NewKey("by")
	keyOpenedAt    = policy.NewKey("opened_at_ns")
	keyExpiresAt   = policy.NewKey("expires_at_ns")
	keyExpired     = policy.NewKey("expired")
	keyClosed      = policy.NewKey("closed")
)

func intentValue(i authzstore.Intent, nowNanos int64) policy.Value {
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(i.ID)},
		policy.Member{Key: keySystem, Value: policy.String(i.System)},
		policy.Member{Key: keyKind, Value: policy.String(i.Kind)},
		policy.Member{Key: keyState, Value: policy.String(i.State)},
		policy.Member{Key: keyAccount, Value: policy.String(i.Account)},
		policy.Member{Key: keyInitiator, Value: identityValue(i.Initiator)},
		policy.Member{Key: keyTerminal, Value: textUnlessEmpty(i.Terminal)},
		policy.Member{Key: keyTerminals, Value: textsValue(i.Terminals)},
		policy.Member{Key: keyAmountMinor, Value: intUnlessZero(i.AmountMinor)},
		policy.Member{Key: keyCurrency, Value: textUnlessEmpty(i.Currency)},
		policy.Member{Key: keyPayee, Value: textUnlessEmpty(i.Payee)},
		policy.Member{Key: keyAttributes, Value: mapValue(i.Attributes)},
		policy.Member{Key: keyParties, Value: mapValue(i.Parties)},
		policy.Member{Key: keySteps, Value: arrayOf(i.Steps, stepValue)},
		policy.Member{Key: keyOpenedAt, Value: policy.Int(i.OpenedAtNanos)},
		policy.Member{Key: keyExpiresAt, Value: policy.Int(i.ExpiresAtNanos)},
		policy.Member{Key: keyExpired, Value: policy.Bool(i.ExpiredAt(nowNanos))},
		policy.Member{Key: keyClosed, Value: policy.Bool(i.Closed)},
	)
}

func stepValue(s authzstore.IntentStep) policy.Value {
	return policy.Object(
		policy.Member{Key: keyState, Value: policy.String(s.State)},
		policy.Member{Key: keyAt, Value: policy.Int(s.AtNanos)},
		policy.Member{Key: keyBy, Value: identityValue(s.By)},
		policy.Member{Key: keyTerminal, Value: textUnlessEmpty(s.Terminal)},
	)
}
