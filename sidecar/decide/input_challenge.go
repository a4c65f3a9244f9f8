package decide

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyExpects        = policy.NewKey("expects")
	keyAttemptsLeft   = policy.NewKey("attempts_left")
	keyIssuedAt       = policy.NewKey("issued_at_ns")
	keyDecidedAt      = policy.NewKey("decided_at_ns")
	keyDecidedBy      = policy.NewKey("decided_by")
	keyRejectedInARow = policy.NewKey("rejected_in_a_row")
	keyRejectedAt     = policy.NewKey("rejected_at_ns")
	keyLocked         = policy.NewKey("locked")
	keyFailedInARow   = policy.NewKey("failed_in_a_row")
)

// challengeValue tells who was asked and what came of it, and nothing of the condition
// or of what was entered.
func challengeValue(c authzstore.Challenge) policy.Value {
	return policy.Object(
		policy.Member{Key: keyID, Value: policy.String(c.ID)},
		policy.Member{Key: keyKind, Value: policy.String(string(c.Kind))},
		policy.Member{Key: keyState, Value: policy.String(string(c.State))},
		policy.Member{Key: keyAccount, Value: policy.String(c.Account)},
		policy.Member{Key: keyInitiator, Value: identityValue(c.Initiator)},
		policy.Member{Key: keySystem, Value: policy.String(c.System)},
		policy.Member{Key: keyOperation, Value: policy.String(c.Operation)},
		policy.Member{Key: keyExpects, Value: policy.String(string(c.Expects))},
		policy.Member{Key: keyTerminals, Value: arrayOf(c.Terminals, func(t authzstore.ChallengeTerminal) policy.Value { return policy.String(t.Terminal) })},
		policy.Member{Key: keyAmountMinor, Value: intUnlessZero(c.AmountMinor)},
		policy.Member{Key: keyCurrency, Value: textUnlessEmpty(c.Currency)},
		policy.Member{Key: keyPayee, Value: textUnlessEmpty(c.Payee)},
		policy.Member{Key: keyIntent, Value: textUnlessEmpty(c.Intent)},
		policy.Member{Key: keyAttemptsLeft, Value: policy.Int(c.AttemptsLeft())},
		policy.Member{Key: keyIssuedAt, Value: policy.Int(c.IssuedAtNanos)},
		policy.Member{Key: keyExpiresAt, Value: policy.Int(c.ExpiresAtNanos)},
		policy.Member{Key: keyDecidedAt, Value: intUnlessZero(c.DecidedAtNanos)},
		policy.Member{Key: keyDecidedBy, Value: textUnlessEmpty(c.DecidedBy)},
	)
}

func initiatorValue(i authzstore.Initiator) policy.Value {
	return policy.Object(
		policy.Member{Key: keyStartsAt, Value: arrayOf(i.StartsNanos, policy.Int)},
		policy.Member{Key: keyOpen, Value: policy.Int(int64(len(i.Open)))},
		policy.Member{Key: keyRejectedInARow, Value: policy.Int(i.RejectedInARow)},
		policy.Member{Key: keyRejectedAt, Value: intUnlessZero(i.RejectedAtNanos)},
	)
}

// verificationValue is absent where the call does not ask.
func verificationValue(v *authzstore.Verification) policy.Value {
	if v == nil {
		return policy.Value{}
	}
	return policy.Object(
		policy.Member{Key: keyLocked, Value: policy.Bool(v.Locked())},
		policy.Member{Key: keyFailedInARow, Value: policy.Int(v.FailedInARow)},
	)
}
