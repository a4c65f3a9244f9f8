package payments.systems.delegated_payment

import data.payments.shared.account

# The owner of an account offers a grant on it to a delegate.
permit if {
	input.call.operation == "offer_grant"
	account.owned_by_caller
	account.active
	delegate_eligible
	not delegate_is_owner
	delegates_below_maximum
	input.call.terms.currency == input.facts.account.currency
	terms_acceptable
}

delegate_eligible if {
	is_string(input.call.delegate_subject)
	some eligible in data.systems.delegated_payment.delegates
	eligible.kind == input.call.delegate_kind
	eligible.issuer == input.call.delegate_issuer
}

# Whatever kind of caller: it is the same person.
delegate_is_owner if {
	input.call.delegate_issuer == input.facts.account.owner.issuer
	input.call.delegate_subject == input.facts.account.owner.subject
}

delegates_below_maximum if {
	is_number(input.facts.account.delegates.open)
	input.facts.account.delegates.open < data.systems.delegated_payment.max_delegates
}

deny contains reason if {
	input.call.operation == "offer_grant"
	account.owned_by_caller
	some reason in offer_deny
}

offer_deny contains account.frozen_reason if not account.active

offer_deny contains reason if {
	not delegate_eligible
	reason := {
		"code": "delegate_not_eligible",
		"message": "A grant cannot be offered to such a delegate.",
	}
}

offer_deny contains reason if {
	delegate_is_owner
	reason := {
		"code": "delegate_is_owner",
		"message": "The owner of the account needs no grant on it.",
	}
}

offer_deny contains reason if {
	not delegates_below_maximum
	reason := {
		"code": "delegates_over_maximum",
		"message": "The account has as many grants as it may have at the same time.",
		"limit": "max_delegates",
		"remaining_count": 0,
	}
}

offer_deny contains reason if {
	not input.call.terms.currency == input.facts.account.currency
	reason := {
		"code": "terms_currency_not_account",
		"message": "The grant would not be in the account's currency.",
	}
}

offer_deny contains reason if some reason in terms_deny
