# METADATA
# title: Quote
# description: |
#   Asks what a payment would cost. It depends on no fact and changes nothing, so
#   that the sidecar decides it without its store: what a generic integration of
#   OPA can do too.
# schemas:
#   - input: schema.input
package payments.systems.quote

import data.payments.shared.account

permit if {
	input.call.operation == "quote"
	is_string(input.call.payee)
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	account.amount_valid
	within_maximum
}

maximum_minor := data.systems.quote.maximum_minor[input.call.currency]

within_maximum if {
	is_number(input.call.amount_minor)
	input.call.amount_minor <= maximum_minor
}

deny contains reason if {
	not account.amount_valid
	reason := {
		"code": "amount_invalid",
		"message": "The amount is not a whole number of minor units above zero.",
	}
}

deny contains reason if {
	not maximum_minor
	reason := {
		"code": "currency_unknown",
		"message": "There are no quotes in this currency.",
	}
}

deny contains reason if {
	input.call.amount_minor > maximum_minor
	reason := {
		"code": "amount_over_maximum",
		"message": "The amount is over the maximum for one quote.",
	}
}
