package payments.systems.delegated_payment_test

payment := object.union(
	call_of(
		"pay",
		bakery,
		{"payee": "mer_bakery", "amount_minor": 1250, "currency": currency},
		{
			"account": account,
			"grant": grant,
			"merchant": {
				"id": "mer_bakery",
				"state": "active",
				"category": "5462",
				"country": "DE",
				"channel": "till",
			},
		},
	),
	{"evidence": {"payment_code": {"matched": true, "step_age": 0}}},
)

plain := bend(bend(payment, "/facts/grant", plain_grant), "/facts/account/limits", [])

paid := object.union(allowed, {"effects": {{
	"type": "reserve",
	"account": "acc_anna",
	"grant": "grt_ben",
	"payee": "mer_bakery",
	"amount_minor": 1250,
	"currency": currency,
}}})

code_invalid := {"code": "payment_code_invalid", "message": "The payment code is not valid."}

merchant_unknown := {"code": "merchant_unknown", "message": "The caller is not a merchant here."}

not_payee := {"code": "merchant_not_payee", "message": "A merchant is paid itself, and names itself as the payee."}

merchant_frozen := {"code": "merchant_frozen", "message": "The merchant is frozen."}

# What the merchant hears of what it may not know.
over_limit := {"code": "payment_over_limit", "message": "The amount is over what the payer allows now."}

count_over_limit := {
	"code": "payment_count_over_limit",
	"message": "The payer allows no further payment now.",
}

not_permitted := {"code": "payment_not_permitted", "message": "The payer does not allow this payment."}

not_authorised := {
	"code": "payment_not_authorised",
	"message": "The payer's authority to pay is not in force.",
}

over_payment(maximum_minor) := {
	"code": "amount_over_grant_payment_maximum",
	"message": "The amount is over the grant's maximum for one payment.",
	"limit": "payment",
	"remaining_minor": maximum_minor,
}

account_over_payment(maximum_minor) := {
	"code": "amount_over_payment_maximum",
	"message": "The amount is over the account's maximum for one payment.",
	"limit": "payment",
	"remaining_minor": maximum_minor,
}

over_total(remaining_minor) := {
	"code": "amount_over_limit",
	"message": "The amount is over what remains of a limit of the account.",
	"limit": "total",
	"remaining_minor": remaining_minor,
}

over_pocket_money(remaining_minor) := {
	"code": "amount_over_grant_limit",
	"message": "The amount is over what remains of a limit of the grant.",
	"limit": "pocket_money",
	"remaining_minor": remaining_minor,
	"resets_at_ns": now + (6 * day),
}

over_cooling(remaining_minor) := {
	"code": "amount_over_grant_cooling",
	"message": "The amount is over what remains until the new grant has cooled.",
	"limit": "cooling",
	"remaining_minor": remaining_minor,
	"resets_at_ns": now + 1,
}

not_allowed(what, message) := {"code": sprintf("%s_not_allowed", [what]), "message": message}

