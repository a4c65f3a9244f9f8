package main

const orders = "/v1/agent/orders"

// loaves is what a desk sends to order bread for an account.
func loaves(account, amountMinor, more string) string {
	return `{"account": "` + account + `", "payee": "mer_bakery", "amount_minor": ` + amountMinor + `, "currency": "EUR"` + more + `}`
}

// entry is a code that is entered.
func entry(code string) string { return `{"code": "` + code + `"}` }

// entries is where terminals enter codes of a challenge.
func entries(challenge string) string {
	return "/countersign/v1/challenges/{" + challenge + "}/entries"
}

// agentOrder is the story of Greta, who uses no app. She calls a desk, which orders for
// her; her own phone confirms the order, and pays it.
var agentOrder = []step{
	{says: "a desk orders bread for Greta, 12.50 EUR", caller: "desk", path: orders, body: loaves("acc_greta", "1250", ""), key: "loaves",
		asks: "loaves", status: 401, code: "verification_required"},
	gets("Greta's phone is sent a code", "greta-phone", "code"),
	{says: "the desk enters that code, which it overheard", caller: "desk", path: entries("loaves"), body: entry("{greta-phone.code}"), status: 202},
	{says: "Greta's watch enters it", caller: "greta-watch", path: entries("loaves"), body: entry("{greta-phone.code}"), status: 202},
	{says: "the desk asks again: neither counts", caller: "desk", path: orders, body: loaves("acc_greta", "1250", ""), key: "loaves",
		asks: "loaves", status: 401, code: "verification_required"},
	{says: "Greta's phone enters it", caller: "greta-phone", path: entries("loaves"), body: entry("{greta-phone.code}"), status: 202},
	{says: "the desk makes it 99.00 now", caller: "desk", path: orders, body: loaves("acc_greta", "9900", ""), key: "loaves", status: 422, code: "key_other_call"},
	{says: "the desk asks again: the order is placed", caller: "desk", path: orders, body: loaves("acc_greta", "1250", ""), key: "loaves",
		opens: "order", status: 201},
	gets("Greta's phone is asked to pay it", "greta-phone", "deduction_request"),
	{says: "the desk pays it", caller: "desk", path: "/v1/orders/{order}/payments", status: 403, code: "terminal_unknown"},
	{says: "Greta's watch pays it", caller: "greta-watch", path: "/v1/orders/{order}/payments", status: 403, code: "intent_unknown"},
	{says: "Greta's phone pays it", caller: "greta-phone", path: "/v1/orders/{order}/payments", status: 201},
	{says: "Greta's phone pays it once more", caller: "greta-phone", path: "/v1/orders/{order}/payments", status: 403, code: "order_paid"},
	gets("Greta's phone is told", "greta-phone", "payment_succeeded", "deduction_notice"),

	{says: "Greta agrees on a code in advance, for up to 20.00", caller: "greta-phone", path: "/countersign/v1/stored_codes",
		body: `{"max_amount_minor": 2000, "currency": "EUR"}`, status: 201},
	gets("Greta's phone is sent it, to be told to a desk", "greta-phone", "stored_code"),
	{says: "the desk orders with a code that it made up", caller: "desk", path: orders,
		body: loaves("acc_greta", "2000", `, "stored_code": "{greta-phone.wrong}"`), status: 403, code: "stored_code_invalid"},
	{says: "the desk orders for 20.00 with the code itself", caller: "desk", path: orders,
		body: loaves("acc_greta", "2000", `, "stored_code": "{greta-phone.code}"`), opens: "cake", status: 201},
	{says: "the desk uses the code a second time", caller: "desk", path: orders,
		body: loaves("acc_greta", "2000", `, "stored_code": "{greta-phone.code}"`), status: 403, code: "stored_code_invalid"},
	gets("Greta's phone is told of all three", "greta-phone", "authorisation_failed", "deduction_request", "authorisation_failed"),
	{says: "Greta declines to pay", caller: "greta-phone", path: "/countersign/v1/orders/{cake}/decline", status: 200},
	{says: "Greta's phone pays it all the same", caller: "greta-phone", path: "/v1/orders/{cake}/payments", status: 403, code: "order_declined"},
	{says: "the desk orders for Tom, whose phone may not order", caller: "desk", path: orders, body: loaves("acc_tom", "1250", ""),
		status: 403, code: "account_unknown", recorded: "order_terminal_missing"},
}
