# METADATA
# title: The decision on one call
# description: |
#   The one place where permits and denials meet. It looks only at the system
#   that the call's route names: a call is allowed when that system permits it
#   and no reason against it stands. A system must have both `permit` and `deny`:
#   a misspelt `deny` would otherwise deny nothing. A call that nobody permits and
#   nobody denies is refused by the sidecar as `no_permit`. What the caller is told
#   of the reasons depends on the `audience` that the system puts it in.
# schemas:
#   - input: schema.input
package payments

import data.payments.shared.reasons as table

# METADATA
# title: decision
# description: |
#   The whole answer to one call: `allow`, the `reasons` against it, what the
#   caller is told of them (`public_reasons`), and the `effects` that the sidecar
#   carries out in the same transaction.
# entrypoint: true
# scope: document
decision := {
	"allow": allow,
	"reasons": reasons,
	"public_reasons": public_reasons,
	"effects": effects,
}

default allow := false

allow if {
	input.version == 1
	is_number(input.now_ns)
	input.now_ns > 0
	is_number(input.arrived_ns)
	input.arrived_ns > 0
	data.payments.systems[input.call.system].permit == true
	is_set(data.payments.systems[input.call.system].deny)
	count(denials) == 0
}

denials contains reason if some reason in data.payments.systems[input.call.system].deny

# A decision has sixteen reasons at most. A call that more stand against is refused
# as well with these.
reasons contains reason if some reason in array.slice(sort(denials), 0, 16)

default audience := "everybody"

audience := data.payments.systems[input.call.system].audience

public_reasons contains table.told(reason, audience) if some reason in reasons

effects contains effect if {
	allow
	some effect in data.payments.systems[input.call.system].on_allow
}

effects contains effect if {
	not allow
	some effect in data.payments.systems[input.call.system].on_deny
}
