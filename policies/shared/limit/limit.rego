# METADATA
# title: What one limit leaves
# description: |
#   A limit bounds amount, count or both, over a period. Periods are computed before
#   the policy is asked: here stands only the comparison with what remains now. For
#   amount and count each, a limit says either that it bounds nothing ("any") or
#   what remains ("at_most"); one that says neither holds everything back.
# schemas:
#   - input: schema.input
package payments.shared.limit

within_amount(limit, _) if limit.amount.mode == "any"

within_amount(limit, amount_minor) if {
	limit.amount.mode == "at_most"
	is_number(limit.amount.max_minor)
	is_number(limit.amount.remaining_minor)
	is_number(amount_minor)
	amount_minor <= limit.amount.remaining_minor
}

within_count(limit) if limit.count.mode == "any"

within_count(limit) if {
	limit.count.mode == "at_most"
	is_number(limit.count.max)
	is_number(limit.count.remaining)
	limit.count.remaining >= 1
}

# A sliding window keeps each payment in it by itself, and so only so many.
window_open(limit) if limit.window_full == false

within(limit, amount_minor) if {
	is_string(limit.name)
	within_amount(limit, amount_minor)
	within_count(limit)
	window_open(limit)
	dated(limit)
}

# Since when a limit adds up, and until when: a lifetime has no end, and a sliding
# window without a payment nothing that will leave it.
dated(limit) if limit.period.kind == "lifetime"

dated(limit) if {
	limit.period.kind == "sliding"
	is_number(limit.period.window_seconds)
	is_number(limit.starts_at_ns)
}

dated(limit) if {
	period_known(limit.period)
	is_number(limit.starts_at_ns)
	is_number(limit.resets_at_ns)
}

# METADATA
# title: Whether a period says all that makes it one
period_known(period) if period.kind == "lifetime"

period_known(period) if {
	period.kind == "sliding"
	is_number(period.window_seconds)
}

period_known(period) if {
	period.kind in {"day", "month", "half_year", "year"}
	period.alignment in {"calendar", "consent"}
	is_string(period.zone)
}

period_known(period) if {
	period.kind in {"week", "fortnight"}
	period.alignment == "consent"
	is_string(period.zone)
}

period_known(period) if {
	period.kind == "week"
	period.alignment == "calendar"
	is_string(period.zone)
	is_string(period.week_start)
}

# METADATA
# title: What a reason says about a limit
# description: Its name and when it begins anew; a limit for a lifetime never does.
about(limit) := {"limit": limit.name, "resets_at_ns": limit.resets_at_ns} if {
	is_number(limit.resets_at_ns)
} else := {"limit": limit.name}

# METADATA
# title: What remains, as a reason says it
# description: What remains is told as nothing where more is spent than a limit now allows.
amount_left(limit) := max({0, limit.amount.remaining_minor})

count_left(limit) := max({0, limit.count.remaining})
