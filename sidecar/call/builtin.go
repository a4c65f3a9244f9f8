package call

// BuiltInAudience is whom the token of an allowed built-in operation is for: the API
// that shows what became of it.
const BuiltInAudience = "countersign"

// A BuiltIn is an operation that the sidecar carries out itself if the policy allows
// the call: `does` in the route table.
type BuiltIn struct {
	Fields   []string // it needs, none of them optional
	Fact     string   // it needs, "" for none
	Or       string   // a fact that serves it as well as Fact does, "" for none
	Beside   string   // a fact that it needs beside that, if only to read; "" for none
	Writes   bool     // it changes what Fact leads to
	Again    bool     // doing it again changes nothing more, so a retry need not be known
	Evidence string   // the kind of evidence that it takes, in one secret field; "" for none
}

// BuiltIns are all of them, by name.
var BuiltIns = map[string]BuiltIn{
	"offer_grant": {
		Fields: []string{fieldAccount, fieldDelegateKind, fieldDelegateIssuer, fieldDelegateSubject, fieldTerms},
		Fact:   FactAccount, Writes: true,
	},
	"accept_grant":       {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"decline_grant":      {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"change_grant":       {Fields: []string{fieldGrant, fieldTerms}, Fact: FactGrant, Writes: true},
	"freeze_grant":       {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"unfreeze_grant":     {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"revoke_grant":       {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"end_grant":          {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"reissue_parameters": {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"fetch_parameters":   {Fields: []string{fieldGrant}, Fact: FactGrant, Writes: true},
	"freeze_account":     {Fields: []string{fieldAccount}, Fact: FactAccount, Writes: true},
	"unfreeze_account":   {Fields: []string{fieldAccount}, Fact: FactAccount, Writes: true},
	"view_grant":         {Fields: []string{fieldGrant}, Fact: FactGrant},
	"view_account":       {Fields: []string{fieldAccount}, Fact: FactAccount},
	"list_grants":        {Fields: []string{fieldAccount}, Fact: FactAccount},
	"list_delegations":   {},

	"enter_code":        {Fields: []string{fieldChallenge}, Fact: FactChallenge, Writes: true, Evidence: ChallengeCode},
	"approve_challenge": {Fields: []string{fieldChallenge}, Fact: FactChallenge, Beside: FactTerminal, Writes: true},
	"reject_challenge":  {Fields: []string{fieldChallenge}, Fact: FactChallenge, Beside: FactTerminal, Writes: true},
	"view_challenge":    {Fields: []string{fieldChallenge}, Fact: FactChallenge},

	"view_intent":   {Fields: []string{fieldIntent}, Fact: FactIntent},
	"act_on_intent": {Fact: FactIntent, Or: FactOpenIntents, Writes: true},

	"store_code":           {Fact: FactTerminal, Writes: true},
	"unlock_verification":  {Fields: []string{fieldAccount}, Fact: FactAccount, Writes: true},
	"stream_messages":      {Fact: FactTerminal},
	"acknowledge_messages": {Fields: []string{fieldUpTo}, Fact: FactTerminal, Writes: true, Again: true},
}

// onChallenge tells whether a built-in operation is on a challenge that the call names.
func onChallenge(does string) bool { return BuiltIns[does].Fact == FactChallenge }

// checkBuiltIn holds a route to what its built-in operation needs.
func checkBuiltIn(r *Route, y routeYAML, s scope) {
	if r.Does == "" {
		return
	}
	b, known := BuiltIns[r.Does]
	if !known {
		s.at("does").fail("%q is not one of %s", r.Does, list(sortedKeys(BuiltIns)))
		return
	}
	for _, name := range b.Fields {
		if f, mapped := r.Field(name); !mapped || f.Optional {
			s.at("does").fail("%s needs the field %s: map it, and not as optional", r.Does, name)
		}
	}
	checkBuiltInFacts(r, b, s.at("facts"))
	if r.MovesMoney {
		s.at("does").fail("%s moves no money: map no amount_minor", r.Does)
	}
	checkBuiltInSecrets(r, b, s.at("fields"))
	if !b.Writes && y.Idempotency != nil {
		s.at("idempotency").fail("%s changes nothing, so a retry of it needs no key: leave idempotency out", r.Does)
	}
	if r.Does == "store_code" && r.has(fieldMaxAmount) && !r.has(fieldCurrency) {
		s.at("fields").fail("%s with %s needs the field %s too: map it", r.Does, fieldMaxAmount, fieldCurrency)
	}
	if y.Upstream != (upstreamYAML{}) {
		s.at("upstream").fail("what %s does is shown by the sidecar itself: leave upstream out", r.Does)
	}
}

func checkBuiltInFacts(r *Route, b BuiltIn, s scope) {
	mode := map[bool]string{false: "read", true: "write"}[b.Writes]
	serves := func(fact string) bool {
		f, ok := r.Fact(fact)
		return ok && (f.Write || !b.Writes)
	}
	switch {
	case b.Fact == "" || serves(b.Fact) || b.Or != "" && serves(b.Or):
	case b.Or != "":
		s.fail("%s needs the fact %s or %s: write facts: {%s: %s} or {%s: %s}", r.Does, b.Fact, b.Or, b.Fact, mode, b.Or, mode)
	default:
		s.fail("%s needs the fact %s: write facts: {%s: %s}", r.Does, b.Fact, b.Fact, mode)
	}
	if (b.Fact == FactTerminal || b.Beside == FactTerminal) && r.has(fieldTerminal) {
		s.fail("%s is for the terminal that calls, and a field would name any: leave the field %s out", r.Does, fieldTerminal)
	}
	if _, ok := r.Fact(b.Beside); b.Beside != "" && !ok {
		s.fail("%s needs the fact %s: write facts: {%s: read}", r.Does, b.Beside, b.Beside)
	}
}

func checkBuiltInSecrets(r *Route, b BuiltIn, s scope) {
	if b.Evidence == "" && len(r.Secrets) > 0 {
		s.fail("%s takes no evidence: leave the secret fields out", r.Does)
	}
	if b.Evidence != "" && (len(r.Secrets) != 1 || r.Secrets[0].Evidence != b.Evidence || r.Secrets[0].Optional) {
		s.fail("%s takes one secret: map one field with {secret: true, evidence: %s}, and not as optional", r.Does, b.Evidence)
	}
}
