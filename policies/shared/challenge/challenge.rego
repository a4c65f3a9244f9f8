# METADATA
# title: Rules on challenges
# description: |
#   A call that people must confirm is denied at first, with one reason and a
#   challenge: codes that go to terminals and come back, or an approval on one of
#   them. Repeated under its idempotency key, the call finds the challenge among its
#   facts. A system permits with `confirms`, asks where everything but that holds
#   (`may_ask`), and says why not (`deny`). It calls these rules only where nothing
#   else stands against the call: until then nobody is asked anything.
#
#   What a system's data says of asking is one object: `max_starts` challenges by one
#   caller about one account in `window_seconds`; and once
#   `max_rejected_in_a_row` of them were rejected, none for `pause_seconds`.
# schemas:
#   - input: schema.input
package payments.shared.challenge

import data.payments.shared.caller
import data.payments.shared.terminal

# METADATA
# title: Whether the call's challenge is confirmed
# description: |
#   For this very caller, operation and account, and while each terminal that was
#   asked still is what it was then. Amount, currency and payee are compared by the
#   system: a call may have them from an intent.
confirms(kind, account) if {
	input.facts.challenge.state == "satisfied"
	input.facts.challenge.kind == kind
	is_string(account)
	input.facts.challenge.account == account
	is_string(input.call.system)
	input.facts.challenge.system == input.call.system
	is_string(input.call.operation)
	input.facts.challenge.operation == input.call.operation
	caller.is(input.facts.challenge.initiator)
	is_array(input.facts.challenge.terminals)
	count(input.facts.challenge.terminals) > 0
	every id in input.facts.challenge.terminals { still_asked(id, account) }
}

still_asked(id, account) if {
	some bound in input.facts.terminals
	bound.id == id
	terminal.acts_for(bound, account)
	terminal.bound_since(bound, input.facts.challenge.issued_at_ns)
}

# METADATA
# title: Whether the challenge is for the payment of the call
is_for_payment if {
	is_number(input.call.amount_minor)
	input.facts.challenge.amount_minor == input.call.amount_minor
	is_string(input.call.currency)
	input.facts.challenge.currency == input.call.currency
	is_string(input.call.payee)
	input.facts.challenge.payee == input.call.payee
}

# METADATA
# title: Whether people may be asked now
# description: |
#   A challenge that is open is kept, and told again: nobody is asked twice. Another
#   one is a start, also where the one before is over.
may_ask(_) if is_open

may_ask(asking) if {
	not is_final
	starts_left(asking)
	unpaused(asking)
}

is_open if input.facts.challenge.state == "open"

# States of a challenge after which the call is refused for good, under its key.
is_final if final_reason[input.facts.challenge.state]

final_reason := {
	"locked": {
		"code": "challenge_locked",
		"message": "The codes were entered wrongly too often.",
	},
	"rejected": {
		"code": "approval_rejected",
		"message": "The call was rejected on a terminal.",
	},
	"consumed": {
		"code": "challenge_used",
		"message": "What was confirmed was used up by another decision.",
	},
}

starts_left(asking) if {
	is_number(asking.max_starts)
	is_number(asking.window_seconds)
	is_array(input.facts.initiator.starts_at_ns)
	count(starts_in_window(asking)) < asking.max_starts
}

# At the last instant of the window a start is in it no more.
starts_in_window(asking) := [at_ns |
	some at_ns in input.facts.initiator.starts_at_ns
	input.now_ns < at_ns + (asking.window_seconds * 1000000000)
]

unpaused(asking) if {
	is_number(asking.max_rejected_in_a_row)
	is_number(input.facts.initiator.rejected_in_a_row)
	input.facts.initiator.rejected_in_a_row < asking.max_rejected_in_a_row
}

unpaused(asking) if input.now_ns >= pause_ends_at_ns(asking)

pause_ends_at_ns(asking) := input.facts.initiator.rejected_at_ns + (asking.pause_seconds * 1000000000)

required_reason := {
	"code": "verification_required",
	"message": "Codes were sent to the account's terminals. Repeat the call under the same key once they were entered.",
}

approval_reason := {
	"code": "approval_required",
	"message": "The account's owner was asked to approve. Repeat the call under the same key once that is done.",
}

locked_reason := {
	"code": "verification_locked",
	"message": "Codes were entered wrongly too often: the account's verification is locked until it is unlocked.",
}

# METADATA
# title: Why people are not asked
refusals(asking) := {final_reason[input.facts.challenge.state]} if {
	is_final
} else := set() if {
	is_open
} else := pause_refusals(asking) | start_refusals(asking)

pause_refusals(asking) := set() if {
	unpaused(asking)
} else := {{
	"code": "initiator_paused",
	"message": "The last calls were rejected on a terminal: nobody is asked again for a while.",
	"resets_at_ns": pause_ends_at_ns(asking),
}}

start_refusals(asking) := set() if {
	starts_left(asking)
} else := {{
	"code": "challenges_over_limit",
	"message": "The account's people were asked as often as they may be for now.",
	"limit": "max_starts",
	"remaining_count": 0,
	"resets_at_ns": next_start_at_ns(asking),
}}

next_start_at_ns(asking) := at_ns + (asking.window_seconds * 1000000000) if {
	starts := sort(starts_in_window(asking))
	at_ns := starts[count(starts) - asking.max_starts]
}
