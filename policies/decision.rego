# METADATA
# title: The decision on one call
# description: |
#   The one place where permits and denials meet. It looks only at the system
#   that the call's route names: a call is allowed when that system permits it
#   and no reason against it stands. A system must have both `permit` and `deny`:
#   a misspelt `deny` would otherwise deny nothing. A call that nobody permits and
#   nobody denies is refused by the sidecar as `no_permit`.
# schemas:
#   - input: schema.input
package payments

# METADATA
# title: decision
# description: |
#   The whole answer to one call: `allow`, the `reasons` against it, and the
#   `effects` that the sidecar carries out in the same transaction.
# entrypoint: true
# scope: document
decision := {
	"allow": allow,
	"reasons": reasons,
	"effects": effects,
}

default allow := false

allow if {
	input.version == 1
	is_number(input.now_ns)
	input.now_ns > 0
	data.payments.systems[input.call.system].permit == true
	is_set(data.payments.systems[input.call.system].deny)
	count(reasons) == 0
}

reasons contains reason if some reason in data.payments.systems[input.call.system].deny

effects contains effect if {
	allow
	some effect in data.payments.systems[input.call.system].on_allow
}

effects contains effect if {
	not allow
	some effect in data.payments.systems[input.call.system].on_deny
}
