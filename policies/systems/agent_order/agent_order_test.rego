# METADATA
# title: Tests of agent order
# description: |
#   Whole decisions, case by case: a desk orders at a bakery for Anna, whose phone
#   confirms the order and pays it. This file has who takes part, and what can be done
#   with an order but to pay it.
# schemas:
#   - input: schema.input
#   - data.systems.agent_order: schema.agent_order
package payments.systems.agent_order_test

import data.payments.shared.cases_test as cases

now := cases.now

second := cases.second

# Data of which the cases know the bounds, whatever an operator tunes.
tuned := {
	"agents": [data.systems.agent_order.agents[0]],
	"cooling_seconds": 3600,
	"asking": {"max_starts": 2, "window_seconds": 600, "max_rejected_in_a_row": 3, "pause_seconds": 900},
	"codes": {"digits": 7, "max_attempts": 2, "expires_seconds": 240},
	"order_expires_seconds": 1800,
	"interval": {"checked": true, "seconds": 120},
	"proof": {"required": false, "methods": ["fpt", "pin"]},
}

desk := {
	"kind": data.systems.agent_order.agents[0].kind,
	"issuer": data.systems.agent_order.agents[0].issuer,
	"subject": "desk",
}

# Bound for long enough, whatever the data says.
long_ago := now - (max({7200, data.systems.agent_order.cooling_seconds + 1}) * second)

phone := object.union(cases.terminal_of("phone", long_ago), {"rights": ["order"]})

# Whose identity a terminal has matters where it is the sender, and what it may do where
# it does something.
without_identity(terminal) := object.remove(terminal, ["identity"])

without_rights(terminal) := object.remove(terminal, ["rights"])

initiator := {"starts_at_ns": [], "open": 0, "rejected_in_a_row": 0}

effects_of(decision, kinds) := {effect | some effect in decision.effects; effect.type in kinds}

terminal_unknown := {"code": "terminal_unknown", "message": "The caller is no terminal here, or is not bound."}

intent_unknown := {"code": "intent_unknown", "message": "There is no such request, or it is not open to you."}

intent_expired := {"code": "intent_expired", "message": "The request has expired."}

over := {
	"paid": {"code": "order_paid", "message": "The order is paid."},
	"failed": {
		"code": "order_failed",
		"message": "The payment of the order has failed: it must be ordered again.",
	},
	"declined": {"code": "order_declined", "message": "The order was declined."},
}

# What identifies an order.
order := {
	"id": "int_order",
	"system": "agent_order",
	"kind": "order",
	"account": "acc_anna",
	"terminals": ["trm_phone"],
	"opened_at_ns": long_ago,
}

call_of(operation, facts) := cases.call_of("agent_order", operation, phone.identity, {"intent": "int_order"}, facts)

view := call_of("view_order", {"terminal": without_rights(phone), "intent": order})

own := cases.call_of(
	"agent_order", "view_own_order", desk, {"intent": "int_order"},
	{"intent": {"id": "int_order", "system": "agent_order", "initiator": desk}},
)

decline := call_of("decline_order", {
	"terminal": without_rights(phone),
	"intent": object.union(order, {"state": "deduction_requested", "closed": false, "expired": false}),
})

declined := cases.allowed_with({{
	"type": "advance_intent",
	"intent": "int_order",
	"from": "deduction_requested",
	"to": "declined",
	"close": true,
}})

test_allowed[note] if {
	some note, case in {
		"the terminal looks at the order": {"input": view, "decision": cases.allowed},
		"the agent looks at it": {"input": own, "decision": cases.allowed},
		"the terminal declines it": {"input": decline, "decision": declined},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

# Whoever was not asked to pay learns nothing, whatever the state.
test_asked_to_pay[note] if {
	some operation in {"view_order", "decline_order", "pay"}
	some closed in {true, false}
	some bent, case in {
		"another terminal was": {"path": "/facts/intent/terminals", "value": ["trm_other"], "reason": intent_unknown},
		"another one too": {"path": "/facts/intent/terminals", "value": ["trm_phone", "trm_other"], "reason": intent_unknown},
		"of another account": {"path": "/facts/intent/account", "value": "acc_carl", "reason": intent_unknown},
		"the terminal is of another account by now": {"path": "/facts/terminal/account", "value": "acc_carl", "reason": intent_unknown},
		"bound again since": {"path": "/facts/terminal/bound_at_ns", "value": long_ago + 1, "reason": intent_unknown},
		"an intent of another system": {"path": "/facts/intent/system", "value": "proxied_business", "reason": intent_unknown},
		"of another kind": {"path": "/facts/intent/kind", "value": "business", "reason": intent_unknown},
		"another order is found": {"path": "/facts/intent/id", "value": "int_two", "reason": intent_unknown},
		"none is": {"path": "/facts/intent", "value": {}, "reason": intent_unknown},
		"a frozen terminal": {"path": "/facts/terminal/state", "value": "frozen", "reason": terminal_unknown},
		"a caller who is no terminal": {"path": "/facts/terminal", "value": {}, "reason": terminal_unknown},
		"another caller": {"path": "/identity/subject", "value": "terminal-other", "reason": terminal_unknown},
		"the agent": {"path": "/identity", "value": desk, "reason": terminal_unknown},
		"the owner": {"path": "/identity", "value": cases.anna, "reason": terminal_unknown},
	}
	note := sprintf("%s, closed %v: %s", [operation, closed, bent])
	asked_for := cases.bend(cases.bend(instruction, "/call/operation", operation), "/facts/intent/closed", closed)
	decision := data.payments.decision with input as cases.bend(asked_for, case.path, case.value)
		with data.systems.agent_order as tuned
	decision == cases.refused({case.reason})
}

test_own_order[note] if {
	some note, case in {
		"another agent": {"path": "/identity/subject", "value": "other-desk"},
		"an agent of the same name who is a terminal": {"path": "/identity/kind", "value": "terminal"},
		"another order": {"path": "/facts/intent/id", "value": "int_two"},
		"of another system": {"path": "/facts/intent/system", "value": "proxied_business"},
		"none": {"path": "/facts", "value": {}},
	}
	decision := data.payments.decision with input as cases.bend(own, case.path, case.value)
	decision == cases.refused({intent_unknown})
}

test_decline[note] if {
	some note, case in {
		"paid": {"intent": {"state": "paid", "closed": true}, "reason": over.paid},
		"failed": {"intent": {"state": "failed", "closed": true}, "reason": over.failed},
		"declined": {"intent": {"state": "declined", "closed": true}, "reason": over.declined},
		"expired": {"intent": {"expired": true}, "reason": intent_expired},
	}
	bent := cases.bend(decline, "/facts/intent", object.union(decline.facts.intent, case.intent))
	decision := data.payments.decision with input as bent
	decision == cases.refused({case.reason})
}

# Of all that is allowed the sidecar tries this when it judges the bundle. Here it is the
# calls with the most effects, of which no denial has any that carries the order on.
test_nothing_is_done_with_a_member_missing[note] if {
	some note, input_document in {"pay": instruction, "order": confirmed}
	cases.open_without(input_document) == set()
}
