# METADATA
# title: Payment from a second terminal
# description: |
#   Choose on the computer, pay on the phone. The first terminal opens a checkout, which
#   finds the second terminals of the account (checkouts.rego). An operation on one of
#   them, such as a swipe, may be wanted before anything is pushed to it
#   (gestures.rego). Then the second terminal pays, if it must with a token that it read
#   from the screen of the first (pay.rego). Every operation has a `permit` that names
#   all it needs; `deny` says which of it is missing.
# schemas:
#   - input: schema.input
#   - data.systems.second_terminal: schema.second_terminal
package payments.systems.second_terminal

import data.payments.shared.terminal

# What terminals do themselves.
for_terminals := {"open_checkout", "report_gesture", "pay_checkout"}

# Who calls, which decides what they are told (shared/data.yaml). A terminal of the
# account is told what its owner is; a relay hears nothing of anybody's checkouts.
audience := "owner" if {
	input.call.operation in for_terminals
	acts
}

# The terminal that calls is bound to the account.
acts if {
	terminal.sent(input.facts.terminal)
	terminal.acts_for(input.facts.terminal, input.facts.account.id)
}

terminals_known if terminal.all_known(input.facts.terminals)

# Of these terminals, those that can be told something.
reachable(ids) := [known.id |
	some known in input.facts.terminals
	known.id in ids
	terminal.acts_for(known, input.facts.account.id)
]

deny contains terminal.unknown_reason if {
	input.call.operation in for_terminals
	not acts
}