test_payment[note] if {
	some note, case in {
		"Ben pays: each limit, instant and hour exactly reached": {
			"input": payment,
			"decision": paid,
		},
		"with the code of the step before": {
			"input": bend(plain, "/evidence/payment_code/step_age", 1),
			"decision": paid,
		},
		"a code older than that": {
			"input": bend(payment, "/evidence/payment_code/step_age", 2),
			"decision": refused({code_invalid}),
		},
		"a code that is wrong, stale, from the future or used: the grant is not talked about": {
			"input": json.patch(payment, [
				{"op": "replace", "path": "/evidence/payment_code", "value": {"matched": false}},
				{"op": "replace", "path": "/facts/grant/currency", "value": "XTS"},
			]),
			"decision": refused({code_invalid}),
		},
		"a code of a grant that is over: only the record says so": {
			"input": json.patch(payment, [
				{"op": "replace", "path": "/evidence/payment_code", "value": {"matched": false}},
				{"op": "replace", "path": "/facts/grant/state", "value": "revoked"},
			]),
			"decision": refused_as({code_invalid, in_state.revoked}, {code_invalid}),
		},
		"a code of nobody": {
			"input": json.patch(payment, [
				{"op": "replace", "path": "/evidence/payment_code", "value": {"matched": false}},
				{"op": "remove", "path": "/facts/grant"},
				{"op": "remove", "path": "/facts/account"},
			]),
			"decision": refused({code_invalid}),
		},
		"no code": {
			"input": without(payment, "/evidence"),
			"decision": refused({code_invalid}),
		},
		"a match of no grant": {
			"input": without(payment, "/facts/grant"),
			"decision": refused({code_invalid}),
		},
		"a caller who is no merchant": {
			"input": without(payment, "/facts/merchant"),
			"decision": refused({merchant_unknown}),
		},
		"a caller who is no merchant, with a wrong code": {
			"input": bend(without(payment, "/facts/merchant"), "/evidence/payment_code/matched", false),
			"decision": refused({code_invalid, merchant_unknown}),
		},
		"a merchant on behalf of another": {
			"input": add(payment, "/identity/on_behalf_of", "mer_books"),
			"decision": refused({merchant_unknown}),
		},
		"another merchant is to be paid": {
			"input": bend(payment, "/call/payee", "mer_books"),
			"decision": refused({not_payee}),
		},
		"another merchant brings the code": {
			"input": bend(payment, "/facts/merchant/id", "mer_books"),
			"decision": refused({not_payee}),
		},
		"another merchant brings the code of a revoked grant: not told": {
			"input": bend(bend(payment, "/facts/merchant/id", "mer_books"), "/facts/grant/state", "revoked"),
			"decision": refused({not_payee}),
		},
		"a frozen merchant": {
			"input": bend(payment, "/facts/merchant/state", "frozen"),
			"decision": refused({merchant_frozen}),
		},
		"the account of another grant": {
			"input": bend(payment, "/facts/account/id", "acc_carl"),
			"decision": nothing_said,
		},
		"a state nobody knows": {
			"input": bend(payment, "/facts/grant/state", "ACTIVE"),
			"decision": nothing_said,
		},
		"before its first instant": {
			"input": bend(payment, "/facts/grant/valid_from/at_ns", now + 1),
			"decision": refused_as(
				{{
					"code": "grant_not_yet_valid",
					"message": "The grant is not valid yet.",
					"resets_at_ns": now + 1,
				}},
				{not_authorised},
			),
		},
		"after its last instant": {
			"input": bend(payment, "/facts/grant/valid_to/at_ns", now - 1),
			"decision": refused_as({expired}, {not_authorised}),
		},
		"a grant with as few restrictions as can be": {
			"input": plain,
			"decision": paid,
		},
		"a delegation that nobody knows": {
			"input": bend(payment, "/facts/grant/delegation", "FULL"),
			"decision": refused_as(
				{{
					"code": "delegation_not_supported",
					"message": "The grant's delegation is none that is supported.",
				}},
				{not_permitted},
			),
		},
		"a grant in another currency: the merchant may know": {
			"input": bend(payment, "/facts/grant/currency", "XTS"),
			"decision": refused({{
				"code": "currency_not_grant",
				"message": "The payment is not in the grant's currency.",
			}}),
		},
		"an account in another currency by now": {
			"input": bend(payment, "/facts/account/currency", "XTS"),
			"decision": refused_as(
				{{
					"code": "currency_not_account",
					"message": "The payment is not in the account's currency.",
				}},
				{not_permitted},
			),
		},
		"an account that is frozen": {
			"input": bend(payment, "/facts/account/state", "frozen"),
			"decision": refused_as({account_frozen}, {not_authorised}),
		},
		"an account of another owner by now": {
			"input": bend(payment, "/facts/account/owner/subject", "carl"),
			"decision": refused_as(
				{{
					"code": "grant_owner_changed",
					"message": "The account has another owner than the one who gave the grant.",
				}},
				{not_authorised},
			),
		},
		"nothing to pay: the merchant may know": {
			"input": bend(payment, "/call/amount_minor", 0),
			"decision": refused({{
				"code": "amount_invalid",
				"message": "The amount is not a whole number of minor units above zero.",
			}}),
		},
		"nothing at all": {
			"input": {"call": {"system": "delegated_payment", "operation": "pay"}},
			"decision": refused({code_invalid, merchant_unknown}),
		},
		"by an operation that there is not": {
			"input": bend(payment, "/call/operation", "pay_out"),
			"decision": nothing_said,
		},
		"what another system pays": {
			"input": bend(payment, "/call/system", "another_system"),
			"decision": refused(set()),
		},
	}

	decision := data.payments.decision with input as case.input
	decision == case.decision
}

