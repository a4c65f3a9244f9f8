package payments.systems.agent_order

import data.payments.shared.account
import data.payments.shared.caller
import data.payments.shared.intent
import data.payments.shared.terminal

# The terminal that was asked instructs the payment, in time.
permit if {
	input.call.operation == "pay"
	asked_to_pay
	waits
	may_order
	after_request
	in_time
	proven
	input.facts.account.id == input.facts.intent.account
	is_string(input.facts.intent.payee)
	is_object(input.facts.intent.attributes)
	account_pays
}

may_order if terminal.has_right(input.facts.terminal, "order")

account_pays if account.lets_through(input.facts.account, input.facts.intent)

# When the deduction request was sent, and when the instruction came: by the sidecar's
# clock, both of them.
requested_ns := intent.came_ns(input.facts.intent, "deduction_requested")

after_request if input.arrived_ns >= requested_ns

in_time if data.systems.agent_order.interval.checked == false

in_time if {
	input.arrived_ns - requested_ns <= data.systems.agent_order.interval.seconds * 1000000000
}

proven if data.systems.agent_order.proof.required == false

proven if caller.proven(input.call.amr, data.systems.agent_order.proof.methods)

on_allow contains account.reserve_from(input.facts.account, input.facts.intent.payee, input.facts.intent) if {
	input.call.operation == "pay"
}

on_allow contains advance_to("paid") if input.call.operation == "pay"

# That it has succeeded is told first, with what was ordered; then what was deducted, and
# only then. Messages go out in the order of the set, in which details come first.
on_allow contains effect if {
	input.call.operation == "pay"
	effect := object.union(message("payment_succeeded"), {"details": input.facts.intent.attributes})
}

on_allow contains message("deduction_notice") if input.call.operation == "pay"

advance_to(state) := {
	"type": "advance_intent",
	"intent": input.facts.intent.id,
	"from": "deduction_requested",
	"to": state,
	"close": true,
}

message(kind) := {"type": "notify", "terminal": input.facts.terminal.id, "kind": kind}

# Too late: the order is dead, and the terminal is told.
too_late if {
	input.call.operation == "pay"
	asked_to_pay
	input.facts.intent.state == "deduction_requested"
	input.facts.intent.closed == false
	is_over_time
}

is_over_time if input.facts.intent.expired == true

is_over_time if {
	data.systems.agent_order.interval.checked == true
	input.arrived_ns - requested_ns > data.systems.agent_order.interval.seconds * 1000000000
}

on_deny contains advance_to("failed") if too_late

on_deny contains message("payment_failed") if too_late

deny contains reason if {
	input.call.operation == "pay"
	asked_to_pay
	waits
	some reason in pay_deny
}

pay_deny contains terminal.right_missing_reason if not may_order

pay_deny contains reason if {
	not after_request
	reason := {
		"code": "instruction_before_request",
		"message": "The instruction came before the deduction request.",
	}
}

pay_deny contains reason if {
	not in_time
	reason := {
		"code": "instruction_too_late",
		"message": "The instruction came too late: it must be ordered again.",
	}
}

pay_deny contains caller.proof_reason if not proven

pay_deny contains reason if {
	input.facts.account.id == input.facts.intent.account
	not account_pays
	some reason in account.why_not(input.facts.account, input.facts.intent)
}
