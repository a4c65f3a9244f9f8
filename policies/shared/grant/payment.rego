package payments.shared.grant

import data.payments.shared.limit as limits

# Whoever has the account by now has not given what its owner before gave.
given_by_owner if {
	is_party(input.facts.account.owner)
	input.facts.account.owner.kind == input.facts.grant.owner.kind
	input.facts.account.owner.issuer == input.facts.grant.owner.issuer
	input.facts.account.owner.subject == input.facts.grant.owner.subject
}

# Everything that a grant's own terms ask of a payment. Each line has its denial
# below.
allows_payment if {
	given_by_owner
	input.facts.grant.state == "active"
	begun
	unexpired
	delegation_known
	currency_matches
	within_payment_maximum
	within_limits
	cooled
	allows(input.facts.grant.merchants, input.facts.merchant.id)
	allows(input.facts.grant.categories, input.facts.merchant.category)
	allows(input.facts.grant.countries, input.facts.merchant.country)
	allows(input.facts.grant.channels, input.facts.merchant.channel)
	in_hours
}

# METADATA
# title: Reserve by a grant
# description: |
#   The effect that takes the payment's money: of the owner's account, counted
#   in the grant too.
reserve := {
	"type": "reserve",
	"account": input.facts.grant.account,
	"grant": input.facts.grant.id,
	"payee": input.call.payee,
	"amount_minor": input.call.amount_minor,
	"currency": input.call.currency,
}

# Under a partial one the owner approves each payment: that is for the system to see to.
delegation_known if input.facts.grant.delegation in {"full", "partial"}

currency_matches if {
	is_string(input.call.currency)
	input.call.currency == input.facts.grant.currency
}

within_payment_maximum if {
	is_number(input.call.amount_minor)
	is_number(input.facts.grant.max_payment_minor)
	input.call.amount_minor <= input.facts.grant.max_payment_minor
}

# A grant without a limit would be one without end.
within_limits if {
	is_array(input.facts.grant.limits)
	count(input.facts.grant.limits) > 0
	every limit in input.facts.grant.limits {
		limits.within(limit, input.call.amount_minor)
	}
}

# For a while after it was accepted, a grant may allow less.
cooled if input.facts.grant.cooling.mode == "none"

cooled if {
	cooling_bounded
	input.now_ns >= input.facts.grant.cooling.until_ns
}

cooled if {
	cooling_bounded
	input.call.amount_minor <= input.facts.grant.cooling.remaining_minor
}

cooling_bounded if {
	input.facts.grant.cooling.mode == "first"
	is_number(input.facts.grant.cooling.until_ns)
	is_number(input.facts.grant.cooling.max_minor)
	is_number(input.facts.grant.cooling.remaining_minor)
}

# METADATA
# title: What a filter lets through
# description: Everything, only what it lists, or everything but what it lists.
allows(filter, value) if {
	filter.mode == "any"
	is_string(value)
}

allows(filter, value) if {
	filter.mode == "only"
	is_string(value)
	value in filter.values
}

allows(filter, value) if {
	filter.mode == "except"
	is_string(value)
	is_array(filter.values)
	not value in filter.values
}

# Hours are of the local day where the grant says, and may go over midnight. Both
# ends are instants at which it still pays: of the last minute, its beginning.
in_hours if input.facts.grant.hours.mode == "any"

in_hours if {
	hours_bounded
	input.facts.grant.hours.from_minute <= input.facts.grant.hours.to_minute
	after_from
	before_to
}

in_hours if {
	hours_bounded
	input.facts.grant.hours.from_minute > input.facts.grant.hours.to_minute
	after_from
}

in_hours if {
	hours_bounded
	input.facts.grant.hours.from_minute > input.facts.grant.hours.to_minute
	before_to
}

