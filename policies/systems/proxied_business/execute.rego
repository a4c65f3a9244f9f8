package payments.systems.proxied_business

import data.payments.shared.account
import data.payments.shared.intent

# An agent executes a business through its own account. What is executed stands in the
# store: the agent may repeat it, and cannot change it.
permit if {
	input.call.operation == "execute_business"
	live
	agent_registered
	account.owned_by_caller
	leads_to_user
	device_bound
	agent_is_another
	amount_repeated
	type_repeated
	ready
	account.lets_through(payer, input.facts.intent)
	can_be_paid
}

# Where the user pays, it is this agent whom the user confirmed.
ready if {
	agent_pays
	input.facts.intent.state == "open"
}

ready if {
	user_pays
	input.facts.intent.state == "confirmed"
	intent.has_party(input.facts.intent, "agent", input.facts.account.id)
}

# The amount that the agent was shown: whoever exchanges the user's code for another
# cheats nobody who looks.
amount_repeated if input.call.echo_amount_minor == input.facts.intent.amount_minor

amount_repeated if {
	data.systems.proxied_business.echo_required == false
	not input.call.echo_amount_minor
}

type_repeated if input.call.type == input.facts.intent.attributes.type

type_repeated if not input.call.type

on_allow contains account.reserve_from(payer, paid.id, input.facts.intent) if {
	input.call.operation == "execute_business"
}

on_allow contains object.union(execution, {"parties": {"agent": input.facts.account.id}}) if {
	input.call.operation == "execute_business"
	agent_pays
}

# The agent came into it when it scanned.
on_allow contains execution if {
	input.call.operation == "execute_business"
	user_pays
}

execution := {
	"type": "advance_intent",
	"intent": input.facts.intent.id,
	"from": input.facts.intent.state,
	"to": "executed",
	"close": true,
}

on_allow contains effect if {
	input.call.operation == "execute_business"
	effect := {
		"type": "notify",
		"terminal": input.facts.intent.terminal,
		"kind": "business_executed",
		"details": about_agent,
	}
}

deny contains reason if {
	input.call.operation == "execute_business"
	live
	agent_registered
	account.owned_by_caller
	some reason in execute_deny
}

execute_deny contains is_user_reason if not agent_is_another

execute_deny contains type_unknown_reason if not type_known(input.facts.intent.attributes.type)

execute_deny contains reason if {
	not amount_repeated
	not input.call.echo_amount_minor
	reason := {
		"code": "amount_not_repeated",
		"message": "The amount that the agent was shown must be repeated.",
	}
}

execute_deny contains intent.amount_changed_reason if {
	input.call.echo_amount_minor != input.facts.intent.amount_minor
}

execute_deny contains reason if {
	input.call.type != input.facts.intent.attributes.type
	reason := {
		"code": "business_type_changed",
		"message": "The request is for another type of business.",
	}
}

execute_deny contains reason if {
	user_pays
	not_another_agents
	input.facts.intent.state in {"open", "scanned"}
	reason := {
		"code": "business_not_confirmed",
		"message": "The user has not confirmed the agent yet.",
	}
}

execute_deny contains another_agents_reason if {
	user_pays
	not not_another_agents
}

execute_deny contains device_unbound_reason if not device_bound

execute_deny contains reason if some reason in account.why_not(payer, input.facts.intent)

execute_deny contains reason if some reason in paid_deny
