package call

import (
	"slices"
)

// A Fact is something that the store holds about a call.
type Fact struct {
	Name  string
	Write bool // an effect may change it, so it is locked for this call alone
}

// The facts. FactNames has them in the order in which one leads to another.
const (
	FactGrant           = "grant"            // that the field grant names or a secret leads to, and its account
	FactIntent          = "intent"           // that the field intent names
	FactTerminal        = "terminal"         // that the field terminal names, or that the caller is
	FactAccount         = "account"          // that the field account names, or of the terminal, or of the intent
	FactIntentAccount   = "intent_account"   // the intent's
	FactIntentTerminals = "intent_terminals" // that opened the intent or that it was pushed to, and that are not unbound
	FactTerminals       = "terminals"        // of the account, those that are not unbound
	FactOpenIntents     = "open_intents"     // of the account and the system
	FactChallenge       = "challenge"        // that the field challenge names, or the key stands for
	FactMerchant        = "merchant"         // whose the caller's identity is
)

// factInitiator comes with FactChallenge: what the caller has asked of the account's
// people before. No route names it.
const factInitiator = "initiator"

// factNames are in the order in which they are followed.
var factNames = []string{
	FactGrant, FactIntent, FactTerminal, FactAccount, FactIntentAccount, FactIntentTerminals, FactTerminals, FactOpenIntents,
	FactChallenge, FactMerchant,
}

// keyedFacts are those whose change a repeated call must not make again.
var keyedFacts = []string{
	FactIntent, FactTerminal, FactIntentAccount, FactIntentTerminals, FactTerminals, FactOpenIntents, FactChallenge,
}

// FactNames returns the vocabulary of facts, in the order in which they are followed.
func FactNames() []string { return slices.Clone(factNames) }

// Fact returns the fact of this name, and whether the route names it.
func (r *Route) Fact(name string) (Fact, bool) {
	i := slices.IndexFunc(r.Facts, func(f Fact) bool { return f.Name == name })
	if i < 0 {
		return Fact{}, false
	}
	return r.Facts[i], true
}

// Writes tells whether an effect of the route may change this fact.
func (r *Route) Writes(fact string) bool {
	f, ok := r.Fact(fact)
	return ok && f.Write
}

// AsksPeople tells whether an effect of the route may issue a challenge. Its fact
// challenge is then the one that the idempotency key stands for.
func (r *Route) AsksPeople() bool { return r.Writes(FactChallenge) && !onChallenge(r.Does) }

// FactsRead returns the names that rules find the route's facts under. What enter_code
// answers must not depend on the challenge, so rules do not see that one.
func (r *Route) FactsRead() []string {
	var names []string
	for _, f := range r.Facts {
		switch {
		case f.Name == FactGrant:
			names = append(names, FactGrant, FactAccount)
		case f.Name == FactChallenge && BuiltIns[r.Does].Evidence == ChallengeCode:
		case f.Name == FactChallenge && r.AsksPeople():
			names = append(names, FactChallenge, factInitiator)
		default:
			names = append(names, f.Name)
		}
	}
	return names
}

// needsKey tells whether a retry of the call must be known.
func needsKey(r *Route, facts map[string]string) bool {
	b := BuiltIns[r.Does]
	if r.MovesMoney || b.Writes && !b.Again {
		return true
	}
	changes := func(fact string) bool { return facts[fact] == "write" }
	if r.Does != "" {
		return changes(FactChallenge) && !onChallenge(r.Does)
	}
	return slices.ContainsFunc(keyedFacts, changes)
}

func compileFacts(r *Route, facts map[string]string, s scope) {
	for _, name := range sortedKeys(facts) {
		s := s.at(name)
		if !slices.Contains(factNames, name) {
			s.fail("fact %q is not one of %s", name, list(factNames))
			continue
		}
		if mode := facts[name]; mode != "read" && mode != "write" {
			s.fail("fact %s: %q: write read, or write where an effect may change it", name, mode)
		}
		if why := checkFact(r, name, facts); why != "" {
			s.fail("fact %s %s", name, why)
		}
		r.Facts = append(r.Facts, Fact{Name: name, Write: facts[name] == "write"})
	}
	follow := func(f Fact) int { return slices.Index(factNames, f.Name) }
	slices.SortFunc(r.Facts, func(a, b Fact) int { return follow(a) - follow(b) })
}

