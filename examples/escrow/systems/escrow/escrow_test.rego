# METADATA
# title: Tests of escrow
# description: |
#   Whole decisions, case by case: Anna buys at a bakery, and an ombudsman is the third.
# schemas:
#   - input: schema.input
#   - data.systems.escrow: schema.escrow
package payments.systems.escrow_test

import data.payments.shared.cases_test as cases

now := cases.now

# Whoever calls for each of the three. The arbiter is one of those that are listed.
callers := {
	"buyer": cases.anna,
	"seller": {"kind": "merchant", "issuer": "https://id.example", "subject": "bakery-till-1"},
	"arbiter": data.systems.escrow.arbiters[0],
}

# Each bound is exactly reached.
account := {
	"id": "acc_anna",
	"state": "active",
	"currency": "EUR",
	"max_payment_minor": 80000,
	"limits": [{
		"name": "total",
		"period": {"kind": "lifetime"},
		"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 80000},
		"count": {"mode": "any"},
		"window_full": false,
	}],
}

purchase := {
	"id": "int_1",
	"system": "escrow",
	"kind": "escrow",
	"state": "open",
	"account": "acc_anna",
	"expired": false,
	"closed": false,
}

# What the rules want of the owner: all of it of the buyer, and of the two others that
# they are somebody else.
owner("buyer") := cases.anna

owner(role) := {"issuer": cases.anna.issuer, "subject": cases.anna.subject} if role in {"seller", "arbiter"}

# What makes a seller one.
sellers_facts("seller") := {"merchant": {"id": "mer_bakery", "state": "active"}}

sellers_facts(role) := {} if role in {"buyer", "arbiter"}

agree(role) := cases.call_of("escrow", "agree", callers[role], {"intent": "int_1"}, object.union(sellers_facts(role), {
	"intent": object.union(purchase, payee_if_seller(role)),
	"account": {"id": "acc_anna", "owner": owner(role)},
}))

payee_if_seller("seller") := {"payee": "mer_bakery"}

payee_if_seller(role) := {} if role in {"buyer", "arbiter"}

# One releases what the other has agreed to.
release(role, first) := cases.call_of(
	"escrow", "release", callers[role], {"intent": "int_1"},
	object.union(sellers_facts(role), {
		"intent": object.union(purchase, {
			"state": "agreed",
			"amount_minor": 80000,
			"currency": "EUR",
			"payee": "mer_bakery",
			"parties": {"first": first},
			"steps": [{"state": "agreed", "by": {"issuer": callers[first].issuer, "subject": callers[first].subject}}],
		}),
		"account": object.union(account, {"owner": owner(role)}),
	}),
)

agreed(role) := cases.allowed_with({{
	"type": "advance_intent",
	"intent": "int_1",
	"from": "open",
	"to": "agreed",
	"parties": {"first": role},
}})

released(role) := cases.allowed_with({
	{
		"type": "advance_intent",
		"intent": "int_1",
		"from": "agreed",
		"to": "released",
		"parties": {"second": role},
		"close": true,
	},
	{
		"type": "reserve",
		"account": "acc_anna",
		"payee": "mer_bakery",
		"amount_minor": 80000,
		"currency": "EUR",
	},
})

reasons := {
	"intent_unknown": {"code": "intent_unknown", "message": "There is no such request, or it is not open to you."},
	"intent_expired": {"code": "intent_expired", "message": "The request has expired."},
	"intent_closed": {"code": "intent_closed", "message": "The request is over."},
	"merchant_frozen": {"code": "merchant_frozen", "message": "The merchant is frozen."},
	"currency_not_account": {
		"code": "currency_not_account",
		"message": "The payment is not in the account's currency.",
	},
	"amount_invalid": {
		"code": "amount_invalid",
		"message": "The amount is not a whole number of minor units above zero.",
	},
	"payment_over_limit": {
		"code": "payment_over_limit",
		"message": "The amount is over what the payer allows now.",
	},
	"payment_not_authorised": {
		"code": "payment_not_authorised",
		"message": "The payer's authority to pay is not in force.",
	},
	"amount_over_limit": {
		"code": "amount_over_limit",
		"message": "The amount is over what remains of a limit of the account.",
		"limit": "total",
		"remaining_minor": 79999,
	},
	"escrows_over_maximum": {
		"code": "escrows_over_maximum",
		"message": "As many purchases of the account are open as may be at the same time.",
		"limit": "max_open",
		"remaining_count": 0,
	},
	"escrow_agreed": {
		"code": "escrow_agreed",
		"message": "One of the three has agreed: another one can release it.",
	},
	"escrow_not_agreed": {"code": "escrow_not_agreed", "message": "None of the three has agreed yet."},
	"escrow_same_party": {"code": "escrow_same_party", "message": "Another one of the three must release it."},
	"escrow_same_person": {"code": "escrow_same_person", "message": "One person cannot be two of the three."},
	"account_unknown": cases.account_unknown,
	"account_frozen": cases.account_frozen,
}

refused(codes) := refused_as(codes, codes)

refused_as(codes, public) := cases.refused_as(
	{reasons[code] | some code in codes},
	{reasons[code] | some code in public},
)

