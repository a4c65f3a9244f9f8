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

# Whole minor units, and something to pay.
amount_valid if {
	is_number(input.call.amount_minor)
	input.call.amount_minor == floor(input.call.amount_minor)
	input.call.amount_minor > 0
}

within_payment_maximum if {
	is_number(input.call.amount_minor)
	is_number(input.facts.account.max_payment_minor)
	input.call.amount_minor <= input.facts.account.max_payment_minor
}

# Each limit says for amount and count either that it bounds nothing ("any") or
# what remains of it: a limit that says neither holds everything back.
within_limits if {
	is_array(input.facts.account.limits)
	every limit in input.facts.account.limits {
		is_string(limit.name)
		within_amount(limit)
		within_count(limit)
	}
}

within_amount(limit) if limit.amount.mode == "any"

within_amount(limit) if {
	limit.amount.mode == "at_most"
	is_number(limit.amount.max_minor)
	is_number(limit.amount.remaining_minor)
	is_number(input.call.amount_minor)
	input.call.amount_minor <= limit.amount.remaining_minor
}

within_count(limit) if limit.count.mode == "any"

within_count(limit) if {
	limit.count.mode == "at_most"
	is_number(limit.count.max)
	is_number(limit.count.remaining)
	limit.count.remaining >= 1
}

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

deny contains reason if {
	not active
	reason := {
		"code": "account_frozen",
		"message": "The account is frozen.",
	}
}

deny contains reason if {
	not currency_matches
	reason := {
		"code": "currency_not_account",
		"message": "The payment is not in the account's currency.",
	}
}

deny contains reason if {
	not amount_valid
	reason := {
		"code": "amount_invalid",
		"message": "The amount is not a whole number of minor units above zero.",
	}
}

deny contains reason if {
	not within_payment_maximum
	reason := {
		"code": "amount_over_payment_maximum",
		"message": "The amount is over the account's maximum for one payment.",
	}
}

deny contains reason if {
	some limit in input.facts.account.limits
	not within_amount(limit)
	reason := {
		"code": "amount_over_limit",
		"message": "The amount is over what remains of a limit of the account.",
		"limit": limit.name,
		"remaining_minor": limit.amount.remaining_minor,
	}
}

deny contains reason if {
	some limit in input.facts.account.limits
	not within_count(limit)
	reason := {
		"code": "count_over_limit",
		"message": "No payment remains of a limit of the account.",
		"limit": limit.name,
		"remaining_count": limit.count.remaining,
	}
}
