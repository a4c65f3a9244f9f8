package payments.systems.delegated_payment_test

import data.payments.shared.cases_test as cases

raise_at(at_ns, limits) := {"at_ns": at_ns, "max_payment_minor": 1250, "limits": limits, "delegation": "full"}

old(name, max_minor, max_count) := old_over(periods[name], name, max_minor, max_count)

periods := {"pocket_money": month, "gone": month, "not_too_often": {"kind": "sliding", "window_seconds": 3600}}

old_over(period, name, max_minor, max_count) := {
	"name": name,
	"period": period,
	"amount": bound(max_minor, "max_minor"),
	"count": bound(max_count, "max"),
}

bound(max, _) := {"mode": "any"} if max == null

bound(max, member) := {"mode": "at_most", member: max} if max != null

raised(raises) := bend(
	plain, "/facts/grant",
	with_members(plain_grant, {"limits": grant.limits, "raises": raises}),
)

held_amount(limit, remaining_minor, until_ns) := {
	"code": "amount_over_raise_cooling",
	"message": "A bound of the grant was raised, and the lower one still holds.",
	"limit": limit,
	"remaining_minor": remaining_minor,
	"resets_at_ns": until_ns,
}

held_count(limit, until_ns) := {
	"code": "count_over_raise_cooling",
	"message": "A bound of the grant was raised, and the lower one still holds.",
	"limit": limit,
	"remaining_count": 0,
	"resets_at_ns": until_ns,
}

# A day after a raise, the higher bound holds. 6 750 of the 8 000 of this month are
# spent, and 2 of 3 payments of the last hour.
test_raise_cooling[note] if {
	some note, case in {
		"one nanosecond before it is over": {
			"input": bend(raised([raise_at((now - day) + 1, [])]), "/facts/grant/raises/0/max_payment_minor", 1249),
			"decision": refused_as({held_amount("payment", 1249, now + 1)}, {over_limit}),
		},
		"when it is over": {
			"input": bend(raised([raise_at(now - day, [])]), "/facts/grant/raises/0/max_payment_minor", 1249),
			"decision": paid,
		},
		"exactly what the bounds before leave": {
			"input": raised([raise_at(now - 1, [old("pocket_money", 8000, null), old("not_too_often", null, 3)])]),
			"decision": paid,
		},
		"one minor unit over it": {
			"input": raised([raise_at(now - 1, [old("pocket_money", 7999, null)])]),
			"decision": refused_as({held_amount("pocket_money", 1249, (now + day) - 1)}, {over_limit}),
		},
		"more spent than it allowed": {
			"input": raised([raise_at(now - 1, [old("pocket_money", 6749, null)])]),
			"decision": refused_as({held_amount("pocket_money", 0, (now + day) - 1)}, {over_limit}),
		},
		"one payment more": {
			"input": raised([raise_at(now - 1, [old("not_too_often", null, 2)])]),
			"decision": refused_as({held_count("not_too_often", (now + day) - 1)}, {count_over_limit}),
		},
		"a limit that is gone, or bounds no amount any more, lets nothing pass": {
			"input": raised([raise_at(now - 1, [old("gone", 9000, null), old("not_too_often", 9000, null)])]),
			"decision": refused_as(
				{held_amount("gone", 0, (now + day) - 1), held_amount("not_too_often", 0, (now + day) - 1)},
				{over_limit},
			),
		},
		"another limit that took the name of one that is gone": {
			"input": raised([raise_at(now - 1, [
				old_over(object.union(month, {"kind": "day"}), "pocket_money", 9000, null),
				old_over({"kind": "sliding", "window_seconds": 3601}, "not_too_often", null, 9),
			])]),
			"decision": refused_as(
				{held_amount("pocket_money", 0, (now + day) - 1), held_count("not_too_often", (now + day) - 1)},
				{over_limit, count_over_limit},
			),
		},
		"a bound on payments that is gone": {
			"input": raised([raise_at(now - 1, [old("pocket_money", null, 9)])]),
			"decision": refused_as({held_count("pocket_money", (now + day) - 1)}, {count_over_limit}),
		},
		"of two raises the lower bound, until the last that is too low": {
			"input": raised([
				raise_at(now - 20, [old("pocket_money", 7000, null)]),
				raise_at(now - 10, [old("pocket_money", 7500, null)]),
				raise_at(now - 1, [old("pocket_money", 8000, null)]),
			]),
			"decision": refused_as({held_amount("pocket_money", 250, (now + day) - 10)}, {over_limit}),
		},
		"a raise that does not say what the delegation was": {
			"input": raised([object.remove(raise_at(now - day, []), ["delegation"])]),
			"decision": nothing_said,
		},
		"a raise that does not say when": {
			"input": raised([object.remove(raise_at(now - 1, []), ["at_ns"])]),
			"decision": nothing_said,
		},
		"a raise that does not say over what": {
			"input": raised([raise_at(now - 1, [object.remove(old("pocket_money", 8000, null), ["period"])])]),
			"decision": refused_as({held_amount("pocket_money", 0, (now + day) - 1)}, {over_limit}),
		},
		"a raise that does not say from what": {
			"input": raised([raise_at(now - 1, [{"name": "pocket_money"}])]),
			"decision": nothing_said,
		},
	}

	decision := data.payments.decision with input as case.input with data.systems.delegated_payment as tuned
	decision == case.decision
}

