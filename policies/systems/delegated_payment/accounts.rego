package payments.systems.delegated_payment

import data.payments.shared.account

# Looking at an account and at the grants on it is for its owner.
permit if {
	input.call.operation in {"view_account", "list_grants"}
	account.owned_by_caller
}

# The kill switch: from the next call on, nothing is paid from the account. To lift
# it is for the operator alone, through the control API.
permit if {
	input.call.operation == "freeze_account"
	account.owned_by_caller
	account.active
}

deny contains account.frozen_reason if {
	input.call.operation == "freeze_account"
	account.owned_by_caller
	not account.active
}

deny contains account.unknown_reason if {
	input.call.operation in {"offer_grant", "view_account", "list_grants", "freeze_account"}
	not account.owned_by_caller
}

# Everybody may ask which grants they are the delegate of: the answer is about the
# caller alone.
permit if {
	input.call.operation == "list_delegations"
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	object.get(input.identity, "on_behalf_of", "") == ""
}

deny contains reason if {
	input.call.operation == "list_delegations"
	object.get(input.identity, "on_behalf_of", "") != ""
	reason := {
		"code": "caller_not_itself",
		"message": "Whoever acts for somebody else has no grants of their own here.",
	}
}
