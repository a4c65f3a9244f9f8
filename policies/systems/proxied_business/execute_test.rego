package payments.systems.proxied_business_test

import data.payments.shared.cases_test as cases

# The desk executes a top-up, from its own account.
top_up := call_of("execute_business", desk, {"intent": "int_1", "account": "acc_desk", "echo_amount_minor": 5000}, {
	"intent": object.remove(business("top_up", "open"), ["expires_at_ns"]),
	"account": paying(desks_account),
	"intent_account": annas_account,
	"intent_terminals": [annas_phone],
})

# And a withdrawal, from Anna's, who has confirmed it.
withdrawal := call_of("execute_business", desk, {"intent": "int_1", "account": "acc_desk", "echo_amount_minor": 5000}, {
	"intent": object.remove(object.union(scanned_by("acc_desk"), {"state": "confirmed"}), ["expires_at_ns"]),
	"account": desks_account,
	"intent_account": paying(annas_account),
	"intent_terminals": [annas_phone],
})

executed(type, payer, paid, advance) := cases.allowed_with({
	{"type": "reserve", "account": payer, "payee": paid, "amount_minor": 5000, "currency": "EUR"},
	object.union(advance, {"type": "advance_intent", "intent": "int_1", "to": "executed", "close": true}),
	{
		"type": "notify",
		"terminal": "trm_phone",
		"kind": "business_executed",
		"details": {"type": type, "agent_account": "acc_desk", "agent": desk.subject},
	},
})

topped_up := executed("top_up", "acc_desk", "acc_anna", {"from": "open", "parties": {"agent": "acc_desk"}})

withdrawn := executed("withdrawal", "acc_anna", "acc_desk", {"from": "confirmed"})