from_partial(at_ns) := object.union(raise_at(at_ns, []), {"delegation": "partial"})

made_full(input_before, at_ns) := bend(
	bend(input_before, "/facts/grant/delegation", "full"),
	"/facts/grant/raises", [from_partial(at_ns)],
)

# A day after a delegation became full, nobody is asked any more, and a key under which
# the owner was asked pays no more. The rules of the system alone are asked: with the data
# as delivered nobody waits, and the decision would allow what is more than it needs.
test_approval_cooling[note] if {
	ask := {"permit": false, "deny": {cases.approval_required}, "on_deny": {issue}}
	another_key := {"permit": false, "deny": {code_changed}, "on_deny": set()}
	pay := {"permit": true, "deny": set(), "on_deny": set()}
	some note, case in {
		"fresh": {"input": made_full(first, now - 1), "says": ask},
		"one nanosecond before it is over": {"input": made_full(first, (now - day) + 1), "says": ask},
		"when it is over": {"input": made_full(first, now - day), "says": pay},
		"fresh and approved": {"input": made_full(approved, now - 1), "says": pay},
		"over, approved before": {"input": made_full(approved, now - day), "says": another_key},
		"over, and the owner has not answered yet": {"input": made_full(repeated("open"), now - day), "says": another_key},
		"fresh, and the owner said no": {
			"input": made_full(repeated("rejected"), now - 1),
			"says": {"permit": false, "deny": {cases.approval_rejected}, "on_deny": set()},
		},
		"a later raise of money does not end it": {
			"input": bend(made_full(first, now - 20), "/facts/grant/raises", [from_partial(now - 20), raise_at(now - 1, [])]),
			"says": ask,
		},
	}

	said(case.input) == case.says
}

said(asked_about) := {"permit": permitted(asked_about), "deny": denials, "on_deny": effects} if {
	denials := data.payments.systems.delegated_payment.deny with input as asked_about
		with data.systems.delegated_payment as tuned
	effects := data.payments.systems.delegated_payment.on_deny with input as asked_about
		with data.systems.delegated_payment as tuned
}

default permitted(_) := false

permitted(asked_about) if {
	data.payments.systems.delegated_payment.permit with input as asked_about
		with data.systems.delegated_payment as tuned
}

# Without a cooling time, a raise holds at once.
test_no_raise_cooling if {
	at_once := object.union(tuned, {"raise_cooling_seconds": 0})
	bent := bend(raised([raise_at(now, [old("gone", 1, null)])]), "/facts/grant/raises/0/max_payment_minor", 1)
	decision := data.payments.decision with input as bent with data.systems.delegated_payment as at_once
	decision == paid
}

# Only the code that is shown now.
test_newest_code_alone if {
	newest := object.union(tuned, {"max_code_step_age": 0})
	first := data.payments.decision with input as payment with data.systems.delegated_payment as newest
	first == paid
	second := data.payments.decision with input as bend(payment, "/evidence/payment_code/step_age", 1)
		with data.systems.delegated_payment as newest
	second == refused({code_invalid})
}
