package payments.systems.agent_order_test

import data.payments.shared.cases_test as cases

account := {
	"id": "acc_anna",
	"state": "active",
	"currency": "EUR",
	"verification": {"locked": false},
}

goods := {"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}

order_call(facts) := cases.call_of(
	"agent_order", "order", desk,
	object.union(goods, {"account": "acc_anna"}),
	object.union({"account": account, "terminals": [without_identity(phone)]}, facts),
)

first := order_call({"initiator": initiator})

satisfied := {
	"kind": "code",
	"state": "satisfied",
	"account": "acc_anna",
	"initiator": desk,
	"system": "agent_order",
	"operation": "order",
	"terminals": ["trm_phone"],
	"amount_minor": 1250,
	"currency": "EUR",
	"payee": "mer_bakery",
	"issued_at_ns": long_ago,
}

confirmed := order_call({"challenge": satisfied})

# The challenge under the call's key, in another state.
under(state) := order_call({"initiator": initiator, "challenge": object.union(satisfied, {"state": state})})

with_stored_code := object.union(order_call({}), {"evidence": {"stored_code": {"matched": true, "terminal": "trm_phone"}}})

with_maximum(maximum) := object.union(with_stored_code, {"evidence": {"stored_code": maximum}})

# The terminal itself orders. Whose it is, is looked at once.
confirmed_by_terminal := cases.call_of("agent_order", "order_by_terminal", phone.identity, goods, {
	"account": account,
	"terminal": without_rights(phone),
	"terminals": [without_identity(phone)],
	"challenge": object.union(satisfied, {"operation": "order_by_terminal", "initiator": phone.identity}),
})

first_by_terminal := object.union(cases.without(confirmed_by_terminal, "/facts/challenge"), {"facts": {"initiator": initiator}})

opened := {
	"type": "open_intent",
	"kind": "order",
	"state": "deduction_requested",
	"expires_at_ns": now + (1800 * second),
	"terminals": ["trm_phone"],
	"attributes": {},
}

request := {
	"type": "notify",
	"terminal": "trm_phone",
	"kind": "deduction_request",
	"expires_at_ns": now + (120 * second),
	"details": {},
}

ordered := cases.allowed_with({opened, request})

issue := {
	"type": "issue_challenge",
	"kind": "code",
	"terminals": ["trm_phone"],
	"expects": "terminals",
	"expires_at_ns": now + (240 * second),
	"max_attempts": 2,
	"digits": 7,
	"condition": {"entry": "any"},
	"message": "code",
	"details": {},
}

asked := cases.refused_with({cases.verification_required}, {issue})

failed := {"type": "notify", "terminal": "trm_phone", "kind": "authorisation_failed", "details": {}}

terminal_missing := {
	"code": "order_terminal_missing",
	"message": "No such terminal of the account has the right to order.",
}

not_eligible := {"code": "agent_not_eligible", "message": "The caller is no agent here."}

code_invalid := {"code": "stored_code_invalid", "message": "The code is not valid."}

over_maximum(maximum_minor) := {
	"code": "stored_code_over_maximum",
	"message": "The order is over what the code was agreed on for.",
	"limit": "stored_code",
	"remaining_minor": maximum_minor,
}

currency_not_account := {
	"code": "currency_not_account",
	"message": "The payment is not in the account's currency.",
}

# With the data as delivered: an order, and one message to the terminal.
test_ordered_as_delivered[note] if {
	some note, input_document in {
		"by code": confirmed,
		"by the terminal": confirmed_by_terminal,
		"by stored code": with_stored_code,
	}
	decision := data.payments.decision with input as input_document
	decision.allow == true
	count(decision.effects) == 2
	{[effect.type, effect.kind] | some effect in decision.effects} == {["open_intent", "order"], ["notify", "deduction_request"]}
}

test_orders[note] if {
	some note, case in {
		"the first call sends a code to the terminal": {"input": first, "decision": asked},
		"confirmed from there": {"input": confirmed, "decision": ordered},
		"while nobody has answered": {"input": under("open"), "decision": asked},
		"nobody answered in time": {"input": under("expired"), "decision": asked},
		"the terminal is another one by now": {"input": under("replaced"), "decision": asked},
		"used up": {"input": under("consumed"), "decision": cases.refused({cases.challenge_used})},
		"rejected on the terminal": {"input": under("rejected"), "decision": cases.refused({cases.approval_rejected})},
		"wrong too often: no order, and the terminal hears so": {
			"input": under("locked"),
			"decision": cases.refused_with({cases.challenge_locked}, {failed}),
		},
		"asked too often": {
			"input": cases.bend(first, "/facts/initiator/starts_at_ns", [now, now]),
			"decision": cases.refused({cases.challenges_over_limit(now + (600 * second))}),
		},
		"while codes are locked: the agent does not hear it": {
			"input": cases.bend(first, "/facts/account/verification/locked", true),
			"decision": cases.refused_as({cases.verification_locked}, {cases.account_unknown}),
		},
		"a frozen account: not told either": {
			"input": cases.bend(first, "/facts/account/state", "frozen"),
			"decision": cases.refused_as({cases.account_frozen}, {cases.account_unknown}),
		},
		"frozen since it was confirmed": {
			"input": cases.bend(confirmed, "/facts/account/state", "frozen"),
			"decision": cases.refused_as({cases.account_frozen}, {cases.account_unknown}),
		},
		"in another currency": {
			"input": cases.bend(first, "/facts/account/currency", "USD"),
			"decision": cases.refused_as({currency_not_account}, {cases.account_unknown}),
		},
		"an account that there is not": {
			"input": cases.without(first, "/facts/account"),
			"decision": cases.refused({cases.account_unknown}),
		},
		"another account": {
			"input": cases.bend(first, "/facts/account/id", "acc_carl"),
			"decision": cases.refused({cases.account_unknown}),
		},
		"a caller who is no agent": {
			"input": cases.bend(first, "/identity", cases.carl),
			"decision": cases.refused({not_eligible}),
		},
		"an agent of another issuer": {
			"input": cases.bend(first, "/identity/issuer", "https://evil.example"),
			"decision": cases.refused({not_eligible}),
		},
		"an agent for somebody else": {
			"input": cases.add(first, "/identity/on_behalf_of", "anna"),
			"decision": cases.refused({not_eligible}),
		},
		"the terminal itself": {"input": first_by_terminal, "decision": asked},
		"the terminal itself, confirmed": {"input": confirmed_by_terminal, "decision": ordered},
		"the terminal itself, in a frozen account: told": {
			"input": cases.bend(first_by_terminal, "/facts/account/state", "frozen"),
			"decision": cases.refused({cases.account_frozen}),
		},
		"a caller who is no terminal": {
			"input": cases.bend(first_by_terminal, "/identity", desk),
			"decision": cases.refused({terminal_unknown}),
		},
		"a terminal of another account": {
			"input": cases.bend(first_by_terminal, "/facts/terminal/account", "acc_carl"),
			"decision": cases.nothing_said,
		},
		"a terminal without the right orders": {
			"input": cases.bend(first_by_terminal, "/facts/terminals/0/rights", []),
			"decision": cases.refused({terminal_missing}),
		},
		"another terminal has it, and is not asked": {
			"input": cases.bend(first_by_terminal, "/facts/terminals/0/id", "trm_other"),
			"decision": cases.refused({terminal_missing}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.agent_order as tuned
	decision == case.decision
}

# An agent who comes by a certificate is one of another issuer, the trust domain: listed
# beside that of the tokens, or no agent. What it had asked for counts for it alone.
test_certified_agent[note] if {
	some note, case in {
		"listed": {"path": "/identity", "value": certified_desk, "decision": asked},
		"of a trust domain that starts alike": {
			"path": "/identity",
			"value": object.union(certified_desk, {"issuer": "spiffe://desk.example.evil"}),
			"decision": cases.refused({not_eligible}),
		},
		"a merchant of that trust domain": {
			"path": "/identity",
			"value": object.union(certified_desk, {"kind": "merchant"}),
			"decision": cases.refused({not_eligible}),
		},
		"what the same desk had confirmed by its token": {
			"path": "/facts",
			"value": under("satisfied").facts,
			"decision": asked,
		},
	}
	decision := data.payments.decision with input as cases.bend(cases.bend(first, "/identity", certified_desk), case.path, case.value)
		with data.systems.agent_order as with_certified
	decision == case.decision
}

test_certified_agent_confirmed if {
	asked_by_it := cases.bend(confirmed, "/facts/challenge/initiator", certified_desk)
	decision := data.payments.decision with input as cases.bend(asked_by_it, "/identity", certified_desk)
		with data.systems.agent_order as with_certified
	decision == ordered
}

with_certified := object.union(tuned, {"agents": array.concat(tuned.agents, [{
	"kind": "agent",
	"issuer": certified_desk.issuer,
}])})

certified_desk := {"kind": "agent", "issuer": "spiffe://desk.example", "subject": "/desk"}

# A code is for the order that it was asked for.
test_confirmed_as_it_was[note] if {
	some note, case in {
		"another amount": {"path": "/facts/challenge/amount_minor", "value": 1249},
		"another payee": {"path": "/facts/challenge/payee", "value": "mer_books"},
		"another currency": {"path": "/facts/challenge/currency", "value": "USD"},
		"another account": {"path": "/facts/challenge/account", "value": "acc_carl"},
		"another agent's": {"path": "/facts/challenge/initiator/subject", "value": "other-desk"},
		"another operation": {"path": "/facts/challenge/operation", "value": "pay"},
		"another system": {"path": "/facts/challenge/system", "value": "multi_terminal"},
		"an approval": {"path": "/facts/challenge/kind", "value": "approval"},
		"another terminal's": {"path": "/facts/challenge/terminals", "value": ["trm_other"]},
		"of a terminal that was bound again since": {"path": "/facts/terminals/0/bound_at_ns", "value": long_ago + 1},
	}
	decision := data.payments.decision with input as cases.bend(under("satisfied"), case.path, case.value)
		with data.systems.agent_order as tuned
	decision == asked
}

# The requesting terminal: the one that is named, else the first that may order.
test_requesting_terminal[note] if {
	watch := object.union(without_identity(phone), {"id": "trm_watch", "rights": ["approve"]})
	tablet := object.union(without_identity(phone), {"id": "trm_tablet"})
	missing := cases.refused_as({terminal_missing}, {cases.account_unknown})
	to_tablet := cases.refused_with({cases.verification_required}, {object.union(object.remove(issue, ["terminals"]), {"terminals": ["trm_tablet"]})})
	some note, case in {
		"the first that has the right": {"terminals": [watch, tablet, phone], "call": {}, "decision": to_tablet},
		"the one that is named": {
			"terminals": [phone, tablet],
			"call": {"requesting_terminal": "trm_tablet"},
			"decision": to_tablet,
		},
		"named, without the right": {
			"terminals": [phone, watch],
			"call": {"requesting_terminal": "trm_watch"},
			"decision": missing,
		},
		"named, of nobody": {"terminals": [phone], "call": {"requesting_terminal": "trm_none"}, "decision": missing},
		"none has it": {"terminals": [watch], "call": {}, "decision": missing},
		"frozen": {"terminals": [object.union(phone, {"state": "frozen"})], "call": {}, "decision": missing},
		"of another account": {"terminals": [object.union(phone, {"account": "acc_carl"})], "call": {}, "decision": missing},
		"bound for exactly long enough": {
			"terminals": [object.union(phone, {"bound_at_ns": now - (3600 * second)})],
			"call": {},
			"decision": asked,
		},
		"a nanosecond less": {
			"terminals": [object.union(phone, {"bound_at_ns": (now - (3600 * second)) + 1})],
			"call": {},
			"decision": missing,
		},
	}
	bent := object.union(cases.bend(first, "/facts/terminals", case.terminals), {"call": case.call})
	decision := data.payments.decision with input as bent with data.systems.agent_order as tuned
	decision == case.decision
}

test_stored_codes[note] if {
	some note, case in {
		"one that matches": {"input": with_stored_code, "decision": ordered},
		"good for exactly so much": {
			"input": with_maximum({"max_amount_minor": 1250, "currency": "EUR"}),
			"decision": ordered,
		},
		"good for less: the agent does not hear how much": {
			"input": with_maximum({"max_amount_minor": 1249, "currency": "EUR"}),
			"decision": {
				"allow": false,
				"reasons": {over_maximum(1249)},
				"public_reasons": {code_invalid},
				"effects": {failed},
			},
		},
		"good for another currency": {
			"input": with_maximum({"max_amount_minor": 1250, "currency": "USD"}),
			"decision": {
				"allow": false,
				"reasons": {over_maximum(1250)},
				"public_reasons": {code_invalid},
				"effects": {failed},
			},
		},
		"wrong, expired or used: the terminal hears it": {
			"input": cases.bend(with_stored_code, "/evidence/stored_code", {"matched": false}),
			"decision": cases.refused_with({code_invalid}, {failed}),
		},
		"of another terminal than the one that is named": {
			"input": object.union(with_stored_code, {
				"call": {"requesting_terminal": "trm_tablet"},
				"facts": {"terminals": [phone, object.union(phone, {"id": "trm_tablet"})]},
			}),
			"decision": cases.refused_with({code_invalid}, {object.union(failed, {"terminal": "trm_tablet"})}),
		},
		"of a terminal that may not order any more": {
			"input": cases.bend(with_stored_code, "/facts/terminals/0/rights", []),
			"decision": cases.refused_as({code_invalid, terminal_missing}, {code_invalid, cases.account_unknown}),
		},
		"while codes are locked": {
			"input": cases.bend(with_stored_code, "/facts/account/verification/locked", true),
			"decision": cases.refused_as({cases.verification_locked}, {cases.account_unknown}),
		},
		"by a caller who is no agent": {
			"input": cases.bend(with_stored_code, "/identity", cases.carl),
			"decision": cases.refused({not_eligible}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.agent_order as tuned
	decision == case.decision
}

# Under a key that was asked for a code, a stored one is neither right nor wrong.
test_stored_code_under_a_key_that_was_asked[note] if {
	some state in {"open", "satisfied", "expired", "replaced", "locked", "rejected", "consumed"}
	some matched in [true, false]
	note := sprintf("%s, matched %v", [state, matched])
	bent := object.union(under(state), {"evidence": {"stored_code": {"matched": matched, "terminal": "trm_phone"}}})
	decision := data.payments.decision with input as bent with data.systems.agent_order as tuned
	decision == cases.refused({{
		"code": "order_asked_for_code",
		"message": "A code was asked for under this key: order with the stored one under another key.",
	}})
}

# What is ordered goes with the order and its messages.
test_about if {
	about := {"reference": "A-7", "description": "Two loaves"}
	decision := data.payments.decision with input as object.union(confirmed, {"call": about}) with data.systems.agent_order as tuned
	decision == cases.allowed_with({
		object.union(opened, {"attributes": about}),
		object.union(request, {"details": about}),
	})
	asks := data.payments.decision with input as object.union(first, {"call": about}) with data.systems.agent_order as tuned
	asks == cases.refused_with({cases.verification_required}, {object.union(issue, {"details": about})})
}

# Without the interval, the request holds for as long as the order waits.
test_request_without_interval if {
	unchecked := object.union(tuned, {"interval": {"checked": false}})
	decision := data.payments.decision with input as confirmed with data.systems.agent_order as unchecked
	decision == cases.allowed_with({opened, object.union(request, {"expires_at_ns": now + (1800 * second)})})
}

# An order waits for as long as an instruction may come.
test_interval_within_the_order if {
	data.systems.agent_order.interval.seconds <= data.systems.agent_order.order_expires_seconds
}
