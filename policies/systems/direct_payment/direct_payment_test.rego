# METADATA
# title: Tests of direct payment
# description: Whole decisions, case by case.
# schemas:
#   - input: schema.input
package payments.systems.direct_payment_test

good := {
	"version": 1,
	"now_ns": 1795532400000000000,
	"arrived_ns": 1795532400000000000,
	"call": {
		"system": "direct_payment",
		"operation": "pay",
		"account": "acc_anna",
		"payee": "mer_bakery",
		"amount_minor": 1250,
		"currency": "EUR",
	},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"facts": {"account": {
		"id": "acc_anna",
		"owner": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
		"state": "active",
		"currency": "EUR",
		"max_payment_minor": 50000,
		"limits": [{
			"name": "ten_a_week",
			"period": {
				"kind": "week",
				"alignment": "calendar",
				"zone": "Europe/Berlin",
				"week_start": "monday",
			},
			"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 1250},
			"count": {"mode": "at_most", "max": 10, "remaining": 1},
			"window_full": false,
			"starts_at_ns": 1795474800000000000,
			"resets_at_ns": 1796079600000000000,
		}],
	}},
}

allowed := {
	"allow": true,
	"reasons": set(),
	"public_reasons": set(),
	"effects": {{
		"type": "reserve",
		"account": "acc_anna",
		"payee": "mer_bakery",
		"amount_minor": 1250,
		"currency": "EUR",
	}},
}

# The owner is told everything.
refused(codes) := {
	"allow": false,
	"reasons": {reasons[code] | some code in codes},
	"public_reasons": {reasons[code] | some code in codes},
	"effects": set(),
}

reasons := {
	"account_unknown": {
		"code": "account_unknown",
		"message": "There is no such account, or it is not yours.",
	},
	"account_frozen": {
		"code": "account_frozen",
		"message": "The account is frozen.",
	},
	"currency_not_account": {
		"code": "currency_not_account",
		"message": "The payment is not in the account's currency.",
	},
	"amount_invalid": {
		"code": "amount_invalid",
		"message": "The amount is not a whole number of minor units above zero.",
	},
	"amount_over_payment_maximum": over_payment_maximum(50000),
	"amount_over_payment_maximum, of 1249": over_payment_maximum(1249),
	"amount_over_limit": {
		"code": "amount_over_limit",
		"message": "The amount is over what remains of a limit of the account.",
		"limit": "ten_a_week",
		"remaining_minor": 1250,
		"resets_at_ns": 1796079600000000000,
	},
	"count_over_limit": {
		"code": "count_over_limit",
		"message": "No payment remains of a limit of the account.",
		"limit": "ten_a_week",
		"remaining_count": 0,
		"resets_at_ns": 1796079600000000000,
	},
}

set_at(path, value) := json.patch(good, [{"op": "replace", "path": path, "value": value}])

