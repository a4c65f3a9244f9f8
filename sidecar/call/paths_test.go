package call_test

import (
	"strings"
	"testing"
)

// paths are ways to write the path of a payment, or to get around its route.
// None is canonical, so none may reach a route.
var paths = []string{
	// Not a path.
	"", "*", "v1/accounts/acc_anna/payments", ".", "..", "./v1/accounts/acc_anna/payments",
	"http://pay.example/v1/accounts/acc_anna/payments", "https://pay.example" + goodPath, "//pay.example" + goodPath,
	"pay.example:443", "HTTP://pay.example" + goodPath, " " + goodPath, "\t" + goodPath,
	// Empty segments.
	"//", "/v1//accounts/acc_anna/payments", "//v1/accounts/acc_anna/payments", "/v1/accounts//payments",
	"/v1/accounts/acc_anna//payments", goodPath + "/", goodPath + "//", "/v1/accounts/acc_anna/payments/.",
	"///v1///accounts///acc_anna///payments",
	// Dot segments.
	"/./v1/accounts/acc_anna/payments", "/v1/./accounts/acc_anna/payments", "/v1/../v1/accounts/acc_anna/payments",
	"/v1/accounts/acc_bob/../acc_anna/payments", "/../v1/accounts/acc_anna/payments", "/v1/accounts/acc_anna/payments/..",
	"/v1/accounts/./payments", "/v1/accounts/../payments", "/public/../v1/accounts/acc_anna/payments",
	// The same in percent-encoding.
	"/v1/accounts/%2e/payments", "/v1/accounts/%2E%2E/payments", "/v1/accounts/.%2e/payments", "/%2e/v1/accounts/acc_anna/payments",
	"/v1/accounts/acc_bob%2F..%2Facc_anna/payments", "/v1%2Faccounts%2Facc_anna%2Fpayments", "/v1/accounts/acc_anna%2fpayments",
	"/v1/accounts/acc%5Fanna/payments", "/v1/accounts/acc_ann%61/payments", "/%761/accounts/acc_anna/payments",
	"/v1/accounts/acc_anna/%70ayments", "/v1/accounts/acc_anna/payments%2F", "/v1/accounts/acc_anna/payments%00",
	"/v1/accounts/acc_anna/payments%20", "/v1/accounts/%252e%252e/payments", "/v1/accounts/acc_anna%252Fpayments",
	"/v1/accounts/acc_anna/payments%3Fa=b", "/v1/accounts/acc_anna/payments%23a", "/v1/accounts/acc_anna/payments%0d%0aa:b",
	"/v1/accounts/%c0%ae%c0%ae/payments", "/v1/accounts/%u002e/payments", "/v1/accounts/%/payments", "/v1/accounts/%zz/payments",
	"/v1/accounts/acc_anna/payments%", "/v1/accounts/%ef%bc%8e/payments",
	// Separators of other systems.
	`\v1\accounts\acc_anna\payments`, `/v1\accounts\acc_anna\payments`, `/v1/accounts/acc_anna\payments`,
	`/v1/accounts/..\acc_anna/payments`, "/v1/accounts/acc_anna/payments%5c", `/v1/accounts/acc_anna/payments\`,
	// Parameters, fragments and queries.
	goodPath + ";", goodPath + ";jsessionid=1", "/v1;a=b/accounts/acc_anna/payments", "/v1/accounts/acc_anna;/payments",
	"/v1/accounts/..;/payments", "/v1/accounts/acc_anna;v=1/payments", goodPath + "#", goodPath + "#a", "/v1#/accounts/acc_anna/payments",
	goodPath + "#?a", "/#" + goodPath, goodPath + "&a=b", goodPath + "=", goodPath + ",", goodPath + "+", goodPath + "!",
	"/v1/accounts/acc_anna,acc_bob/payments", "/v1/accounts/acc@anna/payments", "/v1/accounts/$acc/payments", "/v1/accounts/(acc)/payments",
	"/v1/accounts/*/payments", "/v1/accounts/acc'anna/payments", `/v1/accounts/acc"anna/payments`, "/v1/accounts/<acc>/payments",
	"/v1/accounts/{account}/payments", "/v1/accounts/[acc]/payments", "/v1/accounts/acc|anna/payments", "/v1/accounts/acc^anna/payments",
	"/v1/accounts/acc`anna/payments",
	// Control characters, spaces and what is not ASCII.
	"/v1/accounts/acc_anna/payments\x00", "/v1/accounts/\x00/payments", "/v1/accounts/acc_anna\x00/payments", goodPath + " ",
	"/v1/accounts/acc anna/payments", goodPath + "\t", goodPath + "\r\n", goodPath + "\n", "/v1/accounts/acc_anna\x7f/payments",
	"/v1/accounts/acc_ännä/payments", "/v1/accounts/acc_anna/pаyments", "/v1／accounts/acc_anna/payments", "/v1/accounts/．．/payments",
	"/v1/accounts/acc\u2215anna/payments", "/v1/accounts/acc_anna/payments\u200b", "/v1/accounts/\xff/payments", "/v1/accounts/\xc0\xae/payments",
	"\ufeff" + goodPath, "/v1/accounts/acc_anna/payment\u017f", "/v1/accounts/acc_anna/payments\u0000",
}

