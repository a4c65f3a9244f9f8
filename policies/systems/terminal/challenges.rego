package payments.systems.terminal

import data.payments.shared.caller
import data.payments.shared.challenge
import data.payments.shared.terminal

# Whoever enters a code may: from those whom the challenge does not expect it counts
# for nothing, and the answer is the same.
permit if {
	input.call.operation == "enter_code"
	is_string(input.call.challenge)
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
}

# The terminal was asked, and is the one still that was.
asked if {
	sent
	is_string(input.call.challenge)
	input.facts.challenge.id == input.call.challenge
	input.facts.terminal.id in input.facts.challenge.terminals
	terminal.acts_for(input.facts.terminal, input.facts.challenge.account)
	terminal.bound_since(input.facts.terminal, input.facts.challenge.issued_at_ns)
}

permit if {
	input.call.operation == "approve_challenge"
	asked
	input.facts.challenge.kind == "approval"
	input.facts.challenge.state == "open"
	may_approve
}

# Who is asked for codes may say as well that it was not them.
permit if {
	input.call.operation == "reject_challenge"
	asked
	input.facts.challenge.state == "open"
}

permit if {
	input.call.operation == "view_challenge"
	asked
}

permit if {
	input.call.operation == "view_own_challenge"
	own_challenge
}

own_challenge if {
	is_string(input.call.challenge)
	input.facts.challenge.id == input.call.challenge
	caller.is(input.facts.challenge.initiator)
}

may_approve if terminal.has_right(input.facts.terminal, "approve")

deny contains unknown_challenge if {
	input.call.operation in {"approve_challenge", "reject_challenge", "view_challenge"}
	sent
	not asked
}

deny contains unknown_challenge if {
	input.call.operation == "view_own_challenge"
	not own_challenge
}

unknown_challenge := {
	"code": "challenge_unknown",
	"message": "There is no such challenge, or it is not yours.",
}

deny contains reason if {
	input.call.operation == "approve_challenge"
	asked
	input.facts.challenge.kind != "approval"
	reason := {
		"code": "challenge_wants_codes",
		"message": "Codes are wanted: entering them approves.",
	}
}

deny contains terminal.right_missing_reason if {
	input.call.operation == "approve_challenge"
	asked
	not may_approve
}

deny contains over[input.facts.challenge.state] if {
	input.call.operation in {"approve_challenge", "reject_challenge"}
	asked
}

# What is said of a challenge that waits for nobody any more.
over := object.union(challenge.final_reason, {
	"satisfied": {
		"code": "challenge_satisfied",
		"message": "It was confirmed already.",
	},
	"replaced": {
		"code": "challenge_replaced",
		"message": "It was asked again, and this is not what counts any more.",
	},
	"expired": {
		"code": "challenge_expired",
		"message": "The time to answer is over.",
	},
})
