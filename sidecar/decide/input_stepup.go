package decide

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyTerminal        = policy.NewKey("terminal")
	keyTerminals       = policy.NewKey("terminals")
	keyIntent          = policy.NewKey("intent")
	keyIntentAccount   = policy.NewKey("intent_account")
	keyIntentTerminals = policy.NewKey("intent_terminals")
	keyOpenIntents     = policy.NewKey("open_intents")
	keyChallenge       = policy.NewKey("challenge")
	keyInitiator       = policy.NewKey("initiator")
	keyVerification    = policy.NewKey("verification")

	keyNumber     = policy.NewKey("number")
	keyOS         = policy.NewKey("os")
	keyRights     = policy.NewKey("rights")
	keyPairedWith = policy.NewKey("paired_with")
	keyBoundAt    = policy.NewKey("bound_at_ns")

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

	keyExpects        = policy.NewKey("expects")
	keyAttemptsLeft   = policy.NewKey("attempts_left")
	keyIssuedAt       = policy.NewKey("issued_at_ns")
	keyDecidedAt      = policy.NewKey("decided_at_ns")
	keyDecidedBy      = policy.NewKey("decided_by")
	keyRejectedInARow = policy.NewKey("rejected_in_a_row")
	keyRejectedAt     = policy.NewKey("rejected_at_ns")
	keyLocked         = policy.NewKey("locked")
	keyFailedInARow   = policy.NewKey("failed_in_a_row")
	keySpentBefore    = policy.NewKey("spent_before")
)

// stepUpMembers are what the policy sees of terminals, intents and challenges, a part
// of factsValue.
func stepUpMembers(f Facts, nowNanos int64) (members []policy.Member) {
	add := func(key policy.Key, value policy.Value) {
		members = append(members, policy.Member{Key: key, Value: value})
	}
	if f.Terminal != nil {
		add(keyTerminal, terminalValue(*f.Terminal))
	}
	if f.Terminals != nil {
		add(keyTerminals, arrayOf(f.Terminals, terminalValue))
	}
	if f.Intent != nil {
		add(keyIntent, intentValue(*f.Intent, nowNanos))
	}
	if f.IntentTerminals != nil {
		add(keyIntentTerminals, arrayOf(f.IntentTerminals, terminalValue))
	}
	if f.IntentAccount != nil {
		of := Facts{Usage: f.IntentUsage, Delegates: f.IntentDelegates}
		add(keyIntentAccount, accountValue(*f.IntentAccount, of, nowNanos))
	}
	if f.OpenIntents != nil {
		add(keyOpenIntents, arrayOf(f.OpenIntents, func(i authzstore.Intent) policy.Value { return intentValue(i, nowNanos) }))
	}
	if f.Challenge != nil && !f.hidden {
		add(keyChallenge, challengeValue(*f.Challenge))
	}
	if f.Initiator != nil {
		add(keyInitiator, initiatorValue(*f.Initiator))
	}
	return members
}

func arrayOf[T any](all []T, value func(T) policy.Value) policy.Value {
	values := make([]policy.Value, 0, len(all))
	for _, one := range all {
		values = append(values, value(one))
	}
	return policy.Array(values...)
}

func textsValue(texts []string) policy.Value { return arrayOf(texts, policy.String) }

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

func mapValue(texts map[string]string) policy.Value {
	members := make([]policy.Member, 0, len(texts))
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		members = append(members, policy.Member{Key: policy.NewKey(name), Value: policy.String(texts[name])})
	}
	return policy.Object(members...)
}

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
