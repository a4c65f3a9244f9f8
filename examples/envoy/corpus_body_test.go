package envoy

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

const (
	goodJSON = `{"payee":"mer_bakery","amount_minor":1250,"currency":"EUR"}`
	goodForm = "payee=mer_bakery&amount_minor=1250&currency=EUR"
)

// jsonBodies are bodies that parsers of JSON read differently, or not at all.
func jsonBodies() []string {
	all := []string{goodJSON, " \r\n\t" + goodJSON + "\n", ""}
	// Members twice, in all spellings that some parser takes for the name.
	for _, name := range []string{
		"amount_minor", "Amount_Minor", "AMOUNT_MINOR", "amountMinor", "AmountMinor", "amountminor", "amount-minor", `\u0061mount_minor`, "_amount_minor", "amount_minor_",
		"amount__minor", `amount_m\u0131nor`, `amount_m\u0130nor`, `amount_minor\u0000`, `amount_minor `, ` amount_minor`, `amount_minor\u200b`, `ａmount_minor`, "amount.minor", "amount_minor[]",
		"payee", "Payee", "PAYEE", `pay\u0065e`, "currency", "Currency", `currency\u0000`, "account", "__proto__", "constructor",
	} {
		all = append(all, `{"`+name+`":1,`+goodJSON[1:], goodJSON[:len(goodJSON)-1]+`,"`+name+`":9999}`, strings.Replace(goodJSON, "amount_minor", name, 1))
	}
	for _, amount := range []string{
		"0", "-0", "-1", "1.0", "1.5", "1e3", "1E3", "1e0", "1e-3", "1e400", "1e9999999", "0.1e5", "01", "+1", ".5", "5.", "0x10", "1_000", "1,000", "NaN", "Infinity", "-Infinity",
		"9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551617", strings.Repeat("9", 41), `"1250"`, `""`, "null", "true",
		"false", "[1250]", "{}", `{"value":1250}`, "1250n", "1250.", "1250f", "١٢٥٠", "1 250", "12\n50", "undefined", "", `"1250`, "1250//x", "1250/*x*/", "'1250'", "-1250", "--1", "1-1", "1+1", "0b1", "0o17",
	} {
		all = append(all, strings.Replace(goodJSON, "1250", amount, 1))
	}
	for _, payee := range []string{
		`\ud83e\udd56`, `\ud83e`, `\udd56`, `\udd56\ud83e`, `\ud83ex`, `\u0000`, `a\u0000b`, `\uffff`, `\ufeff`, `\u202e`, `e\u0301`, `\u00e9`, "é", "e\u0301", "\xe9", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80",
		"\x00", "\x01", "\n", "\t", "\x7f", "\u2028", `\/`, `\"`, `\\`, `\x41`, `\a`, `\u12`, `\U0041`, `\u{41}`, `\`, `"`, `\","amount_minor":9999,"x":"`, `","amount_minor":9999,"x":"`, `<script>`, `\u003c`, " a", "a ", "",
		strings.Repeat("a", 256), strings.Repeat("a", 257), strings.Repeat("é", 128), strings.Repeat("é", 129),
	} {
		all = append(all, strings.Replace(goodJSON, "mer_bakery", payee, 1))
	}
	for _, currency := range []string{"eur", "Eur", "EU", "EURO", "XXX", "XAU", "DEM", "978", "€", " EUR", "ЕUR", `E\u0055R`, "USD", ""} {
		all = append(all, strings.Replace(goodJSON, "EUR", currency, 1))
	}
	thief := strings.NewReplacer("1250", "9999", "bakery", "thief").Replace(goodJSON)
	return append(all,
		goodJSON+goodJSON, goodJSON+thief, goodJSON+"\n"+thief, goodJSON+",", goodJSON+"]", goodJSON+"}", goodJSON+"\x00", goodJSON+"\x00"+thief, goodJSON+" x", goodJSON+"//x", "["+goodJSON+"]",
		"["+goodJSON+","+thief+"]", `{"payment":`+goodJSON+"}", "\ufeff"+goodJSON, "\xff\xfe"+goodJSON, ")]}',\n"+goodJSON, "for(;;);"+goodJSON, "null", "true", "0", `""`, "[]", "{}", "{", goodJSON[:len(goodJSON)-1],
		strings.Replace(goodJSON, ",", ",,", 1), strings.Replace(goodJSON, "}", ",}", 1), strings.ReplaceAll(goodJSON, `"`, `'`), strings.Replace(goodJSON, `"payee"`, "payee", 1), strings.Replace(goodJSON, ":", "=", 1),
		strings.Replace(goodJSON, ",", ";", 1), strings.Replace(goodJSON, ":", "\u00a0:", 1), strings.Replace(goodJSON, ":", "\v:", 1), strings.Replace(goodJSON, "{", "{/**/", 1), "<!--"+goodJSON+"-->", "/*"+thief+"*/"+goodJSON,
		"# x\n"+goodJSON, "payee: mer_bakery\namount_minor: 1250\ncurrency: EUR", goodForm, "<payment/>", utf16Text(goodJSON), base64.StdEncoding.EncodeToString([]byte(goodJSON)),
		`{"x":`+strings.Repeat("[", 14)+strings.Repeat("]", 14)+`,`+goodJSON[1:], `{"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`,`+goodJSON[1:], strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000),
	)
}

// formBodies are the same for forms.
func formBodies() []string {
	all := []string{
		goodForm, "currency=EUR&amount_minor=1250&payee=mer_bakery", "", "&" + goodForm, goodForm + "&", goodForm + "&&x=1", goodForm + "&x=1", goodForm + "\n", goodForm + "\r\n", goodForm + "\x00", "?" + goodForm, "\ufeff" + goodForm, goodJSON,
	}
	for _, pair := range []string{
		"amount_minor=9999", "Amount_Minor=9999", "amount_minor[]=9999", "amount_minor%5B%5D=9999", "amount%5Fminor=9999", "amount.minor=9999", "amount_minor%00=9999", "amount_minor+=9999", "+amount_minor=9999",
		"amount_minor", "amount_minor=", "=9999", "account=acc_ben", "_method=PUT", "_charset_=utf-16", "isindex=9999", "amount%255Fminor=9999",
	} {
		all = append(all, goodForm+"&"+pair, pair+"&"+goodForm, goodForm+";"+pair, strings.Replace(goodForm, "amount_minor=1250", pair, 1))
	}
	for _, payee := range []string{
		"B%C3%A4cker+Nord", "B%C3%A4cker%20Nord", "B%c3%a4cker", "B\xc3\xa4cker", "B%E4cker", "%u00e4", "a%26amount_minor%3D9", "a%2526", "a%2Bb", "a+b", "+a", "a%3Bb", "a;b", "a%00b", "a%0Ab", "%", "%2", "%zz", "a=b", "a%3Db", "~", "%7E", "*", "%2A",
	} {
		all = append(all, strings.Replace(goodForm, "mer_bakery", payee, 1))
	}
	for _, amount := range []string{"01250", "+1250", "%2B1250", "-1", "0", "1250.0", "1e3", "0x4e2", "1_250", "1%2C250", "1+250", "%EF%BC%91", "9007199254740991", "9007199254740992", "9223372036854775808", "%31"} {
		all = append(all, strings.Replace(goodForm, "1250", amount, 1))
	}
	return all
}

// contentTypes are ways to say what a body is.
var contentTypes = []string{
	"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", `application/json; charset="utf-8"`, "APPLICATION/JSON", "application/json; charset=utf-16", "application/json; charset=utf-7",
	"application/json; charset=latin1", "application/json; charset=utf-8; charset=utf-16", "application/json; charset*=utf-7''utf-7", "application/json; charset", "application/json;", "application/json ;charset=utf-8", "application/json, text/plain",
	"application/json,application/json", "application/json\x00", "application/jsonp", "application/json5", "application/x-ndjson", "application/problem+json", "application/merge-patch+json", "text/json", "text/plain", "text/plain; x=application/json",
	"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8", "application/x-www-form-urlencoded; charset=utf-16", "multipart/form-data; boundary=x", "multipart/form-data", "application/xml", "application/octet-stream", "", "*/*", "json",
}

var contentEncodings = []string{"gzip", "x-gzip", "deflate", "br", "identity", "identity, gzip", "GZIP", "", "aws-chunked", "*"}

func utf16Text(s string) string {
	var b bytes.Buffer
	for _, unit := range utf16.Encode([]rune(s)) {
		b.Write([]byte{byte(unit >> 8), byte(unit)})
	}
	return b.String()
}

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// bodyPayment is a payment with this body, framed by its length.
func bodyPayment(path, body string, lines ...string) string {
	return request("POST "+path+" HTTP/1.1", append([]string{"Idempotency-Key: $KEY", fmt.Sprintf("Content-Length: %d", len(body))}, lines...)...) + body
}

// All bodies that two programs read differently: what passes is read alike.
func TestBodyCorpus(t *testing.T) {
	c := newCorpus(t)
	const jsonPath, formPath = "/v1/accounts/acc_anna/payments", "/forms/acc_anna"
	const jsonType, formType = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
	run := func(name, text string) {
		t.Run(fmt.Sprintf("%d %.60q", c.sent, name), func(t *testing.T) { c.run(t, text) })
	}
	inChunks := func(body string, size int) string {
		return request("POST "+jsonPath+" HTTP/1.1", "Idempotency-Key: $KEY", jsonType, "Transfer-Encoding: chunked") + chunked(body, size)
	}
	for _, body := range jsonBodies() {
		run(body, bodyPayment(jsonPath, body, jsonType))
	}
	for _, body := range formBodies() {
		run(body, bodyPayment(formPath, body, formType))
	}
	for _, contentType := range contentTypes {
		run(contentType, bodyPayment(jsonPath, goodJSON, "Content-Type: "+contentType))
		run(contentType, bodyPayment(formPath, goodForm, "Content-Type: "+contentType))
	}
	for _, encoding := range contentEncodings {
		run(encoding, bodyPayment(jsonPath, goodJSON, jsonType, "Content-Encoding: "+encoding))
		run(encoding, bodyPayment(jsonPath, zipped(t, goodJSON), jsonType, "Content-Encoding: "+encoding))
	}
	run("gzip, not said", bodyPayment(jsonPath, zipped(t, goodJSON), jsonType))
	for _, size := range []int{maxBody - 1, maxBody, maxBody + 1, 2 * maxBody} {
		padded := goodJSON + strings.Repeat(" ", size-len(goodJSON))
		form := goodForm + strings.Repeat("0", size-len(goodForm))
		hidden := `{"x":"` + strings.Repeat("a", size-len(goodJSON)-8) + `",` + strings.Replace(goodJSON[1:], "1250", "9999", 1)
		for _, body := range []string{padded, form, hidden} {
			run(fmt.Sprint(size), bodyPayment(jsonPath, body, jsonType))
			run(fmt.Sprint(size), bodyPayment(formPath, body, formType))
			run(fmt.Sprint(size), inChunks(body, 999))
		}
	}
	for _, size := range []int{1, 2, 7, 59, 1000} {
		run(fmt.Sprint("chunks of ", size), inChunks(goodJSON, size))
	}
	c.finish(t, 450, 60)
}
