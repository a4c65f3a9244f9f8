package main

const (
	checkouts = "/v1/checkouts"
	gestures  = "/countersign/v1/gestures"
	relayed   = "/countersign/v1/relays/gestures"
	// checkoutToken is the name of what the QR code on the screen of a first terminal holds.
	checkoutToken = "token"
)

const swipe = `{"gesture": "swipe"}`

// paidAs is what a second terminal shows when it pays, with the token that it has scanned.
func paidAs(amountMinor, token string) string {
	return `{"payee": "mer_bakery", "amount_minor": ` + amountMinor + `, "currency": "EUR", "token": "` + token + `"}`
}

// secondTerminal is the story of Ida, who chooses on her laptop and pays on her phone. An
// old PC of hers is paired with no other terminal.
var secondTerminal = []step{
	{says: "Ida chooses bread on her laptop, 12.50 EUR", caller: "ida-laptop", path: checkouts, body: pay("1250"), opens: "checkout", status: 201},
	gets("her phone asks for a swipe", "ida-phone", "gesture_request"),
	gets("so does her tablet", "ida-tablet", "gesture_request"),
	{says: "the phone pays before it was swiped", caller: "ida-phone", path: checkouts + "/{checkout}/pay", body: pay("1250"), status: 403, code: "checkout_awaits_gesture"},
	{says: "the laptop reports the swipe", caller: "ida-laptop", path: gestures, body: swipe, status: 403, code: "checkout_none"},
	{says: "the iOS server reports it for the Android phone", caller: "relay-ios", path: relayed, body: `{"terminal": "trm_ida_phone", "gesture": "swipe"}`,
		status: 403, code: "terminal_not_relayed"},
	{says: "the phone reports a shake, which was not asked for", caller: "ida-phone", path: gestures, body: `{"gesture": "shake"}`,
		status: 403, code: "gesture_not_asked"},
	{says: "the Android server reports a shake", caller: "relay-android", path: relayed, body: `{"terminal": "trm_ida_phone", "gesture": "shake"}`,
		status: 403, code: "gesture_not_expected", recorded: "gesture_not_asked"},
	{says: "the Android server reports the swipe", caller: "relay-android", path: relayed, body: `{"terminal": "trm_ida_phone", "gesture": "swipe"}`, status: 200},
	gets("the phone opens the page to pay", "ida-phone", "payment_response"),
	gets("the tablet is told that it is closed there", "ida-tablet", "checkout_closed"),
	{says: "the tablet pays", caller: "ida-tablet", path: checkouts + "/{checkout}/pay", body: pay("1250"), status: 403, code: "checkout_not_pushed"},
	{says: "the laptop pays", caller: "ida-laptop", path: checkouts + "/{checkout}/pay", body: pay("1250"), status: 403, code: "checkout_opened_here"},
	{says: "Tom's phone pays", caller: "tom-phone", path: checkouts + "/{checkout}/pay", body: pay("1250"), status: 403, code: "intent_unknown"},
	{says: "the phone pays 99.00", caller: "ida-phone", path: checkouts + "/{ida-phone.intent}/pay", body: pay("9900"), status: 403, code: "amount_changed"},
	{says: "the phone pays what it shows, 12.50", caller: "ida-phone", path: checkouts + "/{ida-phone.intent}/pay", body: pay("1250"), status: 201},
	{says: "the phone pays it once more", caller: "ida-phone", path: checkouts + "/{ida-phone.intent}/pay", body: pay("1250"), status: 403, code: "intent_closed"},
	gets("the laptop is told", "ida-laptop", "checkout_paid"),

	{says: "Ida chooses on the laptop again, 5.00", caller: "ida-laptop", path: checkouts, body: pay("500"), opens: "checkout", status: 201},
	{says: "and something else in another window, 7.00", caller: "ida-laptop", path: checkouts, body: pay("700"), opens: "other", status: 201},
	gets("the phone asks for a swipe, twice", "ida-phone", "gesture_request", "gesture_request"),
	{says: "the phone is swiped: for which of them?", caller: "ida-phone", path: gestures, body: swipe,
		status: 403, code: "checkout_ambiguous"},
	{says: "Ida cancels the other one", caller: "ida-laptop", path: "/countersign/v1/intents/{other}/cancel", status: 200},
	{says: "the phone is swiped: now it is clear", caller: "ida-phone", path: gestures, body: swipe, status: 200},
	gets("the phone is told of both", "ida-phone", "intent_cancelled", "payment_response"),
	{says: "the phone pays 5.00", caller: "ida-phone", path: checkouts + "/{checkout}/pay", body: pay("500"), status: 201},

	{says: "Ida chooses on an old PC, paired with nothing", caller: "ida-old-pc", path: checkouts, body: pay("900"), opens: "checkout", status: 201},
	{says: "the phone is swiped", caller: "ida-phone", path: gestures, body: swipe, status: 200},
	gets("the phone opens a scanner", "ida-phone", "gesture_request", "payment_response"),
	{says: "the phone pays without a scan", caller: "ida-phone", path: checkouts + "/{checkout}/pay", body: pay("900"), status: 403, code: "scan_required"},
	{says: "the phone pays with something else that it scanned", caller: "ida-phone", path: checkouts + "/{checkout}/pay", body: paidAs("900", "{checkout}"),
		status: 403, code: "intent_token_invalid"},
	{says: "the PC shows a QR code, which the phone scans", caller: "ida-old-pc", method: "GET", path: "/countersign/v1/intents/{checkout}", key: noKey,
		scans: checkoutToken, status: 200},
	{says: "the phone pays with what it scanned", caller: "ida-phone", path: checkouts + "/{checkout}/pay", body: paidAs("900", "{token}"), status: 201},
}
