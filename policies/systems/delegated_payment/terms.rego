package payments.systems.delegated_payment

# What the operator asks of the terms of a grant, offered or changed. That they are
# complete and make sense was checked before the policy is asked.
terms_acceptable if {
	terms_delegation
	terms_within_maximum
	terms_last
	terms_cool
}

terms_delegation if input.call.terms.delegation in data.systems.delegated_payment.terms.delegations

terms_within_maximum if {
	is_number(input.call.terms.max_payment_minor)
	input.call.terms.max_payment_minor <= terms_maximum
}

terms_maximum := data.systems.delegated_payment.terms.max_payment_minor[input.call.terms.currency]

terms_last if input.call.terms.valid_to.mode == "any"

terms_last if {
	input.call.terms.valid_to.mode == "at"
	input.now_ns <= input.call.terms.valid_to.at_ns
}

terms_cool if data.systems.delegated_payment.terms.cooling.required == false

terms_cool if {
	input.call.terms.cooling.mode == "first"
	input.call.terms.cooling.seconds >= data.systems.delegated_payment.terms.cooling.min_seconds
}

terms_deny contains reason if {
	not terms_delegation
	reason := {
		"code": "delegation_not_supported",
		"message": "Grants with such a delegation are not offered.",
	}
}

terms_deny contains reason if {
	not terms_maximum
	reason := {
		"code": "terms_currency_not_served",
		"message": "There are no grants in this currency.",
	}
}

terms_deny contains reason if {
	terms_maximum
	not terms_within_maximum
	reason := {
		"code": "terms_payment_maximum_too_high",
		"message": "A grant may not allow so much for one payment.",
		"limit": "payment",
		"remaining_minor": terms_maximum,
	}
}

terms_deny contains reason if {
	not terms_last
	reason := {
		"code": "terms_expired",
		"message": "The grant would not be valid any more.",
	}
}

terms_deny contains reason if {
	not terms_cool
	reason := {
		"code": "terms_cooling_too_short",
		"message": "A grant must have a cooling time, and a longer one.",
	}
}