# A grant in each other state says which.
test_payment_in_state[state] if {
	some state in {"offered", "frozen", "declined", "revoked", "ended"}
	decision := data.payments.decision with input as bend(payment, "/facts/grant/state", state)
	decision == refused_as({in_state[state]}, {not_authorised})
}

test_limits[note] if {
	some note, case in {
		"one minor unit more than every limit leaves": {
			"input": bend(payment, "/call/amount_minor", 1251),
			"decision": refused_as(
				{
					over_payment(1250),
					over_pocket_money(1250),
					over_cooling(1250),
					account_over_payment(1250),
					over_total(1250),
				},
				{over_limit},
			),
		},
		"one minor unit over the maximum for one payment": {
			"input": bend(payment, "/facts/grant/max_payment_minor", 1249),
			"decision": refused_as({over_payment(1249)}, {over_limit}),
		},
		"nothing left of a limit that was lowered below what is spent": {
			"input": bend(payment, "/facts/grant/limits/0/amount/remaining_minor", -7),
			"decision": refused_as({over_pocket_money(0)}, {over_limit}),
		},
		"no payment left of a limit": {
			"input": bend(
				add(payment, "/facts/grant/limits/1/resets_at_ns", now + 5),
				"/facts/grant/limits/1/count/remaining",
				0,
			),
			"decision": refused_as(
				{{
					"code": "count_over_grant_limit",
					"message": "No payment remains of a limit of the grant.",
					"limit": "not_too_often",
					"remaining_count": 0,
					"resets_at_ns": now + 5,
				}},
				{count_over_limit},
			),
		},
		"a window that is full": {
			"input": bend(
				add(payment, "/facts/grant/limits/1/resets_at_ns", now + 5),
				"/facts/grant/limits/1/window_full",
				true,
			),
			"decision": refused_as(
				{{
					"code": "grant_limit_window_full",
					"message": "A limit of the grant can keep no more payments in its window.",
					"limit": "not_too_often",
					"resets_at_ns": now + 5,
				}},
				{count_over_limit},
			),
		},
		"no limits": {
			"input": bend(payment, "/facts/grant/limits", []),
			"decision": nothing_said,
		},
		"a limit that says nothing": {
			"input": bend(payment, "/facts/grant/limits/0", {"name": "pocket_money"}),
			"decision": nothing_said,
		},
		"over what a new grant may spend": {
			"input": bend(payment, "/facts/grant/cooling/remaining_minor", 1249),
			"decision": refused_as({over_cooling(1249)}, {over_limit}),
		},
		"the account's maximum for one payment": {
			"input": bend(payment, "/facts/account/max_payment_minor", 1249),
			"decision": refused_as({account_over_payment(1249)}, {over_limit}),
		},
		"a limit of the account": {
			"input": bend(payment, "/facts/account/limits/0/amount/remaining_minor", 1249),
			"decision": refused_as({over_total(1249)}, {over_limit}),
		},
		"no payment left of the account": {
			"input": bend(payment, "/facts/account/limits/0/count/remaining", 0),
			"decision": refused_as(
				{{
					"code": "count_over_limit",
					"message": "No payment remains of a limit of the account.",
					"limit": "total",
					"remaining_count": 0,
				}},
				{count_over_limit},
			),
		},
		"the account's window is full": {
			"input": bend(payment, "/facts/account/limits/0/window_full", true),
			"decision": refused_as(
				{{
					"code": "limit_window_full",
					"message": "A limit of the account can keep no more payments in its window.",
					"limit": "total",
				}},
				{count_over_limit},
			),
		},
	}

	decision := data.payments.decision with input as case.input
	decision == case.decision
}

# The instant at which a grant has cooled is the first without the bound.
test_cooled if {
	late := bend(plain, "/facts/grant/cooling", object.union(grant.cooling, {"remaining_minor": 0, "until_ns": now}))
	first := data.payments.decision with input as late
	first == paid
	last := data.payments.decision with input as bend(late, "/facts/grant/cooling/until_ns", now + 1)
	last == refused_as({over_cooling(0)}, {over_limit})
}

