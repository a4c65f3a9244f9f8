# METADATA
# title: Tests of payment from a second terminal
# description: |
#   Whole decisions, case by case. This file has the story that the cases bend: Anna
#   chooses on her laptop, and pays on her phone or her tablet.
# schemas:
#   - input: schema.input
#   - data.systems.second_terminal: schema.second_terminal
package payments.systems.second_terminal_test

import data.payments.shared.cases_test as cases

now := cases.now

# When the terminals were bound: longer ago than any data may want.
bound_at := now - ((90 * 86400) * cases.second)

laptop := cases.terminal_of("laptop", bound_at)

phone := cases.terminal_of("phone", bound_at)

tablet := cases.terminal_of("tablet", bound_at)

# As one of a list: who calls by it matters no more.
listed(terminal) := object.remove(terminal, ["identity"])

paired_with_laptop(terminal) := object.union(terminal, {"paired_with": ["trm_laptop"]})

account := {"id": "acc_anna", "state": "active", "currency": "EUR"}

call_of(operation, terminal, fields, facts) := cases.call_of(
	"second_terminal", operation, terminal.identity, fields,
	object.union({"terminal": terminal}, facts),
)

# Data of which the cases know the bounds, whatever an operator tunes.
tuned := {
	"match": "pairing",
	"scan": "unpaired",
	"gestures": [["tap", "lift"], ["swipe"]],
	"gesture_seconds": 60,
	"payment_seconds": 180,
	"bound_seconds": 86400,
	"max_open": 2,
	"relays": [
		{"issuer": "https://id.example", "subject": "relay-android", "os": "android"},
		{"issuer": "https://id.example", "subject": "relay-ios", "os": "ios"},
	],
}

by_account := object.union(tuned, {"match": "account"})

always_scanned := object.union(tuned, {"scan": "always"})

without_gestures := object.union(tuned, {"gestures": []})

# Refused for these reasons, of which the caller hears all.
refused(codes) := refused_as(codes, codes)

# Refused for these reasons, of which the caller hears those.
refused_as(codes, public) := cases.refused_as(
	{reasons[code] | some code in codes},
	{reasons[code] | some code in public},
)

reasons[code] := object.union({"code": code, "message": said[0]}, said[1]) if {
	some code, said in {
		"account_frozen": ["The account is frozen.", {}],
		"amount_invalid": ["The amount is not a whole number of minor units above zero.", {}],
		"currency_not_account": ["The payment is not in the account's currency.", {}],
		"amount_over_payment_maximum": [
			"The amount is over the account's maximum for one payment.",
			{"limit": "payment", "remaining_minor": 1249},
		],
		"amount_over_limit": [
			"The amount is over what remains of a limit of the account.",
			{"limit": "total", "remaining_minor": 1249},
		],
		"terminal_unknown": ["The caller is no terminal here, or is not bound.", {}],
		"intent_unknown": ["There is no such request, or it is not open to you.", {}],
		"intent_expired": ["The request has expired.", {}],
		"intent_cancelled": ["The request was cancelled.", {}],
		"intent_closed": ["The request is over.", {}],
		"second_terminal_none": ["No other terminal can pay what this one asks for.", {}],
		"checkouts_over_maximum": [
			"As many checkouts of the account are open as may be at the same time.",
			{"limit": "max_open", "remaining_count": 0},
		],
		"relay_unknown": ["The caller relays for no operating system here.", {}],
		"terminal_not_relayed": [
			"There is no such terminal, or it is not of this relay's operating system.",
			{},
		],
		"gesture_not_expected": ["No operation on this terminal is waited for.", {}],
		"checkout_none": ["No checkout waits for an operation on this terminal.", {}],
		"checkout_ambiguous": [
			"Several checkouts wait for an operation on this terminal: cancel all but one.",
			{},
		],
		"gesture_too_early": ["The operation came before it was asked for.", {}],
		"gesture_too_late": ["The operation came after the time for it.", {}],
		"gesture_not_asked": ["Another operation was asked for.", {}],
		"checkout_awaits_gesture": ["An operation on the terminal is wanted first.", {}],
		"checkout_opened_here": ["The terminal that opened the checkout cannot pay it.", {}],
		"checkout_not_pushed": ["The checkout was not pushed to this terminal.", {}],
		"terminal_unbound": ["One of the two terminals was unbound, frozen or bound anew since.", {}],
		"terminals_not_paired": ["The two terminals are not paired any more.", {}],
		"scan_required": ["The code on the screen of the first terminal must be scanned.", {}],
		"intent_token_invalid": ["The scanned code is not that of this checkout.", {}],
		"payment_too_late": ["The time to pay is over.", {}],
		"payee_changed": ["The request is for another payee.", {}],
		"amount_changed": ["The request is for another amount.", {}],
		"currency_changed": ["The request is in another currency.", {}],
	}
}

told(terminal, kind, more) := object.union({"type": "notify", "terminal": terminal, "kind": kind}, more)
