package payments.systems.second_terminal_test

import data.payments.shared.cases_test as cases

# The laptop opens a checkout; the phone and the tablet are paired with it.
opening := call_of("open_checkout", laptop, {"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}, {
	"account": account,
	"terminals": [
		object.union(listed(laptop), {"paired_with": []}),
		paired_with_laptop(listed(phone)),
		paired_with_laptop(listed(tablet)),
	],
	"open_intents": [],
})

unpaired := cases.bend(
	cases.bend(opening, "/facts/terminals/1/paired_with", []),
	"/facts/terminals/2/paired_with", ["trm_other"],
)

one_paired := cases.bend(opening, "/facts/terminals/2/paired_with", [])

# Two operations are wanted: a minute for each, and three to pay.
opened_for(terminals, mode, paired) := {
	"type": "open_intent",
	"kind": "checkout",
	"state": "awaiting_gesture",
	"expires_at_ns": now + (300 * cases.second),
	"terminals": terminals,
	"attributes": {"mode": mode, "paired": paired, "gestures": "tap,lift;swipe"},
}

asked(terminal) := told(terminal, "gesture_request", {
	"expires_at_ns": now + (300 * cases.second),
	"details": {"gesture": "tap,lift"},
})

opened_to(terminals, mode, paired) := cases.allowed_with({opened_for(terminals, mode, paired)} | {asked(id) | some id in terminals})

pushed_to(terminals, mode, paired) := cases.allowed_with({{
	"type": "open_intent",
	"kind": "checkout",
	"state": "pushed",
	"expires_at_ns": now + (180 * cases.second),
	"terminals": terminals,
	"attributes": {"mode": mode, "paired": paired},
}} | {told(id, "payment_response", {
	"expires_at_ns": now + (180 * cases.second),
	"details": {"mode": mode},
}) |
	some id in terminals
})

both := ["trm_phone", "trm_tablet"]

test_open[note] if {
	some note, case in {
		"both terminals that are paired are asked": {
			"input": opening, "data": tuned,
			"decision": opened_to(both, "page", "yes"),
		},
		"one that is not paired is left out": {
			"input": one_paired, "data": tuned,
			"decision": opened_to(["trm_phone"], "page", "yes"),
		},
		"also where the account counts": {
			"input": one_paired, "data": by_account,
			"decision": opened_to(["trm_phone"], "page", "yes"),
		},
		"none is paired": {
			"input": unpaired, "data": tuned,
			"decision": refused({"second_terminal_none"}),
		},
		"none is paired, and the account counts: all of it, with a scan": {
			"input": unpaired, "data": by_account,
			"decision": opened_to(both, "scan", "no"),
		},
		"a scan in any case": {
			"input": opening, "data": always_scanned,
			"decision": opened_to(both, "scan", "yes"),
		},
		"no operation wanted: pushed at once": {
			"input": opening, "data": without_gestures,
			"decision": pushed_to(both, "page", "yes"),
		},
		"no operation wanted, not paired": {
			"input": unpaired, "data": object.union(by_account, {"gestures": []}),
			"decision": pushed_to(both, "scan", "no"),
		},
		"a frozen second terminal": {
			"input": cases.bend(opening, "/facts/terminals/1/state", "frozen"), "data": tuned,
			"decision": opened_to(["trm_tablet"], "page", "yes"),
		},
		"bound for exactly long enough": {
			"input": cases.bend(one_paired, "/facts/terminals/1/bound_at_ns", now - (86400 * cases.second)),
			"data": tuned,
			"decision": opened_to(["trm_phone"], "page", "yes"),
		},
		"a nanosecond less": {
			"input": cases.bend(one_paired, "/facts/terminals/1/bound_at_ns", (now - (86400 * cases.second)) + 1),
			"data": tuned,
			"decision": refused({"second_terminal_none"}),
		},
		"one of another account": {
			"input": cases.bend(one_paired, "/facts/terminals/1/account", "acc_carl"), "data": tuned,
			"decision": refused({"second_terminal_none"}),
		},
		"no other terminal": {
			"input": cases.bend(opening, "/facts/terminals", [paired_with_laptop(listed(laptop))]), "data": by_account,
			"decision": refused({"second_terminal_none"}),
		},
		"one checkout is open": {
			"input": cases.bend(opening, "/facts/open_intents", [{}]), "data": tuned,
			"decision": opened_to(both, "page", "yes"),
		},
		"as many are open as may be": {
			"input": cases.bend(opening, "/facts/open_intents", [{}, {}]), "data": tuned,
			"decision": refused({"checkouts_over_maximum"}),
		},
		"a frozen account": {
			"input": cases.bend(opening, "/facts/account/state", "frozen"), "data": tuned,
			"decision": refused({"account_frozen"}),
		},
		"another currency": {
			"input": cases.bend(opening, "/call/currency", "USD"), "data": tuned,
			"decision": refused({"currency_not_account"}),
		},
		"nothing": {
			"input": cases.bend(opening, "/call/amount_minor", 0), "data": tuned,
			"decision": refused({"amount_invalid"}),
		},
		"a caller who is no terminal": {
			"input": cases.without(opening, "/facts/terminal"), "data": tuned,
			"decision": refused({"terminal_unknown"}),
		},
		"an unbound one": {
			"input": cases.bend(opening, "/facts/terminal/state", "unbound"), "data": tuned,
			"decision": refused({"terminal_unknown"}),
		},
		"the owner, by no terminal": {
			"input": cases.bend(opening, "/identity", cases.anna), "data": tuned,
			"decision": refused({"terminal_unknown"}),
		},
		"a terminal for somebody else": {
			"input": cases.add(opening, "/identity/on_behalf_of", "carl"), "data": tuned,
			"decision": refused({"terminal_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.second_terminal as case.data
	decision == case.decision
}

# Whatever an operator tunes.
test_open_as_tuned if {
	decision := data.payments.decision with input as opening
	decision.allow
	{effect.type | some effect in decision.effects} == {"open_intent", "notify"}
}
