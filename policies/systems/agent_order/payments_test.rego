package payments.systems.agent_order_test

import data.payments.shared.cases_test as cases

requested := now - (120 * second)

instruction := call_of("pay", {
	"terminal": phone,
	"account": {
		"id": "acc_anna",
		"state": "active",
		"currency": "EUR",
		"max_payment_minor": 1250,
		"limits": [],
	},
	"intent": object.union(order, {
		"state": "deduction_requested",
		"closed": false,
		"expired": false,
		"amount_minor": 1250,
		"currency": "EUR",
		"payee": "mer_bakery",
		"attributes": {},
		"steps": [{"state": "deduction_requested", "at_ns": requested}],
	}),
})

told(kind) := {"type": "notify", "terminal": "trm_phone", "kind": kind}

succeeded := object.union(told("payment_succeeded"), {"details": {}})

reserved := {
	"type": "reserve",
	"account": "acc_anna",
	"payee": "mer_bakery",
	"amount_minor": 1250,
	"currency": "EUR",
}

advance_to(state) := {
	"type": "advance_intent",
	"intent": "int_order",
	"from": "deduction_requested",
	"to": state,
	"close": true,
}

paid := cases.allowed_with({reserved, advance_to("paid"), succeeded, told("deduction_notice")})

dead(reason) := cases.refused_with({reason}, {advance_to("failed"), told("payment_failed")})

too_late := {
	"code": "instruction_too_late",
	"message": "The instruction came too late: it must be ordered again.",
}

proof_required := {"code": "proof_required", "message": "Log in with a stronger proof of who you are."}

at(arrived_ns) := cases.bend(cases.bend(instruction, "/arrived_ns", arrived_ns), "/now_ns", max({arrived_ns, now}))

test_paid_as_delivered if {
	just_now := cases.bend(instruction, "/facts/intent/steps/0/at_ns", now)
	with_proof := object.union(just_now, {"call": {"amr": data.systems.agent_order.proof.methods[0]}})
	decision := data.payments.decision with input as with_proof
	decision == paid
}

test_payments[note] if {
	some note, case in {
		"at the last instant": {"input": instruction, "decision": paid},
		"a nanosecond later: the order is dead": {"input": at(now + 1), "decision": dead(too_late)},
		"it waited long, and arrived in time": {
			"input": cases.bend(instruction, "/now_ns", now + (60 * second)),
			"decision": paid,
		},
		"in the instant of the request": {"input": at(requested), "decision": paid},
		"before the request": {
			"input": at(requested - 1),
			"decision": cases.refused({{
				"code": "instruction_before_request",
				"message": "The instruction came before the deduction request.",
			}}),
		},
		"expired": {
			"input": cases.bend(instruction, "/facts/intent/expired", true),
			"decision": dead(intent_expired),
		},
		"paid before": {
			"input": cases.bend(cases.bend(instruction, "/facts/intent/state", "paid"), "/facts/intent/closed", true),
			"decision": cases.refused({over.paid}),
		},
		"failed before, and late again: no further message": {
			"input": cases.bend(cases.bend(at(now + 1), "/facts/intent/state", "failed"), "/facts/intent/closed", true),
			"decision": cases.refused({over.failed}),
		},
		"declined before": {
			"input": cases.bend(cases.bend(instruction, "/facts/intent/state", "declined"), "/facts/intent/closed", true),
			"decision": cases.refused({over.declined}),
		},
		"from the terminal, which may not order any more": {
			"input": cases.bend(instruction, "/facts/terminal/rights", ["approve"]),
			"decision": cases.refused({{
				"code": "terminal_right_missing",
				"message": "The terminal has no right to do this.",
			}}),
		},
		"from a frozen account": {
			"input": cases.bend(instruction, "/facts/account/state", "frozen"),
			"decision": cases.refused({cases.account_frozen}),
		},
		"a minor unit over the account's maximum": {
			"input": cases.bend(instruction, "/facts/account/max_payment_minor", 1249),
			"decision": cases.refused({{
				"code": "amount_over_payment_maximum",
				"message": "The amount is over the account's maximum for one payment.",
				"limit": "payment",
				"remaining_minor": 1249,
			}}),
		},
		"another account": {
			"input": cases.bend(instruction, "/facts/account/id", "acc_carl"),
			"decision": cases.nothing_said,
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.agent_order as tuned
	decision == case.decision
}

# Switched off, the interval refuses nothing; the order's own end does.
test_interval_switched_off[note] if {
	unchecked := object.union(tuned, {"interval": {"checked": false}})
	some note, case in {
		"much later": {"input": at(now + (1000 * second)), "decision": paid},
		"once the order has expired": {
			"input": cases.bend(instruction, "/facts/intent/expired", true),
			"decision": dead(intent_expired),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.agent_order as unchecked
	decision == case.decision
}

# Where data asks for it, the user proves who they are.
test_proof[note] if {
	strict := object.union(tuned, {"proof": {"required": true}})
	some note, case in {
		"by one of the methods": {"call": {"amr": "pin pwd"}, "decision": paid},
		"by another one": {"call": {"amr": "pwd"}, "decision": cases.refused({proof_required})},
		"by one of a name that has it in it": {"call": {"amr": "pins"}, "decision": cases.refused({proof_required})},
		"by none": {"call": {}, "decision": cases.refused({proof_required})},
	}
	decision := data.payments.decision with input as object.union(instruction, {"call": case.call})
		with data.systems.agent_order as strict
	decision == case.decision
}

# A full run: one code, one request, and after the payment its success and the notice.
test_four_messages if {
	asks := data.payments.decision with input as first with data.systems.agent_order as tuned
	{[effect.message, effect.terminals] | some effect in asks.effects} == {["code", ["trm_phone"]]}
	orders := data.payments.decision with input as confirmed with data.systems.agent_order as tuned
	pays := data.payments.decision with input as instruction with data.systems.agent_order as tuned
	notes := effects_of(orders, {"notify"}) | effects_of(pays, {"notify"})
	[note.kind | some note in sort(effects_of(pays, {"notify"}))] == ["payment_succeeded", "deduction_notice"]
	{[note.kind, note.terminal] | some note in notes} == {
		["deduction_request", "trm_phone"],
		["payment_succeeded", "trm_phone"],
		["deduction_notice", "trm_phone"],
	}
}
