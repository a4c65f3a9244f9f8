# METADATA
# title: Tests of the rules on the account that pays
# description: |
#   The call's payment and one that stands elsewhere are held to the same, whatever is
#   missing of either. Whole decisions are asserted by the systems' tests.
# schemas:
#   - input: schema.input
package payments.shared.account_test

import data.payments.shared.account
import data.payments.shared.cases_test as cases

limit := {
	"name": "ten_ever",
	"period": {"kind": "lifetime"},
	"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 1250},
	"count": {"mode": "at_most", "max": 10, "remaining": 1},
	"window_full": false,
}

payer := {
	"id": "acc_anna",
	"owner": cases.anna,
	"state": "active",
	"currency": "EUR",
	"max_payment_minor": 50000,
	"limits": [limit],
	"verification": {"locked": false, "failed_in_a_row": 0},
}

good := cases.call_of(
	"direct_payment", "pay", cases.anna,
	{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"},
	{"account": payer},
)

default let_through := false

let_through if {
	account.active
	account.currency_matches
	account.amount_valid
	account.within_payment_maximum
	account.within_limits
}

test_all_is_there if {
	let_through with input as good
	account.deny == set() with input as good
	account.lets_through(payer, good.call)
	account.why_not(payer, good.call) == set()
}

# By what is missing: the codes that say so. Not everything is told, but nothing is let
# through.
missing := {
	"/facts/account": {"account_frozen", "currency_not_account"},
	"/facts/account/state": {"account_frozen"},
	"/facts/account/currency": {"currency_not_account"},
	"/facts/account/max_payment_minor": set(),
	"/facts/account/limits": set(),
	"/facts/account/limits/0/name": set(),
	"/facts/account/limits/0/amount": set(),
	"/facts/account/limits/0/amount/remaining_minor": set(),
	"/facts/account/limits/0/count": set(),
	"/facts/account/limits/0/count/remaining": set(),
	"/facts/account/limits/0/window_full": set(),
	"/call/amount_minor": {"amount_invalid"},
	"/call/currency": {"currency_not_account"},
}

test_missing[path] if {
	some path, codes in missing
	bent := cases.without(good, path)
	not let_through with input as bent
	told := account.deny with input as bent
	{reason.code | some reason in told} == codes
}

# The same of a payment that does not stand in the call.
test_missing_elsewhere[path] if {
	some path, codes in missing
	bent := cases.without(good, path)
	from := object.get(bent.facts, "account", {})
	not account.lets_through(from, bent.call)
	{reason.code | some reason in account.why_not(from, bent.call)} == codes
}

# Two nulls are equal, and lift nothing.
test_null[path] if {
	some path, _ in missing
	bent := cases.bend(good, path, null)
	not let_through with input as bent
	not account.lets_through(bent.facts.account, bent.call)
}

test_two_nulls if {
	bent := cases.bend(cases.bend(good, "/call/currency", null), "/facts/account/currency", null)
	not let_through with input as bent
	not account.lets_through(bent.facts.account, bent.call)
	told := account.deny with input as bent
	{reason.code | some reason in told} == {"currency_not_account"}
}
