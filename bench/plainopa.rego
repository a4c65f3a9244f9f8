# METADATA
# title: The payments policy behind a generic OPA integration
# description: |
#   Maps the input that such an integration builds from a CheckRequest to the
#   document that the payments policy reads. A generic integration has no store,
#   so the accounts are `data`, and what remains of their limits stays as it is.
package bench

decision := d if d := data.payments.decision with input as document

document := {
	"version": 1,
	"now_ns": now_ns,
	"arrived_ns": now_ns,
	"call": call,
	"identity": {"kind": "user", "issuer": claims.iss, "subject": claims.sub},
	"facts": {"account": account | account := data.accounts[call.account]},
}

now_ns := time.now_ns()

claims := input.attributes.metadataContext.filterMetadata["envoy.filters.http.jwt_authn"].jwt_payload

call := {
	"system": "direct_payment",
	"operation": "pay",
	"account": account,
	"payee": input.parsed_body.payee,
	"amount_minor": input.parsed_body.amount_minor,
	"currency": input.parsed_body.currency,
} if {
	input.attributes.request.http.method == "POST"
	input.parsed_path = ["v1", "accounts", account, "payments"]
	claims.iss == "https://id.example"
}

call := {
	"system": "quote",
	"operation": "quote",
	"payee": input.parsed_body.payee,
	"amount_minor": input.parsed_body.amount_minor,
	"currency": input.parsed_body.currency,
} if {
	input.attributes.request.http.method == "POST"
	input.parsed_path = ["v1", "quotes"]
	claims.iss == "https://id.example"
}
