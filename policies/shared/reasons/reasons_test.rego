# METADATA
# title: Tests of who is told which reason
# description: The table itself, and what each audience hears of a limit.
# schemas:
#   - input: schema.input
#   - data.shared: schema.shared
package payments.shared.reasons_test

import data.payments.shared.reasons as table

# Every code that is said instead of another one has a message.
test_every_code_said_has_a_message if {
	otherwise := {code | code := data.shared.reasons[_].otherwise}
	instead := {code | code := data.shared.reasons[_].told_as[_]}
	every code in otherwise | instead {
		is_string(data.shared.messages[code])
	}
}

limit_reason(code) := {
	"code": code,
	"message": "Over.",
	"limit": "month",
	"remaining_minor": 7,
	"resets_at_ns": 9,
}

told_as(code) := {"code": code, "message": data.shared.messages[code]}

test_told[note] if {
	over := limit_reason("amount_over_grant_limit")
	account_over := limit_reason("amount_over_limit")
	some note, case in {
		"the owner of a grant": {"reason": over, "audience": "owner", "told": over},
		"its delegate": {"reason": over, "audience": "delegate", "told": over},
		"the payee": {"reason": over, "audience": "payee", "told": told_as("payment_over_limit")},
		"an agent of another account": {"reason": over, "audience": "agent", "told": told_as("grant_unknown")},
		"everybody": {"reason": over, "audience": "everybody", "told": told_as("grant_unknown")},
		"the owner of an account": {"reason": account_over, "audience": "owner", "told": account_over},
		"an agent of its own account": {"reason": account_over, "audience": "agent", "told": account_over},
		"a delegate on it": {"reason": account_over, "audience": "delegate", "told": told_as("account_unknown")},
		"a payee from it": {"reason": account_over, "audience": "payee", "told": told_as("payment_over_limit")},
	}
	table.told(case.reason, case.audience) == case.told
}

# Whatever the payee hears, no limit, no remainder and no reset are in it, but of
# what it said itself, and of what it asked itself.
test_a_payee_hears_a_code_alone if {
	every code, _ in data.shared.reasons {
		told := table.told(limit_reason(code), "payee")
		payee_may_hear(code, told)
	}
}

payee_may_hear(_, told) if object.keys(told) == {"code", "message"}

payee_may_hear(code, _) if code in {
	"amount_invalid",
	"currency_not_grant",
	"merchant_unknown",
	"merchant_not_payee",
	"merchant_frozen",
	"payment_code_invalid",
	"account_unknown",
	"grant_unknown",
	"caller_not_itself",
	"verification_required",
	"approval_required",
	"challenge_locked",
	"challenge_used",
	"approval_rejected",
	"approval_code_changed",
	"initiator_paused",
	"challenges_over_limit",
	"terminal_unknown",
	"intent_unknown",
	"relay_unknown",
	"terminal_not_relayed",
	"agent_not_registered",
	"agent_is_user",
	"business_type_unknown",
	"business_type_changed",
	"business_scanned",
	"business_not_confirmed",
	"business_of_another_agent",
	"amount_not_repeated",
	"amount_changed",
	"paid_account_frozen",
	"currency_not_paid_account",
	"terminal_frozen",
	"agent_not_eligible",
	"stored_code_invalid",
	"order_asked_for_code",
	"challenge_unknown",
}
