package payments.systems.delegated_payment_test

# What each party does with a grant, and in which states it can.
operations := {
	"change_grant": {"caller": anna, "states": {"offered", "active", "frozen"}},
	"freeze_grant": {"caller": anna, "states": {"active"}},
	"unfreeze_grant": {"caller": anna, "states": {"frozen"}},
	"revoke_grant": {"caller": anna, "states": {"offered", "active", "frozen"}},
	"reissue_parameters": {"caller": anna, "states": {"active", "frozen"}},
	"accept_grant": {"caller": ben, "states": {"offered"}},
	"decline_grant": {"caller": ben, "states": {"offered"}},
	"end_grant": {"caller": ben, "states": {"active", "frozen"}},
	"fetch_parameters": {"caller": ben, "states": {"active", "frozen"}},
}

about_grant(operation, caller, state) := call_of(operation, caller, fields_of(operation), {
	"grant": facts_of(operation, state),
	"account": {"id": "acc_anna", "owner": anna},
})

facts_of("change_grant", state) := object.union(grant_in(state), {"currency": currency})

facts_of("accept_grant", state) := object.union(grant_in(state), {"valid_to": {"mode": "at", "at_ns": now}})

facts_of(operation, state) := grant_in(state) if not operation in {"change_grant", "accept_grant"}

fields_of("change_grant") := {"grant": "grt_ben", "terms": terms}

fields_of(operation) := {"grant": "grt_ben"} if operation != "change_grant"

# What matters to its parties.
grant_in(state) := {
	"id": "grt_ben",
	"account": "acc_anna",
	"delegate": ben,
	"state": state,
}

test_operations[sprintf("%s: %s", [operation, state])] if {
	some operation, by in operations
	some state in object.keys(in_state)
	decision := data.payments.decision with input as about_grant(operation, by.caller, state)
	decision == expected(state, by.states)
}

expected(state, states) := allowed if state in states

expected(state, states) := refused({in_state[state]}) if not state in states

# Right content from the wrong party: the other one is told, a stranger is not.
test_wrong_party[operation] if {
	some operation, by in operations
	some state in by.states
	party := data.payments.decision with input as about_grant(operation, other_party[by.caller], state)
	party == refused({party_required[by.caller]})
	stranger := data.payments.decision with input as about_grant(operation, carl, state)
	stranger == refused({grant_unknown})
}

other_party := {anna: ben, ben: anna}

party_required := {anna: owner_required, ben: delegate_required}

# An account that has another owner by now: that one looks after its grants.
test_another_owner if {
	sold := bend(about_grant("revoke_grant", anna, "active"), "/facts/account/owner/subject", "carl")
	before := data.payments.decision with input as sold
	before == refused({grant_unknown})
	by_now := data.payments.decision with input as bend(sold, "/identity", carl)
	by_now == allowed
	foreign := data.payments.decision with input as bend(sold, "/facts/account/id", "acc_carl")
	foreign == refused({grant_unknown})
}

# A grant that there is not looks like one of somebody else, in every state.
test_unknown[operation] if {
	some operation in object.keys(operations)
	none := data.payments.decision with input as call_of(operation, anna, fields_of(operation), {})
	none == refused({grant_unknown})
	another := bend(about_grant(operation, anna, "frozen"), "/call/grant", "grt_other")
	other := data.payments.decision with input as another
	other == refused({grant_unknown})
	every state in object.keys(in_state) {
		foreign := data.payments.decision with input as about_grant(operation, carl, state)
		foreign == refused({grant_unknown})
	}
}

# Neither another kind, nor another issuer, nor whoever acts for somebody else, is
# the party.
test_not_the_party[note] if {
	some operation, by in operations
	some state in by.states
	good := about_grant(operation, by.caller, state)
	some bent, path in {
		"another kind": ["/identity/kind", "agent"],
		"another issuer": ["/identity/issuer", "https://evil.example"],
		"for somebody else": ["/identity/on_behalf_of", "carl"],
	}
	note := sprintf("%s: %s", [operation, bent])
	decision := data.payments.decision with input as add(good, path[0], path[1])
	decision == refused({grant_unknown})
}

# Its parties see a grant in whatever state it is.
test_view[sprintf("%s: %s", [note, state])] if {
	some note, case in {
		"the owner": {"caller": anna, "states": {"offered", "ended"}, "decision": allowed},
		"the delegate": {"caller": ben, "states": {"frozen", "revoked"}, "decision": allowed},
		"a stranger": {"caller": carl, "states": object.keys(in_state), "decision": refused({grant_unknown})},
	}
	some state in case.states
	decision := data.payments.decision with input as about_grant("view_grant", case.caller, state)
	decision == case.decision
}

test_accept_in_time[note] if {
	some note, case in {
		"at the last instant": {"at_ns": now, "decision": allowed},
		"after it": {"at_ns": now - 1, "decision": refused({expired})},
	}
	accept := about_grant("accept_grant", ben, "offered")
	decision := data.payments.decision with input as bend(accept, "/facts/grant/valid_to/at_ns", case.at_ns)
	decision == case.decision
}

test_change_of_currency if {
	change := about_grant("change_grant", anna, "active")
	decision := data.payments.decision with input as bend(change, "/facts/grant/currency", "XTS")
	decision == refused({{
		"code": "terms_currency_not_grant",
		"message": "A grant keeps its currency: end it and offer another.",
	}})
}

# A delegate who would have more gets the same answer whatever they ask for.
test_change_by_the_delegate if {
	change := about_grant("change_grant", ben, "active")
	decision := data.payments.decision with input as bend(change, "/call/terms/max_payment_minor", 9007199254740991)
	decision == refused({owner_required})
}

# What stands in terms was checked before, but for what the policy bounds.
bent_terms(document) := bend(document, "/call/terms", object.filter(terms, [
	"currency",
	"max_payment_minor",
	"valid_to",
	"delegation",
])) if {
	document.call.terms
} else := document
