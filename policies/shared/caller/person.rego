package payments.shared.caller

# METADATA
# title: Whether a party is another person than the caller
# description: |
#   The same person may call as a user, as an agent and by a device: what kind of
#   caller it is makes nobody another one.
is_another_person(party) if {
	itself
	is_string(party.issuer)
	is_string(party.subject)
	[party.issuer, party.subject] != [input.identity.issuer, input.identity.subject]
}
