# METADATA
# title: Tests of delegated payment
# description: |
#   Whole decisions, case by case. This file has the story that the cases bend: Anna
#   lets her son Ben pay from her account, at a bakery and a few others.
# schemas:
#   - input: schema.input
#   - data.systems.delegated_payment: schema.delegated_payment
package payments.systems.delegated_payment_test

now := 1795532400000000000

day := 86400000000000

# Of the issuer of her delegates: whether she is one herself is looked at.
anna := {"kind": "user", "issuer": data.systems.delegated_payment.delegates[0].issuer, "subject": "anna"}

ben := {
	"kind": data.systems.delegated_payment.delegates[0].kind,
	"issuer": data.systems.delegated_payment.delegates[0].issuer,
	"subject": "ben",
}

carl := {"kind": "user", "issuer": anna.issuer, "subject": "carl"}

bakery := {"kind": "merchant", "issuer": "https://id.example", "subject": "bakery-till-1"}

# One of those that grants may have.
currency := min(object.keys(data.systems.delegated_payment.terms.max_payment_minor))

month := {"kind": "month", "alignment": "calendar", "zone": "Europe/Berlin"}

# Its bounds are exactly reached too.
account := {
	"id": "acc_anna",
	"owner": anna,
	"state": "active",
	"currency": currency,
	"max_payment_minor": 1250,
	"limits": [{
		"name": "total",
		"period": {"kind": "lifetime"},
		"amount": {"mode": "at_most", "max_minor": 100000, "remaining_minor": 1250},
		"count": {"mode": "at_most", "max": 50, "remaining": 1},
		"window_full": false,
	}],
}

# What matters to a payment: a grant that has the most of everything, each bound of
# it exactly reached.
grant := {
	"id": "grt_ben",
	"account": "acc_anna",
	"owner": anna,
	"state": "active",
	"currency": currency,
	"max_payment_minor": 1250,
	"limits": [
		{
			"name": "pocket_money",
			"period": month,
			"amount": {"mode": "at_most", "max_minor": 8000, "remaining_minor": 1250},
			"count": {"mode": "any"},
			"window_full": false,
			"starts_at_ns": now - day,
			"resets_at_ns": now + (6 * day),
		},
		{
			"name": "not_too_often",
			"period": {"kind": "sliding", "window_seconds": 3600},
			"amount": {"mode": "any"},
			"count": {"mode": "at_most", "max": 3, "remaining": 1},
			"window_full": false,
			"starts_at_ns": now - 3599999999999,
		},
	],
	"valid_from": {"mode": "at", "at_ns": now},
	"valid_to": {"mode": "at", "at_ns": now},
	"merchants": {"mode": "only", "values": ["mer_bakery", "mer_books"]},
	"categories": {"mode": "except", "values": ["7995", "5921"]},
	"countries": {"mode": "only", "values": ["DE", "AT"]},
	"channels": {"mode": "only", "values": ["till"]},
	"hours": {"mode": "between", "from_minute": 720, "to_minute": 720, "minute_now": 720, "minute_begins": true},
	"cooling": {"mode": "first", "until_ns": now + 1, "max_minor": 3000, "remaining_minor": 1250},
	"delegation": "full",
	"raises": [{
		"at_ns": now - (91 * day),
		"max_payment_minor": 100,
		"delegation": "full",
		"limits": [{
			"name": "pocket_money",
			"period": month,
			"amount": {"mode": "at_most", "max_minor": 100},
			"count": {"mode": "at_most", "max": 1},
		}],
	}],
}

# As few restrictions as a grant can have.
plain_grant := with_members(grant, {
	"limits": [{
		"name": "total",
		"period": {"kind": "lifetime"},
		"amount": {"mode": "at_most", "max_minor": 1250, "remaining_minor": 1250},
		"count": {"mode": "any"},
		"window_full": false,
	}],
	"valid_from": {"mode": "any"},
	"valid_to": {"mode": "any"},
	"merchants": {"mode": "any"},
	"categories": {"mode": "any"},
	"countries": {"mode": "any"},
	"channels": {"mode": "any"},
	"hours": {"mode": "any"},
	"cooling": {"mode": "none"},
	"raises": [],
})

