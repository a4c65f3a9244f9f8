# METADATA
# title: Tests of the decision
# description: How permits, denials and effects of any system come together.
# schemas:
#   - input: schema.input
package payments_test

call := {
	"version": 1,
	"now_ns": 1795532400000000000,
	"arrived_ns": 1795532400000000000,
	"call": {"system": "trial", "operation": "pay"},
}

reason := {"code": "not_today", "message": "Not today."}

hidden := {"code": "refused", "message": "The call is refused."}

open_reason := {"code": "account_unknown", "message": "There is no such account, or it is not yours."}

owners_reason := {"code": "amount_over_limit", "message": "Over.", "limit": "total", "remaining_minor": 7}

payees_reason := {"code": "payment_over_limit", "message": "The amount is over what the payer allows now."}

effect := {"type": "notify"}

other := {"type": "reserve"}

permits := {"permit": true, "deny": set()}

allowed := {"allow": true, "reasons": set(), "public_reasons": set(), "effects": set()}

refused := {"allow": false, "reasons": set(), "public_reasons": set(), "effects": set()}

# What the system "trial" says, and what comes of it.
test_decision[note] if {
	some note, case in {
		"a permit": {
			"system": permits,
			"decision": allowed,
		},
		"a permit with effects": {
			"system": object.union(permits, {"on_allow": {effect, other}}),
			"decision": object.union(allowed, {"effects": {effect, other}}),
		},
		"the effects of a denial are not those of an allow": {
			"system": object.union(permits, {"on_deny": {other}}),
			"decision": allowed,
		},
		"a permit and a denial": {
			"system": {"permit": true, "deny": {reason}, "on_allow": {effect}, "on_deny": {other}},
			"decision": {"allow": false, "reasons": {reason}, "public_reasons": {hidden}, "effects": {other}},
		},
		"a denial whose reason everybody is told": {
			"system": {"permit": true, "deny": {open_reason}},
			"decision": object.union(refused, {"reasons": {open_reason}, "public_reasons": {open_reason}}),
		},
		"a denial whose reason this audience is told": {
			"system": {"deny": {owners_reason}, "audience": "owner"},
			"decision": object.union(refused, {"reasons": {owners_reason}, "public_reasons": {owners_reason}}),
		},
		"a denial whose reason another audience is told": {
			"system": {"deny": {owners_reason}, "audience": "delegate"},
			"decision": object.union(refused, {"reasons": {owners_reason}, "public_reasons": {open_reason}}),
		},
		"a denial of which this audience is told something else": {
			"system": {"deny": {owners_reason}, "audience": "payee"},
			"decision": object.union(refused, {"reasons": {owners_reason}, "public_reasons": {payees_reason}}),
		},
		"a denial to an audience that is no name": {
			"system": {"deny": {owners_reason}, "audience": ["owner"]},
			"decision": object.union(refused, {"reasons": {owners_reason}, "public_reasons": {open_reason}}),
		},
		"two reasons that are told alike": {
			"system": {"deny": {reason, object.union(reason, {"code": "nor_tomorrow"})}},
			"decision": object.union(refused, {
				"reasons": {reason, object.union(reason, {"code": "nor_tomorrow"})},
				"public_reasons": {hidden},
			}),
		},
		"neither": {
			"system": {"deny": set()},
			"decision": refused,
		},
		"a permit that is not true": {
			"system": {"permit": "yes", "deny": set()},
			"decision": refused,
		},
		"a permit that is false": {
			"system": {"permit": false, "deny": set()},
			"decision": refused,
		},
		"a misspelt deny": {
			"system": {"permit": true, "denies": {reason}},
			"decision": refused,
		},
		"a deny that is no set": {
			"system": {"permit": true, "deny": false},
			"decision": refused,
		},
		"no rules at all": {
			"system": {},
			"decision": refused,
		},
	}

	decision := data.payments.decision with input as call with data.payments.systems.trial as case.system
	decision == case.decision
}

# A call that is not as the sidecar makes them is not allowed, whatever the
# system says.
test_call[note] if {
	some note, bent in {
		"another version": object.union(call, {"version": 2}),
		"no version": object.remove(call, ["version"]),
		"no time": object.remove(call, ["now_ns"]),
		"no arrival": object.remove(call, ["arrived_ns"]),
		"time as text": object.union(call, {"now_ns": "1795532400000000000"}),
		"before 1970": object.union(call, {"now_ns": -1}),
		"another system": object.union(call, {"call": {"system": "another"}}),
		"no system": object.union(call, {"call": {"system": null}}),
		"no call": object.remove(call, ["call"]),
		"nothing": {},
	}

	decision := data.payments.decision with input as bent with data.payments.systems.trial as permits
	decision == refused
}
