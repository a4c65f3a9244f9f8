package payments.shared.account

import data.payments.shared.limit as limits

# METADATA
# title: Whether an account lets a payment through
# description: |
#   Of any account, and of whatever has an amount and a currency, such as the call or
#   an intent. Each condition is a function of the two as a whole: they are there, and so
#   `not` holds where a member of them is not.
lets_through(payer, payment) if {
	is_active(payer)
	is_in_currency(payer, payment)
	is_payable(payment)
	is_within_maximum(payer, payment)
	is_within_limits(payer, payment)
}

# METADATA
# title: Why an account does not let a payment through
# description: A payment without an amount is told so, and not that it is too much.
why_not(payer, payment) := union({
	{frozen_reason | not is_active(payer)},
	{currency_reason | not is_in_currency(payer, payment)},
	{amount_reason | not is_payable(payment)},
	{over_maximum_reason(payer) |
		is_number(payment.amount_minor)
		not is_within_maximum(payer, payment)
	},
	{over_limit_reason(limit) |
		some limit in payer.limits
		is_number(payment.amount_minor)
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

is_active(payer) if payer.state == "active"

is_in_currency(payer, payment) if {
	is_string(payment.currency)
	payer.currency == payment.currency
}

# Whole minor units, and something to pay.
is_payable(payment) if {
	is_number(payment.amount_minor)
	payment.amount_minor == floor(payment.amount_minor)
	payment.amount_minor > 0
}

is_within_maximum(payer, payment) if {
	is_number(payment.amount_minor)
	is_number(payer.max_payment_minor)
	payment.amount_minor <= payer.max_payment_minor
}

is_within_limits(payer, payment) if {
	is_array(payer.limits)
	every limit in payer.limits {
		limits.within(limit, payment.amount_minor)
	}
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
