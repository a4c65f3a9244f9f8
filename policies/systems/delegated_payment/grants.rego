package payments.systems.delegated_payment

import data.payments.shared.grant

# What its owner may do with a grant, and in which of its states. Who may take
# something away may always do so.
owner_may := {
	"change_grant": {"offered", "active", "frozen"},
	"freeze_grant": {"active"},
	"unfreeze_grant": {"frozen"},
	"revoke_grant": {"offered", "active", "frozen"},
	"reissue_parameters": {"active", "frozen"},
	"view_grant": object.keys(grant.in_state),
}

# And what its delegate may. None of it lets them have more.
delegate_may := {
	"accept_grant": {"offered"},
	"decline_grant": {"offered"},
	"end_grant": {"active", "frozen"},
	"fetch_parameters": {"active", "frozen"},
	"view_grant": object.keys(grant.in_state),
}

permit if {
	grant.owned_by_caller
	input.facts.grant.state in owner_may[input.call.operation]
	change_acceptable
}

permit if {
	grant.delegated_to_caller
	input.facts.grant.state in delegate_may[input.call.operation]
	acceptance_in_time
}

change_acceptable if input.call.operation != "change_grant"

change_acceptable if {
	input.call.terms.currency == input.facts.grant.currency
	terms_acceptable
}

acceptance_in_time if input.call.operation != "accept_grant"

acceptance_in_time if grant.unexpired

# A stranger's answer is the same whether there is such a grant or not.
deny contains reason if {
	is_about_grant
	not grant.known_to_caller
	reason := {
		"code": "grant_unknown",
		"message": "There is no such grant, or it is not yours.",
	}
}

is_about_grant if owner_may[input.call.operation]

is_about_grant if delegate_may[input.call.operation]

deny contains reason if {
	grant.delegated_to_caller
	is_about_grant
	not delegate_may[input.call.operation]
	reason := {
		"code": "grant_owner_required",
		"message": "Only the grant's owner can do this.",
	}
}

deny contains reason if {
	grant.owned_by_caller
	is_about_grant
	not owner_may[input.call.operation]
	reason := {
		"code": "grant_delegate_required",
		"message": "Only the grant's delegate can do this.",
	}
}

deny contains grant.in_state[input.facts.grant.state] if {
	grant.owned_by_caller
	states := owner_may[input.call.operation]
	not input.facts.grant.state in states
}

deny contains grant.in_state[input.facts.grant.state] if {
	grant.delegated_to_caller
	states := delegate_may[input.call.operation]
	not input.facts.grant.state in states
}

deny contains grant.expired_reason if {
	input.call.operation == "accept_grant"
	grant.delegated_to_caller
	input.facts.grant.state == "offered"
	not grant.unexpired
}

deny contains reason if {
	input.call.operation == "change_grant"
	grant.owned_by_caller
	not input.call.terms.currency == input.facts.grant.currency
	reason := {
		"code": "terms_currency_not_grant",
		"message": "A grant keeps its currency: end it and offer another.",
	}
}

deny contains reason if {
	input.call.operation == "change_grant"
	grant.owned_by_caller
	some reason in terms_deny
}
