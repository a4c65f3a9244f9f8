package payments.systems.delegated_payment_test

offer := call_of(
	"offer_grant",
	anna,
	{
		"account": "acc_anna",
		"delegate_kind": ben.kind,
		"delegate_issuer": ben.issuer,
		"delegate_subject": ben.subject,
		"terms": terms,
	},
	{"account": {
		"id": "acc_anna",
		"owner": anna,
		"state": "active",
		"currency": currency,
		"delegates": {"open": data.systems.delegated_payment.max_delegates - 1},
	}},
)

not_eligible := {"code": "delegate_not_eligible", "message": "A grant cannot be offered to such a delegate."}

is_owner := {"code": "delegate_is_owner", "message": "The owner of the account needs no grant on it."}

too_many := {
	"code": "delegates_over_maximum",
	"message": "The account has as many grants as it may have at the same time.",
	"limit": "max_delegates",
	"remaining_count": 0,
}

not_supported := {
	"code": "delegation_not_supported",
	"message": "Grants with such a delegation are not offered.",
}

terms_expired := {"code": "terms_expired", "message": "The grant would not be valid any more."}

too_short := {
	"code": "terms_cooling_too_short",
	"message": "A grant must have a cooling time, and a longer one.",
}

not_served := {"code": "terms_currency_not_served", "message": "There are no grants in this currency."}

too_high(maximum) := {
	"code": "terms_payment_maximum_too_high",
	"message": "A grant may not allow so much for one payment.",
	"limit": "payment",
	"remaining_minor": maximum,
}

currency_not_account := {
	"code": "terms_currency_not_account",
	"message": "The grant would not be in the account's currency.",
}

# As the bundle is tuned.
test_offer if {
	decision := data.payments.decision with input as offer
	decision == allowed
}

# With one grant fewer than five.
tuned_offer := bend(offer, "/facts/account/delegates/open", 4)

test_offers[note] if {
	some note, case in {
		"the fifth delegate": {
			"input": tuned_offer,
			"decision": allowed,
		},
		"the sixth delegate": {
			"input": bend(tuned_offer, "/facts/account/delegates/open", 5),
			"decision": refused({too_many}),
		},
		"by somebody else": {
			"input": bend(tuned_offer, "/identity/subject", "carl"),
			"decision": refused({account_unknown}),
		},
		"by a delegate who passes it on": {
			"input": bend(bend(tuned_offer, "/identity/subject", "ben"), "/call/delegate_subject", "carl"),
			"decision": refused({account_unknown}),
		},
		"by the owner on behalf of somebody else": {
			"input": add(tuned_offer, "/identity/on_behalf_of", "carl"),
			"decision": refused({account_unknown}),
		},
		"on an account that there is not": {
			"input": without(tuned_offer, "/facts/account"),
			"decision": refused({account_unknown}),
		},
		"on a frozen account": {
			"input": bend(tuned_offer, "/facts/account/state", "frozen"),
			"decision": refused({account_frozen}),
		},
		"on somebody else's frozen account: not told": {
			"input": bend(bend(tuned_offer, "/facts/account/state", "frozen"), "/identity/subject", "carl"),
			"decision": refused({account_unknown}),
		},
		"to herself": {
			"input": bend(tuned_offer, "/call/delegate_subject", "anna"),
			"decision": refused({is_owner}),
		},
		"to herself as something else": {
			"input": bend(bend(tuned_offer, "/call/delegate_subject", "anna"), "/call/delegate_kind", "agent"),
			"decision": refused({is_owner, not_eligible}),
		},
		"to another kind of delegate": {
			"input": bend(tuned_offer, "/call/delegate_kind", "agent"),
			"decision": refused({not_eligible}),
		},
		"to a delegate of another issuer": {
			"input": bend(tuned_offer, "/call/delegate_issuer", "https://evil.example"),
			"decision": refused({not_eligible}),
		},
		"in another currency than the account's": {
			"input": bend(tuned_offer, "/facts/account/currency", "XTS"),
			"decision": refused({currency_not_account}),
		},
		"in a currency without grants": {
			"input": bend(bend(tuned_offer, "/call/terms/currency", "XTS"), "/facts/account/currency", "XTS"),
			"decision": refused({not_served}),
		},
		"the most for one payment": {
			"input": bend(tuned_offer, "/call/terms/max_payment_minor", 500000),
			"decision": allowed,
		},
		"one minor unit more": {
			"input": bend(tuned_offer, "/call/terms/max_payment_minor", 500001),
			"decision": refused({too_high(500000)}),
		},
		"partial delegation": {
			"input": bend(tuned_offer, "/call/terms/delegation", "partial"),
			"decision": refused({not_supported}),
		},
		"over before it begins": {
			"input": bend(tuned_offer, "/call/terms/valid_to", {"mode": "at", "at_ns": now - 1}),
			"decision": refused({terms_expired}),
		},
		"without an end": {
			"input": bend(tuned_offer, "/call/terms/valid_to", {"mode": "any"}),
			"decision": allowed,
		},
		"the least cooling time": {
			"input": bend(tuned_offer, "/call/terms/cooling/seconds", 3600),
			"decision": allowed,
		},
		"one second less": {
			"input": bend(tuned_offer, "/call/terms/cooling/seconds", 3599),
			"decision": refused({too_short}),
		},
		"no cooling time": {
			"input": bend(tuned_offer, "/call/terms/cooling", {"mode": "none"}),
			"decision": refused({too_short}),
		},
	}

	decision := data.payments.decision with input as case.input with data.systems.delegated_payment as tuned
	decision == case.decision
}

test_no_cooling_required if {
	free := bend(tuned, "/terms/cooling/required", false)
	warm := bend(tuned_offer, "/call/terms/cooling", {"mode": "none"})
	decision := data.payments.decision with input as warm with data.systems.delegated_payment as free
	decision == allowed
}

# A change is held to the same bounds.
test_changes[note] if {
	some note, case in {
		"the most for one payment": {"path": "/max_payment_minor", "value": 500000, "decision": allowed},
		"one minor unit more": {"path": "/max_payment_minor", "value": 500001, "decision": refused({too_high(500000)})},
		"partial delegation": {"path": "/delegation", "value": "partial", "decision": refused({not_supported})},
		"over by now": {
			"path": "/valid_to",
			"value": {"mode": "at", "at_ns": now - 1},
			"decision": refused({terms_expired}),
		},
		"a shorter cooling time": {"path": "/cooling/seconds", "value": 3599, "decision": refused({too_short})},
	}
	change := bend(about_grant("change_grant", anna, "active"), sprintf("/call/terms%s", [case.path]), case.value)
	decision := data.payments.decision with input as change with data.systems.delegated_payment as tuned
	decision == case.decision
}

test_no_offer_with_a_member_missing if {
	document := bent_terms(offer)
	count(members(document)) > 20
	open_without(document) == set()
}