hours_bounded if {
	input.facts.grant.hours.mode == "between"
	is_number(input.facts.grant.hours.from_minute)
	is_number(input.facts.grant.hours.to_minute)
	is_number(input.facts.grant.hours.minute_now)
	is_boolean(input.facts.grant.hours.minute_begins)
}

after_from if input.facts.grant.hours.minute_now >= input.facts.grant.hours.from_minute

before_to if input.facts.grant.hours.minute_now < input.facts.grant.hours.to_minute

before_to if {
	input.facts.grant.hours.minute_now == input.facts.grant.hours.to_minute
	input.facts.grant.hours.minute_begins == true
}

deny contains reason if {
	not given_by_owner
	reason := {
		"code": "grant_owner_changed",
		"message": "The account has another owner than the one who gave the grant.",
	}
}

deny contains in_state[input.facts.grant.state] if input.facts.grant.state != "active"

deny contains reason if {
	not begun
	reason := {
		"code": "grant_not_yet_valid",
		"message": "The grant is not valid yet.",
		"resets_at_ns": input.facts.grant.valid_from.at_ns,
	}
}

deny contains expired_reason if not unexpired

deny contains reason if {
	not delegation_known
	reason := {
		"code": "delegation_not_supported",
		"message": "The grant's delegation is none that is supported.",
	}
}

deny contains reason if {
	not currency_matches
	reason := {
		"code": "currency_not_grant",
		"message": "The payment is not in the grant's currency.",
	}
}

deny contains reason if {
	not within_payment_maximum
	reason := {
		"code": "amount_over_grant_payment_maximum",
		"message": "The amount is over the grant's maximum for one payment.",
		"limit": "payment",
		"remaining_minor": input.facts.grant.max_payment_minor,
	}
}

deny contains reason if {
	some limit in input.facts.grant.limits
	not limits.within_amount(limit, input.call.amount_minor)
	reason := object.union(limits.about(limit), {
		"code": "amount_over_grant_limit",
		"message": "The amount is over what remains of a limit of the grant.",
		"remaining_minor": limits.amount_left(limit),
	})
}

deny contains reason if {
	some limit in input.facts.grant.limits
	not limits.within_count(limit)
	reason := object.union(limits.about(limit), {
		"code": "count_over_grant_limit",
		"message": "No payment remains of a limit of the grant.",
		"remaining_count": limits.count_left(limit),
	})
}

deny contains reason if {
	some limit in input.facts.grant.limits
	limit.window_full == true
	reason := object.union(limits.about(limit), {
		"code": "grant_limit_window_full",
		"message": "A limit of the grant can keep no more payments in its window.",
	})
}

deny contains reason if {
	not cooled
	reason := {
		"code": "amount_over_grant_cooling",
		"message": "The amount is over what remains until the new grant has cooled.",
		"limit": "cooling",
		"remaining_minor": max({0, input.facts.grant.cooling.remaining_minor}),
		"resets_at_ns": input.facts.grant.cooling.until_ns,
	}
}

deny contains reason if {
	not allows(input.facts.grant.merchants, input.facts.merchant.id)
	reason := {
		"code": "merchant_not_allowed",
		"message": "The grant does not pay this merchant.",
	}
}

deny contains reason if {
	not allows(input.facts.grant.categories, input.facts.merchant.category)
	reason := {
		"code": "category_not_allowed",
		"message": "The grant does not pay merchants of this category.",
	}
}

deny contains reason if {
	not allows(input.facts.grant.countries, input.facts.merchant.country)
	reason := {
		"code": "country_not_allowed",
		"message": "The grant does not pay merchants in this country.",
	}
}

deny contains reason if {
	not allows(input.facts.grant.channels, input.facts.merchant.channel)
	reason := {
		"code": "channel_not_allowed",
		"message": "The grant does not pay through this channel.",
	}
}

deny contains reason if {
	not in_hours
	reason := {
		"code": "hour_not_allowed",
		"message": "The grant does not pay at this time of day.",
	}
}
