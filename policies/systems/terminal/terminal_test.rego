# METADATA
# title: Tests of terminals
# description: |
#   Whole decisions, case by case. This file has the terminal that the cases bend,
#   Anna's phone, and what every call of a terminal must come from.
# schemas:
#   - input: schema.input
#   - data.systems.terminal: schema.terminal
package payments.systems.terminal_test

import data.payments.shared.cases_test as cases

now := cases.now

second := cases.second

# Bound for long enough, whatever the data says.
phone := object.union(
	cases.terminal_of("phone", now - (max({3600, data.systems.terminal.stored_codes.cooling_seconds}) * second)),
	{"rights": ["approve", "order"]},
)

# What most calls look at of a terminal.
bare_phone := object.remove(phone, ["rights"])

# Its identity alone matters to its messages.
mute_phone := object.remove(bare_phone, ["account", "bound_at_ns"])

call_of(operation, fields, facts) := cases.call_of("terminal", operation, phone.identity, fields, facts)

# Data of which the cases know the bounds, whatever an operator tunes.
tuned := {
	"stored_codes": {"cooling_seconds": 3600},
	"unlock": {"methods": ["hwk", "mfa"]},
	"cancellable": {"proxied_business": ["open"]},
}

terminal_unknown := {"code": "terminal_unknown", "message": "The caller is no terminal here, or is not bound."}

terminal_frozen := {"code": "terminal_frozen", "message": "The terminal is frozen."}

right_missing := {"code": "terminal_right_missing", "message": "The terminal has no right to do this."}

# Calls of a terminal as they are allowed.
good := {
	"approve_challenge": approval("approve_challenge"),
	"reject_challenge": without_rights(approval("reject_challenge")),
	"view_challenge": viewed("view_challenge", {"terminal": bare_phone}),
	"view_intent": call_of("view_intent", {"intent": "int_business"}, {"terminal": bare_phone, "intent": opened_intent}),
	"cancel_intent": cancel,
	"stream_messages": call_of("stream_messages", {}, {"terminal": mute_phone}),
	"acknowledge_messages": call_of("acknowledge_messages", {"up_to": 7}, {"terminal": mute_phone}),
	"store_code": store_code,
}

effects_of(operation) := object.get({"cancel_intent": {cancelled, told("trm_other")}}, operation, set())

test_allowed[note] if {
	some note, input_document in good
	decision := data.payments.decision with input as input_document with data.systems.terminal as tuned
	decision == cases.allowed_with(effects_of(note))
}

# With the data as delivered too, but for states that only tuned data knows.
test_allowed_as_delivered[note] if {
	some note, input_document in object.remove(good, ["cancel_intent"])
	decision := data.payments.decision with input as input_document
	decision == cases.allowed
}

test_sender[note] if {
	some operation, input_document in good
	some bent, case in {
		"a frozen terminal": {
			"input": cases.bend(input_document, "/facts/terminal/state", "frozen"),
			"reason": terminal_frozen,
		},
		"an unbound one": {
			"input": cases.bend(input_document, "/facts/terminal/state", "unbound"),
			"reason": terminal_unknown,
		},
		"a state nobody knows": {
			"input": cases.bend(input_document, "/facts/terminal/state", "BOUND"),
			"reason": terminal_unknown,
		},
		"a caller who is no terminal": {
			"input": cases.without(input_document, "/facts/terminal"),
			"reason": terminal_unknown,
		},
		"the terminal of another identity": {
			"input": cases.bend(input_document, "/identity/subject", "terminal-other"),
			"reason": terminal_unknown,
		},
		"for somebody else": {
			"input": cases.add(input_document, "/identity/on_behalf_of", "anna"),
			"reason": terminal_unknown,
		},
		"a user of the same name": {
			"input": cases.bend(input_document, "/identity/kind", "user"),
			"reason": terminal_unknown,
		},
		"another terminal, and frozen: not told": {
			"input": cases.bend(cases.bend(input_document, "/identity/subject", "terminal-other"), "/facts/terminal/state", "frozen"),
			"reason": terminal_unknown,
		},
	}
	note := sprintf("%s: %s", [operation, bent])
	decision := data.payments.decision with input as case.input with data.systems.terminal as tuned
	decision == cases.refused({case.reason})
}

test_nothing_is_done_with_a_member_missing[operation] if {
	some operation, input_document in good
	open := {path |
		some path in cases.members(input_document)
		decision := data.payments.decision with input as json.patch(input_document, [{"op": "remove", "path": path}])
			with data.systems.terminal as tuned
		not cases.closed(decision)
	}
	open == set()
}
