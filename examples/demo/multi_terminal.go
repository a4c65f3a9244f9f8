package main

const (
	verasPayments  = "/v1/accounts/acc_vera/verified-payments"
	verasTransfers = "/v1/accounts/acc_vera/transfers"
)

// userEntries is where the payer enters codes.
func userEntries(challenge string) string {
	return "/countersign/v1/user/challenges/{" + challenge + "}/entries"
}

// multiTerminal is the story of Vera, whose phone and tablet both confirm what is paid
// from her account. She enters their codes where she pays.
var multiTerminal = []step{
	{says: "Vera pays the bakery 12.50 EUR", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", asks: "shoes", status: 401, code: "verification_required"},
	gets("her phone is sent a code", "vera-phone", "code"),
	gets("her tablet is sent another one", "vera-tablet", "code"),
	{says: "she enters that of the phone alone", caller: "vera", path: userEntries("shoes"), body: entry("{vera-phone.code}"), status: 202},
	{says: "she pays: one terminal is not enough", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", asks: "shoes",
		status: 401, code: "verification_required"},
	{says: "she mistypes that of the tablet", caller: "vera", path: userEntries("shoes"), body: entry("{vera-tablet.wrong}"), status: 202},
	{says: "she pays: nothing tells what was wrong", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", asks: "shoes",
		status: 401, code: "verification_required"},
	{says: "Ben, who has seen both, enters one", caller: "ben", path: userEntries("shoes"), body: entry("{vera-phone.code}"), status: 202},
	{says: "Ben enters the other", caller: "ben", path: userEntries("shoes"), body: entry("{vera-tablet.code}"), status: 202},
	{says: "she pays: his do not count", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", asks: "shoes",
		status: 401, code: "verification_required"},
	{says: "she enters that of the phone", caller: "vera", path: userEntries("shoes"), body: entry("{vera-phone.code}"), status: 202},
	{says: "and that of the tablet", caller: "vera", path: userEntries("shoes"), body: entry("{vera-tablet.code}"), status: 202},
	{says: "she pays 99.00 with them", caller: "vera", path: verasPayments, body: pay("9900"), key: "shoes", status: 422, code: "key_other_call"},
	{says: "she pays 12.50", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", status: 201},
	{says: "the same call again, under its key", caller: "vera", path: verasPayments, body: pay("1250"), key: "shoes", status: 201, replayed: true},

	{says: "Vera pays 500.00 EUR: from there, in ascending order", caller: "vera", path: verasPayments, body: pay("50000"), key: "coat", asks: "coat",
		status: 401, code: "verification_required"},
	gets("her phone is sent a code", "vera-phone", "code"),
	gets("her tablet is sent another one", "vera-tablet", "code"),
	{says: "she enters the higher code", caller: "vera", path: userEntries("coat"), body: entry("{high}"), status: 202},
	{says: "and the lower one", caller: "vera", path: userEntries("coat"), body: entry("{low}"), status: 202},
	{says: "she pays: right codes, wrong order", caller: "vera", path: verasPayments, body: pay("50000"), key: "coat", asks: "coat",
		status: 401, code: "verification_required"},
	{says: "she enters the lower code", caller: "vera", path: userEntries("coat"), body: entry("{low}"), status: 202},
	{says: "and the higher one", caller: "vera", path: userEntries("coat"), body: entry("{high}"), status: 202},
	{says: "she pays", caller: "vera", path: verasPayments, body: pay("50000"), key: "coat", status: 201},

	{says: "a thief with Vera's login transfers 80.00", caller: "vera", path: verasTransfers, body: pay("8000"), key: "theft", asks: "theft",
		status: 401, code: "verification_required"},
	gets("her tablet is sent a code", "vera-tablet", "code"),
	{says: "it says: that was not me", caller: "vera-tablet", path: "/countersign/v1/challenges/{theft}/reject", status: 200},
	{says: "the thief tries again", caller: "vera", path: verasTransfers, body: pay("8000"), key: "theft", status: 403, code: "approval_rejected"},
	{says: "Tom, who has one phone, pays 12.50", caller: "tom", path: "/v1/accounts/acc_tom/verified-payments", body: pay("1250"),
		status: 403, code: "terminals_too_few"},
}
