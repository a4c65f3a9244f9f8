package payments.systems.delegated_payment_test

import data.payments.shared.cases_test as cases

second := cases.second

# Bound for long enough, whatever the data says.
long_ago := now - (max({7200, data.systems.delegated_payment.approval.cooling_seconds + 1}) * second)

# Whose identity a terminal has matters where it is the sender.
terminal_of(name, rights) := object.union(
	object.remove(cases.terminal_of(name, long_ago), ["identity"]),
	{"rights": rights},
)

phone := terminal_of("phone", ["approve"])

partial := bend(plain, "/facts/grant/delegation", "partial")

no_starts := {"starts_at_ns": [], "open": 0, "rejected_in_a_row": 0}

# The first call, with a code that is right.
first := object.union(partial, {"facts": {
	"grant": {"delegate": ben},
	"terminals": [phone, terminal_of("watch", ["order"]), terminal_of("tablet", ["approve", "order"])],
	"initiator": no_starts,
}})

approval := {
	"kind": "approval",
	"state": "satisfied",
	"account": "acc_anna",
	"initiator": bakery,
	"system": "delegated_payment",
	"operation": "pay",
	"terminals": ["trm_phone"],
	"amount_minor": 1250,
	"currency": currency,
	"payee": "mer_bakery",
	"issued_at_ns": long_ago,
	"decided_by": "trm_phone",
}

# The call repeated under its key, after the owner has approved.
approved := object.union(
	bend(partial, "/evidence/payment_code", {"matched": true, "matched_when_asked": true}),
	{"facts": {"terminals": [phone], "challenge": approval}},
)

# The same, and the challenge is in another state.
repeated(state) := object.union(first, {
	"evidence": {"payment_code": {"matched_when_asked": true}},
	"facts": {"challenge": object.union(approval, {"state": state})},
})

issue := {
	"type": "issue_challenge",
	"kind": "approval",
	"terminals": ["trm_phone", "trm_tablet"],
	"expects": "terminals",
	"expires_at_ns": now + (300 * second),
	"message": "approval_request",
	"details": {"delegate": "ben"},
}

asked := cases.refused_with({cases.approval_required}, {issue})

terminals_missing := {
	"code": "approval_terminals_missing",
	"message": "The owner has no terminal on which the payment can be approved.",
}

code_changed := {
	"code": "approval_code_changed",
	"message": "The owner was asked about the payment with another code. Pay under another key.",
}

test_approved_with_the_data_as_delivered if {
	decision := data.payments.decision with input as approved
	decision == paid
	open_without(approved) == set()
}

