package payments.systems.terminal

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.challenge
import data.payments.shared.terminal

# A user agrees on a code in advance, on the terminal that the code will stand for.
permit if {
	input.call.operation == "store_code"
	sent
	of_account
	may_order
	bound_long_enough
	account.active
	account.codes_unlocked
	maximum_complete
}

of_account if terminal.acts_for(input.facts.terminal, input.facts.account.id)

may_order if terminal.has_right(input.facts.terminal, "order")

bound_long_enough if terminal.cooled(input.facts.terminal, data.systems.terminal.stored_codes.cooling_seconds)

# Both or neither.
maximum_complete if {
	not input.call.max_amount_minor
	not input.call.currency
}

maximum_complete if {
	is_number(input.call.max_amount_minor)
	input.call.max_amount_minor > 0
	is_string(input.call.currency)
	input.call.currency == input.facts.account.currency
}

deny contains reason if {
	input.call.operation == "store_code"
	sent
	some reason in store_deny
}

store_deny contains terminal.unknown_reason if not of_account

store_deny contains terminal.right_missing_reason if not may_order

store_deny contains reason if {
	not bound_long_enough
	reason := {
		"code": "terminal_too_new",
		"message": "The terminal has not been bound for long enough.",
	}
}

store_deny contains account.frozen_reason if not account.active

store_deny contains challenge.locked_reason if not account.codes_unlocked

store_deny contains reason if {
	not maximum_complete
	reason := {
		"code": "stored_code_maximum_invalid",
		"message": "A maximum is above zero, and in the account's currency.",
	}
}

# After codes were entered wrongly too often, an owner who has proven well enough who
# they are lets codes be sent again.
permit if {
	input.call.operation == "unlock_verification"
	account.owned_by_caller
	proven
	input.facts.account.verification.locked == true
}

proven if caller.proven(input.call.amr, data.systems.terminal.unlock.methods)

deny contains account.unknown_reason if {
	input.call.operation == "unlock_verification"
	not account.owned_by_caller
}

deny contains caller.proof_reason if {
	input.call.operation == "unlock_verification"
	account.owned_by_caller
	not proven
}

deny contains reason if {
	input.call.operation == "unlock_verification"
	account.owned_by_caller
	not input.facts.account.verification.locked == true
	reason := {
		"code": "verification_not_locked",
		"message": "The account's verification is not locked.",
	}
}
