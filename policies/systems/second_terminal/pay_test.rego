package payments.systems.second_terminal_test

import data.payments.shared.cases_test as cases

opened_at := now - (200 * cases.second)

# The checkout, pushed to the phone and the tablet.
pushed_checkout := {
	"id": "int_1",
	"system": "second_terminal",
	"kind": "checkout",
	"state": "pushed",
	"account": "acc_anna",
	"terminal": "trm_laptop",
	"terminals": ["trm_phone", "trm_tablet"],
	"amount_minor": 1250,
	"currency": "EUR",
	"payee": "mer_bakery",
	"attributes": {"mode": "page", "paired": "yes"},
	"steps": [{"state": "pushed", "at_ns": now}],
	"opened_at_ns": opened_at,
	"expired": false,
	"closed": false,
}

# The phone pays it: each limit exactly reached.
payment := call_of(
	"pay_checkout", paired_with_laptop(phone), {
		"intent": "int_1",
		"payee": "mer_bakery",
		"amount_minor": 1250,
		"currency": "EUR",
	},
	{
		"intent": pushed_checkout,
		"account": object.union(account, {
			"max_payment_minor": 1250,
			"limits": [{
				"name": "total",
				"period": {"kind": "lifetime"},
				"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 1250},
				"count": {"mode": "any"},
				"window_full": false,
			}],
		}),
		"terminals": [listed(laptop), listed(phone), listed(tablet)],
	},
)

# With the token of the laptop's screen.
scanned(matched) := object.union(payment, {"evidence": {"intent_token": {"matched": matched}}})

in_scan_mode(document) := cases.bend(document, "/facts/intent/attributes/mode", "scan")

# Of terminals that need not be paired.
unpaired_payment := cases.without(
	cases.bend(in_scan_mode(scanned(true)), "/facts/intent/attributes/paired", "no"),
	"/facts/terminal/paired_with",
)

paid := {
	{"type": "reserve", "account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"},
	{"type": "advance_intent", "intent": "int_1", "from": "pushed", "to": "paid", "close": true},
	told("trm_laptop", "checkout_paid", {}),
}

paid_first := cases.allowed_with(paid | {told("trm_tablet", "checkout_closed", {})})

closed_in(state) := cases.bend(cases.bend(payment, "/facts/intent/state", state), "/facts/intent/closed", true)

