# METADATA
# title: What tests of systems have in common
# description: |
#   Ways to bend an input, decisions to compare with, and the search for members of an
#   allowed input that nothing wants. No tests of its own.
# schemas:
#   - input: schema.input
package payments.shared.cases_test

now := 1795532400000000000

second := 1000000000

anna := {"kind": "user", "issuer": "https://id.example", "subject": "anna"}

carl := {"kind": "user", "issuer": "https://id.example", "subject": "carl"}

# A terminal of Anna's account, as an identity and as the store has it.
terminal_identity(name) := {"kind": "terminal", "issuer": "https://id.example", "subject": sprintf("terminal-%s", [name])}

terminal_of(name, bound_at_ns) := {
	"id": sprintf("trm_%s", [name]),
	"account": "acc_anna",
	"state": "bound",
	"bound_at_ns": bound_at_ns,
	"identity": terminal_identity(name),
}

call_of(system, operation, caller, fields, facts) := {
	"version": 1,
	"now_ns": now,
	"arrived_ns": now,
	"call": object.union({"system": system, "operation": operation}, fields),
	"identity": caller,
	"facts": facts,
}

bend(document, path, value) := json.patch(document, [{"op": "replace", "path": path, "value": value}])

add(document, path, value) := json.patch(document, [{"op": "add", "path": path, "value": value}])

without(document, path) := json.patch(document, [{"op": "remove", "path": path}])

allowed := {"allow": true, "reasons": set(), "public_reasons": set(), "effects": set()}

allowed_with(effects) := object.union(allowed, {"effects": effects})

# Refused for these reasons, of which the caller hears all.
refused(reasons) := {"allow": false, "reasons": reasons, "public_reasons": reasons, "effects": set()}

# Refused for these reasons, of which the caller hears those.
refused_as(reasons, public) := {"allow": false, "reasons": reasons, "public_reasons": public, "effects": set()}

refused_with(reasons, effects) := {"allow": false, "reasons": reasons, "public_reasons": reasons, "effects": effects}

nothing_said := refused(set())

# Every member of every object in a document, also of those in lists; and whatever
# is taken from it.
members(document) := {path |
	walk(document, [path, _])
	count(path) > 0
	is_string(path[count(path) - 1])
}

# What is allowed without: nothing may be. The sidecar tries null as well, and does
# both for everything that tests allow, when it judges the bundle.
open_without(document) := {path |
	some path in members(document)
	decision := data.payments.decision with input as json.patch(document, [{"op": "remove", "path": path}])
	not closed(decision)
}

# It may ask people again; it moves nothing.
closed(decision) if {
	decision.allow == false
	every effect in decision.effects { effect.type in {"issue_challenge", "notify"} }
}

account_unknown := {"code": "account_unknown", "message": "There is no such account, or it is not yours."}

account_frozen := {"code": "account_frozen", "message": "The account is frozen."}

challenge_locked := {"code": "challenge_locked", "message": "The codes were entered wrongly too often."}

challenge_used := {"code": "challenge_used", "message": "What was confirmed was used up by another decision."}

approval_rejected := {"code": "approval_rejected", "message": "The call was rejected on a terminal."}

verification_required := {
	"code": "verification_required",
	"message": "Codes were sent to the account's terminals. Repeat the call under the same key once they were entered.",
}

approval_required := {
	"code": "approval_required",
	"message": "The account's owner was asked to approve. Repeat the call under the same key once that is done.",
}

verification_locked := {
	"code": "verification_locked",
	"message": "Codes were entered wrongly too often: the account's verification is locked until it is unlocked.",
}

initiator_paused(until_ns) := {
	"code": "initiator_paused",
	"message": "The last calls were rejected on a terminal: nobody is asked again for a while.",
	"resets_at_ns": until_ns,
}

challenges_over_limit(until_ns) := {
	"code": "challenges_over_limit",
	"message": "The account's people were asked as often as they may be for now.",
	"limit": "max_starts",
	"remaining_count": 0,
	"resets_at_ns": until_ns,
}
