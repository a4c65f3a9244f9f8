package payments.systems.proxied_business_test

import data.payments.shared.cases_test as cases

view := call_of("view_business", desk, {"intent": "int_1"}, {"intent": object.filter(business("top_up", "open"), [
	"id",
	"system",
	"kind",
	"attributes",
	"expired",
	"closed",
])})

test_view[note] if {
	some note, case in {
		"an agent who has the ID": {"input": view, "decision": cases.allowed},
		"an ID of nothing": {"input": cases.bend(view, "/facts", {}), "decision": refused({"intent_unknown"})},
		"another ID": {"input": cases.bend(view, "/call/intent", "int_2"), "decision": refused({"intent_unknown"})},
		"an intent of another system": {
			"input": cases.bend(view, "/facts/intent/system", "second_terminal"),
			"decision": refused({"intent_unknown"}),
		},
		"of another kind": {
			"input": cases.bend(view, "/facts/intent/kind", "order"),
			"decision": refused({"intent_unknown"}),
		},
		"expired: the record alone says so": {
			"input": cases.bend(view, "/facts/intent/expired", true),
			"decision": refused_as({"intent_expired"}, {"intent_unknown"}),
		},
		"executed": {
			"input": cases.bend(cases.add(view, "/facts/intent/state", "executed"), "/facts/intent/closed", true),
			"decision": refused_as({"intent_closed"}, {"intent_unknown"}),
		},
		"cancelled": {
			"input": cases.bend(cases.add(view, "/facts/intent/state", "cancelled"), "/facts/intent/closed", true),
			"decision": refused_as({"intent_cancelled"}, {"intent_unknown"}),
		},
		"an agent for somebody else": {
			"input": cases.add(view, "/identity/on_behalf_of", "carl"),
			"decision": refused({"agent_not_registered"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}

test_registered_agents[note] if {
	some note, case in {
		"listed": {"caller": other_desk, "decision": cases.allowed},
		"not listed": {"caller": object.union(desk, {"subject": "desk-9"}), "decision": refused({"agent_not_registered"})},
		"of another issuer": {
			"caller": object.union(other_desk, {"issuer": "https://evil.example"}),
			"decision": refused({"agent_not_registered"}),
		},
		"by its certificate": {"caller": certified_desk, "decision": cases.allowed},
		"another certificate": {
			"caller": object.union(certified_desk, {"subject": "/desk-9"}),
			"decision": refused({"agent_not_registered"}),
		},
		"a token that says what the certificate does": {
			"caller": object.union(certified_desk, {"issuer": other_desk.issuer}),
			"decision": refused({"agent_not_registered"}),
		},
	}
	decision := data.payments.decision with input as cases.bend(view, "/identity", case.caller)
		with data.systems.proxied_business as only_listed
	decision == case.decision
}

# The agent says that it has the ID of a withdrawal.
scan(type) := call_of("scan_business", desk, {"intent": "int_1", "account": "acc_desk"}, {
	"intent": object.remove(business(type, "open"), ["amount_minor"]),
	"account": desks_account,
	"intent_account": object.remove(annas_account, ["currency"]),
	"intent_terminals": [annas_phone],
})

scanned := cases.allowed_with({
	{
		"type": "advance_intent",
		"intent": "int_1",
		"from": "open",
		"to": "scanned",
		"parties": {"agent": "acc_desk"},
	},
	{
		"type": "notify",
		"terminal": "trm_phone",
		"kind": "agent_confirmation_request",
		"expires_at_ns": now,
		"details": {"type": "withdrawal", "agent_account": "acc_desk", "agent": desk.subject},
	},
})

scanned_by(agent) := object.union(business("withdrawal", "scanned"), {"parties": {"agent": agent}})

test_scan[note] if {
	good := scan("withdrawal")
	some note, case in {
		"Anna's phone is asked whether it is this desk": {"input": good, "decision": scanned},
		"a top-up needs no scan": {"input": cases.add(scan("top_up"), "/facts/intent_account/currency", "EUR"), "decision": refused({"business_needs_no_scan"})},
		"once more": {
			"input": cases.bend(good, "/facts/intent", scanned_by("acc_desk")),
			"decision": refused({"business_scanned"}),
		},
		"after another agent": {
			"input": cases.bend(good, "/facts/intent", scanned_by("acc_other")),
			"decision": refused({"business_of_another_agent"}),
		},
		"an ID of nothing": {
			"input": cases.without(cases.without(good, "/facts/intent"), "/facts/intent_account"),
			"decision": refused({"intent_unknown"}),
		},
		"expired": {
			"input": cases.bend(good, "/facts/intent/expired", true),
			"decision": refused_as({"intent_expired"}, {"intent_unknown"}),
		},
		"the account of another agent": {
			"input": cases.bend(good, "/facts/account/owner/subject", "desk-8"),
			"decision": refused({"account_unknown"}),
		},
		"an account that there is not, and an ID that is over": {
			"input": cases.bend(cases.without(good, "/facts/account"), "/facts/intent/expired", true),
			"decision": refused_as({"account_unknown", "intent_expired"}, {"account_unknown", "intent_unknown"}),
		},
		"Anna is her own agent": {
			"input": cases.bend(good, "/facts/intent_account/owner/subject", desk.subject),
			"decision": refused({"agent_is_user"}),
		},
		"by her account": {
			"input": cases.bend(cases.bend(good, "/facts/intent/account", "acc_desk"), "/facts/intent_account/id", "acc_desk"),
			"decision": refused_as({"agent_is_user", "device_unbound"}, {"agent_is_user", "payment_not_authorised"}),
		},
		"by the phone that asked": {
			"input": cases.bend(good, "/facts/intent/initiator/subject", desk.subject),
			"decision": refused({"agent_is_user"}),
		},
		"the phone is unbound since": {
			"input": cases.bend(good, "/facts/intent_terminals", []),
			"decision": refused_as({"device_unbound"}, {"payment_not_authorised"}),
		},
		"frozen": {
			"input": cases.bend(good, "/facts/intent_terminals/0/state", "frozen"),
			"decision": refused_as({"device_unbound"}, {"payment_not_authorised"}),
		},
		"bound anew, a nanosecond after it asked": {
			"input": cases.bend(good, "/facts/intent_terminals/0/bound_at_ns", asked_at + 1),
			"decision": refused_as({"device_unbound"}, {"payment_not_authorised"}),
		},
		"bound to another account": {
			"input": cases.bend(good, "/facts/intent_terminals/0/account", "acc_carl"),
			"decision": refused_as({"device_unbound"}, {"payment_not_authorised"}),
		},
		"Anna's account is frozen: the desk hears what a payee hears": {
			"input": cases.bend(good, "/facts/intent_account/state", "frozen"),
			"decision": refused_as({"account_frozen"}, {"payment_not_authorised"}),
		},
		"the desk's account is frozen": {
			"input": cases.bend(good, "/facts/account/state", "frozen"),
			"decision": refused({"paid_account_frozen"}),
		},
		"the desk's account is in another currency": {
			"input": cases.bend(good, "/facts/account/currency", "USD"),
			"decision": refused({"currency_not_paid_account"}),
		},
		"the account of another intent": {
			"input": cases.bend(good, "/facts/intent_account/id", "acc_carl"),
			"decision": cases.nothing_said,
		},
		"Anna's own terminal": {
			"input": cases.bend(good, "/identity", phone),
			"decision": refused({"account_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}

# Anna's phone says which agent it shows.
confirm := call_of("confirm_business", phone, {"intent": "int_1", "agent_account": "acc_desk"}, {
	"intent": object.remove(scanned_by("acc_desk"), ["initiator", "amount_minor", "currency", "expires_at_ns"]),
	"terminal": object.union(annas_phone, {"identity": phone}),
	"account": object.filter(annas_account, ["id", "state"]),
})

confirmed := cases.allowed_with({{"type": "advance_intent", "intent": "int_1", "from": "scanned", "to": "confirmed"}})

test_confirm[note] if {
	some note, case in {
		"the agent that scanned": {"input": confirm, "decision": confirmed},
		"another agent than scanned": {
			"input": cases.bend(confirm, "/call/agent_account", "acc_other"),
			"decision": refused({"business_of_another_agent"}),
		},
		"before an agent has scanned": {
			"input": cases.bend(cases.without(confirm, "/facts/intent/parties"), "/facts/intent/state", "open"),
			"decision": refused({"business_not_scanned"}),
		},
		"once more": {
			"input": cases.bend(confirm, "/facts/intent/state", "confirmed"),
			"decision": refused({"business_confirmed"}),
		},
		"too late: the user is told": {
			"input": cases.bend(confirm, "/facts/intent/expired", true),
			"decision": refused({"intent_expired"}),
		},
		"executed": {
			"input": cases.bend(cases.bend(confirm, "/facts/intent/state", "executed"), "/facts/intent/closed", true),
			"decision": refused({"intent_closed"}),
		},
		"cancelled": {
			"input": cases.bend(cases.bend(confirm, "/facts/intent/state", "cancelled"), "/facts/intent/closed", true),
			"decision": refused({"intent_cancelled"}),
		},
		"a frozen account": {
			"input": cases.bend(confirm, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"another terminal of the account": {
			"input": cases.bend(confirm, "/facts/terminal/id", "trm_tablet"),
			"decision": refused({"intent_unknown"}),
		},
		"the same phone, bound anew since": {
			"input": cases.bend(confirm, "/facts/terminal/bound_at_ns", asked_at + 1),
			"decision": refused({"intent_unknown"}),
		},
		"a terminal of another account": {
			"input": cases.bend(cases.bend(confirm, "/facts/terminal/account", "acc_carl"), "/facts/account/id", "acc_carl"),
			"decision": refused({"intent_unknown"}),
		},
		"the right words from another terminal": {
			"input": cases.bend(confirm, "/identity", tablet),
			"decision": refused({"terminal_unknown"}),
		},
		"from the agent": {
			"input": cases.bend(confirm, "/identity", desk),
			"decision": refused({"terminal_unknown"}),
		},
		"an ID of nothing": {
			"input": cases.without(confirm, "/facts/intent"),
			"decision": refused({"intent_unknown"}),
		},
		"of another system": {
			"input": cases.bend(confirm, "/facts/intent/system", "second_terminal"),
			"decision": refused({"intent_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}
