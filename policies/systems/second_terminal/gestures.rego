package payments.systems.second_terminal

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.intent
import data.payments.shared.terminal

# A terminal reports the operation itself.
permit if {
	input.call.operation == "report_gesture"
	acts
	gesture_expected
}

# Or the server of its operating system does.
permit if {
	input.call.operation == "relay_gesture"
	relayed
	gesture_expected
}

gesture_expected if {
	terminals_known
	checkouts_known
	input.call.gesture in kinds_wanted
}

# No checkout is passed over because something is not said of it: it could have made
# another one ambiguous.
checkouts_known if {
	is_array(input.facts.open_intents)
	every it in input.facts.open_intents {
		is_string(it.id)
		is_string(it.system)
		is_string(it.kind)
		is_string(it.account)
		is_string(it.terminal)
		is_array(it.terminals)
		is_string(it.attributes.mode)
		is_string(it.attributes.paired)
		is_boolean(it.expired)
		is_boolean(it.closed)
		is_number(it.expires_at_ns)
		is_number(intent.came_ns(it, it.state))
		gestures_known(it)
	}
}

gestures_known(it) if not it.state in awaiting

gestures_known(it) if is_string(it.attributes.gestures)

# A relay reports for terminals of its own operating system alone.
relayed if {
	known_relay
	is_string(input.call.terminal)
	input.facts.terminal.id == input.call.terminal
	input.facts.terminal.os in systems_of_relay
	terminal.acts_for(input.facts.terminal, input.facts.account.id)
}

systems_of_relay := {relay.os |
	caller.itself
	input.identity.kind == "relay"
	some relay in data.systems.second_terminal.relays
	relay.issuer == input.identity.issuer
	relay.subject == input.identity.subject
}

known_relay if count(systems_of_relay) > 0

# The states in which a checkout waits for an operation, one for each step.
awaiting := ["awaiting_gesture", "awaiting_gesture_2", "awaiting_gesture_3"]

# The terminal knows no checkout: its report belongs to what waits for it. Nothing
# waits where the account is frozen.
waiting := [it |
	account.active
	some it in input.facts.open_intents
	is_checkout(it)
	intent.is_open(it)
	it.account == input.facts.account.id
	input.facts.terminal.id in it.terminals
	it.state in awaiting
	still_matched(it)
]

is_checkout(it) if {
	intent.is_of_system(it)
	it.kind == "checkout"
}

# Paired terminals must still be.
still_matched(it) if {
	it.attributes.paired == "yes"
	it.terminal in input.facts.terminal.paired_with
}

still_matched(it) if it.attributes.paired == "no"

# An operation counts for what had been asked when it came, and for so long after.
timely := [it |
	some it in waiting
	not too_early(it)
	not too_late(it)
]

too_early(it) if input.arrived_ns < intent.came_ns(it, it.state)

too_late(it) if {
	window_ns := data.systems.second_terminal.gesture_seconds * 1000000000
	input.arrived_ns > intent.came_ns(it, it.state) + window_ns
}

timely_paired := [it |
	some it in timely
	it.attributes.paired == "yes"
]

# A checkout of a terminal that is not paired makes none of a paired one ambiguous.
eligible_checkouts := timely_paired if {
	count(timely_paired) > 0
} else := timely

checkout := eligible_checkouts[0] if count(eligible_checkouts) == 1

steps_wanted := split(checkout.attributes.gestures, ";")

step := index if {
	some index, state in awaiting
	state == checkout.state
}

kinds_wanted := split(steps_wanted[step], ",")

next_state := awaiting[step + 1] if {
	steps_wanted[step + 1]
} else := "pushed"

moves_checkout if input.call.operation in {"report_gesture", "relay_gesture"}

# The first terminal to move takes the checkout: it is asked the rest, and pays.
on_allow contains effect if {
	moves_checkout
	effect := {
		"type": "advance_intent",
		"intent": checkout.id,
		"from": checkout.state,
		"to": next_state,
		"terminals": [input.facts.terminal.id],
	}
}

on_allow contains effect if {
	moves_checkout
	next_state == "pushed"
	effect := {
		"type": "notify",
		"terminal": input.facts.terminal.id,
		"kind": "payment_response",
		"expires_at_ns": checkout.expires_at_ns,
		"details": {"mode": checkout.attributes.mode},
	}
}

on_allow contains effect if {
	moves_checkout
	next_state != "pushed"
	effect := {
		"type": "notify",
		"terminal": input.facts.terminal.id,
		"kind": "gesture_request",
		"expires_at_ns": checkout.expires_at_ns,
		"details": {"gesture": steps_wanted[step + 1]},
	}
}

on_allow contains effect if {
	moves_checkout
	some id in reachable(checkout.terminals)
	id != input.facts.terminal.id
	effect := {"type": "notify", "terminal": id, "kind": "checkout_closed"}
}

deny contains reason if {
	input.call.operation == "report_gesture"
	acts
	some reason in gesture_deny
}

deny contains account.frozen_reason if {
	input.call.operation == "report_gesture"
	acts
	not account.active
}

deny contains reason if {
	input.call.operation == "relay_gesture"
	relayed
	some reason in gesture_deny
}

deny contains reason if {
	input.call.operation == "relay_gesture"
	not known_relay
	reason := {
		"code": "relay_unknown",
		"message": "The caller relays for no operating system here.",
	}
}

# One that there is not and one of another system look the same.
deny contains reason if {
	input.call.operation == "relay_gesture"
	known_relay
	not relayed
	reason := {
		"code": "terminal_not_relayed",
		"message": "There is no such terminal, or it is not of this relay's operating system.",
	}
}

gesture_deny contains reason if {
	count(waiting) == 0
	reason := {
		"code": "checkout_none",
		"message": "No checkout waits for an operation on this terminal.",
	}
}

gesture_deny contains reason if {
	count(timely) == 0
	some it in waiting
	too_early(it)
	reason := {
		"code": "gesture_too_early",
		"message": "The operation came before it was asked for.",
	}
}

gesture_deny contains reason if {
	count(timely) == 0
	some it in waiting
	too_late(it)
	reason := {
		"code": "gesture_too_late",
		"message": "The operation came after the time for it.",
	}
}

gesture_deny contains reason if {
	count(eligible_checkouts) > 1
	reason := {
		"code": "checkout_ambiguous",
		"message": "Several checkouts wait for an operation on this terminal: cancel all but one.",
	}
}

gesture_deny contains reason if {
	not input.call.gesture in kinds_wanted
	is_string(checkout.id)
	reason := {
		"code": "gesture_not_asked",
		"message": "Another operation was asked for.",
	}
}
