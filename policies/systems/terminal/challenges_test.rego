package payments.systems.terminal_test

import data.payments.shared.cases_test as cases

challenge := {
	"id": "chl_one",
	"kind": "approval",
	"state": "open",
	"account": "acc_anna",
	"terminals": ["trm_phone"],
	"issued_at_ns": phone.bound_at_ns,
}

approval(operation) := call_of(operation, {"challenge": "chl_one"}, {"terminal": phone, "challenge": challenge})

# Whoever may say no needs no right to, of whatever kind the challenge is.
without_rights(document) := cases.without(cases.without(document, "/facts/terminal/rights"), "/facts/challenge/kind")

# What it is and where it stands matters to nobody who only looks at it.
viewed(operation, facts) := call_of(
	operation, {"challenge": "chl_one"},
	object.union(facts, {"challenge": object.remove(challenge, ["kind", "state"])}),
)

own := cases.call_of(
	"terminal", "view_own_challenge", cases.anna, {"challenge": "chl_one"},
	{"challenge": {"id": "chl_one", "initiator": cases.anna}},
)

unknown_challenge := {"code": "challenge_unknown", "message": "There is no such challenge, or it is not yours."}

wants_codes := {"code": "challenge_wants_codes", "message": "Codes are wanted: entering them approves."}

over := {
	"satisfied": {"code": "challenge_satisfied", "message": "It was confirmed already."},
	"replaced": {"code": "challenge_replaced", "message": "It was asked again, and this is not what counts any more."},
	"expired": {"code": "challenge_expired", "message": "The time to answer is over."},
	"locked": cases.challenge_locked,
	"rejected": cases.approval_rejected,
	"consumed": cases.challenge_used,
}

# The answer to an entry depends on nothing but that somebody sent it.
test_entries[note] if {
	entry := cases.call_of("terminal", "enter_code", phone.identity, {"challenge": "chl_one"}, {})
	some note, case in {
		"a terminal": {"input": entry, "decision": cases.allowed},
		"an owner in a browser": {"input": cases.bend(entry, "/identity", cases.anna), "decision": cases.allowed},
		"a stranger": {"input": cases.bend(entry, "/identity", cases.carl), "decision": cases.allowed},
		"of a challenge that there is not": {"input": cases.bend(entry, "/call/challenge", "chl_none"), "decision": cases.allowed},
		"of none": {"input": cases.without(entry, "/call/challenge"), "decision": cases.nothing_said},
		"of nobody": {"input": cases.without(entry, "/identity"), "decision": cases.nothing_said},
		"of nobody's kind": {"input": cases.without(entry, "/identity/kind"), "decision": cases.nothing_said},
		"of nobody's issuer": {"input": cases.without(entry, "/identity/issuer"), "decision": cases.nothing_said},
		"of nobody's name": {"input": cases.without(entry, "/identity/subject"), "decision": cases.nothing_said},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

# A terminal that was not asked learns nothing, whatever the state.
test_asked[note] if {
	some operation in {"approve_challenge", "reject_challenge", "view_challenge"}
	some state in {"open", "locked"}
	some bent, case in {
		"another terminal was": {"path": "/facts/challenge/terminals", "value": ["trm_other"]},
		"nobody was": {"path": "/facts/challenge/terminals", "value": []},
		"of another account": {"path": "/facts/challenge/account", "value": "acc_carl"},
		"the terminal is of another account by now": {"path": "/facts/terminal/account", "value": "acc_carl"},
		"bound again since": {"path": "/facts/terminal/bound_at_ns", "value": phone.bound_at_ns + 1},
		"another challenge is found": {"path": "/facts/challenge/id", "value": "chl_two"},
		"none is": {"path": "/facts/challenge", "value": {}},
	}
	note := sprintf("%s, %s: %s", [operation, state, bent])
	decision := data.payments.decision with input as cases.bend(
		cases.bend(approval(operation), "/facts/challenge/state", state),
		case.path, case.value,
	)
	decision == cases.refused({unknown_challenge})
}

test_approval[note] if {
	good_one := approval("approve_challenge")
	some note, case in {
		"a challenge that wants codes": {
			"input": cases.bend(good_one, "/facts/challenge/kind", "code"),
			"reasons": {wants_codes},
		},
		"a terminal without the right": {
			"input": cases.bend(good_one, "/facts/terminal/rights", ["order"]),
			"reasons": {right_missing},
		},
		"without any": {"input": cases.bend(good_one, "/facts/terminal/rights", []), "reasons": {right_missing}},
		"without the right, and late": {
			"input": cases.bend(cases.bend(good_one, "/facts/terminal/rights", []), "/facts/challenge/state", "expired"),
			"reasons": {right_missing, over.expired},
		},
	}
	decision := data.payments.decision with input as case.input
	decision == cases.refused(case.reasons)
}

test_over[note] if {
	some operation in {"approve_challenge", "reject_challenge"}
	some state, reason in over
	note := sprintf("%s: %s", [operation, state])
	decision := data.payments.decision with input as cases.bend(approval(operation), "/facts/challenge/state", state)
	decision == cases.refused({reason})
}

test_own_challenge[note] if {
	some note, case in {
		"whoever asked": {"input": own, "decision": cases.allowed},
		"somebody else": {"input": cases.bend(own, "/identity", cases.carl), "decision": cases.refused({unknown_challenge})},
		"for somebody else": {
			"input": cases.add(own, "/identity/on_behalf_of", "anna"),
			"decision": cases.refused({unknown_challenge}),
		},
		"another challenge": {
			"input": cases.bend(own, "/facts/challenge/id", "chl_two"),
			"decision": cases.refused({unknown_challenge}),
		},
		"none": {"input": cases.bend(own, "/facts", {}), "decision": cases.refused({unknown_challenge})},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}
