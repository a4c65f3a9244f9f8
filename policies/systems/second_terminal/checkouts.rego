package payments.systems.second_terminal

import data.payments.shared.account
import data.payments.shared.terminal

# A checkout is opened by the first terminal, for second terminals that must exist.
permit if {
	input.call.operation == "open_checkout"
	acts
	account.active
	account.currency_matches
	account.amount_valid
	is_string(input.call.payee)
	terminals_known
	pairings_known
	count(second_terminals) > 0
	below_maximum
}

pairings_known if {
	every known in input.facts.terminals {
		is_array(known.paired_with)
	}
}

below_maximum if {
	is_array(input.facts.open_intents)
	count(input.facts.open_intents) < data.systems.second_terminal.max_open
}

# Another terminal of the account, which has been bound for long enough.
eligible(second) if {
	second.id != input.facts.terminal.id
	terminal.acts_for(second, input.facts.account.id)
	terminal.cooled(second, data.systems.second_terminal.bound_seconds)
}

# Those that are paired with the first terminal.
paired := [second.id |
	some second in input.facts.terminals
	eligible(second)
	input.facts.terminal.id in second.paired_with
]

unpaired := [second.id |
	some second in input.facts.terminals
	eligible(second)
]

# Where none is paired, the account alone counts only if the data says so.
second_terminals := paired if {
	count(paired) > 0
} else := unpaired if {
	data.systems.second_terminal.match == "account"
} else := []

is_paired := "yes" if {
	count(paired) > 0
} else := "no"

# What a terminal that is not paired opens is paid with the token on its screen.
mode := "page" if {
	count(paired) > 0
	data.systems.second_terminal.scan == "unpaired"
} else := "scan"

# The operations are those of the data when it was opened: one step after another,
# each of them one of several kinds.
gestures := concat(";", [concat(",", kinds) | some kinds in data.systems.second_terminal.gestures])

gestures_wanted if count(data.systems.second_terminal.gestures) > 0

expires_at_ns := input.now_ns + (((count(data.systems.second_terminal.gestures) * data.systems.second_terminal.gesture_seconds) + data.systems.second_terminal.payment_seconds) * 1000000000)

opening := {
	"type": "open_intent",
	"kind": "checkout",
	"expires_at_ns": expires_at_ns,
	"terminals": second_terminals,
}

on_allow contains effect if {
	input.call.operation == "open_checkout"
	gestures_wanted
	effect := object.union(opening, {
		"state": "awaiting_gesture",
		"attributes": {"mode": mode, "paired": is_paired, "gestures": gestures},
	})
}

on_allow contains effect if {
	input.call.operation == "open_checkout"
	not gestures_wanted
	effect := object.union(opening, {
		"state": "pushed",
		"attributes": {"mode": mode, "paired": is_paired},
	})
}

# Before the operation that is wanted, nothing is pushed: the terminal shows what
# would be paid, and which operation is wanted.
on_allow contains effect if {
	input.call.operation == "open_checkout"
	gestures_wanted
	some id in second_terminals
	effect := {
		"type": "notify",
		"terminal": id,
		"kind": "gesture_request",
		"expires_at_ns": expires_at_ns,
		"details": {"gesture": split(gestures, ";")[0]},
	}
}

on_allow contains effect if {
	input.call.operation == "open_checkout"
	not gestures_wanted
	some id in second_terminals
	effect := {
		"type": "notify",
		"terminal": id,
		"kind": "payment_response",
		"expires_at_ns": expires_at_ns,
		"details": {"mode": mode},
	}
}

deny contains reason if {
	input.call.operation == "open_checkout"
	acts
	some reason in open_deny
}

open_deny contains account.frozen_reason if not account.active

open_deny contains account.currency_reason if not account.currency_matches

open_deny contains account.amount_reason if not account.amount_valid

open_deny contains reason if {
	count(second_terminals) == 0
	reason := {
		"code": "second_terminal_none",
		"message": "No other terminal can pay what this one asks for.",
	}
}

open_deny contains reason if {
	not below_maximum
	reason := {
		"code": "checkouts_over_maximum",
		"message": "As many checkouts of the account are open as may be at the same time.",
		"limit": "max_open",
		"remaining_count": 0,
	}
}
