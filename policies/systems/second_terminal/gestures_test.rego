package payments.systems.second_terminal_test

import data.payments.shared.cases_test as cases

# A checkout that the laptop opened, as it waits for its first operation.
waiting := {
	"id": "int_1",
	"system": "second_terminal",
	"kind": "checkout",
	"state": "awaiting_gesture",
	"account": "acc_anna",
	"terminal": "trm_laptop",
	"terminals": ["trm_phone"],
	"attributes": {"mode": "page", "paired": "yes", "gestures": "tap,lift;swipe"},
	"steps": [{"state": "awaiting_gesture", "at_ns": now}],
	"expires_at_ns": now + 1,
	"expired": false,
	"closed": false,
}

# As it waits for its second.
waiting_on := object.union(waiting, {
	"state": "awaiting_gesture_2",
	"steps": [{"state": "awaiting_gesture_2", "at_ns": now}],
})

# One that a terminal has opened that is not paired.
unpaired_waiting := object.union(waiting, {
	"id": "int_2",
	"terminal": "trm_other",
	"attributes": {"mode": "scan", "paired": "no", "gestures": "tap"},
})

# The phone is lifted.
gesture(kind, checkouts) := call_of("report_gesture", paired_with_laptop(phone), {"gesture": kind}, {
	"account": object.remove(account, ["currency"]),
	"terminals": [listed(laptop), listed(phone), listed(tablet)],
	"open_intents": checkouts,
})

# And it was pushed to the tablet as well.
lifted := gesture("lift", [object.union(waiting, {"terminals": ["trm_phone", "trm_tablet"]})])

# Of a terminal that need not be paired.
unpaired_gesture := cases.without(gesture("tap", [unpaired_waiting]), "/facts/terminal/paired_with")

advanced(id, from, to) := {
	"type": "advance_intent",
	"intent": id,
	"from": from,
	"to": to,
	"terminals": ["trm_phone"],
}

pushed(id, from, mode) := {
	advanced(id, from, "pushed"),
	told("trm_phone", "payment_response", {"expires_at_ns": now + 1, "details": {"mode": mode}}),
}

asked_on := {
	advanced("int_1", "awaiting_gesture", "awaiting_gesture_2"),
	told("trm_phone", "gesture_request", {"expires_at_ns": now + 1, "details": {"gesture": "swipe"}}),
}

closed_on_tablet := {told("trm_tablet", "checkout_closed", {})}

