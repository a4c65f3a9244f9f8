package envoy

import (
	"fmt"
	"strings"
	"testing"
)

// Ways to write a character, or something that some program takes for one. They
// are put into a path and a query wherever they could matter.
var (
	encoded = []string{
		"%61", "%2e", "%2E", "%2e%2e", "%2f", "%2F", "%5c", "%5C", "%00", "%09", "%0a", "%0d%0a", "%20", "%22", "%23", "%25", "%26", "%2b",
		"%3a", "%3b", "%3d", "%3f", "%7e", "%7f", "%80", "%ff", "%252e", "%252e%252e%252f", "%252f", "%25%32%66", "%c0%ae", "%c0%af",
		"%e0%80%af", "%c3%a4", "%ef%bc%8f", "%ef%bc%8e", "%e2%88%95", "%u002f", "%", "%2", "%zz", "%%", "%2%66", "%x2f", "&#47;",
	}
	raws = []string{
		"/", "//", "/./", "/../", "/.", "/..", "./", "../", "..;/", ";", ";a=b", ";/../", "\\", "\\..\\", "/\\", "#", "#/..", "?", "?a=b",
		"&", "*", "+", ",", "~", ":", "@", "!", "$", "'", "\"", "(", "<", ">", "|", "{", "}", "[", "]", "^", "`", " ", "\t", "\x00", "\x01", "\x7f", "\x80",
		"\xff", "é", "／", "．", "\u200b", "\ufeff", "\xc0\xaf", "\xc0\xae",
	}
)

// spellings are targets made of a payment's path with one thing put in.
func spellings() []string {
	var all []string
	for _, piece := range append(append([]string{}, encoded...), raws...) {
		all = append(all,
			piece+"/v1/accounts/acc_anna/payments",
			"/"+piece+"/v1/accounts/acc_anna/payments",
			"/v1/accounts/acc_anna"+piece+"/payments",
			"/v1/payees/"+piece+"mer_bakery/payments",
			"/v1/payees/mer_"+piece+"bakery/payments",
			"/v1/payees/mer_bakery"+piece+"/payments",
			"/v1/payees/mer_thief/"+piece+"/mer_bakery/payments",
			"/v1/accounts/acc_ben/"+piece+"/acc_anna/payments",
			"/v1/accounts/acc_anna/payments"+piece,
			"/queries/acc_anna?payee=mer_"+piece+"bakery&amount_minor=1&currency=EUR",
		)
	}
	return all
}

