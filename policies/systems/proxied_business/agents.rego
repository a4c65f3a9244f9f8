package payments.systems.proxied_business

import data.payments.shared.account
import data.payments.shared.intent
import data.payments.shared.terminal

# Whoever has the ID of an open business and may be an agent sees what it is.
permit if {
	input.call.operation == "view_business"
	live
	agent_registered
}

# Where the user pays, an ID is not enough: it may be a photograph of the user's code.
# The agent says that it has it, and the user's device is asked.
permit if {
	input.call.operation == "scan_business"
	live
	input.facts.intent.state == "open"
	agent_registered
	account.owned_by_caller
	leads_to_user
	device_bound
	agent_is_another
	user_pays
	payer.state == "active"
	can_be_paid
	is_number(input.facts.intent.expires_at_ns)
}

can_be_paid if {
	paid.state == "active"
	is_string(input.facts.intent.currency)
	paid.currency == input.facts.intent.currency
}

on_allow contains effect if {
	input.call.operation == "scan_business"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "open",
		"to": "scanned",
		"parties": {"agent": input.facts.account.id},
	}
}

on_allow contains effect if {
	input.call.operation == "scan_business"
	effect := {
		"type": "notify",
		"terminal": input.facts.intent.terminal,
		"kind": "agent_confirmation_request",
		"expires_at_ns": input.facts.intent.expires_at_ns,
		"details": about_agent,
	}
}

about_agent := {
	"type": input.facts.intent.attributes.type,
	"agent_account": input.facts.account.id,
	"agent": input.identity.subject,
}

deny contains reason if {
	input.call.operation == "scan_business"
	live
	agent_registered
	account.owned_by_caller
	some reason in scan_deny
}

scan_deny contains is_user_reason if not agent_is_another

scan_deny contains reason if {
	agent_pays
	reason := {
		"code": "business_needs_no_scan",
		"message": "The agent pays, and executes it without being confirmed.",
	}
}

scan_deny contains reason if {
	not_another_agents
	input.facts.intent.state != "open"
	reason := {
		"code": "business_scanned",
		"message": "The agent has scanned it already.",
	}
}

scan_deny contains another_agents_reason if not not_another_agents

scan_deny contains account.frozen_reason if payer.state != "active"

scan_deny contains device_unbound_reason if not device_bound

scan_deny contains reason if some reason in paid_deny

# The user confirms on the device that asked, and says which agent it shows.
permit if {
	input.call.operation == "confirm_business"
	asked_by_terminal
	intent.is_open(input.facts.intent)
	input.facts.intent.state == "scanned"
	intent.has_party(input.facts.intent, "agent", input.call.agent_account)
	account.active
}

asked_by_terminal if {
	device_acts
	named
	input.facts.intent.terminal == input.facts.terminal.id
	input.facts.intent.account == input.facts.account.id
	terminal.bound_since(input.facts.terminal, input.facts.intent.opened_at_ns)
}

on_allow contains effect if {
	input.call.operation == "confirm_business"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "scanned",
		"to": "confirmed",
	}
}

deny contains intent.unknown_reason if {
	input.call.operation == "confirm_business"
	device_acts
	not asked_by_terminal
}

deny contains intent.why_over(input.facts.intent) if {
	input.call.operation == "confirm_business"
	asked_by_terminal
}

deny contains reason if {
	input.call.operation == "confirm_business"
	asked_by_terminal
	intent.is_open(input.facts.intent)
	some reason in confirm_deny
}

confirm_deny contains account.frozen_reason if not account.active

confirm_deny contains reason if {
	input.facts.intent.state == "open"
	reason := {
		"code": "business_not_scanned",
		"message": "No agent has scanned it yet.",
	}
}

confirm_deny contains reason if {
	input.facts.intent.state == "confirmed"
	reason := {
		"code": "business_confirmed",
		"message": "An agent is confirmed already.",
	}
}

confirm_deny contains another_agents_reason if {
	input.facts.intent.state != "open"
	not intent.has_party(input.facts.intent, "agent", input.call.agent_account)
}

# No agent has come into it, or this one.
not_another_agents if input.facts.intent.state == "open"

not_another_agents if intent.has_party(input.facts.intent, "agent", input.facts.account.id)

paid_deny contains reason if {
	paid.state != "active"
	reason := {
		"code": "paid_account_frozen",
		"message": "The account that would be paid is frozen.",
	}
}

paid_deny contains reason if {
	paid.currency != input.facts.intent.currency
	reason := {
		"code": "currency_not_paid_account",
		"message": "The business is not in the currency of the account that would be paid.",
	}
}

device_unbound_reason := {
	"code": "device_unbound",
	"message": "The device that asked is not bound to the user's account any more.",
}

is_user_reason := {
	"code": "agent_is_user",
	"message": "The agent is the user who asked.",
}

another_agents_reason := {
	"code": "business_of_another_agent",
	"message": "Another agent has scanned it. The user can cancel it and ask anew.",
}
