# METADATA
# title: Multi-terminal verification
# description: |
#   One stolen phone is not enough to pay. The owner's payment is denied at first, and
#   each terminal of the account gets a code of its own; at least two of them have
#   different numbers. The codes come back under a condition that data picks by the
#   amount (conditions.rego), and the payment, repeated under its key, is allowed
#   once. What was wrong with codes that were entered, nobody is told.
# schemas:
#   - input: schema.input
#   - data.systems.multi_terminal: schema.multi_terminal
package payments.systems.multi_terminal

import data.payments.shared.account
import data.payments.shared.challenge
import data.payments.shared.terminal

# Who calls, which decides what they are told (shared/data.yaml).
audience := "owner" if account.owned_by_caller

is_payment if input.call.operation in {"pay", "transfer"}

# All but the codes. Nobody is asked for any before it holds.
payable if {
	is_payment
	is_string(input.call.payee)
	account.owned_by_caller
	account.active
	account.currency_matches
	account.amount_valid
	account.within_payment_maximum
	account.within_limits
	account.codes_unlocked
}

permit if {
	payable
	confirmed
}

on_allow contains account.reserve if is_payment

# The terminals that were asked are bound still, and are enough.
confirmed if {
	challenge.confirms("code", input.facts.account.id)
	challenge.is_for_payment
	distinct(input.facts.challenge.terminals)
}

# One that was bound too lately gets no code and does not count.
asked := [bound.id |
	some bound in input.facts.terminals
	terminal.acts_for(bound, input.facts.account.id)
	terminal.cooled(bound, data.systems.multi_terminal.cooling_seconds)
]

distinct(terminals) if {
	numbers := {bound.number |
		some bound in input.facts.terminals
		bound.id in terminals
		is_string(bound.number)
	}
	count(numbers) >= 2
}

askable if {
	payable
	not confirmed
	distinct(asked)
	condition
	challenge.may_ask(data.systems.multi_terminal.asking)
}

on_deny contains effect if {
	askable
	effect := {
		"type": "issue_challenge",
		"kind": "code",
		"terminals": asked,
		"expects": "initiator",
		"expires_at_ns": input.now_ns + (rule.expires_seconds * 1000000000),
		"max_attempts": rule.max_attempts,
		"digits": rule.digits,
		"condition": condition,
		"message": "code",
	}
}

deny contains challenge.required_reason if askable

deny contains account.unknown_reason if {
	is_payment
	not account.owned_by_caller
}

deny contains reason if {
	is_payment
	account.owned_by_caller
	some reason in account.deny
}

deny contains challenge.locked_reason if {
	is_payment
	account.owned_by_caller
	not account.codes_unlocked
}

deny contains reason if {
	is_payment
	account.owned_by_caller
	not confirmed
	not distinct(asked)
	reason := {
		"code": "terminals_too_few",
		"message": "Fewer than two terminals with different numbers have been bound to the account for long enough.",
	}
}

deny contains reason if {
	is_payment
	account.owned_by_caller
	not rule
	reason := {
		"code": "currency_not_verified",
		"message": "Payments in this currency cannot be confirmed by codes.",
	}
}

# Only where nothing else stands against the call.
deny contains reason if {
	payable
	not confirmed
	distinct(asked)
	condition
	some reason in challenge.refusals(data.systems.multi_terminal.asking)
}