test_decision[note] if {
	some note, case in {
		"the owner pays": {
			"input": good,
			"decision": allowed,
		},
		"exactly the maximum passes": {
			"input": set_at("/facts/account/max_payment_minor", 1250),
			"decision": allowed,
		},
		"one minor unit over the maximum": {
			"input": set_at("/facts/account/max_payment_minor", 1249),
			"decision": refused({"amount_over_payment_maximum, of 1249"}),
		},
		"one minor unit over what remains of a limit": {
			"input": set_at("/call/amount_minor", 1251),
			"decision": refused({"amount_over_limit"}),
		},
		"no payment remains": {
			"input": set_at("/facts/account/limits/0/count/remaining", 0),
			"decision": refused({"count_over_limit"}),
		},
		"no limits": {
			"input": set_at("/facts/account/limits", []),
			"decision": allowed,
		},
		"a limit that says nothing": {
			"input": set_at("/facts/account/limits", [{}]),
			"decision": refused(set()),
		},
		"nothing to pay": {
			"input": set_at("/call/amount_minor", 0),
			"decision": refused({"amount_invalid"}),
		},
		"less than nothing": {
			"input": set_at("/call/amount_minor", -1),
			"decision": refused({"amount_invalid"}),
		},
		"part of a minor unit": {
			"input": set_at("/call/amount_minor", 12.5),
			"decision": refused({"amount_invalid"}),
		},
		"an amount in words": {
			"input": set_at("/call/amount_minor", "1250"),
			"decision": refused({"amount_invalid"}),
		},
		"a frozen account": {
			"input": set_at("/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"a state nobody knows": {
			"input": set_at("/facts/account/state", "ACTIVE"),
			"decision": refused({"account_frozen"}),
		},
		"another currency": {
			"input": set_at("/call/currency", "USD"),
			"decision": refused({"currency_not_account"}),
		},
		"frozen and over the maximum: both reasons": {
			"input": json.patch(set_at("/facts/account/max_payment_minor", 1249), [{
				"op": "replace",
				"path": "/facts/account/state",
				"value": "frozen",
			}]),
			"decision": refused({"account_frozen", "amount_over_payment_maximum, of 1249"}),
		},
		"no such account": {
			"input": set_at("/facts", {}),
			"decision": refused({"account_unknown"}),
		},
		"somebody else's account, frozen: not told": {
			"input": json.patch(set_at("/facts/account/owner/subject", "ben"), [{
				"op": "replace",
				"path": "/facts/account/state",
				"value": "frozen",
			}]),
			"decision": refused({"account_unknown"}),
		},
		"the same subject of another issuer": {
			"input": set_at("/identity/issuer", "https://evil.example"),
			"decision": refused({"account_unknown"}),
		},
		"the same subject of another kind": {
			"input": set_at("/identity/kind", "agent"),
			"decision": refused({"account_unknown"}),
		},
		"the owner on behalf of somebody else": {
			"input": json.patch(good, [{"op": "add", "path": "/identity/on_behalf_of", "value": "ben"}]),
			"decision": refused({"account_unknown"}),
		},
		"the owner on behalf of null": {
			"input": json.patch(good, [{"op": "add", "path": "/identity/on_behalf_of", "value": null}]),
			"decision": refused({"account_unknown"}),
		},
		"another operation: nobody permits it": {
			"input": set_at("/call/operation", "refund"),
			"decision": refused(set()),
		},
		"another system: nobody permits it": {
			"input": set_at("/call/system", "direct_debit"),
			"decision": refused(set()),
		},
		"nothing at all": {
			"input": {},
			"decision": refused(set()),
		},
	}

	decision := data.payments.decision with input as case.input
	decision == case.decision
}

# Every field of the input, and every object that holds some; but no element of a
# list, which may have fewer.
paths contains path if {
	walk(good, [path, _])
	count(path) > 0
	not is_number(path[count(path) - 1])
}

test_nothing_passes_with_a_field_removed if {
	count(paths) == 42
	every path in paths {
		decision := data.payments.decision with input as json.patch(good, [{"op": "remove", "path": path}])
		decision.allow == false
		decision.effects == set()
	}
}

test_nothing_passes_with_a_field_null if {
	every path in paths {
		bent := json.patch(good, [{"op": "replace", "path": path, "value": null}])
		decision := data.payments.decision with input as bent
		decision.allow == false
		decision.effects == set()
	}
}

# Every field that holds a plain value.
leaves contains path if {
	walk(good, [path, value])
	not is_object(value)
	not is_array(value)
}

test_nothing_passes_with_two_fields_null if {
	count(leaves) == 33
	pairs := {[a, b] | some a in leaves; some b in leaves; a < b}
	every pair in pairs {
		bent := json.patch(good, [{"op": "replace", "path": path, "value": null} | some path in pair])
		decision := data.payments.decision with input as bent
		decision.allow == false
		decision.effects == set()
	}
}

over_payment_maximum(maximum_minor) := {
	"code": "amount_over_payment_maximum",
	"message": "The amount is over the account's maximum for one payment.",
	"limit": "payment",
	"remaining_minor": maximum_minor,
}
