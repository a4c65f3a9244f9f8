# METADATA
# title: Who calls
# description: |
#   Every step of a system has a sender that it expects: an owner, a terminal, an
#   agent, a merchant. Whoever it is, it is compared as a whole with the identity
#   that Envoy verified, and acts for nobody else. Two nulls are equal, so what is
#   compared must be a string first.
# schemas:
#   - input: schema.input
package payments.shared.caller

# An identity that acts for itself.
itself if {
	object.get(input.identity, "on_behalf_of", "") == ""
	is_string(input.identity.kind)
	is_string(input.identity.issuer)
	is_string(input.identity.subject)
}

# METADATA
# title: Whether a party is the caller
is(party) if {
	itself
	object.get(party, "on_behalf_of", "") == ""
	party.kind == input.identity.kind
	party.issuer == input.identity.issuer
	party.subject == input.identity.subject
}

# METADATA
# title: Whether a login was by one of these methods
# description: amr are the methods of the caller's token, with spaces between (RFC 8176).
proven(amr, methods) if {
	some method in split(amr, " ")
	method in methods
}

proof_reason := {
	"code": "proof_required",
	"message": "Log in with a stronger proof of who you are.",
}

# METADATA
# title: Whether a list of kinds and issuers has the caller's
# description: Data lists so who may be an agent, or a relay.
listed(kinds) if {
	itself
	some listing in kinds
	listing.kind == input.identity.kind
	listing.issuer == input.identity.issuer
}
