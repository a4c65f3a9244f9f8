# METADATA
# title: Rules on the merchant that calls
# description: |
#   The merchant is found by the identity that calls, never by what the call says.
#   So is its category, its country and its channel. What a merchant hears about
#   itself it may hear without having proven anything else.
# schemas:
#   - input: schema.input
package payments.shared.merchant

# A merchant acts for nobody else.
known if {
	is_string(input.facts.merchant.id)
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	object.get(input.identity, "on_behalf_of", "") == ""
}

is_payee if {
	known
	input.call.payee == input.facts.merchant.id
}

active if input.facts.merchant.state == "active"

deny contains reason if {
	not known
	reason := {
		"code": "merchant_unknown",
		"message": "The caller is not a merchant here.",
	}
}

deny contains reason if {
	known
	not is_payee
	reason := {
		"code": "merchant_not_payee",
		"message": "A merchant is paid itself, and names itself as the payee.",
	}
}

deny contains reason if {
	known
	not active
	reason := {
		"code": "merchant_frozen",
		"message": "The merchant is frozen.",
	}
}
