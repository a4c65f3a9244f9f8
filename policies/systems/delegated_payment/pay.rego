package payments.systems.delegated_payment

import data.payments.shared.account
import data.payments.shared.grant
import data.payments.shared.merchant

# A merchant brings a payment code and is paid from the owner's account; where the
# delegation that holds is partial, once the owner has approved (approvals.rego).
permit if {
	payable
	input.facts.grant.delegation == "full"
	not asked_under_key
	not needs_approval
}

permit if {
	payable
	approved
}

payable if {
	input.call.operation == "pay"
	code_proven
	merchant.is_payee
	merchant.active
	grant.leads_to_account
	grant.allows_payment
	raises_cooled
	account.active
	account.currency_matches
	account.amount_valid
	account.within_payment_maximum
	account.within_limits
}

on_allow contains grant.reserve if input.call.operation == "pay"

# The code matched the grant that is among the facts, and is recent enough.
code_proven if {
	input.evidence.payment_code.matched == true
	is_number(input.evidence.payment_code.step_age)
	input.evidence.payment_code.step_age <= data.systems.delegated_payment.max_code_step_age
	is_string(input.facts.grant.id)
}

# It was when the payment was first brought under this key, and the owner was asked
# then: by now it has aged.
code_proven if {
	input.evidence.payment_code.matched == true
	input.evidence.payment_code.matched_when_asked == true
	asked_before
	is_string(input.facts.grant.id)
}

# A code that is wrong, stale, from the future, used before or of nobody: one answer.
deny contains reason if {
	input.call.operation == "pay"
	not code_proven
	reason := {
		"code": "payment_code_invalid",
		"message": "The payment code is not valid.",
	}
}

# The codes of a grant that is over are such too. The record says of it, the caller
# is not told.
deny contains grant.in_state[input.facts.grant.state] if {
	input.call.operation == "pay"
	not code_proven
	input.facts.grant.state != "active"
}

deny contains reason if {
	input.call.operation == "pay"
	some reason in merchant.deny
}

# Whether the grant could pay is nobody's business before the code is proven, and
# before it is the payee who asks.
deny contains reason if {
	input.call.operation == "pay"
	code_proven
	merchant.is_payee
	some reason in grant.deny
}

deny contains reason if {
	input.call.operation == "pay"
	code_proven
	merchant.is_payee
	some reason in raise_deny
}

deny contains reason if {
	input.call.operation == "pay"
	code_proven
	merchant.is_payee
	grant.leads_to_account
	some reason in account.deny
}