test_pay[note] if {
	some note, case in {
		"the phone pays, the tablet is told": {"input": payment, "decision": paid_first},
		"with a wrong token that nobody asked for": {"input": scanned(false), "decision": refused({"intent_token_invalid"})},
		"in scan mode, with the token": {"input": in_scan_mode(scanned(true)), "decision": paid_first},
		"in scan mode, without": {"input": in_scan_mode(payment), "decision": refused({"scan_required"})},
		"in scan mode, with the token of another checkout": {
			"input": in_scan_mode(scanned(false)),
			"decision": refused({"intent_token_invalid"}),
		},
		"not paired, in scan mode": {"input": unpaired_payment, "decision": paid_first},
		"a mode nobody knows": {
			"input": cases.bend(scanned(true), "/facts/intent/attributes/mode", "PAGE"),
			"decision": refused({"intent_token_invalid"}),
		},
		"a tablet that is unbound by now is not told": {
			"input": cases.bend(payment, "/facts/terminals", [listed(laptop), listed(phone)]),
			"decision": cases.allowed_with(paid),
		},
		"not paired any more": {
			"input": cases.bend(payment, "/facts/terminal/paired_with", []),
			"decision": refused({"terminals_not_paired"}),
		},
		"before the operation that is wanted": {
			"input": cases.bend(payment, "/facts/intent/state", "awaiting_gesture"),
			"decision": refused({"checkout_awaits_gesture"}),
		},
		"between two operations": {
			"input": cases.bend(payment, "/facts/intent/state", "awaiting_gesture_2"),
			"decision": refused({"checkout_awaits_gesture"}),
		},
		"from the laptop": {
			"input": cases.bend(
				cases.bend(payment, "/facts/terminal", paired_with_laptop(laptop)),
				"/identity", laptop.identity,
			),
			"decision": refused({"checkout_opened_here"}),
		},
		"from a laptop to which it was pushed too": {
			"input": cases.bend(
				cases.bend(cases.bend(payment, "/facts/intent/terminals", ["trm_laptop"]), "/identity", laptop.identity),
				"/facts/terminal", paired_with_laptop(laptop),
			),
			"decision": refused({"checkout_opened_here"}),
		},
		"from a terminal that it was not pushed to": {
			"input": cases.bend(payment, "/facts/intent/terminals", ["trm_tablet"]),
			"decision": refused({"checkout_not_pushed"}),
		},
		"from a terminal of another account": {
			"input": cases.bend(
				cases.bend(payment, "/facts/terminal/account", "acc_carl"),
				"/facts/account/id", "acc_carl",
			),
			"decision": refused({"intent_unknown"}),
		},
		"with another terminal's identity": {
			"input": cases.bend(payment, "/identity", tablet.identity),
			"decision": refused({"terminal_unknown"}),
		},
		"from the owner, by no terminal": {
			"input": cases.bend(payment, "/identity", cases.anna),
			"decision": refused({"terminal_unknown"}),
		},
		"from a phone that is frozen by now": {
			"input": cases.bend(payment, "/facts/terminal/state", "frozen"),
			"decision": refused({"terminal_unknown"}),
		},
		"from a phone that was bound anew since": {
			"input": cases.bend(payment, "/facts/terminal/bound_at_ns", opened_at + 1),
			"decision": refused({"terminal_unbound"}),
		},
		"the laptop was unbound since": {
			"input": cases.bend(payment, "/facts/terminals", [listed(phone), listed(tablet)]),
			"decision": refused({"terminal_unbound"}),
		},
		"the laptop was frozen since": {
			"input": cases.bend(payment, "/facts/terminals/0/state", "frozen"),
			"decision": refused({"terminal_unbound"}),
		},
		"the laptop was bound anew since": {
			"input": cases.bend(payment, "/facts/terminals/0/bound_at_ns", opened_at + 1),
			"decision": refused({"terminal_unbound"}),
		},
		"another amount": {
			"input": cases.bend(payment, "/call/amount_minor", 1249),
			"decision": refused({"amount_changed"}),
		},
		"another payee": {
			"input": cases.bend(payment, "/call/payee", "mer_books"),
			"decision": refused({"payee_changed"}),
		},
		"another currency": {
			"input": cases.bend(payment, "/call/currency", "USD"),
			"decision": refused({"currency_changed", "currency_not_account"}),
		},
		"at the last instant": {
			"input": cases.bend(payment, "/facts/intent/steps/0/at_ns", now - (180 * cases.second)),
			"decision": paid_first,
		},
		"a nanosecond later: the operation is too old": {
			"input": cases.bend(payment, "/facts/intent/steps/0/at_ns", (now - (180 * cases.second)) - 1),
			"decision": refused({"payment_too_late"}),
		},
		"expired": {
			"input": cases.bend(payment, "/facts/intent/expired", true),
			"decision": refused({"intent_expired"}),
		},
		"paid already": {"input": closed_in("paid"), "decision": refused({"intent_closed"})},
		"cancelled": {"input": closed_in("cancelled"), "decision": refused({"intent_cancelled"})},
		"no such checkout": {
			"input": cases.without(payment, "/facts/intent"),
			"decision": refused({"intent_unknown"}),
		},
		"an intent of another system": {
			"input": cases.bend(payment, "/facts/intent/system", "proxied_business"),
			"decision": refused({"intent_unknown"}),
		},
		"of another kind": {
			"input": cases.bend(payment, "/facts/intent/kind", "order"),
			"decision": refused({"intent_unknown"}),
		},
		"a frozen account": {
			"input": cases.bend(payment, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"one minor unit over the account's maximum": {
			"input": cases.bend(payment, "/facts/account/max_payment_minor", 1249),
			"decision": refused({"amount_over_payment_maximum"}),
		},
		"one minor unit over a limit": {
			"input": cases.bend(payment, "/facts/account/limits/0/amount/remaining_minor", 1249),
			"decision": refused({"amount_over_limit"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.second_terminal as tuned
	decision == case.decision
}

# A right one that nobody asked for does no harm. It is no part of what the sidecar
# checks the policy with, for nothing wants it.
test_token_without_need if {
	data.payments.systems.second_terminal.permit with input as scanned(true)
	reasons_against := data.payments.systems.second_terminal.deny with input as scanned(true)
	reasons_against == set()
}

# Whatever an operator tunes.
test_pay_as_tuned[note] if {
	some note, case in {"on a page": payment, "with a scan": in_scan_mode(scanned(true))}
	decision := data.payments.decision with input as case
	decision == paid_first
}