// checkFact says why a route cannot have a fact, "" where it can.
func checkFact(r *Route, name string, facts map[string]string) string {
	_, byGrant := facts[FactGrant]
	_, byIntent := facts[FactIntent]
	_, hasAccount := facts[FactAccount]
	hasAccount = hasAccount || byGrant
	switch name {
	case FactGrant:
		return checkGrant(r)
	case FactIntent:
		if !r.requires(fieldIntent) {
			return "is looked up by the field intent: map it, and not as optional"
		}
	case FactTerminal:
		if r.has(fieldTerminal) && !r.requires(fieldTerminal) {
			return "is looked up by the field terminal: map it not as optional, or leave it out where the caller is the terminal"
		}
	case FactAccount:
		return checkAccount(r, facts)
	case FactIntentAccount:
		_, byTerminal := facts[FactTerminal]
		switch {
		case !byIntent:
			return "is that of the intent: name the fact intent beside it"
		case !byGrant && !byTerminal && !r.has(fieldAccount):
			return "is what the fact account is here, for nothing else says whose account the call is about: leave it out, and name account"
		}
	case FactIntentTerminals:
		if !byIntent {
			return "are those of the intent: name the fact intent beside it"
		}
	case FactTerminals, FactOpenIntents:
		if !hasAccount {
			return "are those of the account: name the fact account, or grant, beside it"
		}
	case FactChallenge:
		return checkChallenge(r, facts[name], hasAccount)
	case FactMerchant:
		if facts[name] == "write" {
			return "is only read: no effect changes it"
		}
	}
	return ""
}

func checkGrant(r *Route) string {
	leads := func(s Secret) bool { return !s.Optional && !slices.Contains(leadsNowhere, s.Evidence) }
	switch {
	case r.has(fieldGrant) && !r.requires(fieldGrant):
		return "is looked up by the field grant: map it not as optional"
	case !r.has(fieldGrant) && !slices.ContainsFunc(r.Secrets, leads):
		return "is looked up by the field grant, or by evidence that leads to one: map it, and not as optional"
	}
	return ""
}

// checkAccount: whose account it is, exactly one thing must say.
func checkAccount(r *Route, facts map[string]string) string {
	_, byGrant := facts[FactGrant]
	_, byTerminal := facts[FactTerminal]
	_, byIntent := facts[FactIntent]
	switch {
	case byGrant:
		return "is that of the grant, where there is the fact grant: leave account out"
	case r.has(fieldAccount) && !r.requires(fieldAccount), !r.has(fieldAccount) && !byTerminal && !byIntent:
		return "is looked up by the field account: map it, and not as optional, or name the fact terminal or intent, whose account it then is"
	}
	return ""
}

func checkChallenge(r *Route, mode string, hasAccount bool) string {
	switch {
	case onChallenge(r.Does):
		return "" // checkBuiltIn wants the field
	case r.Does != "" && !BuiltIns[r.Does].Writes:
		return "is for what changes something, and " + r.Does + " does not: leave it out"
	case mode == "read":
		return "is what people are asked about the call, and an effect asks: write challenge: write"
	case !hasAccount:
		return "asks the people of an account: name the fact account, or grant, beside it"
	}
	return ""
}

// has tells whether the route maps a field.
func (r *Route) has(name string) bool {
	_, ok := r.Field(name)
	return ok
}

// requires tells whether every call of the route has a field.
func (r *Route) requires(name string) bool {
	f, ok := r.Field(name)
	return ok && !f.Optional
}

// checkEvidence holds secret fields to what their kinds of evidence are about.
func checkEvidence(r *Route, s scope) {
	_, account := r.Fact(FactAccount)
	_, grant := r.Fact(FactGrant)
	for _, secret := range r.Secrets {
		why := ""
		switch {
		case secret.Evidence == StoredCode && !account && !grant:
			why = "is agreed with the people of an account: name the fact account, or grant"
		case secret.Evidence == IntentToken && !r.requires(fieldIntent):
			why = "is the token of an intent: map the field intent, and not as optional"
		case secret.Evidence == ChallengeCode && BuiltIns[r.Does].Evidence != ChallengeCode:
			why = "is entered with does: enter_code, and nowhere else"
		}
		if why != "" {
			s.at("fields", secret.Name).fail("field %s: %s %s", secret.Name, secret.Evidence, why)
		}
	}
}

// checkMoney holds a route that moves money to what a reservation needs.
func (c *compiler) checkMoney(r *Route, s scope) {
	if !r.MovesMoney {
		return
	}
	for _, name := range moneyFields {
		if r.has(name) && !r.requires(name) || !r.has(name) && !r.Writes(FactIntent) {
			s.fail("the route moves money: map %s, and not as optional, or write moves_money: false; what an intent brings is not mapped where the route has facts: {intent: write}", name)
		}
	}
	if r.has(fieldAccount) && !r.requires(fieldAccount) {
		s.fail("the route moves money: map %s, and not as optional, or write moves_money: false", fieldAccount)
	}
	if !r.PaysByGrant() && !r.Writes(FactAccount) && !r.Writes(FactIntentAccount) {
		s.at("facts").fail("the route moves money, so it changes the account: write facts: {account: write}, or {grant: write} where a grant pays, or {intent_account: write} where the intent's account does")
	}
	if checkText(r.Upstream.Audience) != "" {
		s.at("upstream").fail("the route moves money: write upstream: {audience: NAME}, whom the signed token is for")
	} else if c.vocabulary.Audiences != nil && !slices.Contains(c.vocabulary.Audiences, r.Upstream.Audience) {
		s.at("upstream").fail("there is no key for the audience %s: make one with countersign key new FILE, and start with --upstream-key %s=FILE", r.Upstream.Audience, r.Upstream.Audience)
	}
}