# Any one of the three begins, and any other one ends it.
test_two_of_three[sprintf("%s after %s", [second, first])] if {
	some first, _ in callers
	begun := data.payments.decision with input as agree(first)
	begun == agreed(first)
	some second, _ in callers
	ended := data.payments.decision with input as release(second, first)
	ended == ended_by(second, first)
}

ended_by(second, first) := released(second) if second != first

# Another arbiter is no other of the three.
ended_by(role, role) := refused({"escrow_same_party", "escrow_same_person"})

test_open[note] if {
	good := cases.call_of(
		"escrow", "open", cases.anna,
		{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 80000, "currency": "EUR"},
		{
			"account": object.union(object.filter(account, ["id", "state", "currency"]), {"owner": cases.anna}),
			"open_intents": [],
		},
	)
	some note, case in {
		"the buyer": {"input": good, "decision": cases.allowed_with({{
			"type": "open_intent",
			"kind": "escrow",
			"state": "open",
			"expires_at_ns": now + (data.systems.escrow.window_seconds * cases.second),
		}})},
		"somebody else": {"input": cases.bend(good, "/identity", cases.carl), "decision": refused({"account_unknown"})},
		"as many are open as may be": {
			"input": cases.bend(good, "/facts/open_intents", numbers.range(1, data.systems.escrow.max_open)),
			"decision": refused({"escrows_over_maximum"}),
		},
		"a frozen account": {
			"input": cases.bend(good, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"another currency": {
			"input": cases.bend(good, "/call/currency", "USD"),
			"decision": refused({"currency_not_account"}),
		},
		"nothing": {"input": cases.bend(good, "/call/amount_minor", 0), "decision": refused({"amount_invalid"})},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

test_agree[note] if {
	some note, case in {
		"somebody else": {
			"input": cases.bend(agree("buyer"), "/identity", cases.carl),
			"decision": refused({"intent_unknown"}),
		},
		"another merchant": {
			"input": cases.bend(agree("seller"), "/facts/merchant/id", "mer_books"),
			"decision": refused({"intent_unknown"}),
		},
		"an arbiter who is not listed": {
			"input": cases.bend(agree("arbiter"), "/identity/subject", "somebody"),
			"decision": refused({"intent_unknown"}),
		},
		"an arbiter for somebody else": {
			"input": cases.add(agree("arbiter"), "/identity/on_behalf_of", "carl"),
			"decision": refused({"intent_unknown"}),
		},
		"no such purchase": {
			"input": cases.without(cases.without(agree("buyer"), "/facts/intent"), "/facts/account"),
			"decision": refused({"intent_unknown"}),
		},
		"an intent of another system": {
			"input": cases.bend(agree("buyer"), "/facts/intent/system", "second_terminal"),
			"decision": refused({"intent_unknown"}),
		},
		"a frozen seller": {
			"input": cases.bend(agree("seller"), "/facts/merchant/state", "frozen"),
			"decision": refused({"merchant_frozen"}),
		},
		"a second time": {
			"input": cases.bend(agree("arbiter"), "/facts/intent/state", "agreed"),
			"decision": refused({"escrow_agreed"}),
		},
		"the buyer as the arbiter": {
			"input": cases.bend(agree("arbiter"), "/facts/account/owner/subject", callers.arbiter.subject),
			"decision": refused({"escrow_same_person"}),
		},
		"the buyer as the seller": {
			"input": cases.bend(agree("seller"), "/facts/account/owner/subject", callers.seller.subject),
			"decision": refused({"escrow_same_person"}),
		},
		"too late: the buyer is told": {
			"input": cases.bend(agree("buyer"), "/facts/intent/expired", true),
			"decision": refused({"intent_expired"}),
		},
		"too late, for the seller": {
			"input": cases.bend(agree("seller"), "/facts/intent/expired", true),
			"decision": refused_as({"intent_expired"}, {"intent_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

test_release[note] if {
	good := release("seller", "buyer")
	some note, case in {
		"before one has agreed": {
			"input": cases.bend(cases.without(good, "/facts/intent/parties"), "/facts/intent/state", "open"),
			"decision": refused({"escrow_not_agreed"}),
		},
		"again": {
			"input": cases.bend(cases.bend(good, "/facts/intent/state", "released"), "/facts/intent/closed", true),
			"decision": refused_as({"intent_closed"}, {"intent_unknown"}),
		},
		"the person who agreed, under another name": {
			"input": cases.bend(good, "/facts/intent/steps/0/by/subject", callers.seller.subject),
			"decision": refused({"escrow_same_person"}),
		},
		"somebody else": {
			"input": cases.bend(good, "/facts/merchant/id", "mer_books"),
			"decision": refused({"intent_unknown"}),
		},
		"over a limit of the account: the seller does not hear which": {
			"input": cases.bend(good, "/facts/account/limits/0/amount/remaining_minor", 79999),
			"decision": refused_as({"amount_over_limit"}, {"payment_over_limit"}),
		},
		"over a limit of the account: the buyer hears which": {
			"input": cases.bend(release("buyer", "seller"), "/facts/account/limits/0/amount/remaining_minor", 79999),
			"decision": refused({"amount_over_limit"}),
		},
		"the account was frozen since": {
			"input": cases.bend(good, "/facts/account/state", "frozen"),
			"decision": refused_as({"account_frozen"}, {"payment_not_authorised"}),
		},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}
