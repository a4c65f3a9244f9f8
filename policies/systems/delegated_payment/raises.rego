package payments.systems.delegated_payment

import data.payments.shared.limit as limits

# Raising a limit is how a stolen phone would be made worth more. For
# data.systems.delegated_payment.raise_cooling_seconds after a raise, the lower bound
# that it replaced still holds; after several, the lowest of them. So do the approvals
# of a partial delegation that became full.
raises_cooled if {
	is_array(input.facts.grant.raises)
	every raise in input.facts.grant.raises { raise_known(raise) }
	is_number(data.systems.delegated_payment.raise_cooling_seconds)
	every held in held_amounts { input.call.amount_minor <= held.remaining_minor }
	every held in held_counts { held.remaining_count >= 1 }
}

raise_known(raise) if {
	is_number(raise.at_ns)
	is_number(raise.max_payment_minor)
	is_array(raise.limits)
	raise.delegation in {"full", "partial"}
	every old in raise.limits {
		is_string(old.name)
		limits.period_known(old.period)
		bound_known(old.amount, "max_minor")
		bound_known(old.count, "max")
	}
}

bound_known(bound, _) if bound.mode == "any"

bound_known(bound, member) if {
	bound.mode == "at_most"
	is_number(bound[member])
}

# Raises that are not over, each with the instant at which the new bounds hold.
raises_in_cooling contains {"raise": raise, "until_ns": until_ns} if {
	some raise in input.facts.grant.raises
	until_ns := raise.at_ns + (data.systems.delegated_payment.raise_cooling_seconds * 1000000000)
	input.now_ns < until_ns
}

partial_before_raise if {
	some cooling in raises_in_cooling
	cooling.raise.delegation == "partial"
}

held_amounts contains held if {
	some cooling in raises_in_cooling
	held := {
		"limit": "payment",
		"remaining_minor": cooling.raise.max_payment_minor,
		"until_ns": cooling.until_ns,
	}
}

held_amounts contains held if {
	some cooling in raises_in_cooling
	some old in cooling.raise.limits
	old.amount.mode == "at_most"
	held := {
		"limit": old.name,
		"remaining_minor": max({0, old.amount.max_minor - amount_used(old)}),
		"until_ns": cooling.until_ns,
	}
}

held_counts contains held if {
	some cooling in raises_in_cooling
	some old in cooling.raise.limits
	old.count.mode == "at_most"
	held := {
		"limit": old.name,
		"remaining_count": max({0, old.count.max - count_used(old)}),
		"until_ns": cooling.until_ns,
	}
}

# What is spent of a limit in the period that holds now. A limit that is gone, or
# bounds nothing any more, does not tell: then all that it allowed counts as spent.
# One of the same name over another period is another limit: it counts anew.
amount_used(old) := limit.amount.max_minor - limit.amount.remaining_minor if {
	some limit in input.facts.grant.limits
	same_limit(limit, old)
	limit.amount.mode == "at_most"
} else := 9007199254740991

count_used(old) := limit.count.max - limit.count.remaining if {
	some limit in input.facts.grant.limits
	same_limit(limit, old)
	limit.count.mode == "at_most"
} else := 9007199254740991

same_limit(limit, old) if {
	limit.name == old.name
	limit.period == old.period
}

# One reason for each limit: the lowest bound, until the last one that is too low.
raise_deny contains reason if {
	exceeding := {held | some held in held_amounts; not input.call.amount_minor <= held.remaining_minor}
	some name in {held.limit | some held in exceeding}
	reason := {
		"code": "amount_over_raise_cooling",
		"message": "A bound of the grant was raised, and the lower one still holds.",
		"limit": name,
		"remaining_minor": min({held.remaining_minor | some held in exceeding; held.limit == name}),
		"resets_at_ns": max({held.until_ns | some held in exceeding; held.limit == name}),
	}
}

raise_deny contains reason if {
	exceeding := {held | some held in held_counts; not held.remaining_count >= 1}
	some name in {held.limit | some held in exceeding}
	reason := {
		"code": "count_over_raise_cooling",
		"message": "A bound of the grant was raised, and the lower one still holds.",
		"limit": name,
		"remaining_count": 0,
		"resets_at_ns": max({held.until_ns | some held in exceeding; held.limit == name}),
	}
}
