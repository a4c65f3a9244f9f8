package main

const (
	annasPayments = "/v1/accounts/acc_anna/payments"
	bensPayments  = "/v1/accounts/acc_ben/payments"
	carasPayments = "/v1/accounts/acc_cara/payments"
)

// pay is the body of a payment in minor units of EUR.
func pay(amountMinor string) string {
	return `{"payee": "mer_bakery", "amount_minor": ` + amountMinor + `, "currency": "EUR"}`
}

// direct is the story of owners who pay by themselves. Each account's maximum for one payment is 500.00 EUR; Ben's
// is frozen, and Cara's may spend 100.00 EUR in all.
var direct = []step{
	{says: "Anna pays the bakery 12.50 EUR", caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 201},
	{says: "the same call again, under its key", caller: "anna", path: annasPayments, body: pay("1250"), key: "bread",
		status: 201, replayed: true},
	{says: "99.00 EUR under that key", caller: "anna", path: annasPayments, body: pay("9900"), key: "bread",
		status: 422, code: "key_other_call"},
	{says: "12.50 EUR without a key", caller: "anna", path: annasPayments, body: pay("1250"), key: noKey,
		status: 400, code: "idempotency_key_missing"},
	{says: "Anna pays 500.00 EUR, exactly her maximum", caller: "anna", path: annasPayments, body: pay("50000"), status: 201},
	{says: "Anna pays 500.01 EUR, one cent more", caller: "anna", path: annasPayments, body: pay("50001"),
		status: 403, code: "amount_over_payment_maximum", left: "500.00"},
	{says: "Cara, who may spend 100.00 EUR in all, pays 80.00", caller: "cara", path: carasPayments, body: pay("8000"), status: 201},
	{says: "Cara pays 20.01 EUR more", caller: "cara", path: carasPayments, body: pay("2001"),
		status: 403, code: "amount_over_limit", left: "20.00"},
	{says: "Cara pays 20.00 EUR, the rest", caller: "cara", path: carasPayments, body: pay("2000"), status: 201},
	{says: "Ben pays from his account, which is frozen", caller: "ben", path: bensPayments, body: pay("1250"),
		status: 403, code: "account_frozen"},
	{says: "Anna tries to pay from Ben's account", caller: "anna", path: bensPayments, body: pay("1250"),
		status: 403, code: "account_unknown"},
	{says: "a path that no route knows", caller: "anna", path: "/v1/refunds", body: pay("1250"),
		status: 403, code: "no_route"},
	{says: "a body that says two amounts", caller: "anna", path: annasPayments,
		body:   `{"payee": "mer_bakery", "amount_minor": 1, "amount_minor": 99999, "currency": "EUR"}`,
		status: 400, code: "body_duplicate_member"},
	{says: "an amount of 1e9999999, ten million digits", caller: "anna", path: annasPayments, body: pay("1e9999999"),
		status: 400, code: "body_number_out_of_range"},
	{says: "no token", path: annasPayments, body: pay("1250"), status: 401},
	{says: "Anna calls the payment service past Envoy", past: true, caller: "anna", path: annasPayments, body: pay("1250"),
		status: 403, code: "token_missing"},
	{says: "the sidecar is killed (kill -9); call 1 again", before: (*world).killSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 503},
	{says: "the sidecar is back; call 1 again, under its key", before: (*world).restartSidecar,
		caller: "anna", path: annasPayments, body: pay("1250"), key: "bread", status: 201, replayed: true},
	{says: "Anna pays 12.50 EUR once more, under a new key", caller: "anna", path: annasPayments, body: pay("1250"), status: 201},
}
