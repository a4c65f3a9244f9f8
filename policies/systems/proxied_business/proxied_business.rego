# METADATA
# title: Proxied business
# description: |
#   A user without a bank card tops up or withdraws through an agent who has an
#   account. The user's device asks for the business (requests.rego) and shows its
#   ID; an agent who has the ID sees what it is and, where the user is to pay, says so
#   first and is confirmed by the user (agents.rego); then the agent executes it, once
#   (execute.rego). Every operation has a `permit` that names all it needs; `deny`
#   says which of it is missing.
# schemas:
#   - input: schema.input
#   - data.systems.proxied_business: schema.proxied_business
package payments.systems.proxied_business

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.intent
import data.payments.shared.terminal

# What agents do, all of it with the ID of a business.
for_agents := {"view_business", "scan_business", "execute_business"}

# Who calls, which decides what they are told (shared/data.yaml). An agent hears all of
# its own account. Of a user who pays, it hears what a payee hears.
audience := "owner" if {
	not input.call.operation in for_agents
	device_acts
} else := "payee" if {
	input.call.operation in for_agents
	live
	user_pays
	account.owned_by_caller
} else := "agent" if {
	input.call.operation in for_agents
	account.owned_by_caller
}

# The business that the call names. An ID of another system, or of nothing, names none.
named if {
	intent.named
	input.facts.intent.kind == "proxied_business"
	is_string(input.facts.intent.attributes.type)
}

live if {
	named
	intent.is_open(input.facts.intent)
}

# The device that calls is bound to the account.
device_acts if {
	terminal.sent(input.facts.terminal)
	terminal.acts_for(input.facts.terminal, input.facts.account.id)
}

# The device that asked is still what it was then, and is told what becomes of it.
device_bound if {
	is_string(input.facts.intent.terminal)
	some device in input.facts.intent_terminals
	device.id == input.facts.intent.terminal
	terminal.acts_for(device, input.facts.intent.account)
	terminal.bound_since(device, input.facts.intent.opened_at_ns)
}

# A type that was taken from the list after the request is executed no more.
type_known(type) if data.systems.proxied_business.types[type].payer in {"agent", "user"}

agent_pays if data.systems.proxied_business.types[input.facts.intent.attributes.type].payer == "agent"

user_pays if data.systems.proxied_business.types[input.facts.intent.attributes.type].payer == "user"

leads_to_user if {
	is_string(input.facts.intent.account)
	input.facts.intent_account.id == input.facts.intent.account
}

payer := input.facts.account if agent_pays

payer := input.facts.intent_account if user_pays

paid := input.facts.intent_account if agent_pays

paid := input.facts.account if user_pays

agent_registered if {
	data.systems.proxied_business.agents.mode == "any"
	caller.itself
}

agent_registered if {
	data.systems.proxied_business.agents.mode == "only"
	caller.itself
	some agent in data.systems.proxied_business.agents.identities
	agent.issuer == input.identity.issuer
	agent.subject == input.identity.subject
}

# Neither by the account, nor by who owns it, nor by the device that asked.
agent_is_another if {
	is_string(input.facts.account.id)
	input.facts.account.id != input.facts.intent.account
	caller.is_another_person(input.facts.intent_account.owner)
	caller.is_another_person(input.facts.intent.initiator)
}

deny contains intent.unknown_reason if {
	input.call.operation in for_agents
	not named
}

# Nor is an agent told of one that is over.
deny contains intent.why_over(input.facts.intent) if {
	input.call.operation in for_agents
	named
}

deny contains reason if {
	input.call.operation in for_agents
	not agent_registered
	reason := {
		"code": "agent_not_registered",
		"message": "The caller is not registered as an agent.",
	}
}

deny contains account.unknown_reason if {
	input.call.operation in {"scan_business", "execute_business"}
	not account.owned_by_caller
}
