package payments.shared.account

import data.payments.shared.limit as limits

# METADATA
# title: Whether an account lets a payment through
# description: |
#   For a payment that is not the call's own: of any account, and of whatever has an
#   amount and a currency, such as an intent. What it compares is what account.rego
#   compares for the call.
lets_through(payer, payment) if {
	payer.state == "active"
	is_string(payment.currency)
	payer.currency == payment.currency
	is_payable(payment.amount_minor)
	is_number(payer.max_payment_minor)
	payment.amount_minor <= payer.max_payment_minor
	is_array(payer.limits)
	every limit in payer.limits {
		limits.within(limit, payment.amount_minor)
	}
}

# METADATA
# title: Why an account does not let a payment through
why_not(payer, payment) := union({
	{frozen_reason | not payer.state == "active"},
	{currency_reason | not payer.currency == payment.currency},
	{amount_reason | not is_payable(payment.amount_minor)},
	{over_maximum_reason(payer) | payment.amount_minor > payer.max_payment_minor},
	{over_limit_reason(limit) |
		some limit in payer.limits
		not limits.within_amount(limit, payment.amount_minor)
	},
	{over_count_reason(limit) |
		some limit in payer.limits
		not limits.within_count(limit)
	},
	{window_reason(limit) |
		some limit in payer.limits
		limit.window_full == true
	},
})

# Whole minor units, and something to pay.
is_payable(amount_minor) if {
	is_number(amount_minor)
	amount_minor == floor(amount_minor)
	amount_minor > 0
}

# METADATA
# title: Reserve from an account
# description: |
#   The effect that takes a payment's money, for a system's `on_allow` where account
#   or payee do not stand in the call.
reserve_from(payer, payee, payment) := {
	"type": "reserve",
	"account": payer.id,
	"payee": payee,
	"amount_minor": payment.amount_minor,
	"currency": payment.currency,
}

frozen_reason := {
	"code": "account_frozen",
	"message": "The account is frozen.",
}

currency_reason := {
	"code": "currency_not_account",
	"message": "The payment is not in the account's currency.",
}

amount_reason := {
	"code": "amount_invalid",
	"message": "The amount is not a whole number of minor units above zero.",
}

over_maximum_reason(payer) := {
	"code": "amount_over_payment_maximum",
	"message": "The amount is over the account's maximum for one payment.",
	"limit": "payment",
	"remaining_minor": payer.max_payment_minor,
} if {
	is_number(payer.max_payment_minor)
	payer.max_payment_minor >= 0
}

over_limit_reason(limit) := object.union(limits.about(limit), {
	"code": "amount_over_limit",
	"message": "The amount is over what remains of a limit of the account.",
	"remaining_minor": limits.amount_left(limit),
})

over_count_reason(limit) := object.union(limits.about(limit), {
	"code": "count_over_limit",
	"message": "No payment remains of a limit of the account.",
	"remaining_count": limits.count_left(limit),
})

window_reason(limit) := object.union(limits.about(limit), {
	"code": "limit_window_full",
	"message": "A limit of the account can keep no more payments in its window.",
})
