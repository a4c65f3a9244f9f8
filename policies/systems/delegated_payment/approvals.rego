package payments.systems.delegated_payment

import data.payments.shared.caller
import data.payments.shared.challenge
import data.payments.shared.terminal

# The owner approves each payment under a partial delegation, and under one that was
# partial until a while ago (raises.rego).
needs_approval if input.facts.grant.delegation == "partial"

needs_approval if partial_before_raise

# On a terminal of the account that has the right to approve. The merchant repeats the
# call under its key, with the same code: the code is used up, and its key finds the
# approval.
approved if {
	needs_approval
	input.evidence.payment_code.matched_when_asked == true
	challenge.confirms("approval", input.facts.account.id)
	challenge.is_for_payment
	is_string(input.facts.challenge.decided_by)
	input.facts.challenge.decided_by in input.facts.challenge.terminals
	input.facts.challenge.decided_by in approvers
}

# The owner was asked about this call of this merchant, however that has gone.
asked_before if {
	input.facts.challenge.kind == "approval"
	is_string(input.facts.challenge.account)
	input.facts.challenge.account == input.facts.grant.account
	caller.is(input.facts.challenge.initiator)
}

approvers := [bound.id |
	some bound in input.facts.terminals
	terminal.acts_for(bound, input.facts.account.id)
	terminal.has_right(bound, "approve")
	terminal.cooled(bound, data.systems.delegated_payment.approval.cooling_seconds)
]

# What the owner approves is this code's payment. With another one, which may be of
# another grant, it is another payment.
code_changed if {
	input.facts.grant.delegation == "partial"
	input.facts.challenge.state in {"open", "satisfied"}
	not input.evidence.payment_code.matched_when_asked == true
}

# Nor does a code that needs no approval take the place of the one that did.
code_changed if {
	not needs_approval
	asked_under_key
}

asked_under_key if is_string(input.facts.challenge.state)

wants_approval if {
	payable
	needs_approval
	not approved
	not code_changed
}

askable if {
	wants_approval
	count(approvers) > 0
	is_string(input.facts.grant.delegate.subject)
	challenge.may_ask(data.systems.delegated_payment.approval.asking)
}

on_deny contains effect if {
	askable
	effect := {
		"type": "issue_challenge",
		"kind": "approval",
		"terminals": approvers,
		"expects": "terminals",
		"expires_at_ns": input.now_ns + (data.systems.delegated_payment.approval.expires_seconds * 1000000000),
		"message": "approval_request",
		"details": {"delegate": input.facts.grant.delegate.subject},
	}
}

deny contains challenge.approval_reason if askable

deny contains reason if {
	wants_approval
	some reason in challenge.refusals(data.systems.delegated_payment.approval.asking)
}

deny contains reason if {
	wants_approval
	count(approvers) == 0
	reason := {
		"code": "approval_terminals_missing",
		"message": "The owner has no terminal on which the payment can be approved.",
	}
}

deny contains reason if {
	payable
	code_changed
	reason := {
		"code": "approval_code_changed",
		"message": "The owner was asked about the payment with another code. Pay under another key.",
	}
}
