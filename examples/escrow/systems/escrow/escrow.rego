# METADATA
# title: Escrow
# description: |
#   A purchase that is paid when two of three say so: the buyer, the seller and an
#   arbiter. The buyer opens it; one of the three agrees; another of them releases it,
#   and only then the buyer's account pays, once.
# schemas:
#   - input: schema.input
#   - data.systems.escrow: schema.escrow
package payments.systems.escrow

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.intent
import data.payments.shared.merchant

# Who calls, which decides what they are told. The buyer hears all of the account, the
# two others what a payee hears.
audience := "owner" if {
	input.call.operation == "open"
	account.owned_by_caller
} else := "owner" if {
	role == "buyer"
} else := "payee" if {
	role in {"seller", "arbiter"}
}

# The purchase that the call names. Its account is that of the buyer.
named if {
	input.call.operation in {"agree", "release"}
	intent.named
	input.facts.intent.kind == "escrow"
	is_string(input.facts.intent.account)
	input.facts.account.id == input.facts.intent.account
}

# Which of the three calls. Nobody is two of them.
role := "buyer" if {
	named
	caller.is(input.facts.account.owner)
} else := "seller" if {
	named
	merchant.known
	input.facts.merchant.id == input.facts.intent.payee
} else := "arbiter" if {
	named
	caller.itself
	some arbiter in data.systems.escrow.arbiters
	arbiter.kind == input.identity.kind
	arbiter.issuer == input.identity.issuer
	arbiter.subject == input.identity.subject
}

# Nor is anybody two of them under two names.
independent if role == "buyer"

independent if {
	role == "arbiter"
	caller.is_another_person(input.facts.account.owner)
}

independent if {
	role == "seller"
	caller.is_another_person(input.facts.account.owner)
	merchant.active
}

permit if {
	input.call.operation == "open"
	account.owned_by_caller
	account.active
	account.currency_matches
	account.amount_valid
	is_string(input.call.payee)
	below_maximum
}

below_maximum if {
	is_array(input.facts.open_intents)
	count(input.facts.open_intents) < data.systems.escrow.max_open
}

# The first of two.
permit if {
	input.call.operation == "agree"
	independent
	intent.is_open(input.facts.intent)
	input.facts.intent.state == "open"
}

# The second, who is another of the three and another person, and the account pays.
permit if {
	input.call.operation == "release"
	independent
	intent.is_open(input.facts.intent)
	input.facts.intent.state == "agreed"
	another_agreed
	another_person_agreed
	account.lets_through(input.facts.account, input.facts.intent)
	is_string(input.facts.intent.payee)
}

another_agreed if {
	input.facts.intent.parties.first in {"buyer", "seller", "arbiter"}
	input.facts.intent.parties.first != role
}

another_person_agreed if {
	some step in input.facts.intent.steps
	step.state == "agreed"
	caller.is_another_person(step.by)
}

on_allow contains effect if {
	input.call.operation == "open"
	effect := {
		"type": "open_intent",
		"kind": "escrow",
		"state": "open",
		"expires_at_ns": input.now_ns + (data.systems.escrow.window_seconds * 1000000000),
	}
}

on_allow contains effect if {
	input.call.operation == "agree"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "open",
		"to": "agreed",
		"parties": {"first": role},
	}
}

on_allow contains effect if {
	input.call.operation == "release"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "agreed",
		"to": "released",
		"parties": {"second": role},
		"close": true,
	}
}

on_allow contains account.reserve_from(input.facts.account, input.facts.intent.payee, input.facts.intent) if {
	input.call.operation == "release"
}

deny contains account.unknown_reason if {
	input.call.operation == "open"
	not account.owned_by_caller
}

deny contains reason if {
	input.call.operation == "open"
	account.owned_by_caller
	some reason in open_deny
}

open_deny contains account.frozen_reason if not account.active

open_deny contains account.currency_reason if not account.currency_matches

open_deny contains account.amount_reason if not account.amount_valid

open_deny contains reason if {
	not below_maximum
	reason := {
		"code": "escrows_over_maximum",
		"message": "As many purchases of the account are open as may be at the same time.",
		"limit": "max_open",
		"remaining_count": 0,
	}
}

# Whoever is none of the three hears the same of a purchase that there is and of one
# that there is not.
deny contains intent.unknown_reason if {
	input.call.operation in {"agree", "release"}
	not role
}

deny contains intent.why_over(input.facts.intent) if role

deny contains reason if {
	role == "seller"
	some reason in merchant.deny
	reason.code == "merchant_frozen"
}

deny contains reason if {
	role
	intent.is_open(input.facts.intent)
	some reason in step_deny
}

step_deny contains same_person_reason if {
	role != "buyer"
	not caller.is_another_person(input.facts.account.owner)
}

step_deny contains reason if {
	input.call.operation == "agree"
	input.facts.intent.state == "agreed"
	reason := {
		"code": "escrow_agreed",
		"message": "One of the three has agreed: another one can release it.",
	}
}

step_deny contains reason if {
	input.call.operation == "release"
	input.facts.intent.state == "open"
	reason := {
		"code": "escrow_not_agreed",
		"message": "None of the three has agreed yet.",
	}
}

step_deny contains reason if {
	input.call.operation == "release"
	input.facts.intent.parties.first == role
	reason := {
		"code": "escrow_same_party",
		"message": "Another one of the three must release it.",
	}
}

step_deny contains same_person_reason if {
	input.call.operation == "release"
	input.facts.intent.state == "agreed"
	not another_person_agreed
}

step_deny contains reason if {
	input.call.operation == "release"
	some reason in account.why_not(input.facts.account, input.facts.intent)
}

same_person_reason := {
	"code": "escrow_same_person",
	"message": "One person cannot be two of the three.",
}