test_approvals[note] if {
	some note, case in {
		"the owner is asked on each terminal that may approve": {"input": first, "decision": asked},
		"the merchant asks again while nobody has answered": {"input": repeated("open"), "decision": asked},
		"with a code that has aged by now": {
			"input": without(repeated("open"), "/evidence/payment_code/step_age"),
			"decision": asked,
		},
		"nobody answered in time": {"input": repeated("expired"), "decision": asked},
		"a terminal that was asked is another one by now": {"input": repeated("replaced"), "decision": asked},
		"rejected": {"input": repeated("rejected"), "decision": refused({cases.approval_rejected})},
		"used up": {"input": repeated("consumed"), "decision": refused({cases.challenge_used})},
		"approved": {"input": approved, "decision": paid},
		"another code, while the owner is asked": {
			"input": bend(repeated("open"), "/evidence/payment_code/matched_when_asked", false),
			"decision": refused({code_changed}),
		},
		"another code, once the owner has approved": {
			"input": bend(repeated("satisfied"), "/evidence/payment_code/matched_when_asked", false),
			"decision": refused({code_changed}),
		},
		"another code, after nobody answered": {
			"input": bend(repeated("expired"), "/evidence/payment_code/matched_when_asked", false),
			"decision": asked,
		},
		"a wrong code": {
			"input": bend(first, "/evidence/payment_code", {"matched": false, "matched_when_asked": false}),
			"decision": refused({code_invalid}),
		},
		"a wrong code, once the owner has approved": {
			"input": bend(approved, "/evidence/payment_code", {"matched": false, "matched_when_asked": false}),
			"decision": refused({code_invalid}),
		},
		"over the grant's maximum: nobody is asked": {
			"input": bend(first, "/facts/grant/max_payment_minor", 1249),
			"decision": refused_as({over_payment(1249)}, {over_limit}),
		},
		"over it by the time that it is approved": {
			"input": bend(approved, "/facts/grant/max_payment_minor", 1249),
			"decision": refused_as({over_payment(1249)}, {over_limit}),
		},
		"frozen by the time that it is approved": {
			"input": bend(approved, "/facts/grant/state", "frozen"),
			"decision": refused_as({in_state.frozen}, {not_authorised}),
		},
		"another merchant": {
			"input": bend(first, "/call/payee", "mer_books"),
			"decision": refused({not_payee}),
		},
		"no terminal that may approve": {
			"input": bend(first, "/facts/terminals", [terminal_of("watch", ["order"])]),
			"decision": refused_as({terminals_missing}, {not_permitted}),
		},
		"none that is bound": {
			"input": bend(first, "/facts/terminals", [object.union(phone, {"state": "frozen"})]),
			"decision": refused_as({terminals_missing}, {not_permitted}),
		},
		"none of the owner's": {
			"input": bend(first, "/facts/terminals", [object.union(phone, {"account": "acc_ben"})]),
			"decision": refused_as({terminals_missing}, {not_permitted}),
		},
		"bound too lately": {
			"input": bend(first, "/facts/terminals", [object.union(phone, {"bound_at_ns": (now - (3600 * second)) + 1})]),
			"decision": refused_as({terminals_missing}, {not_permitted}),
		},
		"asked too often": {
			"input": bend(first, "/facts/initiator/starts_at_ns", [now, now]),
			"decision": refused({cases.challenges_over_limit(now + (600 * second))}),
		},
		"rejected three times in a row": {
			"input": bend(first, "/facts/initiator", {"starts_at_ns": [], "open": 0, "rejected_in_a_row": 3, "rejected_at_ns": now}),
			"decision": refused({cases.initiator_paused(now + (900 * second))}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.delegated_payment as tuned
	decision == case.decision
}

# A grant of full delegation pays nothing under a key that another's owner was asked for.
test_full_under_a_key_that_was_asked[state] if {
	some state in {"open", "satisfied", "expired", "replaced", "rejected", "consumed"}
	full := bend(repeated(state), "/facts/grant/delegation", "full")
	decision := data.payments.decision with input as full with data.systems.delegated_payment as tuned
	decision == refused({code_changed})
}

# What was approved pays only as it was approved. A code that has aged proves nothing
# beside an approval of something else.
test_approved_as_it_was[note] if {
	some note, case in {
		"another amount": {"path": "/facts/challenge/amount_minor", "value": 1249, "decision": asked_one},
		"another currency": {"path": "/facts/challenge/currency", "value": "XTS", "decision": asked_one},
		"another payee": {"path": "/facts/challenge/payee", "value": "mer_books", "decision": asked_one},
		"another operation": {"path": "/facts/challenge/operation", "value": "refund", "decision": asked_one},
		"another system": {"path": "/facts/challenge/system", "value": "agent_order", "decision": asked_one},
		"decided by a terminal that was not asked": {"path": "/facts/challenge/decided_by", "value": "trm_ben", "decision": asked_one},
		"by nobody": {"path": "/facts/challenge/decided_by", "value": null, "decision": asked_one},
		"by a terminal that may not any more": {
			"path": "/facts/terminals/0/rights",
			"value": [],
			"decision": refused_as({terminals_missing}, {not_permitted}),
		},
		"by a terminal that was bound again since": {
			"path": "/facts/terminals/0/bound_at_ns",
			"value": long_ago + 1,
			"decision": asked_one,
		},
		"of another account": {"path": "/facts/challenge/account", "value": "acc_carl", "decision": refused({code_invalid})},
		"for another merchant": {"path": "/facts/challenge/initiator", "value": carl, "decision": refused({code_invalid})},
		"for the same merchant by its certificate": {
			"path": "/facts/challenge/initiator",
			"value": {"kind": "merchant", "issuer": "spiffe://shop.example", "subject": "/bakery-till-1"},
			"decision": refused({code_invalid}),
		},
		"by codes": {"path": "/facts/challenge/kind", "value": "code", "decision": refused({code_invalid})},
	}
	with_starts := object.union(approved, {"facts": {"initiator": no_starts, "grant": {"delegate": ben}}})
	decision := data.payments.decision with input as bend(with_starts, case.path, case.value)
		with data.systems.delegated_payment as tuned
	decision == case.decision
}

asked_one := cases.refused_with({cases.approval_required}, {object.union(object.remove(issue, ["terminals"]), {"terminals": ["trm_phone"]})})

test_partial_delegation_is_offered if {
	both := object.union(tuned, {"terms": {"delegations": ["full", "partial"]}})
	decision := data.payments.decision with input as bend(tuned_offer, "/call/terms/delegation", "partial")
		with data.systems.delegated_payment as both
	decision == allowed
}
