package payments.systems.proxied_business_test

import data.payments.shared.cases_test as cases

# The phone asks for a business, in proxy mode.
request(type) := call_of(
	"request_business",
	phone,
	{"type": type, "amount_minor": 5000, "currency": "EUR", "proxy_mode": true},
	{
		"terminal": object.union(annas_phone, {"identity": phone}),
		"account": object.filter(annas_account, ["id", "state", "currency"]),
		"open_intents": [],
	},
)

ordinary := cases.without(cases.without(request("top_up"), "/call/proxy_mode"), "/facts/open_intents")

opened(type, more) := cases.allowed_with({object.union(more, {
	"type": "open_intent",
	"kind": "proxied_business",
	"state": "open",
	"expires_at_ns": now + 900000000000,
	"terminals": ["trm_phone"],
	"attributes": {"type": type},
})})

test_request[note] if {
	good := request("top_up")
	some note, case in {
		"a top-up: Anna is paid": {
			"input": good,
			"decision": opened("top_up", {"payee": "acc_anna"}),
		},
		"a withdrawal: whom she pays is not known yet": {
			"input": request("withdrawal"),
			"decision": opened("withdrawal", {}),
		},
		"without proxy mode: nothing that an agent could execute": {
			"input": ordinary,
			"decision": cases.allowed,
		},
		"proxy mode false": {
			"input": cases.add(ordinary, "/call/proxy_mode", false),
			"decision": cases.allowed,
		},
		"proxy mode in words": {
			"input": cases.add(ordinary, "/call/proxy_mode", "true"),
			"decision": cases.allowed,
		},
		"an ordinary request of a type that there is not": {
			"input": cases.bend(ordinary, "/call/type", "loan"),
			"decision": refused({"business_type_unknown"}),
		},
		"one request waits": {
			"input": cases.bend(good, "/facts/open_intents", [{}]),
			"decision": opened("top_up", {"payee": "acc_anna"}),
		},
		"as many wait as may": {
			"input": cases.bend(good, "/facts/open_intents", [{}, {}]),
			"decision": refused({"business_over_maximum"}),
		},
		"a type that there is not": {
			"input": cases.bend(good, "/call/type", "loan"),
			"decision": refused({"business_type_unknown"}),
		},
		"nothing": {
			"input": cases.bend(good, "/call/amount_minor", 0),
			"decision": refused({"amount_invalid"}),
		},
		"part of a minor unit": {
			"input": cases.bend(good, "/call/amount_minor", 0.5),
			"decision": refused({"amount_invalid"}),
		},
		"another currency": {
			"input": cases.bend(good, "/call/currency", "USD"),
			"decision": refused({"currency_not_account"}),
		},
		"a frozen account": {
			"input": cases.bend(good, "/facts/account/state", "frozen"),
			"decision": refused({"account_frozen"}),
		},
		"a caller who is no terminal": {
			"input": cases.without(good, "/facts/terminal"),
			"decision": refused({"terminal_unknown"}),
		},
		"a frozen terminal, of a frozen account: not told": {
			"input": cases.bend(cases.bend(good, "/facts/terminal/state", "frozen"), "/facts/account/state", "frozen"),
			"decision": refused({"terminal_unknown"}),
		},
		"an unbound terminal": {
			"input": cases.bend(good, "/facts/terminal/state", "unbound"),
			"decision": refused({"terminal_unknown"}),
		},
		"a terminal of another account": {
			"input": cases.bend(good, "/facts/terminal/account", "acc_carl"),
			"decision": refused({"terminal_unknown"}),
		},
		"another terminal's identity": {
			"input": cases.bend(good, "/identity", tablet),
			"decision": refused({"terminal_unknown"}),
		},
		"the owner, not by a terminal": {
			"input": cases.bend(good, "/identity", cases.anna),
			"decision": refused({"terminal_unknown"}),
		},
		"a terminal on behalf of somebody": {
			"input": cases.add(good, "/identity/on_behalf_of", "carl"),
			"decision": refused({"terminal_unknown"}),
		},
	}
	decision := data.payments.decision with input as case.input with data.systems.proxied_business as tuned
	decision == case.decision
}

# Whatever types an operator lists.
test_request_of_each_type[type] if {
	some type, _ in data.systems.proxied_business.types
	decision := data.payments.decision with input as request(type)
	decision.allow
	{effect.type | some effect in decision.effects} == {"open_intent"}
}
