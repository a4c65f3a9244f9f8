package payments.systems.proxied_business

import data.payments.shared.account
import data.payments.shared.terminal

# A user's device asks for a business: an ordinary one, which is none of an agent's, or
# one in proxy mode.
permit if {
	input.call.operation == "request_business"
	request_acceptable
	not proxied
}

permit if {
	input.call.operation == "request_business"
	request_acceptable
	proxied
	below_maximum
}

proxied if input.call.proxy_mode == true

request_acceptable if {
	device_acts
	account.active
	account.currency_matches
	account.amount_valid
	type_known(input.call.type)
}

below_maximum if {
	is_array(input.facts.open_intents)
	count(input.facts.open_intents) < data.systems.proxied_business.max_open
}

# Where an agent pays, the user is paid. Where the user pays, whom is not known yet.
on_allow contains object.union(opening, {"payee": input.facts.account.id}) if {
	input.call.operation == "request_business"
	proxied
	data.systems.proxied_business.types[input.call.type].payer == "agent"
}

on_allow contains opening if {
	input.call.operation == "request_business"
	proxied
	data.systems.proxied_business.types[input.call.type].payer == "user"
}

opening := {
	"type": "open_intent",
	"kind": "proxied_business",
	"state": "open",
	"expires_at_ns": input.now_ns + (data.systems.proxied_business.window_seconds * 1000000000),
	"terminals": [input.facts.terminal.id],
	"attributes": {"type": input.call.type},
}

deny contains terminal.unknown_reason if {
	input.call.operation in {"request_business", "confirm_business"}
	not device_acts
}

deny contains reason if {
	input.call.operation == "request_business"
	device_acts
	some reason in request_deny
}

request_deny contains account.frozen_reason if not account.active

request_deny contains account.currency_reason if not account.currency_matches

request_deny contains account.amount_reason if not account.amount_valid

request_deny contains type_unknown_reason if not type_known(input.call.type)

request_deny contains reason if {
	proxied
	not below_maximum
	reason := {
		"code": "business_over_maximum",
		"message": "As many requests wait for an agent as may at the same time.",
		"limit": "max_open",
		"remaining_count": 0,
	}
}

type_unknown_reason := {
	"code": "business_type_unknown",
	"message": "There is no such type of business.",
}
