package envoy

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/evidence"
)

// limitCases: each bound exactly reached, and by one more passed.
var limitCases = []refusal{
	{name: "exactly the maximum for one payment", terms: maxPayment(1000), amount: 1000},
	{name: "one minor unit over the maximum for one payment", terms: maxPayment(1000), amount: 1001,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_grant_payment_maximum payment 1000 left"}},
	{name: "exactly what is left of the month", terms: limited(monthly), paid: []int64{1500}, amount: 500},
	{name: "one minor unit over what is left of the month", terms: limited(monthly), paid: []int64{1500}, amount: 501,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_grant_limit pocket_money 500 left"}, resets: inBerlin(2026, time.December, 1)},
	{name: "the last payment of the week", terms: limited(weekly), paid: []int64{1}, amount: 1},
	{name: "one payment more than in a week", terms: limited(weekly), paid: []int64{1, 1}, amount: 1,
		public: []string{"payment_count_over_limit"}, record: []string{"count_over_grant_limit twice_a_week 0 payments left"}, resets: inBerlin(2026, time.November, 30)},
	{name: "amount and number of a lifetime", terms: limited(ever), paid: []int64{700}, amount: 301,
		public: []string{"payment_count_over_limit", "payment_over_limit"},
		record: []string{"amount_over_grant_limit ever 300 left", "count_over_grant_limit ever 0 payments left"}},
	{name: "in a sliding window", terms: limited(sliding), paid: []int64{600}, at: afterPaid(time.Hour - 1), amount: 401,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_grant_limit hourly 400 left"}, resets: afterPaid(time.Hour)},
	{name: "when the window has moved on", terms: limited(sliding), paid: []int64{600}, at: afterPaid(time.Hour), amount: 1000},
	{name: "exactly the account's maximum for one payment", account: func(a *authzstore.Account) { a.MaxPaymentMinor = 1000 }, amount: 1000},
	{name: "one minor unit over the account's maximum", account: func(a *authzstore.Account) { a.MaxPaymentMinor = 1000 }, amount: 1001,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_payment_maximum payment 1000 left"}},
	{name: "exactly what is left of the account's day", account: daily, paid: []int64{900}, amount: 100},
	{name: "one minor unit over what is left of the account's day", account: daily, paid: []int64{900}, amount: 101,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_limit a_day 100 left"}, resets: inBerlin(2026, time.November, 25)},
	{name: "one payment more than the account's", account: daily, paid: []int64{1, 1, 1}, amount: 1,
		public: []string{"payment_count_over_limit"}, record: []string{"count_over_limit a_day 0 payments left"}, resets: inBerlin(2026, time.November, 25)},
	{name: "a window of the account that can keep no more payments", account: func(a *authzstore.Account) { a.Limits = []authzstore.Limit{fullWindow} }, amount: 1,
		public: []string{"payment_count_over_limit"}, record: []string{"limit_window_full full"}, resets: func(moments) time.Time { return opened.Add(10 * 24 * time.Hour) }},
	{name: "exactly what a new grant may spend", terms: cooling, amount: 300},
	{name: "one minor unit over what a new grant may spend", terms: cooling, paid: []int64{100}, at: afterAccept(10*time.Minute - 1), amount: 201,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_grant_cooling cooling 200 left"}, resets: afterAccept(10 * time.Minute)},
	{name: "when it has cooled", terms: cooling, paid: []int64{100}, at: afterAccept(10 * time.Minute), amount: 201},
	{name: "exactly the maximum before a raise", terms: maxPayment(1000), after: changing(func(terms *authzstore.Terms) { terms.MaxPaymentMinor = 5000 }), amount: 1000},
	{name: "over the maximum before a raise", terms: maxPayment(1000), after: changing(func(terms *authzstore.Terms) { terms.MaxPaymentMinor = 5000 }),
		at: afterChange(time.Hour - 1), amount: 1001,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_raise_cooling payment 1000 left"}, resets: afterChange(time.Hour)},
	{name: "when the raise has cooled", terms: maxPayment(1000), after: changing(func(terms *authzstore.Terms) { terms.MaxPaymentMinor = 5000 }),
		at: afterChange(time.Hour), amount: 5000},
	{name: "over what a limit left before it was raised", terms: limited(monthly), paid: []int64{1500},
		after: changing(func(terms *authzstore.Terms) { terms.Limits[0].MaxAmountMinor = 9000 }), amount: 501,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_raise_cooling pocket_money 500 left"}, resets: afterChange(time.Hour)},
	{name: "a limit lowered below what was spent", terms: limited(monthly), paid: []int64{1500},
		after: changing(func(terms *authzstore.Terms) { terms.Limits[0].MaxAmountMinor = 1000 }), amount: 1,
		public: []string{"payment_over_limit"}, record: []string{"amount_over_grant_limit pocket_money 0 left"}, resets: inBerlin(2026, time.December, 1)},
}

var (
	monthly = authzstore.Limit{Name: "pocket_money", MaxAmountMinor: 2000, Period: calendar(authzstore.Month)}
	weekly  = authzstore.Limit{Name: "twice_a_week", MaxCount: 2, Period: calendar(authzstore.Week)}
	ever    = authzstore.Limit{Name: "ever", MaxAmountMinor: 1000, MaxCount: 1, Period: authzstore.Period{Kind: authzstore.Lifetime}}
	sliding = authzstore.Limit{Name: "hourly", MaxAmountMinor: 1000, Period: authzstore.Period{Kind: authzstore.Sliding, WindowSeconds: 3600}}
)

func maxPayment(minor int64) func(*authzstore.Terms, time.Time) {
	return func(terms *authzstore.Terms, _ time.Time) { terms.MaxPaymentMinor = minor }
}

func cooling(terms *authzstore.Terms, _ time.Time) {
	terms.Cooling = authzstore.Cooling{Mode: authzstore.ModeFirst, Seconds: 600, MaxAmountMinor: 300}
}

func daily(a *authzstore.Account) {
	a.Limits = []authzstore.Limit{{Name: "a_day", MaxAmountMinor: 1000, MaxCount: 3, Period: calendar(authzstore.Day)}}
}

// timeCases: instants are inclusive.
var timeCases = []refusal{
	{name: "at its first instant", terms: from(time.Minute), at: afterAccept(time.Minute), amount: 1},
	{name: "before its first instant", terms: from(time.Minute), at: afterAccept(time.Minute - 1), amount: 1,
		public: []string{"payment_not_authorised"}, record: []string{"grant_not_yet_valid"}, resets: afterAccept(time.Minute)},
	{name: "at its last instant", terms: to(time.Minute), at: afterAccept(time.Minute), amount: 1},
	{name: "after its last instant", terms: to(time.Minute), at: afterAccept(time.Minute + 1), amount: 1,
		public: []string{"payment_not_authorised"}, record: []string{"grant_expired"}},
	{name: "at the hour's last instant", terms: untilNextMinute, at: nextMinute(0), amount: 1},
	{name: "after the hour's last instant", terms: untilNextMinute, at: nextMinute(1), amount: 1,
		public: []string{"payment_not_permitted"}, record: []string{"hour_not_allowed"}},
	{name: "at the hour's first instant, over midnight", terms: fromNextMinute, at: nextMinute(0), amount: 1},
	{name: "before the hour's first instant, over midnight", terms: fromNextMinute, at: nextMinute(-1), amount: 1,
		public: []string{"payment_not_permitted"}, record: []string{"hour_not_allowed"}},
}

func from(d time.Duration) func(*authzstore.Terms, time.Time) {
	return func(terms *authzstore.Terms, now time.Time) {
		terms.ValidFrom = authzstore.Instant{Mode: authzstore.ModeAt, AtNanos: now.Add(d).UnixNano()}
	}
}

func to(d time.Duration) func(*authzstore.Terms, time.Time) {
	return func(terms *authzstore.Terms, now time.Time) {
		terms.ValidTo = authzstore.Instant{Mode: authzstore.ModeAt, AtNanos: now.Add(d).UnixNano()}
	}
}

// nextMinute is the full minute after the one that follows the acceptance.
func nextMinute(d time.Duration) func(moments) time.Time {
	return func(m moments) time.Time { return minuteAfter(m.accepted).Add(d) }
}

func minuteAfter(now time.Time) time.Time { return now.Truncate(time.Minute).Add(2 * time.Minute) }

func untilNextMinute(terms *authzstore.Terms, now time.Time) {
	terms.Hours = authzstore.Hours{Mode: authzstore.ModeBetween, Zone: "UTC", From: now.Format("15:04"), To: minuteAfter(now).Format("15:04")}
}

func fromNextMinute(terms *authzstore.Terms, now time.Time) {
	next := minuteAfter(now)
	terms.Hours = authzstore.Hours{Mode: authzstore.ModeBetween, Zone: "UTC", From: next.Format("15:04"), To: now.Add(-time.Hour).Format("15:04")}
}

// placeCases: who is paid, where and in what.
var placeCases = []refusal{
	{name: "the merchant of the terms", terms: func(terms *authzstore.Terms, _ time.Time) {
		terms.Merchants, terms.Categories, terms.Countries, terms.Channels = only("mer_bakery"), only("5462"), except("MT"), only("till")
	}, amount: 1},
	{name: "another merchant", terms: func(terms *authzstore.Terms, _ time.Time) { terms.Merchants = only("mer_casino") }, amount: 1,
		public: []string{"payment_not_permitted"}, record: []string{"merchant_not_allowed"}},
	{name: "a category that is left out", terms: func(terms *authzstore.Terms, _ time.Time) { terms.Categories = except("7995") },
		by: till{"casino", "mer_casino"}, amount: 1, public: []string{"payment_not_permitted"}, record: []string{"category_not_allowed"}},
	{name: "another country", terms: func(terms *authzstore.Terms, _ time.Time) { terms.Countries = only("DE") },
		by: till{"casino", "mer_casino"}, amount: 1, public: []string{"payment_not_permitted"}, record: []string{"country_not_allowed"}},
	{name: "another channel", terms: func(terms *authzstore.Terms, _ time.Time) { terms.Channels = only("till") },
		by: till{"bakery-web", "mer_bakery"}, amount: 1, public: []string{"payment_not_permitted"}, record: []string{"channel_not_allowed"}},
	{name: "another currency", currency: "USD", amount: 1,
		public: []string{"currency_not_grant", "payment_not_permitted"}, record: []string{"currency_not_account", "currency_not_grant"}},
	{name: "a merchant that is paid for by another", by: till{"casino", "mer_bakery"}, amount: 1, public: []string{"merchant_not_payee"}},
	{name: "a merchant that pays another", by: till{"bakery", "mer_casino"}, amount: 1, public: []string{"merchant_not_payee"}},
	{name: "a payee that there is not", by: till{"bakery", "mer_nobody"}, amount: 1, public: []string{"merchant_not_payee"}},
	{name: "a frozen merchant", by: till{"closed", "mer_closed"}, amount: 1, public: []string{"merchant_frozen"}},
	{name: "the delegate in the merchant's place", by: till{"ben", "mer_bakery"}, amount: 1, public: []string{"merchant_unknown"}},
}

// stateCases: what became of the grant or the account since.
var stateCases = []refusal{
	{name: "a frozen grant", after: doing("anna", "freeze"), amount: 1,
		public: []string{"payment_not_authorised"}, record: []string{"grant_frozen"}},
	{name: "an unfrozen grant", after: func(t *testing.T, f *family, g *granted) {
		doing("anna", "freeze")(t, f, g)
		doing("anna", "unfreeze")(t, f, g)
	}, amount: 1},
	{name: "a revoked grant", after: doing("anna", "revoke"), amount: 1,
		public: []string{"payment_code_invalid"}, record: []string{"grant_revoked", "payment_code_invalid"}},
	{name: "an ended grant", after: doing("ben", "end"), amount: 1,
		public: []string{"payment_code_invalid"}, record: []string{"grant_ended", "payment_code_invalid"}},
	{name: "a frozen account", after: func(t *testing.T, f *family, g *granted) {
		f.do(t, "anna", http.MethodPost, "/countersign/v1/accounts/"+g.account+"/freeze", nil, nil)
	}, amount: 1, public: []string{"payment_not_authorised"}, record: []string{"account_frozen"}},
	{name: "the codes of the phone before a change", after: func(t *testing.T, f *family, g *granted) {
		f.do(t, "anna", http.MethodPatch, g.path(""), map[string]any{"terms": g.terms}, nil)
	}, amount: 1, public: []string{"payment_code_invalid"}},
	{name: "the codes of the phone that was lost", after: doing("anna", "reissue"), amount: 1, public: []string{"payment_code_invalid"}},
	{name: "the codes of the new phone", after: func(t *testing.T, f *family, g *granted) {
		doing("anna", "reissue")(t, f, g)
		g.phone = f.fetch(t, g.id)
	}, amount: 1},
}

// codeCases: a code is right now and half a minute later, once.
var codeCases = []refusal{
	{name: "the code of the step before", code: codeOf(-1), amount: 1},
	{name: "a stale code", code: codeOf(-2), amount: 1, public: []string{"payment_code_invalid"}},
	{name: "a future code", code: codeOf(1), amount: 1, public: []string{"payment_code_invalid"}},
	{name: "a used code", paid: []int64{1}, at: afterPaid(1), code: codeOf(0), amount: 1, public: []string{"payment_code_invalid"}},
	{name: "a wrong code", code: func(t *testing.T, f *family, p evidence.Parameters) string {
		code := []byte(f.code(t, p, 0))
		code[len(code)-1] = '0' + (code[len(code)-1]-'0'+1)%10
		return string(code)
	}, amount: 1, public: []string{"payment_code_invalid"}},
	{name: "a code of nobody", code: func(*testing.T, *family, evidence.Parameters) string { return "28" + "0000000000" + "12345678" },
		amount: 1, public: []string{"payment_code_invalid"}},
	{name: "no code at all", code: func(*testing.T, *family, evidence.Parameters) string { return "please" },
		amount: 1, public: []string{"payment_code_invalid"}},
	{name: "a wrong code of a frozen grant: not told", after: doing("anna", "freeze"), code: codeOf(2), amount: 1,
		public: []string{"payment_code_invalid"}, record: []string{"grant_frozen", "payment_code_invalid"}},
}