test_filters[note] if {
	merchants := not_allowed("merchant", "The grant does not pay this merchant.")
	categories := not_allowed("category", "The grant does not pay merchants of this category.")
	countries := not_allowed("country", "The grant does not pay merchants in this country.")
	channels := not_allowed("channel", "The grant does not pay through this channel.")
	some note, case in {
		"other merchants": {"at": "merchants", "filter": {"mode": "only", "values": ["mer_books"]}, "reason": merchants},
		"not this merchant": {"at": "merchants", "filter": {"mode": "except", "values": ["mer_bakery"]}, "reason": merchants},
		"other categories": {"at": "categories", "filter": {"mode": "only", "values": ["5942"]}, "reason": categories},
		"not this category": {"at": "categories", "filter": {"mode": "except", "values": ["5462"]}, "reason": categories},
		"other countries": {"at": "countries", "filter": {"mode": "only", "values": ["AT"]}, "reason": countries},
		"not this country": {"at": "countries", "filter": {"mode": "except", "values": ["DE"]}, "reason": countries},
		"other channels": {"at": "channels", "filter": {"mode": "only", "values": ["web"]}, "reason": channels},
		"not this channel": {"at": "channels", "filter": {"mode": "except", "values": ["till"]}, "reason": channels},
		"a country in small letters": {"at": "countries", "filter": {"mode": "only", "values": ["de"]}, "reason": countries},
	}

	decision := data.payments.decision with input as bend(payment, sprintf("/facts/grant/%s", [case.at]), case.filter)
	decision == refused_as({case.reason}, {not_permitted})
}

# A filter whose mode nobody knows lets nothing through.
test_filter_of_no_mode if {
	every what in {"merchants", "categories", "countries", "channels"} {
		bent := bend(payment, sprintf("/facts/grant/%s/mode", [what]), "all")
		decision := data.payments.decision with input as bent
		decision.allow == false
	}
}

test_hours[note] if {
	some note, case in {
		"in the first minute": {"from": 720, "to": 1200, "begins": false, "decision": paid},
		"a minute before it": {"from": 721, "to": 1200, "begins": true, "decision": wrong_hour},
		"just after the last instant": {"from": 420, "to": 720, "begins": false, "decision": wrong_hour},
		"a minute after it": {"from": 420, "to": 719, "begins": true, "decision": wrong_hour},
		"not the one instant of the day": {"from": 720, "to": 720, "begins": false, "decision": wrong_hour},
		"over midnight, before it": {"from": 720, "to": 60, "begins": false, "decision": paid},
		"over midnight, at the end": {"from": 1320, "to": 720, "begins": true, "decision": paid},
		"over midnight, just after the end": {"from": 1320, "to": 720, "begins": false, "decision": wrong_hour},
		"over midnight, in between": {"from": 1320, "to": 360, "begins": false, "decision": wrong_hour},
	}

	hours := {
		"mode": "between",
		"from_minute": case.from,
		"to_minute": case.to,
		"minute_now": 720,
		"minute_begins": case.begins,
	}
	decision := data.payments.decision with input as bend(plain, "/facts/grant/hours", hours)
	decision == case.decision
}

wrong_hour := refused_as({not_allowed("hour", "The grant does not pay at this time of day.")}, {not_permitted})

# More reasons than a decision may have: sixteen of them, and no allow.
test_everything_is_wrong if {
	grant_of_nothing := with_members(grant, {
		"state": "frozen",
		"currency": "XTS",
		"max_payment_minor": 1,
		"delegation": "none",
		"valid_from": {"mode": "at", "at_ns": now + 1},
		"valid_to": {"mode": "at", "at_ns": now - 1},
		"merchants": {"mode": "only", "values": ["mer_books"]},
		"categories": {"mode": "only", "values": ["5942"]},
		"countries": {"mode": "only", "values": ["AT"]},
		"channels": {"mode": "only", "values": ["web"]},
		"limits": [object.union(limit, {"name": sprintf("limit_%d", [i])}) |
			some i in numbers.range(1, 16)
			limit := bend(grant.limits[0], "/amount/remaining_minor", 0)
		],
	})
	decision := data.payments.decision with input as bend(payment, "/facts/grant", grant_of_nothing)
	decision.allow == false
	decision.effects == set()
	count(decision.reasons) == 16
	count(decision.public_reasons) > 0
}

test_nothing_is_paid_with_a_member_missing if {
	count(members(payment)) > 100
	open_without(payment) == set()
}
