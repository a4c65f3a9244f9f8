# METADATA
# title: Tests of multi-terminal verification
# description: |
#   Whole decisions, case by case: Anna pays, and her phone and her tablet confirm it.
# schemas:
#   - input: schema.input
#   - data.systems.multi_terminal: schema.multi_terminal
package payments.systems.multi_terminal_test

import data.payments.shared.cases_test as cases

now := cases.now

second := cases.second

currency := min(object.keys(data.systems.multi_terminal.rules))

# Data of which the cases know the bounds, whatever an operator tunes.
tuned := {
	"cooling_seconds": 3600,
	"asking": {"max_starts": 2, "window_seconds": 600, "max_rejected_in_a_row": 4, "pause_seconds": 900},
	"rules": {currency: [
		{"from_minor": 1250, "entry": "terminals", "digits": 6, "max_attempts": 2, "expires_seconds": 300, "within_seconds": 120, "min_gap_seconds": 2, "max_gap_seconds": 30},
		{"from_minor": 1, "entry": "any", "digits": 6, "max_attempts": 3, "expires_seconds": 300, "within_seconds": 60},
		{"from_minor": 1251, "entry": "sum", "digits": 7, "max_attempts": 1, "expires_seconds": 240},
	]},
}

# Bound for long enough, whatever the data says.
long_ago := now - ((data.systems.multi_terminal.cooling_seconds * second) + (7200 * second))

# Whose identity a terminal has matters where it is the sender.
terminal_of(name, number) := object.union(object.remove(cases.terminal_of(name, long_ago), ["identity"]), {"number": number})

phone := terminal_of("phone", "+4915100001")

tablet := terminal_of("tablet", "+4915100002")

account := {
	"id": "acc_anna",
	"owner": cases.anna,
	"state": "active",
	"currency": currency,
	"max_payment_minor": 50000,
	"limits": [],
	"verification": {"locked": false},
}

initiator := {"starts_at_ns": [], "open": 0, "rejected_in_a_row": 0}

