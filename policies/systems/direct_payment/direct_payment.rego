# METADATA
# title: Direct payment
# description: |
#   The owner of an account pays a payee from it. An account that does not exist
#   and one that belongs to somebody else get the same answer, and nothing about
#   an account is told to a stranger.
# schemas:
#   - input: schema.input
package payments.systems.direct_payment

import data.payments.shared.account

permit if {
	input.call.operation == "pay"
	is_string(input.call.payee)
	account.owned_by_caller
}

deny contains reason if {
	not account.owned_by_caller
	reason := {
		"code": "account_unknown",
		"message": "There is no such account, or it is not yours.",
	}
}

deny contains reason if {
	account.owned_by_caller
	some reason in account.deny
}
