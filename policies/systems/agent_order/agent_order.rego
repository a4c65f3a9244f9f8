# METADATA
# title: Agent order
# description: |
#   A user who cannot use an app has an agent order, and tells the agent no password.
#   A code goes to the user's terminal and comes back from it, or one that was agreed
#   on in advance stands in the order (orders.rego). Then the order goes through, and
#   the terminal is asked to pay it: in time, and from there alone (payments.rego).
#   The terminal gets all messages, the agent none.
# schemas:
#   - input: schema.input
#   - data.systems.agent_order: schema.agent_order
package payments.systems.agent_order

import data.payments.shared.intent
import data.payments.shared.terminal

# Who calls, which decides what they are told (shared/data.yaml): the account is the
# terminal's, and none of the agent's business.
audience := "owner" if {
	sent
} else := "owner" if {
	own_order
}

# A rule of its own: a denial asks for its absence, also where there is no terminal.
sent if terminal.sent(input.facts.terminal)

deny contains terminal.unknown_reason if {
	input.call.operation in {"order_by_terminal", "pay", "decline_order", "view_order"}
	not sent
}

# The order is this terminal's: it was asked to pay, and is the one still that was.
asked_to_pay if {
	sent
	intent.named
	input.facts.intent.kind == "order"
	input.facts.intent.terminals == [input.facts.terminal.id]
	terminal.acts_for(input.facts.terminal, input.facts.intent.account)
	terminal.bound_since(input.facts.terminal, input.facts.intent.opened_at_ns)
}

own_order if {
	input.call.operation == "view_own_order"
	intent.named
	intent.opened_by_caller(input.facts.intent)
}

permit if {
	input.call.operation == "view_order"
	asked_to_pay
}

permit if own_order

permit if {
	input.call.operation == "decline_order"
	asked_to_pay
	waits
}

# The order waits for its payment.
waits if {
	intent.is_open(input.facts.intent)
	input.facts.intent.state == "deduction_requested"
}

on_allow contains effect if {
	input.call.operation == "decline_order"
	effect := {
		"type": "advance_intent",
		"intent": input.facts.intent.id,
		"from": "deduction_requested",
		"to": "declined",
		"close": true,
	}
}

deny contains intent.unknown_reason if {
	input.call.operation in {"pay", "decline_order", "view_order"}
	sent
	not asked_to_pay
}

deny contains intent.unknown_reason if {
	input.call.operation == "view_own_order"
	not own_order
}

deny contains over if {
	input.call.operation in {"pay", "decline_order"}
	asked_to_pay
}

# What is said of an order that waits for nobody any more.
over := {
	"paid": {
		"code": "order_paid",
		"message": "The order is paid.",
	},
	"failed": {
		"code": "order_failed",
		"message": "The payment of the order has failed: it must be ordered again.",
	},
	"declined": {
		"code": "order_declined",
		"message": "The order was declined.",
	},
}[input.facts.intent.state]

over := intent.why_over(input.facts.intent) if input.facts.intent.state == "deduction_requested"