call_of(operation, facts) := cases.call_of(
	"multi_terminal", operation, cases.anna,
	{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": currency},
	object.union({"account": account, "terminals": [phone, tablet]}, facts),
)

first := call_of("pay", {"initiator": initiator})

satisfied := {
	"kind": "code",
	"state": "satisfied",
	"account": "acc_anna",
	"initiator": cases.anna,
	"system": "multi_terminal",
	"operation": "pay",
	"terminals": ["trm_phone", "trm_tablet"],
	"amount_minor": 1250,
	"currency": currency,
	"payee": "mer_bakery",
	"issued_at_ns": now - (30 * second),
}

confirmed := call_of("pay", {"challenge": satisfied})

transferred := cases.bend(
	cases.bend(confirmed, "/call/operation", "transfer"),
	"/facts/challenge/operation", "transfer",
)

# The challenge under the call's key, in another state.
under(state) := call_of("pay", {"initiator": initiator, "challenge": object.union(satisfied, {"state": state})})

paid := cases.allowed_with({{
	"type": "reserve",
	"account": "acc_anna",
	"payee": "mer_bakery",
	"amount_minor": 1250,
	"currency": currency,
}})

issue := {
	"type": "issue_challenge",
	"kind": "code",
	"terminals": ["trm_phone", "trm_tablet"],
	"expects": "initiator",
	"expires_at_ns": now + (300 * second),
	"max_attempts": 2,
	"digits": 6,
	"condition": {"entry": "terminals", "within_ns": 120 * second, "min_gap_ns": 2 * second, "max_gap_ns": 30 * second},
	"message": "code",
}

asked := cases.refused_with({cases.verification_required}, {issue})

too_few := {
	"code": "terminals_too_few",
	"message": "Fewer than two terminals with different numbers have been bound to the account for long enough.",
}

not_verified := {
	"code": "currency_not_verified",
	"message": "Payments in this currency cannot be confirmed by codes.",
}

test_with_the_data_as_delivered[note] if {
	some note, case in {
		"a payment that was confirmed": {"input": confirmed, "decision": paid},
		"a transfer that was confirmed": {"input": transferred, "decision": paid},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

test_asking[note] if {
	some note, case in {
		"the first call sends a code to each terminal": {"input": first, "decision": asked},
		"a challenge that is open is told again": {"input": under("open"), "decision": asked},
		"one that is over is asked again": {"input": under("expired"), "decision": asked},
		"one whose terminals changed is asked again": {"input": under("replaced"), "decision": asked},
		"locked: no codes any more under this key": {
			"input": under("locked"),
			"decision": cases.refused({cases.challenge_locked}),
		},
		"used up": {"input": under("consumed"), "decision": cases.refused({cases.challenge_used})},
		"the account's verification is locked: nothing is sent": {
			"input": cases.bend(first, "/facts/account/verification/locked", true),
			"decision": cases.refused({cases.verification_locked}),
		},
		"nor told again": {
			"input": cases.bend(under("open"), "/facts/account/verification/locked", true),
			"decision": cases.refused({cases.verification_locked}),
		},
		"a frozen account: nothing is sent": {
			"input": cases.bend(first, "/facts/account/state", "frozen"),
			"decision": cases.refused({cases.account_frozen}),
		},
		"frozen and locked: both reasons": {
			"input": cases.bend(cases.bend(first, "/facts/account/state", "frozen"), "/facts/account/verification/locked", true),
			"decision": cases.refused({cases.account_frozen, cases.verification_locked}),
		},
		"a stranger": {
			"input": cases.bend(first, "/identity", cases.carl),
			"decision": cases.refused({cases.account_unknown}),
		},
		"the owner for somebody else": {
			"input": cases.add(first, "/identity/on_behalf_of", "carl"),
			"decision": cases.refused({cases.account_unknown}),
		},
		"a terminal of the owner": {
			"input": cases.bend(first, "/identity", cases.terminal_identity("phone")),
			"decision": cases.refused({cases.account_unknown}),
		},
		"no account": {
			"input": cases.bend(first, "/facts", {"initiator": initiator}),
			"decision": cases.refused({cases.account_unknown}),
		},
		"a currency without a rule": {
			"input": cases.bend(cases.bend(first, "/call/currency", "XTS"), "/facts/account/currency", "XTS"),
			"decision": cases.refused({not_verified}),
		},
		"another operation": {
			"input": cases.bend(first, "/call/operation", "refund"),
			"decision": cases.nothing_said,
		},
		"who has asked before, nobody knows": {
			"input": cases.without(first, "/facts/initiator"),
			"decision": cases.nothing_said,
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.multi_terminal as tuned
	decision == case.decision
}

# The terminals that count, and get codes.
test_terminals[note] if {
	third := terminal_of("third", "+4915100003")
	some note, case in {
		"in the order in which they were bound": {
			"terminals": [tablet, phone],
			"decision": asks({"terminals": ["trm_tablet", "trm_phone"]}),
		},
		"all three get one": {
			"terminals": [phone, tablet, third],
			"decision": asks({"terminals": ["trm_phone", "trm_tablet", "trm_third"]}),
		},
		"also one without a number": {
			"terminals": [phone, tablet, object.remove(third, ["number"])],
			"decision": asks({"terminals": ["trm_phone", "trm_tablet", "trm_third"]}),
		},
		"one": {"terminals": [phone], "decision": cases.refused({too_few})},
		"none": {"terminals": [], "decision": cases.refused({too_few})},
		"two with one number": {
			"terminals": [phone, object.union(tablet, {"number": "+4915100001"})],
			"decision": cases.refused({too_few}),
		},
		"two, one without a number": {
			"terminals": [phone, object.remove(tablet, ["number"])],
			"decision": cases.refused({too_few}),
		},
		"two, one of them frozen": {
			"terminals": [phone, object.union(tablet, {"state": "frozen"})],
			"decision": cases.refused({too_few}),
		},
		"two, one of another account": {
			"terminals": [phone, object.union(tablet, {"account": "acc_carl"})],
			"decision": cases.refused({too_few}),
		},
		"a frozen one gets none": {
			"terminals": [phone, object.union(third, {"state": "frozen"}), tablet],
			"decision": asked,
		},
		"bound exactly long enough ago": {
			"terminals": [phone, object.union(tablet, {"bound_at_ns": now - (3600 * second)})],
			"decision": asked,
		},
		"a nanosecond less": {
			"terminals": [phone, object.union(tablet, {"bound_at_ns": (now - (3600 * second)) + 1})],
			"decision": cases.refused({too_few}),
		},
		"one that was bound just now gets none": {
			"terminals": [phone, tablet, object.union(third, {"bound_at_ns": now})],
			"decision": asked,
		},
		"one that is bound in the future": {
			"terminals": [phone, object.union(tablet, {"bound_at_ns": now + 1})],
			"decision": cases.refused({too_few}),
		},
	}
	decision := data.payments.decision with input as cases.bend(first, "/facts/terminals", case.terminals)
		with data.systems.multi_terminal as tuned
	decision == case.decision
}

asks(members) := cases.refused_with(
	{cases.verification_required},
	{object.union(object.remove(issue, object.keys(members)), members)},
)

# The condition is picked by the amount: a rule begins at its very bound.
test_conditions[note] if {
	some note, case in {
		"the least amount": {
			"amount_minor": 1,
			"effect": {"max_attempts": 3, "condition": {"entry": "any", "within_ns": 60 * second}},
		},
		"one below the second rule": {
			"amount_minor": 1249,
			"effect": {"max_attempts": 3, "condition": {"entry": "any", "within_ns": 60 * second}},
		},
		"the second": {"amount_minor": 1250, "effect": {}},
		"the third": {
			"amount_minor": 1251,
			"effect": {"max_attempts": 1, "digits": 7, "expires_at_ns": now + (240 * second), "condition": {"entry": "sum"}},
		},
		"far above it": {
			"amount_minor": 50000,
			"effect": {"max_attempts": 1, "digits": 7, "expires_at_ns": now + (240 * second), "condition": {"entry": "sum"}},
		},
	}
	decision := data.payments.decision with input as cases.bend(first, "/call/amount_minor", case.amount_minor)
		with data.systems.multi_terminal as tuned
	decision == asks(case.effect)
}

# How often one caller may have people asked.
test_starts[note] if {
	some note, case in {
		"once before": {"initiator": {"starts_at_ns": [now - second]}, "decision": asked},
		"as often as may be": {
			"initiator": {"starts_at_ns": [now - (599 * second), now - second]},
			"decision": cases.refused({cases.challenges_over_limit(now + second)}),
		},
		"more often, when more was allowed": {
			"initiator": {"starts_at_ns": [now - (599 * second), now - (2 * second), now - second]},
			"decision": cases.refused({cases.challenges_over_limit(now + (598 * second))}),
		},
		"one of them exactly a window ago": {
			"initiator": {"starts_at_ns": [now - (600 * second), now - second]},
			"decision": asked,
		},
		"and a nanosecond later": {
			"initiator": {"starts_at_ns": [(now - (600 * second)) + 1, now - second]},
			"decision": cases.refused({cases.challenges_over_limit(now + 1)}),
		},
		"rejected three times in a row": {
			"initiator": {"rejected_in_a_row": 3, "rejected_at_ns": now},
			"decision": asked,
		},
		"four times": {
			"initiator": {"rejected_in_a_row": 4, "rejected_at_ns": now - (899 * second)},
			"decision": cases.refused({cases.initiator_paused(now + second)}),
		},
		"four times, and the pause is just over": {
			"initiator": {"rejected_in_a_row": 4, "rejected_at_ns": now - (900 * second)},
			"decision": asked,
		},
		"again after a pause": {
			"initiator": {"rejected_in_a_row": 5, "rejected_at_ns": now},
			"decision": cases.refused({cases.initiator_paused(now + (900 * second))}),
		},
		"paused, and too often: both": {
			"initiator": {"rejected_in_a_row": 4, "rejected_at_ns": now, "starts_at_ns": [now, now]},
			"decision": cases.refused({cases.initiator_paused(now + (900 * second)), cases.challenges_over_limit(now + (600 * second))}),
		},
	}
	bent := cases.bend(first, "/facts/initiator", object.union(initiator, case.initiator))
	decision := data.payments.decision with input as bent with data.systems.multi_terminal as tuned
	decision == case.decision
}

# Whoever was asked as often as may be still hears that codes are on their way.
test_an_open_challenge_is_no_start if {
	bent := cases.bend(under("open"), "/facts/initiator", {"starts_at_ns": [now, now], "open": 1, "rejected_in_a_row": 4, "rejected_at_ns": now})
	decision := data.payments.decision with input as bent with data.systems.multi_terminal as tuned
	decision == asked
}

# What was confirmed pays only as it was confirmed: otherwise people are asked anew.
test_confirmed[note] if {
	some note, case in {
		"another amount": {"path": "/facts/challenge/amount_minor", "value": 1249, "decision": asked},
		"another currency": {"path": "/facts/challenge/currency", "value": "XTS", "decision": asked},
		"another payee": {"path": "/facts/challenge/payee", "value": "mer_books", "decision": asked},
		"another account": {"path": "/facts/challenge/account", "value": "acc_carl", "decision": asked},
		"another operation": {"path": "/facts/challenge/operation", "value": "transfer", "decision": asked},
		"another system": {"path": "/facts/challenge/system", "value": "agent_order", "decision": asked},
		"by another caller": {"path": "/facts/challenge/initiator", "value": cases.carl, "decision": asked},
		"an approval": {"path": "/facts/challenge/kind", "value": "approval", "decision": asked},
		"of one terminal": {"path": "/facts/challenge/terminals", "value": ["trm_phone"], "decision": asked},
		"of none": {"path": "/facts/challenge/terminals", "value": [], "decision": asked},
		"a terminal bound again just after the codes were issued": {
			"path": "/facts/terminals/1/bound_at_ns",
			"value": (now - (30 * second)) + 1,
			"decision": cases.refused({too_few}),
		},
		"a terminal unbound since": {"path": "/facts/terminals", "value": [phone], "decision": cases.refused({too_few})},
		"a terminal frozen since": {"path": "/facts/terminals/0/state", "value": "frozen", "decision": cases.refused({too_few})},
		"a number changed since to the other's": {
			"path": "/facts/terminals/0/number",
			"value": "+4915100002",
			"decision": cases.refused({too_few}),
		},
		"the account's verification locked since": {
			"path": "/facts/account/verification/locked",
			"value": true,
			"decision": cases.refused({cases.verification_locked}),
		},
		"the account frozen since": {
			"path": "/facts/account/state",
			"value": "frozen",
			"decision": cases.refused({cases.account_frozen}),
		},
	}
	bent := cases.bend(under("satisfied"), case.path, case.value)
	decision := data.payments.decision with input as bent with data.systems.multi_terminal as tuned
	decision == case.decision
}

test_nothing_is_paid_with_a_member_missing if {
	every document in [confirmed, transferred] {
		count(cases.members(document)) > 50
		cases.open_without(document) == set()
	}
}

# What the schema cannot say of data: amounts at which rules begin are different, and
# times leave each other room.
test_rules_make_sense if {
	every _, rules in data.systems.multi_terminal.rules {
		count({r.from_minor | some r in rules}) == count(rules)
		every r in rules { has_room(r) }
	}
}

test_a_rule_that_makes_no_sense[note] if {
	some note, times in {
		"a least gap over the most": {"min_gap_seconds": 11, "max_gap_seconds": 10},
		"a least gap over the time": {"min_gap_seconds": 121},
		"more time than the challenge has": {"within_seconds": 301},
	}
	not has_room(object.union({"expires_seconds": 300, "within_seconds": 120}, times))
}

has_room(r) if {
	r.expires_seconds >= object.get(r, "within_seconds", 0)
	object.get(r, "within_seconds", r.expires_seconds) >= object.get(r, "min_gap_seconds", 0)
	object.get(r, "max_gap_seconds", 3600) >= object.get(r, "min_gap_seconds", 0)
}
