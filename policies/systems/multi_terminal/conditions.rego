package payments.systems.multi_terminal

# The rule for the amount: of those in its currency, the one that begins highest and
# not above it.
rule := found if {
	rules := data.systems.multi_terminal.rules[input.call.currency]
	from_minor := max({r.from_minor | some r in rules; r.from_minor <= input.call.amount_minor})
	some found in rules
	found.from_minor == from_minor
}

# What the set of codes must meet, as the challenge keeps it. It is told to nobody.
condition := object.union({"entry": rule.entry}, times)

times := {name: nanos |
	some name, member in {
		"within_ns": "within_seconds",
		"min_gap_ns": "min_gap_seconds",
		"max_gap_ns": "max_gap_seconds",
	}
	nanos := rule[member] * 1000000000
}
