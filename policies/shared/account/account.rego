# METADATA
# title: Rules on the account that pays
# description: |
#   Rules that hold in every system whose calls name an account. A system
#   collects `deny` once the caller has shown a right to the account: until
#   then its state is nobody's business. Two nulls are equal, so what is compared
#   must be a string first.
# schemas:
#   - input: schema.input
package payments.shared.account

import data.payments.shared.limit as limits

known if {
	is_string(input.call.account)
	input.facts.account.id == input.call.account
}

# An owner acts for nobody else: whoever acts for another does so by a right of
# its own, which ownership is not.
owned_by_caller if {
	known
	object.get(input.identity, "on_behalf_of", "") == ""
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	input.facts.account.owner.kind == input.identity.kind
	input.facts.account.owner.issuer == input.identity.issuer
	input.facts.account.owner.subject == input.identity.subject
}

active if input.facts.account.state == "active"

currency_matches if {
	is_string(input.call.currency)
	input.call.currency == input.facts.account.currency
}

amount_valid if is_payable(input.call.amount_minor)

within_payment_maximum if {
	is_number(input.call.amount_minor)
	is_number(input.facts.account.max_payment_minor)
	input.call.amount_minor <= input.facts.account.max_payment_minor
}

within_limits if {
	is_array(input.facts.account.limits)
	every limit in input.facts.account.limits {
		limits.within(limit, input.call.amount_minor)
	}
}

# Codes are sent to its people, and count.
codes_unlocked if input.facts.account.verification.locked == false

# METADATA
# title: Reserve
# description: The effect that takes the payment's money, for a system's `on_allow`.
reserve := {
	"type": "reserve",
	"account": input.call.account,
	"payee": input.call.payee,
	"amount_minor": input.call.amount_minor,
	"currency": input.call.currency,
}

unknown_reason := {
	"code": "account_unknown",
	"message": "There is no such account, or it is not yours.",
}

deny contains frozen_reason if not active

deny contains currency_reason if not currency_matches

deny contains amount_reason if not amount_valid

deny contains over_maximum_reason(input.facts.account) if {
	not within_payment_maximum
}

deny contains over_limit_reason(limit) if {
	some limit in input.facts.account.limits
	not limits.within_amount(limit, input.call.amount_minor)
}

deny contains over_count_reason(limit) if {
	some limit in input.facts.account.limits
	not limits.within_count(limit)
}

deny contains window_reason(limit) if {
	some limit in input.facts.account.limits
	limit.window_full == true
}
