package payments.systems.agent_order

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.challenge
import data.payments.shared.terminal

is_order if input.call.operation in {"order", "order_by_terminal"}

# The account is known to an agent by its ID, to a terminal because it is bound to it.
sender_expected if {
	input.call.operation == "order"
	caller.listed(data.systems.agent_order.agents)
	account.known
}

sender_expected if {
	input.call.operation == "order_by_terminal"
	sent
	terminal.acts_for(input.facts.terminal, input.facts.account.id)
}

# The terminals that may be asked: bound to the user, for long enough, with the right
# to order.
candidates := [bound.id |
	some bound in input.facts.terminals
	terminal.acts_for(bound, input.facts.account.id)
	terminal.has_right(bound, "order")
	terminal.cooled(bound, data.systems.agent_order.cooling_seconds)
]

# The terminal that confirms the order and pays it: the one that sends it, or that the
# agent names, or with which the code was agreed on; else the first that may.
wanted := input.facts.terminal.id if {
	input.call.operation == "order_by_terminal"
} else := input.call.requesting_terminal if {
	input.call.requesting_terminal
} else := input.evidence.stored_code.terminal if {
	input.evidence.stored_code.matched == true
} else := candidates[0]

requesting := wanted if wanted in candidates

# All but the user's word. Nobody is asked for it before this holds.
orderable if {
	is_order
	sender_expected
	is_string(input.call.payee)
	account.active
	account.currency_matches
	account.amount_valid
	account.codes_unlocked
	requesting
}

permit if {
	orderable
	authorised
}

# A code went to the requesting terminal and came back from it, for this very order.
authorised if {
	not has_stored_code
	challenge.confirms("code", input.facts.account.id)
	challenge.is_for_payment
	input.facts.challenge.terminals == [requesting]
}

# Or a code that was agreed on with this terminal stands in the order.
authorised if {
	stored_code_matched
	within_maximum
}

has_stored_code if is_object(input.evidence.stored_code)

# A key that was asked for a code stands for an order by that code, and no other: then
# nobody is told whether a stored one is right.
asked_under_key if is_string(input.facts.challenge.state)

stored_code_matched if {
	input.call.operation == "order"
	not asked_under_key
	input.evidence.stored_code.matched == true
	input.evidence.stored_code.terminal == requesting
}

# A stored code may have a maximum of its own: both members of it, or neither.
within_maximum if {
	not input.evidence.stored_code.max_amount_minor
	not input.evidence.stored_code.currency
}

within_maximum if {
	is_number(input.evidence.stored_code.max_amount_minor)
	input.call.amount_minor <= input.evidence.stored_code.max_amount_minor
	input.evidence.stored_code.currency == input.call.currency
}

# What is ordered, for people.
about := object.union(reference, description)

reference := {"reference": input.call.reference} if {
	input.call.reference
} else := {}

description := {"description": input.call.description} if {
	input.call.description
} else := {}

on_allow contains effect if {
	is_order
	effect := {
		"type": "open_intent",
		"kind": "order",
		"state": "deduction_requested",
		"expires_at_ns": input.now_ns + (data.systems.agent_order.order_expires_seconds * 1000000000),
		"terminals": [requesting],
		"attributes": about,
	}
}

# When it is sent is when the order came into its state.
on_allow contains effect if {
	is_order
	effect := {
		"type": "notify",
		"terminal": requesting,
		"kind": "deduction_request",
		"expires_at_ns": input.now_ns + (seconds_to_pay * 1000000000),
		"details": about,
	}
}

seconds_to_pay := data.systems.agent_order.interval.seconds if {
	data.systems.agent_order.interval.checked
} else := data.systems.agent_order.order_expires_seconds

askable if {
	orderable
	not has_stored_code
	not authorised
	challenge.may_ask(data.systems.agent_order.asking)
}

on_deny contains effect if {
	askable
	effect := {
		"type": "issue_challenge",
		"kind": "code",
		"terminals": [requesting],
		"expects": "terminals",
		"expires_at_ns": input.now_ns + (data.systems.agent_order.codes.expires_seconds * 1000000000),
		"max_attempts": data.systems.agent_order.codes.max_attempts,
		"digits": data.systems.agent_order.codes.digits,
		"condition": {"entry": "any"},
		"message": "code",
		"details": about,
	}
}

# No order exists then, and the requesting terminal is told.
on_deny contains effect if {
	orderable
	failed_for_good
	effect := {"type": "notify", "terminal": requesting, "kind": "authorisation_failed", "details": about}
}

failed_for_good if {
	has_stored_code
	not asked_under_key
	not authorised
}

failed_for_good if {
	not has_stored_code
	input.facts.challenge.state == "locked"
}

deny contains challenge.required_reason if askable

deny contains reason if {
	orderable
	not has_stored_code
	not authorised
	some reason in challenge.refusals(data.systems.agent_order.asking)
}

deny contains reason if {
	is_order
	has_stored_code
	asked_under_key
	reason := {
		"code": "order_asked_for_code",
		"message": "A code was asked for under this key: order with the stored one under another key.",
	}
}

deny contains reason if {
	is_order
	has_stored_code
	not asked_under_key
	not stored_code_matched
	reason := {
		"code": "stored_code_invalid",
		"message": "The code is not valid.",
	}
}

deny contains reason if {
	is_order
	stored_code_matched
	not within_maximum
	reason := {
		"code": "stored_code_over_maximum",
		"message": "The order is over what the code was agreed on for.",
		"limit": "stored_code",
		"remaining_minor": input.evidence.stored_code.max_amount_minor,
	}
}

deny contains reason if {
	input.call.operation == "order"
	not caller.listed(data.systems.agent_order.agents)
	reason := {
		"code": "agent_not_eligible",
		"message": "The caller is no agent here.",
	}
}

deny contains account.unknown_reason if {
	input.call.operation == "order"
	caller.listed(data.systems.agent_order.agents)
	not account.known
}

deny contains reason if {
	is_order
	sender_expected
	some reason in order_deny
}

order_deny contains account.frozen_reason if not account.active

order_deny contains account.currency_reason if not account.currency_matches

order_deny contains account.amount_reason if not account.amount_valid

order_deny contains challenge.locked_reason if not account.codes_unlocked

order_deny contains reason if {
	not requesting
	reason := {
		"code": "order_terminal_missing",
		"message": "No such terminal of the account has the right to order.",
	}
}
