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

owned_by_caller if {
	known
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