// targets are paths that no piece makes.
var targets = []string{
	"/v1/accounts/acc_anna/payments", "/V1/accounts/acc_anna/payments", "/v1/ACCOUNTS/acc_anna/payments", "/v1/accounts/ACC_ANNA/payments",
	"/v1/accounts/acc_anna/Payments", "/v1/accounts//payments", "/v1/accounts/payments", "/v1/accounts/acc_anna", "/v1/accounts/acc_anna/payments/",
	"/v1/accounts/acc_anna/payments.json", "/v1/accounts/acc_anna/payments/1", "/v1/accounts/acc_ben/payments", "/v1/accounts/acc_anna/acc_ben/payments",
	"/v1/accounts/acc_ben/../acc_anna/payments", "/v1/accounts/acc_anna/../acc_ben/payments", "/v1/accounts/acc_ben/%2e%2e/acc_anna/payments",
	"/public/../v1/accounts/acc_anna/payments", "/../../v1/accounts/acc_anna/payments", "//v1//accounts//acc_anna//payments", "/./v1/./accounts/./acc_anna/./payments",
	"http://pay.example/v1/accounts/acc_anna/payments", "https://pay.example/v1/accounts/acc_anna/payments", "http://evil.example/v1/accounts/acc_anna/payments",
	"HTTP://PAY.EXAMPLE/v1/accounts/acc_anna/payments", "http://user@pay.example/v1/accounts/acc_anna/payments", "http:///v1/accounts/acc_anna/payments",
	"http://pay.example", "http://pay.example//v1/accounts/acc_anna/payments", "//pay.example/v1/accounts/acc_anna/payments", "http:/v1/accounts/acc_anna/payments",
	"ftp://pay.example/v1/accounts/acc_anna/payments", "javascript:/v1/accounts/acc_anna/payments", "*", "v1/accounts/acc_anna/payments", "pay.example:443", ".", "",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR", "/queries/acc_anna?currency=EUR&payee=mer_bakery&amount_minor=1",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR&", "/queries/acc_anna?&payee=mer_bakery&amount_minor=1&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR&amount_minor=9", "/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR&Amount_Minor=9",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR&amount%5Fminor=9", "/queries/acc_anna?payee=mer_bakery&amount_minor[]=1&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1;amount_minor=9&currency=EUR", "/queries/acc_anna?payee=mer_bakery&amount_minor=01&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1e3&currency=EUR", "/queries/acc_anna?payee=mer_bakery&amount_minor=+1&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=%2B1&currency=EUR", "/queries/acc_anna?payee=mer_bakery&amount_minor=1.0&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=0x1&currency=EUR", "/queries/acc_anna?payee=mer_bakery&amount_minor=1_0&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=%EF%BC%91&currency=EUR", "/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=eur",
	"/queries/acc_anna?payee=B%C3%A4cker%20Nord&amount_minor=1&currency=EUR", "/queries/acc_anna?payee=B%C3%A4cker+Nord&amount_minor=1&currency=EUR",
	"/queries/acc_anna?payee=a%26amount_minor%3D9&amount_minor=1&currency=EUR", "/queries/acc_anna?payee=a%2526b&amount_minor=1&currency=EUR",
	"/queries/acc_anna?payee=a%3Bb&amount_minor=1&currency=EUR", "/queries/acc_anna?payee=..%2F..&amount_minor=1&currency=EUR",
	"/queries/acc_anna?payee=mer_bakery&amount_minor=1&currency=EUR?x", "/queries/acc_anna??payee=mer_bakery&amount_minor=1&currency=EUR",
	"/queries/acc_anna?", "/queries/acc_anna", "/queries/acc_anna?payee", "/queries/acc_anna?access_token=$TOKEN",
}

// All ways to write a path and a query: none gets past the sidecar undecided, and
// none is another payment at the upstream.
func TestPathCorpus(t *testing.T) {
	c := newCorpus(t)
	const json = `{"account":"acc_anna","payee":"mer_bakery","amount_minor":1,"currency":"EUR"}`
	for i, target := range append(targets, spellings()...) {
		t.Run(fmt.Sprintf("%d %q", i, target), func(t *testing.T) {
			lines := []string{"Idempotency-Key: $KEY", "Content-Type: application/json"}
			body := json
			if strings.Contains(target, "/queries/") {
				lines, body = lines[:1], ""
			}
			c.run(t, request("POST "+target+" HTTP/1.1", append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...)+body)
		})
	}
	for _, line := range []string{
		"GET %s HTTP/1.1", "PUT %s HTTP/1.1", "post %s HTTP/1.1", "PoSt %s HTTP/1.1", "POST  %s HTTP/1.1", "POST %s  HTTP/1.1", " POST %s HTTP/1.1", "POST\t%s HTTP/1.1",
		"POST %s HTTP/1.0", "POST %s HTTP/0.9", "POST %s HTTP/2.0", "POST %s http/1.1", "POST %s", "POST %s HTTP/1.1 x", "POST/1 %s HTTP/1.1", "TRACE %s HTTP/1.1",
		"CONNECT %s HTTP/1.1", "\r\nPOST %s HTTP/1.1", "POST %s\x00 HTTP/1.1", "PRI %s HTTP/2.0", "POST %s HTTP/1.1\rX: y", "PROPFIND %s HTTP/1.1", "XPOST %s HTTP/1.1",
	} {
		t.Run(fmt.Sprintf("%q", line), func(t *testing.T) {
			c.run(t, request(fmt.Sprintf(line, targets[0]), "Idempotency-Key: $KEY", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(json)))+json)
		})
	}
	c.finish(t, 900, 60)
}
