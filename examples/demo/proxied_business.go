package main

const (
	business = "/v1/business"
	scans    = "/countersign/v1/business/{scanned}"
	executes = "/v1/business/{scanned}/execute"
)

// asks is what Tom's phone asks for: a type of business, and perhaps the flag that an
// agent is to carry it out.
func asks(kind, amountMinor, flag string) string {
	return `{"type": "` + kind + `", "amount_minor": ` + amountMinor + `, "currency": "EUR"` + flag + `}`
}

const byProxy = `, "proxy_mode": true`

// through is what an agent sends: whose account pays or is paid, and the amount that it
// was shown.
func through(account, amountMinor string) string {
	return `{"account": "` + account + `", "amount_minor": ` + amountMinor + `}`
}

// proxiedBusiness is the story of Tom, who has no bank card. He tops up and withdraws at
// the desk of a shop, which scans his phone. The desk may spend 100.00 EUR in all.
var proxiedBusiness = []step{
	{says: "Tom's phone asks for a top-up of 60.00 by an agent", caller: "tom-phone", path: business, body: asks("top_up", "6000", byProxy), opens: "topup", status: 201},
	{says: "it shows a QR code, which the desk scans", caller: "tom-phone", method: "GET", path: "/countersign/v1/intents/{topup}", key: noKey, scans: "scanned", status: 200},
	{says: "the desk is shown type, amount and user", caller: "desk", method: "GET", path: scans, key: noKey, status: 200},
	{says: "the desk executes it as 90.00", caller: "desk", path: executes, body: through("acc_desk", "9000"), status: 403, code: "amount_changed"},
	{says: "the desk executes it through the kiosk's account", caller: "desk", path: executes, body: through("acc_kiosk", "6000"), status: 403, code: "account_unknown"},
	{says: "the desk executes it: 60.00 from its account", caller: "desk", path: executes, body: through("acc_desk", "6000"), status: 201},
	{says: "the kiosk executes it too", caller: "kiosk", path: executes, body: through("acc_kiosk", "6000"),
		status: 403, code: "intent_unknown", recorded: "intent_closed"},
	gets("Tom's phone is told", "tom-phone", "business_executed"),

	{says: "Tom's phone asks for 40.01 more", caller: "tom-phone", path: business, body: asks("top_up", "4001", byProxy), opens: "scanned", status: 201},
	{says: "the desk executes it, a cent over its limit", caller: "desk", path: executes, body: through("acc_desk", "4001"),
		status: 403, code: "amount_over_limit", left: "40.00"},
	{says: "the kiosk executes it instead", caller: "kiosk", path: executes, body: through("acc_kiosk", "4001"), status: 201},
	gets("Tom's phone is told", "tom-phone", "business_executed"),

	{says: "Tom's phone asks to withdraw 30.00", caller: "tom-phone", path: business, body: asks("withdrawal", "3000", byProxy), opens: "withdrawal", status: 201},
	{says: "it shows a QR code, which the desk scans", caller: "tom-phone", method: "GET", path: "/countersign/v1/intents/{withdrawal}", key: noKey, scans: "scanned", status: 200},
	{says: "the desk says that it has scanned", caller: "desk", path: scans + "/scan", body: `{"account": "acc_desk"}`, status: 200},
	gets("Tom's phone is asked: is it this desk?", "tom-phone", "agent_confirmation_request"),
	{says: "the desk executes it before he says so", caller: "desk", path: executes, body: through("acc_desk", "3000"), status: 403, code: "business_not_confirmed"},
	{says: "the desk confirms it in Tom's place", caller: "desk", path: scans + "/confirm", body: `{"agent_account": "acc_desk"}`, status: 403, code: "terminal_unknown"},
	{says: "Tom confirms another agent than has scanned", caller: "tom-phone", path: scans + "/confirm", body: `{"agent_account": "acc_kiosk"}`,
		status: 403, code: "business_of_another_agent"},
	{says: "Tom confirms the desk", caller: "tom-phone", path: scans + "/confirm", body: `{"agent_account": "acc_desk"}`, status: 200},
	{says: "the kiosk, with a photograph of the code, executes", caller: "kiosk", path: executes, body: through("acc_kiosk", "3000"),
		status: 403, code: "business_of_another_agent"},
	{says: "the desk executes it: 30.00 from Tom's account", caller: "desk", path: executes, body: through("acc_desk", "3000"), status: 201},
	gets("Tom's phone is told", "tom-phone", "business_executed"),

	{says: "Tom's phone asks without an agent: no ID, no QR code", caller: "tom-phone", path: business, body: asks("top_up", "1000", ""), status: 202},
	{says: "Tom's phone asks for a loan", caller: "tom-phone", path: business, body: asks("loan", "1000", byProxy), status: 403, code: "business_type_unknown"},
}