terms := {
	"currency": currency,
	"max_payment_minor": 1,
	"limits": [{"name": "pocket_money", "max_amount_minor": 8000, "period": month}],
	"valid_from": {"mode": "any"},
	"valid_to": {"mode": "at", "at_ns": now},
	"merchants": {"mode": "any"},
	"categories": {"mode": "any"},
	"countries": {"mode": "any"},
	"channels": {"mode": "any"},
	"hours": {"mode": "any"},
	"cooling": {
		"mode": "first",
		"seconds": data.systems.delegated_payment.terms.cooling.min_seconds,
		"max_amount_minor": 1000,
	},
	"delegation": "full",
	"refund_restores": false,
}

# Data of which the cases know the bounds, whatever an operator tunes.
tuned := {
	"max_delegates": 5,
	"delegates": [data.systems.delegated_payment.delegates[0]],
	"raise_cooling_seconds": 86400,
	"max_code_step_age": 1,
	"approval": {
		"expires_seconds": 300,
		"cooling_seconds": 3600,
		"asking": {"max_starts": 2, "window_seconds": 600, "max_rejected_in_a_row": 3, "pause_seconds": 900},
	},
	"terms": {
		"delegations": ["full"],
		"max_payment_minor": {"EUR": 500000, currency: 500000},
		"cooling": {"required": true, "min_seconds": 3600},
	},
}

call_of(operation, caller, fields, facts) := {
	"version": 1,
	"now_ns": now,
	"arrived_ns": now,
	"call": object.union({"system": "delegated_payment", "operation": operation}, fields),
	"identity": caller,
	"facts": facts,
}

bend(document, path, value) := json.patch(document, [{"op": "replace", "path": path, "value": value}])

add(document, path, value) := json.patch(document, [{"op": "add", "path": path, "value": value}])

# As object.union, but a member takes the place of another as a whole.
with_members(document, replacements) := object.union(object.remove(document, object.keys(replacements)), replacements)

without(document, path) := json.patch(document, [{"op": "remove", "path": path}])

allowed := {"allow": true, "reasons": set(), "public_reasons": set(), "effects": set()}

# Refused for these reasons, of which the caller hears all.
refused(reasons) := {"allow": false, "reasons": reasons, "public_reasons": reasons, "effects": set()}

# Refused for these reasons, of which the caller hears those.
refused_as(reasons, public) := {"allow": false, "reasons": reasons, "public_reasons": public, "effects": set()}

nothing_said := refused(set())

account_unknown := {"code": "account_unknown", "message": "There is no such account, or it is not yours."}

account_frozen := {"code": "account_frozen", "message": "The account is frozen."}

grant_unknown := {"code": "grant_unknown", "message": "There is no such grant, or it is not yours."}

owner_required := {"code": "grant_owner_required", "message": "Only the grant's owner can do this."}

delegate_required := {"code": "grant_delegate_required", "message": "Only the grant's delegate can do this."}

in_state := {
	"offered": {"code": "grant_not_accepted", "message": "The grant is offered, and not accepted yet."},
	"active": {"code": "grant_active", "message": "The grant is accepted and active."},
	"frozen": {"code": "grant_frozen", "message": "The grant is frozen."},
	"declined": {"code": "grant_declined", "message": "The grant was declined."},
	"revoked": {"code": "grant_revoked", "message": "The grant was revoked by its owner."},
	"ended": {"code": "grant_ended", "message": "The grant was ended by its delegate."},
}

expired := {"code": "grant_expired", "message": "The grant is not valid any more."}

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

closed(decision) if {
	decision.allow == false
	decision.effects == set()
}
