package main

import (
	"fmt"
	"slices"
)

const (
	annasGrants = "/countersign/v1/accounts/acc_anna/grants"
	grants      = "/countersign/v1/grants/"
	charges     = "/v1/payments"
)

// What the children may spend, beside the maximum for one payment.
const (
	aDay   = `{"name": "daily", "max_amount_minor": 3000, "max_count": 10, "period": {"kind": "day", "alignment": "calendar", "zone": "Europe/Berlin"}}`
	aWeek  = `{"name": "weekly", "max_count": 1, "period": {"kind": "week", "alignment": "calendar", "zone": "Europe/Berlin", "week_start": "monday"}}`
	anHour = `{"name": "hourly", "max_amount_minor": 1000, "period": {"kind": "sliding", "window_seconds": 3600}}`

	noCooling   = `{"mode": "none"}`
	theFirstDay = `{"mode": "first", "seconds": 86400, "max_amount_minor": 300}`
)

// terms are what Anna grants: so much at a time and within a limit, and not in a bar.
// Everything must be said, also that something is not bounded: a term that is missing
// is never read as "any".
func terms(maxPaymentMinor int, limit, cooling, delegation string) string {
	return fmt.Sprintf(`{"currency": "EUR", "max_payment_minor": %d,
  "limits": [%s],
  "valid_from": {"mode": "any"}, "valid_to": {"mode": "any"},
  "merchants": {"mode": "any"}, "categories": {"mode": "except", "values": ["5813"]},
  "countries": {"mode": "any"}, "channels": {"mode": "any"}, "hours": {"mode": "any"},
  "cooling": %s, "delegation": "%s", "refund_restores": true}`, maxPaymentMinor, limit, cooling, delegation)
}

// offer offers up to 20.00 EUR at a time.
func offer(delegate, limit, cooling string) string {
	return offerTo(delegate, terms(2000, limit, cooling, "full"))
}

func offerTo(delegate, terms string) string {
	return `{"delegate": {"kind": "user", "issuer": "https://id.example", "subject": "` + delegate + `"}, "terms": ` + terms + `}`
}

// joins are the steps by which another child comes to have a device that pays.
func joins(name, id, says, offer string) []step {
	return []step{
		{says: says, caller: "anna", path: annasGrants, body: offer, offers: id, status: 201},
		{says: name + " accepts", caller: id, path: grants + "{" + id + "}/accept", status: 200},
		{says: name + "'s device fetches what it makes codes from", caller: id, path: grants + "{" + id + "}/parameters", fetches: id, status: 200},
	}
}

// charge is what a merchant's till sends: the code that it has scanned, and what is
// to be paid.
func charge(payee, amountMinor string) string {
	return `{"payment_code": "{code}", "payee": "` + payee + `", "amount_minor": ` + amountMinor + `, "currency": "EUR"}`
}

// delegated is the story of grants: Anna lets her children pay from her account,
// each within another limit. Their devices are offline; two tills charge their codes.
var delegated = slices.Concat(lenaPays,
	joins("Max", "max", "Anna lets Max pay on the same terms", offer("max", aDay, noCooling)), maxPays,
	joins("Nora", "nora", "Anna lets Nora pay once a week", offer("nora", aWeek, noCooling)), noraPays,
	joins("Ole", "ole", "Anna lets Ole pay, on the first day 3.00", offer("ole", aDay, theFirstDay)), olePays,
	joins("Pia", "pia", "Anna lets Pia pay 10.00 in any hour", offer("pia", anHour, noCooling)), piaPays,
	kimJoins, kimPays, theEnd)

var lenaPays = []step{
	{says: "Anna lets Lena pay: 20.00 at a time, 30.00 a day", caller: "anna", path: annasGrants, body: offer("lena", aDay, noCooling), offers: "lena", status: 201},
	{says: "Ben accepts that in Lena's place", caller: "ben", path: grants + "{lena}/accept", status: 403, code: "grant_unknown"},
	{says: "Lena accepts", caller: "lena", path: grants + "{lena}/accept", status: 200},
	{says: "Lena's device fetches what it makes codes from", caller: "lena", path: grants + "{lena}/parameters", fetches: "lena", status: 200},
	{says: "Lena raises her own limit to 200.00", caller: "lena", method: "PATCH", path: grants + "{lena}", body: `{"terms": ` + terms(20000, aDay, noCooling, "full") + `}`,
		status: 403, code: "grant_owner_required"},
	{says: "the bakery charges Lena's code 12.50", caller: "bakery", path: charges, body: charge("mer_bakery", "1250"), device: "lena", status: 201},
	{says: "the bakery charges the same code again", caller: "bakery", path: charges, body: charge("mer_bakery", "1250"),
		status: 403, code: "payment_code_invalid", recorded: "payment_code_invalid"},
	{says: "the bakery charges 17.51, a cent over her day", caller: "bakery", path: charges, body: charge("mer_bakery", "1751"), device: "lena",
		status: 403, code: "payment_over_limit", recorded: "amount_over_grant_limit, 17.50 left"},
	{says: "Lena looks at what remains", caller: "lena", method: "GET", path: grants + "{lena}", key: noKey, status: 200, left: "17.50"},
}

