package payments.systems.terminal_test

import data.payments.shared.cases_test as cases

store_code := call_of("store_code", {}, {
	"terminal": phone,
	"account": {"id": "acc_anna", "state": "active", "verification": {"locked": false}},
})

unlock := cases.call_of(
	"terminal", "unlock_verification", cases.anna,
	{"account": "acc_anna", "amr": min({method | some method in data.systems.terminal.unlock.methods})},
	{"account": {"id": "acc_anna", "owner": cases.anna, "verification": {"locked": true}}},
)

maximum_invalid := {
	"code": "stored_code_maximum_invalid",
	"message": "A maximum is above zero, and in the account's currency.",
}

with_maximum(fields) := object.union(store_code, {
	"call": object.union(store_code.call, fields),
	"facts": {"account": {"currency": "EUR"}},
})

test_store_code[note] if {
	some note, case in {
		"with a maximum": {
			"input": with_maximum({"max_amount_minor": 1, "currency": "EUR"}),
			"decision": cases.allowed,
		},
		"a maximum without a currency": {
			"input": with_maximum({"max_amount_minor": 1}),
			"decision": cases.refused({maximum_invalid}),
		},
		"a currency without a maximum": {
			"input": with_maximum({"currency": "EUR"}),
			"decision": cases.refused({maximum_invalid}),
		},
		"a maximum of nothing": {
			"input": with_maximum({"max_amount_minor": 0, "currency": "EUR"}),
			"decision": cases.refused({maximum_invalid}),
		},
		"in another currency": {
			"input": with_maximum({"max_amount_minor": 1, "currency": "USD"}),
			"decision": cases.refused({maximum_invalid}),
		},
		"a terminal without the right to order": {
			"input": cases.bend(store_code, "/facts/terminal/rights", ["approve"]),
			"decision": cases.refused({right_missing}),
		},
		"bound for exactly long enough": {
			"input": cases.bend(store_code, "/facts/terminal/bound_at_ns", now - (3600 * second)),
			"decision": cases.allowed,
		},
		"bound a nanosecond too late": {
			"input": cases.bend(store_code, "/facts/terminal/bound_at_ns", (now - (3600 * second)) + 1),
			"decision": cases.refused({{
				"code": "terminal_too_new",
				"message": "The terminal has not been bound for long enough.",
			}}),
		},
		"a frozen account": {
			"input": cases.bend(store_code, "/facts/account/state", "frozen"),
			"decision": cases.refused({cases.account_frozen}),
		},
		"while codes are locked": {
			"input": cases.bend(store_code, "/facts/account/verification/locked", true),
			"decision": cases.refused({cases.verification_locked}),
		},
		"another account": {
			"input": cases.bend(store_code, "/facts/account/id", "acc_carl"),
			"decision": cases.refused({terminal_unknown}),
		},
		"without right, in a frozen account": {
			"input": cases.bend(cases.bend(store_code, "/facts/terminal/rights", []), "/facts/account/state", "frozen"),
			"decision": cases.refused({right_missing, cases.account_frozen}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.terminal as tuned
	decision == case.decision
}

test_unlock[note] if {
	proof_required := {"code": "proof_required", "message": "Log in with a stronger proof of who you are."}
	some note, case in {
		"with one of the proofs": {"input": cases.bend(unlock, "/call/amr", "mfa pwd"), "decision": cases.allowed},
		"with another one": {
			"input": cases.bend(unlock, "/call/amr", "pwd"),
			"decision": cases.refused({proof_required}),
		},
		"with one of a name that has it in it": {
			"input": cases.bend(unlock, "/call/amr", "mfax"),
			"decision": cases.refused({proof_required}),
		},
		"with none": {"input": cases.without(unlock, "/call/amr"), "decision": cases.refused({proof_required})},
		"of an account that is not locked": {
			"input": cases.bend(cases.bend(unlock, "/call/amr", "hwk"), "/facts/account/verification/locked", false),
			"decision": cases.refused({{
				"code": "verification_not_locked",
				"message": "The account's verification is not locked.",
			}}),
		},
		"a stranger": {
			"input": cases.bend(unlock, "/identity", cases.carl),
			"decision": cases.refused({cases.account_unknown}),
		},
		"a terminal": {
			"input": cases.bend(unlock, "/identity", phone.identity),
			"decision": cases.refused({cases.account_unknown}),
		},
		"for somebody else": {
			"input": cases.add(unlock, "/identity/on_behalf_of", "carl"),
			"decision": cases.refused({cases.account_unknown}),
		},
		"no account": {"input": cases.bend(unlock, "/facts", {}), "decision": cases.refused({cases.account_unknown})},
	}
	decision := data.payments.decision with input as case.input with data.systems.terminal as tuned
	decision == case.decision
}

test_unlock_as_delivered if {
	decision := data.payments.decision with input as unlock
	decision == cases.allowed
	cases.open_without(unlock) == set()
}

test_acknowledge[note] if {
	some note, case in {
		"nothing yet": {"up_to": 0, "decision": cases.allowed},
		"less than nothing": {
			"up_to": -1,
			"decision": cases.refused({{
				"code": "message_number_invalid",
				"message": "Messages have numbers from 1 on.",
			}}),
		},
	}
	decision := data.payments.decision with input as cases.bend(good.acknowledge_messages, "/call/up_to", case.up_to)
	decision == case.decision
}
