# METADATA
# title: Direct payment
# description: |
#   The owner of an account pays a payee from it. `permit` names everything that
#   must hold, so that nothing passes because a fact or a rule is missing; `deny`
#   says which of it does not. An account that does not exist and one that belongs
#   to somebody else get the same answer, and nothing about an account is told to
#   a stranger.
# schemas:
#   - input: schema.input
package payments.systems.direct_payment

import data.payments.shared.account

permit if {
	input.call.operation == "pay"
	is_string(input.call.payee)
	account.owned_by_caller
	account.active
	account.currency_matches
	account.amount_valid
	account.within_payment_maximum
	account.within_limits
}

# Who calls, which decides what they are told (shared/data.yaml).
audience := "owner" if account.owned_by_caller

on_allow contains account.reserve

deny contains account.unknown_reason if {
	input.call.operation == "pay"
	not account.owned_by_caller
}

deny contains reason if {
	input.call.operation == "pay"
	account.owned_by_caller
	some reason in account.deny
}