# What a report leads to, from the terminal itself and from the relay of its system.
outcomes := {
	"the first of two operations: the phone takes the checkout": {
		"input": lifted,
		"effects": (asked_on | closed_on_tablet),
	},
	"the other kind that may be the first": {
		"input": gesture("tap", [waiting]),
		"effects": asked_on,
	},
	"the second: it is pushed": {
		"input": gesture("swipe", [waiting_on]),
		"effects": pushed("int_1", "awaiting_gesture_2", "page"),
	},
	"one operation is enough where one is wanted": {
		"input": gesture("tap", [cases.bend(waiting, "/attributes/gestures", "tap")]),
		"effects": pushed("int_1", "awaiting_gesture", "page"),
	},
	"a tablet that is frozen by now is not told": {
		"input": cases.bend(lifted, "/facts/terminals/2/state", "frozen"),
		"effects": asked_on,
	},
	"a kind that was not asked for": {
		"input": gesture("shake", [waiting]),
		"codes": {"gesture_not_asked"},
	},
	"the second before the first": {
		"input": gesture("swipe", [waiting]),
		"codes": {"gesture_not_asked"},
	},
	"the first once more": {
		"input": gesture("lift", [waiting_on]),
		"codes": {"gesture_not_asked"},
	},
	"no checkout": {
		"input": gesture("lift", []),
		"codes": {"checkout_none"},
	},
	"one that is pushed already": {
		"input": gesture("lift", [cases.bend(waiting, "/state", "pushed")]),
		"codes": {"checkout_none"},
	},
	"one that is expired": {
		"input": gesture("lift", [cases.bend(waiting, "/expired", true)]),
		"codes": {"checkout_none"},
	},
	"one of another system": {
		"input": gesture("lift", [cases.bend(waiting, "/system", "proxied_business")]),
		"codes": {"checkout_none"},
	},
	"one of another account": {
		"input": gesture("lift", [cases.bend(waiting, "/account", "acc_carl")]),
		"codes": {"checkout_none"},
	},
	"one for another terminal": {
		"input": gesture("lift", [cases.bend(waiting, "/terminals", ["trm_tablet"])]),
		"codes": {"checkout_none"},
	},
	"the terminals are not paired any more": {
		"input": cases.bend(gesture("lift", [waiting]), "/facts/terminal/paired_with", ["trm_other"]),
		"codes": {"checkout_none"},
	},
	"two checkouts wait": {
		"input": gesture("lift", [waiting, object.union(waiting, {"id": "int_3", "terminal": "trm_laptop"})]),
		"codes": {"checkout_ambiguous"},
	},
	"one of a terminal that is not paired makes none ambiguous": {
		"input": gesture("lift", [unpaired_waiting, waiting]),
		"effects": asked_on,
	},
	"it is moved where it alone waits, and the screen is to be scanned": {
		"input": unpaired_gesture,
		"effects": pushed("int_2", "awaiting_gesture", "scan"),
	},
	"two of those": {
		"input": cases.bend(unpaired_gesture, "/facts/open_intents", [
			unpaired_waiting,
			object.union(unpaired_waiting, {"id": "int_3"}),
		]),
		"codes": {"checkout_ambiguous"},
	},
	"it came at the very instant at which it was asked for": {
		"input": cases.bend(gesture("lift", [waiting]), "/arrived_ns", now),
		"effects": asked_on,
	},
	"a nanosecond before the checkout": {
		"input": cases.bend(gesture("lift", [waiting]), "/arrived_ns", now - 1),
		"codes": {"gesture_too_early"},
	},
	"before one checkout, and after another was opened": {
		"input": cases.bend(
			gesture("lift", [waiting, object.union(waiting, {"id": "int_3", "steps": [{
				"state": "awaiting_gesture",
				"at_ns": now - 1,
			}]})]),
			"/arrived_ns", now - 1,
		),
		"effects": {
			advanced("int_3", "awaiting_gesture", "awaiting_gesture_2"),
			told("trm_phone", "gesture_request", {"expires_at_ns": now + 1, "details": {"gesture": "swipe"}}),
		},
	},
	"at the last instant": {
		"input": gesture("lift", [cases.bend(waiting, "/steps/0/at_ns", now - (60 * cases.second))]),
		"effects": asked_on,
	},
	"a nanosecond later": {
		"input": gesture("lift", [cases.bend(waiting, "/steps/0/at_ns", (now - (60 * cases.second)) - 1)]),
		"codes": {"gesture_too_late"},
	},
	"the second operation too long after the first": {
		"input": gesture("swipe", [cases.bend(waiting_on, "/steps/0/at_ns", (now - (60 * cases.second)) - 1)]),
		"codes": {"gesture_too_late"},
	},
}

test_gesture[note] if {
	some note, case in outcomes
	decision := data.payments.decision with input as case.input with data.systems.second_terminal as tuned
	decision == outcome_of(case)
}

outcome_of(case) := cases.allowed_with(case.effects) if {
	case.effects
} else := refused(case.codes)

# The relay hears the same of every refusal.
test_relayed_gesture[note] if {
	some note, case in outcomes
	decision := data.payments.decision with input as relayed(case.input) with data.systems.second_terminal as tuned
	decision == relayed_outcome_of(case)
}

relayed_outcome_of(case) := cases.allowed_with(case.effects) if {
	case.effects
} else := refused_as(case.codes, {"gesture_not_expected"})

