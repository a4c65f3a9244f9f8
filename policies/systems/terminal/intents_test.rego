package payments.systems.terminal_test

import data.payments.shared.cases_test as cases

opened_intent := {
	"id": "int_business",
	"account": "acc_anna",
	"terminal": "trm_phone",
	"opened_at_ns": phone.bound_at_ns,
}

cancel := call_of("cancel_intent", {"intent": "int_business"}, {
	"terminal": bare_phone,
	"intent": object.union(opened_intent, {
		"system": "proxied_business",
		"state": "open",
		"expired": false,
		"closed": false,
		"terminals": ["trm_phone", "trm_other"],
	}),
	"intent_terminals": [other("trm_phone"), other("trm_other")],
})

other(id) := {"id": id, "account": "acc_anna", "state": "bound", "bound_at_ns": phone.bound_at_ns}

cancelled := {
	"type": "advance_intent",
	"intent": "int_business",
	"from": "open",
	"to": "cancelled",
	"close": true,
}

told(id) := {"type": "notify", "terminal": id, "kind": "intent_cancelled"}

unknown_intent := {"code": "intent_unknown", "message": "There is no such request, or it is not open to you."}

# Whoever did not open it learns nothing, whatever the state.
test_opened[note] if {
	some operation in {"view_intent", "cancel_intent"}
	some closed in {true, false}
	some bent, case in {
		"another terminal did": {"path": "/facts/intent/terminal", "value": "trm_other"},
		"of another account": {"path": "/facts/intent/account", "value": "acc_carl"},
		"bound again since": {"path": "/facts/terminal/bound_at_ns", "value": phone.bound_at_ns + 1},
		"another one is found": {"path": "/facts/intent/id", "value": "int_two"},
		"none is": {"path": "/facts/intent", "value": {}},
	}
	note := sprintf("%s, closed %v: %s", [operation, closed, bent])
	asked_for := cases.bend(cases.bend(cancel, "/call/operation", operation), "/facts/intent/closed", closed)
	decision := data.payments.decision with input as cases.bend(asked_for, case.path, case.value)
		with data.systems.terminal as tuned
	decision == cases.refused({unknown_intent})
}

test_cancel[note] if {
	some note, case in {
		"nobody else knows of it": {
			"input": cases.bend(cancel, "/facts/intent/terminals", []),
			"decision": cases.allowed_with({cancelled}),
		},
		"two others do": {
			"input": cases.bend(
				cases.bend(cancel, "/facts/intent/terminals", ["trm_a", "trm_b"]),
				"/facts/intent_terminals", [other("trm_phone"), other("trm_a"), other("trm_b")],
			),
			"decision": cases.allowed_with({cancelled, told("trm_a"), told("trm_b")}),
		},
		"one of them is unbound by now, and one frozen": {
			"input": cases.bend(
				cases.bend(cancel, "/facts/intent/terminals", ["trm_a", "trm_b", "trm_c"]),
				"/facts/intent_terminals",
				[other("trm_a"), object.union(other("trm_c"), {"state": "frozen"})],
			),
			"decision": cases.allowed_with({cancelled, told("trm_a")}),
		},
		"in a state in which it cannot": {
			"input": cases.bend(cancel, "/facts/intent/state", "paying"),
			"decision": cases.refused({not_cancellable}),
		},
		"of a system in which it cannot": {
			"input": cases.bend(cancel, "/facts/intent/system", "agent_order"),
			"decision": cases.refused({not_cancellable}),
		},
		"expired": {
			"input": cases.bend(cancel, "/facts/intent/expired", true),
			"decision": cases.refused({{"code": "intent_expired", "message": "The request has expired."}}),
		},
		"cancelled before": {
			"input": cases.bend(cases.bend(cancel, "/facts/intent/closed", true), "/facts/intent/state", "cancelled"),
			"decision": cases.refused({{"code": "intent_cancelled", "message": "The request was cancelled."}}),
		},
		"over": {
			"input": cases.bend(cases.bend(cancel, "/facts/intent/closed", true), "/facts/intent/state", "executed"),
			"decision": cases.refused({{"code": "intent_closed", "message": "The request is over."}}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.terminal as tuned
	decision == case.decision
}

not_cancellable := {"code": "intent_not_cancellable", "message": "It has gone too far to be cancelled."}

# With the data as delivered: in the first state that some system names.
test_cancel_as_delivered if {
	some system, states in data.systems.terminal.cancellable
	some state in states
	bent := cases.bend(cases.bend(cancel, "/facts/intent/system", system), "/facts/intent/state", state)
	decision := data.payments.decision with input as bent
	decision == cases.allowed_with({object.union(cancelled, {"from": state}), told("trm_other")})
}