var maxPays = []step{
	{says: "the bar charges Max's code 5.00", caller: "bar", path: charges, body: charge("mer_bar", "500"), device: "max",
		status: 403, code: "payment_not_permitted", recorded: "category_not_allowed"},
	{says: "the bakery charges 20.01, over one payment", caller: "bakery", path: charges, body: charge("mer_bakery", "2001"), device: "max",
		status: 403, code: "payment_over_limit", recorded: "amount_over_grant_payment_maximum, 20.00 left"},
}

var noraPays = []step{
	{says: "the bakery charges Nora's code 5.00", caller: "bakery", path: charges, body: charge("mer_bakery", "500"), device: "nora", status: 201},
	{says: "the bakery charges 1.00 more this week", caller: "bakery", path: charges, body: charge("mer_bakery", "100"), device: "nora",
		status: 403, code: "payment_count_over_limit", recorded: "count_over_grant_limit, 0 left"},
}

var olePays = []step{
	{says: "the bakery charges Ole's code 3.01", caller: "bakery", path: charges, body: charge("mer_bakery", "301"), device: "ole",
		status: 403, code: "payment_over_limit", recorded: "amount_over_grant_cooling, 3.00 left"},
	{says: "the bakery charges 3.00, exactly that", caller: "bakery", path: charges, body: charge("mer_bakery", "300"), device: "ole", status: 201},
}

var piaPays = []step{
	{says: "the bakery charges Pia's code 10.00", caller: "bakery", path: charges, body: charge("mer_bakery", "1000"), device: "pia", status: 201},
	{says: "the bakery charges a cent more within the hour", caller: "bakery", path: charges, body: charge("mer_bakery", "1"), device: "pia",
		status: 403, code: "payment_over_limit", recorded: "amount_over_grant_limit, 0.00 left"},
}

// Five delegates are as many as may be, so Max makes room for Kim.
var kimJoins = slices.Concat([]step{
	{says: "Anna lets Kim pay: she approves each payment", caller: "anna", path: annasGrants, body: offerTo("kim", terms(2000, aDay, noCooling, "partial")),
		status: 403, code: "delegates_over_maximum", left: "0"},
	{says: "Max gives his grant back, to make room", caller: "max", path: grants + "{max}/end", status: 200},
}, joins("Kim", "kim", "Anna lets Kim pay: she approves each payment", offerTo("kim", terms(2000, aDay, noCooling, "partial"))))

var kimPays = []step{
	{says: "the bakery charges Kim's code 8.00", caller: "bakery", path: charges, body: charge("mer_bakery", "800"), device: "kim", key: "rolls", asks: "rolls",
		status: 401, code: "approval_required"},
	gets("Anna's phone is asked: 8.00 by Kim, at the bakery?", "anna-phone", "approval_request"),
	{says: "Kim's friend approves it with Anna's tablet", caller: "anna-tablet", path: "/countersign/v1/challenges/{rolls}/approve", status: 403, code: "challenge_unknown"},
	{says: "Anna approves it on her phone", caller: "anna-phone", path: "/countersign/v1/challenges/{rolls}/approve", status: 200},
	{says: "the bakery makes it 9.00 now", caller: "bakery", path: charges, body: charge("mer_bakery", "900"), key: "rolls", status: 422, code: "key_other_call"},
	{says: "the bakery repeats its call, as it was", caller: "bakery", path: charges, body: charge("mer_bakery", "800"), key: "rolls", status: 201},
	{says: "the bakery charges another code of Kim's 4.00", caller: "bakery", path: charges, body: charge("mer_bakery", "400"), device: "kim", key: "cake", asks: "cake",
		status: 401, code: "approval_required"},
	gets("Anna's phone is asked", "anna-phone", "approval_request"),
	{says: "Anna says no", caller: "anna-phone", path: "/countersign/v1/challenges/{cake}/reject", status: 200},
	{says: "the bakery repeats its call", caller: "bakery", path: charges, body: charge("mer_bakery", "400"), key: "cake", status: 403, code: "approval_rejected"},
}

var theEnd = []step{
	{says: "Anna has Lena's device get new parameters", caller: "anna", path: grants + "{lena}/reissue", status: 200},
	{says: "Lena's device fetches them", caller: "lena", path: grants + "{lena}/parameters", fetches: "lena", status: 200},
	{says: "Anna freezes the grant", caller: "anna", path: grants + "{lena}/freeze", status: 200},
	{says: "the bakery charges Lena's code 5.00", caller: "bakery", path: charges, body: charge("mer_bakery", "500"), device: "lena",
		status: 403, code: "payment_not_authorised", recorded: "grant_frozen"},
	{says: "Anna unfreezes it", caller: "anna", path: grants + "{lena}/unfreeze", status: 200},
	{says: "the sidecar is killed (kill -9); 17.50 is charged", before: (*world).killSidecar,
		caller: "bakery", path: charges, body: charge("mer_bakery", "1750"), device: "lena", key: "rest", status: 503},
	{says: "the sidecar is back; that call again: the rest", before: (*world).restartSidecar,
		caller: "bakery", path: charges, body: charge("mer_bakery", "1750"), key: "rest", status: 201},
	{says: "Anna revokes the grant", caller: "anna", path: grants + "{lena}/revoke", status: 200},
	{says: "that call again: it is not paid a second time", caller: "bakery", path: charges, body: charge("mer_bakery", "1750"), key: "rest",
		status: 409, code: "already_allowed", replayed: true},
	{says: "Anna stops everything: her account is frozen", caller: "anna", path: "/countersign/v1/accounts/acc_anna/freeze", status: 200},
}
