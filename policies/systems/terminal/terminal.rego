# METADATA
# title: Terminals
# description: |
#   What terminals ask of the sidecar itself: they enter codes and approve
#   (challenges.rego), see and cancel what they have opened (intents.rego), get their
#   messages (messages.rego) and agree on codes (codes.rego). An owner unlocks an
#   account's verification (codes.rego). What a terminal has no part in and what there
#   is not look the same to it.
# schemas:
#   - input: schema.input
#   - data.systems.terminal: schema.terminal
package payments.systems.terminal

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.terminal

# Who calls, which decides what they are told (shared/data.yaml). A bound terminal
# is told what the owner is: it is theirs.
audience := "owner" if {
	account.owned_by_caller
} else := "owner" if {
	sent
}

# A rule of its own: a denial asks for its absence, also where there is no terminal.
sent if terminal.sent(input.facts.terminal)

# All of these come from a terminal that is bound.
from_terminal if {
	input.call.operation in {
		"approve_challenge",
		"reject_challenge",
		"view_challenge",
		"view_intent",
		"cancel_intent",
		"stream_messages",
		"acknowledge_messages",
		"store_code",
	}
}

sender_frozen if {
	input.facts.terminal.state == "frozen"
	caller.is(input.facts.terminal.identity)
}

deny contains reason if {
	from_terminal
	sender_frozen
	reason := {
		"code": "terminal_frozen",
		"message": "The terminal is frozen.",
	}
}

deny contains terminal.unknown_reason if {
	from_terminal
	not sender_frozen
	not sent
}