test_top_up[note] if {
	some note, case in {
		"the desk pays Anna: each limit of the desk exactly reached": {"input": top_up, "decision": topped_up},
		"with the type repeated": {
			"input": cases.add(top_up, "/call/type", "top_up"),
			"decision": topped_up,
		},
		"another amount than it was shown": {
			"input": cases.bend(top_up, "/call/echo_amount_minor", 5001),
			"decision": refused({"amount_changed"}),
		},
		"an amount in words": {
			"input": cases.bend(top_up, "/call/echo_amount_minor", "5000"),
			"decision": refused({"amount_changed"}),
		},
		"no amount": {
			"input": cases.without(top_up, "/call/echo_amount_minor"),
			"decision": refused({"amount_not_repeated"}),
		},
		"another type": {
			"input": cases.add(top_up, "/call/type", "withdrawal"),
			"decision": refused({"business_type_changed"}),
		},
		"one minor unit over the desk's maximum": {
			"input": cases.bend(top_up, "/facts/account/max_payment_minor", 4999),
			"decision": refused({"amount_over_payment_maximum"}),
		},
		"one minor unit over a limit of the desk: it hears which, and what remains": {
			"input": cases.bend(top_up, "/facts/account/limits/0/amount/remaining_minor", 4999),
			"decision": refused({"amount_over_limit"}),
		},
		"no payment remains to the desk": {
			"input": cases.bend(top_up, "/facts/account/limits/0/count/remaining", 0),
			"decision": refused({"count_over_limit"}),
		},
		"the window is full": {
			"input": cases.bend(top_up, "/facts/account/limits/0/window_full", true),
			"decision": refused({"limit_window_full"}),
		},
		"the desk's account is frozen": {
			"input": cases.bend(top_up, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"the desk's account is in another currency": {
			"input": cases.bend(top_up, "/facts/account/currency", "USD"),
			"decision": refused({"currency_not_account"}),
		},
		"Anna's account was frozen since: the desk hears that it cannot be": {
			"input": cases.bend(top_up, "/facts/intent_account/state", "frozen"),
			"decision": refused_as({"paid_account_frozen"}, {"payment_not_possible"}),
		},
		"Anna's account has another currency by now": {
			"input": cases.bend(top_up, "/facts/intent_account/currency", "USD"),
			"decision": refused_as({"currency_not_paid_account"}, {"payment_not_possible"}),
		},
		"Anna's phone was unbound since": {
			"input": cases.bend(top_up, "/facts/intent_terminals", []),
			"decision": refused_as({"device_unbound"}, {"payment_not_possible"}),
		},
		"an ID of nothing": {
			"input": cases.without(cases.without(top_up, "/facts/intent"), "/facts/intent_account"),
			"decision": refused({"intent_unknown"}),
		},
		"of another system": {
			"input": cases.bend(top_up, "/facts/intent/system", "second_terminal"),
			"decision": refused({"intent_unknown"}),
		},
		"expired": {
			"input": cases.bend(top_up, "/facts/intent/expired", true),
			"decision": refused_as({"intent_expired"}, {"intent_unknown"}),
		},
		"cancelled": {
			"input": cases.bend(cases.bend(top_up, "/facts/intent/state", "cancelled"), "/facts/intent/closed", true),
			"decision": refused_as({"intent_cancelled"}, {"intent_unknown"}),
		},
		"executed, by whomever": {
			"input": cases.bend(cases.bend(top_up, "/facts/intent/state", "executed"), "/facts/intent/closed", true),
			"decision": refused_as({"intent_closed"}, {"intent_unknown"}),
		},
		"executed, and over the desk's limit: no more is told": {
			"input": cases.bend(
				cases.bend(cases.bend(top_up, "/facts/intent/state", "executed"), "/facts/intent/closed", true),
				"/facts/account/max_payment_minor",
				1,
			),
			"decision": refused_as({"intent_closed"}, {"intent_unknown"}),
		},
		"the account of another agent": {
			"input": cases.bend(top_up, "/facts/account/owner/subject", "desk-8"),
			"decision": refused({"account_unknown"}),
		},
		"an account that there is not": {
			"input": cases.without(top_up, "/facts/account"),
			"decision": refused({"account_unknown"}),
		},
		"an agent for somebody else": {
			"input": cases.add(top_up, "/identity/on_behalf_of", "carl"),
			"decision": refused({"account_unknown", "agent_not_registered"}),
		},
		"Anna is her own agent": {
			"input": cases.bend(top_up, "/facts/intent_account/owner/subject", desk.subject),
			"decision": refused({"agent_is_user"}),
		},
		"by the phone that asked": {
			"input": cases.bend(top_up, "/facts/intent/initiator/subject", desk.subject),
			"decision": refused({"agent_is_user"}),
		},
		"the phone itself executes": {
			"input": cases.bend(top_up, "/identity", phone),
			"decision": refused({"account_unknown"}),
		},
		"a state nobody knows": {
			"input": cases.bend(top_up, "/facts/intent/state", "OPEN"),
			"decision": cases.nothing_said,
		},
		"the account of another intent": {
			"input": cases.bend(top_up, "/facts/intent_account/id", "acc_carl"),
			"decision": cases.nothing_said,
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}

test_withdrawal[note] if {
	some note, case in {
		"Anna pays the desk: each limit of hers exactly reached": {"input": withdrawal, "decision": withdrawn},
		"not scanned": {
			"input": cases.without(cases.bend(withdrawal, "/facts/intent/state", "open"), "/facts/intent/parties"),
			"decision": refused({"business_not_confirmed"}),
		},
		"scanned, not confirmed": {
			"input": cases.bend(withdrawal, "/facts/intent/state", "scanned"),
			"decision": refused({"business_not_confirmed"}),
		},
		"scanned by another agent": {
			"input": cases.bend(cases.bend(withdrawal, "/facts/intent/state", "scanned"), "/facts/intent/parties/agent", "acc_other"),
			"decision": refused({"business_of_another_agent"}),
		},
		"confirmed for another agent": {
			"input": cases.bend(withdrawal, "/facts/intent/parties/agent", "acc_other"),
			"decision": refused({"business_of_another_agent"}),
		},
		"over Anna's maximum: the desk does not hear which limit": {
			"input": cases.bend(withdrawal, "/facts/intent_account/max_payment_minor", 4999),
			"decision": refused_as({"amount_over_payment_maximum"}, {"payment_over_limit"}),
		},
		"over a limit of Anna's": {
			"input": cases.bend(withdrawal, "/facts/intent_account/limits/0/amount/remaining_minor", 4999),
			"decision": refused_as({"amount_over_limit"}, {"payment_over_limit"}),
		},
		"no payment remains to Anna": {
			"input": cases.bend(withdrawal, "/facts/intent_account/limits/0/count/remaining", 0),
			"decision": refused_as({"count_over_limit"}, {"payment_count_over_limit"}),
		},
		"Anna's account was frozen since": {
			"input": cases.bend(withdrawal, "/facts/intent_account/state", "frozen"),
			"decision": refused_as({"account_frozen"}, {"payment_not_authorised"}),
		},
		"the desk's account is frozen": {
			"input": cases.bend(withdrawal, "/facts/account/state", "frozen"),
			"decision": refused({"paid_account_frozen"}),
		},
		"the phone that confirmed was unbound since": {
			"input": cases.bend(withdrawal, "/facts/intent_terminals", []),
			"decision": refused_as({"device_unbound"}, {"payment_not_authorised"}),
		},
		"another amount": {
			"input": cases.bend(withdrawal, "/call/echo_amount_minor", 50000),
			"decision": refused({"amount_changed"}),
		},
		"expired": {
			"input": cases.bend(withdrawal, "/facts/intent/expired", true),
			"decision": refused_as({"intent_expired"}, {"intent_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}

# Where data does not ask for the amount, one that is repeated must still be right.
test_amount_not_asked_for[note] if {
	some note, case in {
		"none": {"input": cases.without(top_up, "/call/echo_amount_minor"), "decision": topped_up},
		"the right one": {"input": top_up, "decision": topped_up},
		"another one": {
			"input": cases.bend(top_up, "/call/echo_amount_minor", 1),
			"decision": refused({"amount_changed"}),
		},
	}
	decision := data.payments.decision with input as case.input
		with data.systems.proxied_business as object.union(tuned, {"echo_required": false})
	decision == case.decision
}

# A type that an operator took from the list after it was asked for.
test_type_taken_away if {
	decision := data.payments.decision with input as top_up
		with data.systems.proxied_business.types as {"withdrawal": {"payer": "user"}}
	decision == refused({"business_type_unknown"})
}

# Registered agents alone, where data says so.
test_execute_unregistered if {
	decision := data.payments.decision with input as top_up with data.systems.proxied_business as only_listed
	decision == refused({"agent_not_registered"})
}

# Each type that an operator lists can be executed by whom it is for.
test_execute_each_type[type] if {
	some type, about in data.systems.proxied_business.types
	good := {"agent": top_up, "user": withdrawal}[about.payer]
	decision := data.payments.decision with input as cases.bend(good, "/facts/intent/attributes/type", type)
	decision.allow
	{effect.type | some effect in decision.effects} == {"reserve", "advance_intent", "notify"}
}
