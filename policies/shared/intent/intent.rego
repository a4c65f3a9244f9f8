# METADATA
# title: A request that waits for another party
# description: |
#   An intent is an order, a business or a checkout: somebody opened it, and
#   somebody else carries it on, until it closes or expires. Its ID is hard to guess,
#   and who does not know of it learns nothing: one that there is not, one of
#   another system, and one that is over look the same to a stranger. The record
#   says which it was.
# schemas:
#   - input: schema.input
package payments.shared.intent

import data.payments.shared.caller

# The one that the call names, of the call's own system.
named if {
	is_string(input.call.intent)
	input.facts.intent.id == input.call.intent
	is_of_system(input.facts.intent)
}

is_of_system(intent) if {
	is_string(input.call.system)
	intent.system == input.call.system
}

# It expires after its last instant, and is closed by the step that ends it.
is_open(intent) if {
	intent.closed == false
	intent.expired == false
}

opened_by_caller(intent) if caller.is(intent.initiator)

# Who came into it under a name: set once, by the step in which they came.
has_party(intent, name, party) if {
	is_string(party)
	intent.parties[name] == party
}

# METADATA
# title: When it came into a state
# description: The latest time, of a state that it came into more than once.
came_ns(intent, state) := max({step.at_ns |
	some step in intent.steps
	step.state == state
	is_number(step.at_ns)
})

unknown_reason := {
	"code": "intent_unknown",
	"message": "There is no such request, or it is not open to you.",
}

amount_changed_reason := {
	"code": "amount_changed",
	"message": "The request is for another amount.",
}

# METADATA
# title: Why one goes on no more
# description: A reason for the record, and for who opened it.
why_over(intent) := {
	"code": "intent_cancelled",
	"message": "The request was cancelled.",
} if {
	intent.closed == true
	intent.state == "cancelled"
}

why_over(intent) := {
	"code": "intent_closed",
	"message": "The request is over.",
} if {
	intent.closed == true
	intent.state != "cancelled"
}

why_over(intent) := {
	"code": "intent_expired",
	"message": "The request has expired.",
} if {
	intent.closed == false
	intent.expired == true
}
