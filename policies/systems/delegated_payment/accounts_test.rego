package payments.systems.delegated_payment_test

of_account(operation, caller) := call_of(operation, caller, {"account": "acc_anna"}, {"account": account_facts[operation]})

account_facts := {
	"view_account": {"id": "acc_anna", "owner": anna},
	"list_grants": {"id": "acc_anna", "owner": anna},
	"freeze_account": {"id": "acc_anna", "owner": anna, "state": "active"},
}

test_accounts[note] if {
	some operation in {"view_account", "list_grants", "freeze_account"}
	good := of_account(operation, anna)
	some bent, case in {
		"the owner": {"input": good, "decision": allowed},
		"a delegate": {"input": bend(good, "/identity", ben), "decision": refused({account_unknown})},
		"a stranger": {"input": bend(good, "/identity", carl), "decision": refused({account_unknown})},
		"the owner for somebody else": {
			"input": add(good, "/identity/on_behalf_of", "carl"),
			"decision": refused({account_unknown}),
		},
		"an account that there is not": {"input": bend(good, "/facts", {}), "decision": refused({account_unknown})},
		"another account": {
			"input": bend(good, "/call/account", "acc_carl"),
			"decision": refused({account_unknown}),
		},
	}
	note := sprintf("%s: %s", [operation, bent])
	decision := data.payments.decision with input as case.input
	decision == case.decision
}

test_already_frozen if {
	frozen := bend(of_account("freeze_account", anna), "/facts/account/state", "frozen")
	owner := data.payments.decision with input as frozen
	owner == refused({account_frozen})
	stranger := data.payments.decision with input as bend(frozen, "/identity", carl)
	stranger == refused({account_unknown})
}

test_delegations[note] if {
	good := call_of("list_delegations", carl, {}, {})
	some note, case in {
		"anybody": {"input": good, "decision": allowed},
		"for somebody else": {
			"input": add(good, "/identity/on_behalf_of", "ben"),
			"decision": refused({{
				"code": "caller_not_itself",
				"message": "Whoever acts for somebody else has no grants of their own here.",
			}}),
		},
		"nobody": {"input": without(good, "/identity"), "decision": nothing_said},
	}
	decision := data.payments.decision with input as case.input
	decision == case.decision
}
