# METADATA
# title: Delegated payment
# description: |
#   The owner of an account lets a delegate pay from it, within terms. The owner
#   offers a grant and the delegate accepts it (grants.rego, offers.rego); the
#   delegate shows payment codes of it, and a merchant brings one with each payment
#   (pay.rego), which the owner approves where the grant says so (approvals.rego). Every operation has a `permit` that names all it needs; `deny` says
#   which of it is missing.
# schemas:
#   - input: schema.input
#   - data.systems.delegated_payment: schema.delegated_payment
package payments.systems.delegated_payment

import data.payments.shared.account
import data.payments.shared.grant
import data.payments.shared.merchant

# Who calls, which decides what they are told (shared/data.yaml).
audience := "payee" if {
	input.call.operation == "pay"
	code_proven
	merchant.is_payee
} else := "unproven" if {
	input.call.operation == "pay"
	not code_proven
} else := "owner" if {
	account.owned_by_caller
} else := "owner" if {
	grant.owned_by_caller
} else := "delegate" if {
	grant.delegated_to_caller
}
