package decide

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

var (
	keyAccount         = policy.NewKey("account")
	keyGrant           = policy.NewKey("grant")
	keyMerchant        = policy.NewKey("merchant")
	keyTerminal        = policy.NewKey("terminal")
	keyTerminals       = policy.NewKey("terminals")
	keyIntent          = policy.NewKey("intent")
	keyIntentAccount   = policy.NewKey("intent_account")
	keyIntentTerminals = policy.NewKey("intent_terminals")
	keyOpenIntents     = policy.NewKey("open_intents")
	keyChallenge       = policy.NewKey("challenge")
	keyInitiator       = policy.NewKey("initiator")
	keyVerification    = policy.NewKey("verification")
)

// factsValue is what the policy sees of facts, a part of newInput. What remains of
// limits and cooling, and the minute of the day, are as of nowNanos.
func factsValue(f Facts, nowNanos int64) policy.Value {
	var members []policy.Member
	add := func(key policy.Key, value policy.Value) {
		members = append(members, policy.Member{Key: key, Value: value})
	}
	if f.Account != nil {
		add(keyAccount, accountValue(*f.Account, f, nowNanos))
	}
	if f.Grant != nil {
		add(keyGrant, grantValue(*f.Grant, f.GrantUsage, nowNanos))
	}
	if f.Merchant != nil {
		add(keyMerchant, merchantValue(*f.Merchant, f.Channel))
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
	return policy.Object(members...)
}

func arrayOf[T any](all []T, value func(T) policy.Value) policy.Value {
	values := make([]policy.Value, 0, len(all))
	for _, one := range all {
		values = append(values, value(one))
	}
	return policy.Array(values...)
}

func textsValue(texts []string) policy.Value { return arrayOf(texts, policy.String) }

func mapValue(texts map[string]string) policy.Value {
	members := make([]policy.Member, 0, len(texts))
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		members = append(members, policy.Member{Key: policy.NewKey(name), Value: policy.String(texts[name])})
	}
	return policy.Object(members...)
}

// intUnlessZero is absent for 0, which stands for "not yet" or "none".
func intUnlessZero(n int64) policy.Value {
	if n == 0 {
		return policy.Value{}
	}
	return policy.Int(n)
}

func textUnlessEmpty(text string) policy.Value {
	if text == "" {
		return policy.Value{}
	}
	return policy.String(text)
}
