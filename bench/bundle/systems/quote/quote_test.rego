# METADATA
# title: Tests of quotes
# description: Whole decisions, case by case.
# schemas:
#   - input: schema.input
package payments.systems.quote_test

good := {
	"version": 1,
	"now_ns": 1795532400000000000,
	"arrived_ns": 1795532400000000000,
	"call": {
		"system": "quote",
		"operation": "quote",
		"payee": "mer_bakery",
		"amount_minor": 1250,
		"currency": "EUR",
	},
	"identity": {"kind": "user", "issuer": "https://id.example", "subject": "anna"},
	"facts": {},
}

test_decision[note] if {
	some note, case in {
		"a quote": {
			"with": {},
			"allow": true,
			"codes": set(),
		},
		"exactly the maximum": {
			"with": {"amount_minor": 50000},
			"allow": true,
			"codes": set(),
		},
		"over the maximum": {
			"with": {"amount_minor": 50001},
			"allow": false,
			"codes": {"amount_over_maximum"},
		},
		"nothing": {
			"with": {"amount_minor": 0},
			"allow": false,
			"codes": {"amount_invalid"},
		},
		"another currency": {
			"with": {"currency": "CHF"},
			"allow": false,
			"codes": {"currency_unknown"},
		},
	}

	decision := data.payments.decision with input as object.union(good, {"call": case["with"]})
	decision.allow == case.allow
	{r.code | some r in decision.reasons} == case.codes
	decision.effects == set()
}
