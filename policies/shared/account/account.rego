# METADATA
# title: Rules on the account that pays
# description: |
#   Rules that hold in every system whose calls name an account. A system
#   collects `deny` once the caller has shown a right to the account: until
#   then its state is nobody's business. Two nulls are equal, so what is compared
#   must be a string first.
# schemas:
#   - input: schema.input
package payments.shared.account

known if {
	is_string(input.call.account)
	input.facts.account.id == input.call.account
}

# An owner acts for nobody else: whoever acts for another does so by a right of
# its own, which ownership is not.
owned_by_caller if {
	known
	object.get(input.identity, "on_behalf_of", "") == ""
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
	input.facts.account.owner.kind == input.identity.kind
	input.facts.account.owner.issuer == input.identity.issuer
	input.facts.account.owner.subject == input.identity.subject
}

# What the functions in payment.rego are asked about: the call's payment from its
# account. All of it is there whatever the call brings: a function says nothing of what
# is not, and its `not` does not either.
default payer := {}

payer := input.facts.account

default amount_minor := null

amount_minor := input.call.amount_minor

default currency := null

currency := input.call.currency

active if is_active(payer)

# Each asks about what it is of, and no more: whoever uses it has routes that map that.
currency_matches if is_in_currency(payer, {"currency": currency})

amount_valid if is_payable({"amount_minor": amount_minor})

within_payment_maximum if is_within_maximum(payer, {"amount_minor": amount_minor})

within_limits if is_within_limits(payer, {"amount_minor": amount_minor})

# Codes are sent to its people, and count.
codes_unlocked if input.facts.account.verification.locked == false

# METADATA
# title: Reserve
# description: The effect that takes the payment's money, for a system's `on_allow`.
reserve := {
	"type": "reserve",
	"account": input.call.account,
	"payee": input.call.payee,
	"amount_minor": input.call.amount_minor,
	"currency": input.call.currency,
}

unknown_reason := {
	"code": "account_unknown",
	"message": "There is no such account, or it is not yours.",
}

deny := why_not(payer, {"amount_minor": amount_minor, "currency": currency})
