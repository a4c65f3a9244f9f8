# METADATA
# title: Tests of proxied business
# description: |
#   Whole decisions, case by case. This file has the story that the cases bend: Anna
#   has no bank card; her phone asks for a business, and the desk of a shop executes
#   it.
# schemas:
#   - input: schema.input
#   - data.systems.proxied_business: schema.proxied_business
package payments.systems.proxied_business_test

import data.payments.shared.cases_test as cases

now := cases.now

day := 86400 * cases.second

# When the phone asked: a minute ago.
asked_at := now - (60 * cases.second)

phone := {"kind": "terminal", "issuer": "https://id.example", "subject": "anna-phone"}

tablet := {"kind": "terminal", "issuer": "https://id.example", "subject": "anna-tablet"}

# One of those that the data lists, where it lists them.
desk := object.union({"kind": "agent"}, data.systems.proxied_business.agents.identities[0]) if {
	data.systems.proxied_business.agents.mode == "only"
} else := {"kind": "agent", "issuer": "https://id.example", "subject": "desk-7"}

other_desk := {"kind": "agent", "issuer": "https://id.example", "subject": "desk-8"}

# Each bound is exactly reached.
limits := [{
	"name": "daily",
	"period": {"kind": "day", "alignment": "calendar", "zone": "Europe/Berlin"},
	"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 5000},
	"count": {"mode": "at_most", "max": 20, "remaining": 1},
	"window_full": false,
	"starts_at_ns": now - day,
	"resets_at_ns": now + day,
}]

# An account as the one that pays, and as the one that is paid.
paying(account) := object.union(account, {"max_payment_minor": 5000, "limits": limits})

annas_account := {
	"id": "acc_anna",
	"owner": {"issuer": cases.anna.issuer, "subject": cases.anna.subject},
	"state": "active",
	"currency": "EUR",
}

desks_account := {
	"id": "acc_desk",
	"owner": desk,
	"state": "active",
	"currency": "EUR",
}

annas_phone := {
	"id": "trm_phone",
	"account": "acc_anna",
	"state": "bound",
	"bound_at_ns": asked_at,
}

# Opened by the phone, which had just been bound.
business(type, state) := {
	"id": "int_1",
	"system": "proxied_business",
	"kind": "proxied_business",
	"state": state,
	"account": "acc_anna",
	"initiator": {"issuer": phone.issuer, "subject": phone.subject},
	"terminal": "trm_phone",
	"amount_minor": 5000,
	"currency": "EUR",
	"attributes": {"type": type},
	"opened_at_ns": asked_at,
	"expires_at_ns": now,
	"expired": false,
	"closed": false,
}

# Of those that the cases know by name, and whatever an operator lists.
tuned := {
	"types": object.union(data.systems.proxied_business.types, {
		"top_up": {"payer": "agent"},
		"withdrawal": {"payer": "user"},
	}),
	"window_seconds": 900,
	"max_open": 2,
	"echo_required": true,
	"agents": {"mode": "any"},
}

# The server of a desk, which has a certificate.
certified_desk := {"kind": "agent", "issuer": "spiffe://desk.example", "subject": "/desk-8"}

only_listed := object.union(tuned, {"agents": {
	"mode": "only",
	"identities": [
		{"issuer": other_desk.issuer, "subject": other_desk.subject},
		{"issuer": certified_desk.issuer, "subject": certified_desk.subject},
	],
}})

call_of(operation, caller, fields, facts) := cases.call_of("proxied_business", operation, caller, fields, facts)

# Refused for these reasons, of which the caller hears all.
refused(codes) := refused_as(codes, codes)

# Refused for these reasons, of which the caller hears those.
refused_as(codes, public) := cases.refused_as(
	{reasons[code] | some code in codes},
	{reasons[code] | some code in public},
)

reasons[code] := object.union({"code": split(code, ":")[0], "message": said[0]}, said[1]) if {
	some code, said in {
		"account_unknown": ["There is no such account, or it is not yours.", {}],
		"account_frozen": ["The account is frozen.", {}],
		"amount_invalid": ["The amount is not a whole number of minor units above zero.", {}],
		"currency_not_account": ["The payment is not in the account's currency.", {}],
		"amount_over_payment_maximum": [
			"The amount is over the account's maximum for one payment.",
			{"limit": "payment", "remaining_minor": 4999},
		],
		"amount_over_limit": [
			"The amount is over what remains of a limit of the account.",
			{"limit": "daily", "remaining_minor": 4999, "resets_at_ns": now + day},
		],
		"count_over_limit": [
			"No payment remains of a limit of the account.",
			{"limit": "daily", "remaining_count": 0, "resets_at_ns": now + day},
		],
		"limit_window_full": [
			"A limit of the account can keep no more payments in its window.",
			{"limit": "daily", "resets_at_ns": now + day},
		],
		"terminal_unknown": ["The caller is no terminal here, or is not bound.", {}],
		"intent_unknown": ["There is no such request, or it is not open to you.", {}],
		"intent_expired": ["The request has expired.", {}],
		"intent_cancelled": ["The request was cancelled.", {}],
		"intent_closed": ["The request is over.", {}],
		"agent_not_registered": ["The caller is not registered as an agent.", {}],
		"agent_is_user": ["The agent is the user who asked.", {}],
		"business_type_unknown": ["There is no such type of business.", {}],
		"business_type_changed": ["The request is for another type of business.", {}],
		"business_over_maximum": [
			"As many requests wait for an agent as may at the same time.",
			{"limit": "max_open", "remaining_count": 0},
		],
		"business_needs_no_scan": ["The agent pays, and executes it without being confirmed.", {}],
		"business_scanned": ["The agent has scanned it already.", {}],
		"business_not_scanned": ["No agent has scanned it yet.", {}],
		"business_confirmed": ["An agent is confirmed already.", {}],
		"business_not_confirmed": ["The user has not confirmed the agent yet.", {}],
		"business_of_another_agent": ["Another agent has scanned it. The user can cancel it and ask anew.", {}],
		"device_unbound": ["The device that asked is not bound to the user's account any more.", {}],
		"amount_not_repeated": ["The amount that the agent was shown must be repeated.", {}],
		"amount_changed": ["The request is for another amount.", {}],
		"paid_account_frozen": ["The account that would be paid is frozen.", {}],
		"currency_not_paid_account": ["The business is not in the currency of the account that would be paid.", {}],
		"payment_over_limit": ["The amount is over what the payer allows now.", {}],
		"payment_count_over_limit": ["The payer allows no further payment now.", {}],
		"payment_not_permitted": ["The payer does not allow this payment.", {}],
		"payment_not_authorised": ["The payer's authority to pay is not in force.", {}],
		"payment_not_possible": ["The payment cannot be made to that account now.", {}],
	}
}