func TestPathsNotCanonical(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range paths {
		if seen[path] {
			continue
		}
		seen[path] = true
		t.Run(path, func(t *testing.T) { wantRefusal(t, post(path, goodBody), 400, "path_not_canonical") })
		// A query does not make it better.
		t.Run(path+"?a=b", func(t *testing.T) { wantRefusal(t, post(path+"?a=b", goodBody), 400, "path_not_canonical") })
	}
	if len(seen) < 80 {
		t.Errorf("only %d paths", len(seen))
	}
}

// Paths that are canonical and are no payment.
func TestPathsElsewhere(t *testing.T) {
	for _, path := range []string{
		"/v1/accounts/acc_anna/Payments", "/V1/accounts/acc_anna/payments", "/v1/ACCOUNTS/acc_anna/payments",
		"/v1/accounts/acc_anna", "/v1/accounts/acc_anna/payments/pay_1", "/v1/accounts/payments", "/v1/accounts",
		"/v2/accounts/acc_anna/payments", "/v1/accounts/acc_anna/payments.json", "/v1/accounts/acc_anna/payment",
		"/v1/accounts/acc_anna/payments~", "/v1/accounts/acc_anna/payments:void", "/v1/accounts/acc_anna/...",
		"/accounts/acc_anna/payments", "/api/v1/accounts/acc_anna/payments", "/v1/accounts/acc_anna/paymentspayments", "/x",
	} {
		t.Run(path, func(t *testing.T) { wantRefusal(t, post(path, goodBody), 403, "no_route") })
	}
}

func TestQueries(t *testing.T) {
	for _, query := range []string{"", "a", "a=b", "account=acc_bob", "/../x", "?", "%00", "#", "a=b;c=d"} {
		t.Run(query, func(t *testing.T) { wantRefusal(t, post(goodPath+"?"+query, goodBody), 400, "query_unexpected") })
	}
}

// The paths that do reach the route, and the account that each means.
func TestPathsCanonical(t *testing.T) {
	for _, account := range []string{
		"acc_anna", "ACC_ANNA", "a", "...", ".a", "a.", "..a", "-", "~", ":", "0", "acc:anna", "payments", "accounts", "v1",
		"a~b-c_d.e", strings.Repeat("x", 256),
	} {
		t.Run(account, func(t *testing.T) {
			c, err := decode(builtIn(t), post("/v1/accounts/"+account+"/payments", goodBody))
			if err != nil {
				t.Fatal(err)
			}
			if c.Text("account") != account {
				t.Errorf("account %q, want %q", c.Text("account"), account)
			}
		})
	}
}