# The same report, from the relay of the phone's system.
relayed(report) := json.patch(report, [
	{"op": "replace", "path": "/call/operation", "value": "relay_gesture"},
	{"op": "add", "path": "/call/terminal", "value": "trm_phone"},
	{"op": "replace", "path": "/identity", "value": relay},
	{"op": "remove", "path": "/facts/terminal/identity"},
	{"op": "add", "path": "/facts/terminal/os", "value": own_relay.os},
])

own_relay := data.systems.second_terminal.relays[0]

# The same relay, by its certificate.
by_certificate := {"issuer": "spiffe://push.example", "subject": "/relay", "os": own_relay.os}

certified_relay := {"kind": "relay", "issuer": by_certificate.issuer, "subject": by_certificate.subject}

relay := {"kind": "relay", "issuer": own_relay.issuer, "subject": own_relay.subject}

test_reporter[note] if {
	some note, case in {
		"the laptop reports for the phone": {
			"input": cases.bend(cases.bend(lifted, "/facts/terminal", laptop), "/identity", laptop.identity),
			"decision": refused({"checkout_none"}),
		},
		"another terminal's identity": {
			"input": cases.bend(lifted, "/identity", tablet.identity),
			"decision": refused({"terminal_unknown"}),
		},
		"a frozen terminal": {
			"input": cases.bend(lifted, "/facts/terminal/state", "frozen"),
			"decision": refused({"terminal_unknown"}),
		},
		"a frozen account": {
			"input": cases.bend(lifted, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen", "checkout_none"}),
		},
		"an unknown relay": {
			"input": cases.bend(relayed(lifted), "/identity/subject", "relay-nobody"),
			"decision": refused({"relay_unknown"}),
		},
		"a relay of another issuer": {
			"input": cases.bend(relayed(lifted), "/identity/issuer", "https://evil.example"),
			"decision": refused({"relay_unknown"}),
		},
		"the relay by its certificate": {
			"input": cases.bend(relayed(lifted), "/identity", certified_relay),
			"decision": cases.allowed_with(asked_on | closed_on_tablet),
		},
		"a relay of a trust domain that starts alike": {
			"input": cases.bend(relayed(lifted), "/identity", object.union(certified_relay, {"issuer": "spiffe://push.example.evil"})),
			"decision": refused({"relay_unknown"}),
		},
		"a token that says what the certificate does": {
			"input": cases.bend(relayed(lifted), "/identity/subject", certified_relay.subject),
			"decision": refused({"relay_unknown"}),
		},
		"a terminal as a relay": {
			"input": cases.bend(relayed(lifted), "/identity/kind", "terminal"),
			"decision": refused({"relay_unknown"}),
		},
		"the relay of another operating system": {
			"input": cases.bend(relayed(lifted), "/facts/terminal/os", "another"),
			"decision": refused({"terminal_not_relayed"}),
		},
		"for a terminal that there is not": {
			"input": cases.without(cases.without(relayed(lifted), "/facts/terminal"), "/facts/account"),
			"decision": refused({"terminal_not_relayed"}),
		},
		"for a frozen terminal": {
			"input": cases.bend(relayed(lifted), "/facts/terminal/state", "frozen"),
			"decision": refused({"terminal_not_relayed"}),
		},
		"for a terminal of a frozen account: the relay does not hear of it": {
			"input": cases.bend(relayed(lifted), "/facts/account/state", "frozen"),
			"decision": refused_as({"checkout_none"}, {"gesture_not_expected"}),
		},
		"a relay for somebody": {
			"input": cases.add(relayed(lifted), "/identity/on_behalf_of", "carl"),
			"decision": refused({"relay_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input
		with data.systems.second_terminal as object.union(tuned, {"relays": [own_relay, by_certificate]})
	decision == case.decision
}

# Whatever an operator tunes.
test_gesture_as_tuned[note] if {
	some note, case in {"from the phone": lifted, "relayed": relayed(lifted)}
	decision := data.payments.decision with input as case
	decision == cases.allowed_with(asked_on | closed_on_tablet)
}
