package call

import "slices"

// BuiltInAudience is whom the token of an allowed built-in operation is for: the API
// that shows what became of it.
const BuiltInAudience = "countersign"

// A BuiltIn is an operation that the sidecar carries out itself if the policy allows
// the call: `does` in the route table.
type BuiltIn struct {
	Fields []string // it needs, none of them optional
	Fact   string   // it needs, "" for none
	Writes bool     // it changes what Fact leads to, so a retry must be known
}

// BuiltIns are all of them, by name.
var BuiltIns = map[string]BuiltIn{
	"offer_grant": {
		Fields: []string{fieldAccount, fieldDelegateKind, fieldDelegateIssuer, fieldDelegateSubject, fieldTerms},
		Fact:   factAccount, Writes: true,
	},
	"accept_grant":       {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"decline_grant":      {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"change_grant":       {Fields: []string{fieldGrant, fieldTerms}, Fact: factGrant, Writes: true},
	"freeze_grant":       {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"unfreeze_grant":     {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"revoke_grant":       {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"end_grant":          {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"reissue_parameters": {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"fetch_parameters":   {Fields: []string{fieldGrant}, Fact: factGrant, Writes: true},
	"freeze_account":     {Fields: []string{fieldAccount}, Fact: factAccount, Writes: true},
	"unfreeze_account":   {Fields: []string{fieldAccount}, Fact: factAccount, Writes: true},
	"view_grant":         {Fields: []string{fieldGrant}, Fact: factGrant},
	"view_account":       {Fields: []string{fieldAccount}, Fact: factAccount},
	"list_grants":        {Fields: []string{fieldAccount}, Fact: factAccount},
	"list_delegations":   {},
}

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
	hasFact := func(f Fact) bool { return f.Name == b.Fact && (f.Write || !b.Writes) }
	if b.Fact != "" && !slices.ContainsFunc(r.Facts, hasFact) {
		s.at("facts").fail("%s needs the fact %s: write facts: {%s: %s}", r.Does, b.Fact, b.Fact, map[bool]string{false: "read", true: "write"}[b.Writes])
	}
	if r.MovesMoney {
		s.at("does").fail("%s moves no money: map no amount_minor", r.Does)
	}
	if len(r.Secrets) > 0 {
		s.at("fields").fail("%s takes no evidence: leave the secret fields out", r.Does)
	}
	if !b.Writes && y.Idempotency != nil {
		s.at("idempotency").fail("%s changes nothing, so a retry of it needs no key: leave idempotency out", r.Does)
	}
	if y.Upstream != (upstreamYAML{}) {
		s.at("upstream").fail("what %s does is shown by the sidecar itself: leave upstream out", r.Does)
	}
}
