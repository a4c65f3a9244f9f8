package payments.systems.terminal

import data.payments.shared.intent
import data.payments.shared.terminal

# The terminal that opened it, and is the one still that did.
opened if {
	sent
	is_string(input.call.intent)
	input.facts.intent.id == input.call.intent
	input.facts.intent.terminal == input.facts.terminal.id
	terminal.acts_for(input.facts.terminal, input.facts.intent.account)
	terminal.bound_since(input.facts.terminal, input.facts.intent.opened_at_ns)
}

permit if {
	input.call.operation == "view_intent"
	opened
}

permit if {
	input.call.operation == "cancel_intent"
	opened
	intent.is_open(input.facts.intent)
	cancellable
	is_array(input.facts.intent.terminals)
	terminal.all_known(input.facts.intent_terminals)
}

# Not everything that has begun can be taken back.
cancellable if input.facts.intent.state in data.systems.terminal.cancellable[input.facts.intent.system]

on_allow contains effect if {
	input.call.operation == "cancel_intent"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": input.facts.intent.state,
		"to": "cancelled",
		"close": true,
	}
}

# Whoever else it was shown to is told, but for who is unbound or frozen by now.
on_allow contains effect if {
	input.call.operation == "cancel_intent"
	some known in input.facts.intent_terminals
	known.id in input.facts.intent.terminals
	known.id != input.facts.terminal.id
	terminal.acts_for(known, input.facts.intent.account)
	effect := {"type": "notify", "terminal": known.id, "kind": "intent_cancelled"}
}

deny contains intent.unknown_reason if {
	input.call.operation in {"view_intent", "cancel_intent"}
	sent
	not opened
}

deny contains intent.why_over(input.facts.intent) if {
	input.call.operation == "cancel_intent"
	opened
}

deny contains reason if {
	input.call.operation == "cancel_intent"
	opened
	intent.is_open(input.facts.intent)
	not cancellable
	reason := {
		"code": "intent_not_cancellable",
		"message": "It has gone too far to be cancelled.",
	}
}
