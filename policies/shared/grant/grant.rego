# METADATA
# title: A grant, and who is a party to it
# description: |
#   A grant is the right of a second user, the delegate, to pay from the account of
#   the first, its owner. Its state is the business of these two alone: for
#   everybody else a grant that exists and one that does not look the same.
# schemas:
#   - input: schema.input
package payments.shared.grant

# The grant that the call names, and the account that it pays from.
named if {
	is_string(input.call.grant)
	input.facts.grant.id == input.call.grant
	is_party(input.facts.grant.delegate)
	leads_to_account
	is_party(input.facts.account.owner)
}

leads_to_account if {
	is_string(input.facts.grant.account)
	input.facts.account.id == input.facts.grant.account
}

is_party(party) if {
	is_string(party.kind)
	is_string(party.issuer)
	is_string(party.subject)
}

# Whoever has the account by now, also where somebody else had it when the grant was
# offered: its owner then has no part in it any more.
owned_by_caller if {
	named
	is_caller(input.facts.account.owner)
}

delegated_to_caller if {
	named
	is_caller(input.facts.grant.delegate)
}

known_to_caller if owned_by_caller

known_to_caller if delegated_to_caller

# Neither an owner nor a delegate has anybody else act for them, or acts for
# somebody else.
is_caller(party) if {
	object.get(input.identity, "on_behalf_of", "") == ""
	object.get(party, "on_behalf_of", "") == ""
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	party.kind == input.identity.kind
	party.issuer == input.identity.issuer
	party.subject == input.identity.subject
}

# METADATA
# title: States
# description: What is said of a grant that is in a state in which the call cannot be.
in_state := {
	"offered": {
		"code": "grant_not_accepted",
		"message": "The grant is offered, and not accepted yet.",
	},
	"active": {
		"code": "grant_active",
		"message": "The grant is accepted and active.",
	},
	"frozen": {
		"code": "grant_frozen",
		"message": "The grant is frozen.",
	},
	"declined": {
		"code": "grant_declined",
		"message": "The grant was declined.",
	},
	"revoked": {
		"code": "grant_revoked",
		"message": "The grant was revoked by its owner.",
	},
	"ended": {
		"code": "grant_ended",
		"message": "The grant was ended by its delegate.",
	},
}

# Valid from and valid to are instants at which the grant is still valid.
begun if input.facts.grant.valid_from.mode == "any"

begun if {
	input.facts.grant.valid_from.mode == "at"
	is_number(input.facts.grant.valid_from.at_ns)
	input.now_ns >= input.facts.grant.valid_from.at_ns
}

unexpired if input.facts.grant.valid_to.mode == "any"

unexpired if {
	input.facts.grant.valid_to.mode == "at"
	is_number(input.facts.grant.valid_to.at_ns)
	input.now_ns <= input.facts.grant.valid_to.at_ns
}

expired_reason := {
	"code": "grant_expired",
	"message": "The grant is not valid any more.",
}
