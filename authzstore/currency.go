package authzstore

import (
	"fmt"
	"strings"
)

// currencies are the active currencies of ISO 4217, list one, as its maintenance
// agency (SIX) published it on 2026-01-01, by the number of decimal digits of
// their minor unit. Codes that nobody can be paid in are left out: those of a fund
// (BOV, CHE, CHW, CLF, COU, MXV, USN, UYI) and those without a minor unit
// (metals, accounting units, and XTS and XXX for tests and for none).
//
// The digits are those of the standard. CLDR's, which libraries for formatting
// have, say how people write prices and differ for a dozen currencies.
var currencies = map[int]string{
	0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
	2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF " +
		"CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG " +
		"HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU " +
		"MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR " +
		"SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED " +
		"VES WST XAD XCD XCG YER ZAR ZMW ZWG",
	3: "BHD IQD JOD KWD LYD OMR TND",
	4: "UYW",
}

var currencyDigits = func() map[string]int {
	digits := map[string]int{}
	for n, codes := range currencies {
		for code := range strings.FieldsSeq(codes) {
			digits[code] = n
		}
	}
	return digits
}()

// CurrencyDigits returns how many decimal digits the minor unit of a currency
// has: 2 for EUR, 0 for JPY. It reports false for what is not the alphabetic code
// of an active currency of ISO 4217.
func CurrencyDigits(code string) (int, bool) {
	digits, ok := currencyDigits[code]
	return digits, ok
}

// IsCurrency tells whether code is the ISO 4217 alphabetic code of a currency
// that somebody can be paid in.
func IsCurrency(code string) bool {
	_, ok := currencyDigits[code]
	return ok
}

func checkCurrency(code string) error {
	if IsCurrency(code) {
		return nil
	}
	return fmt.Errorf("%w: currency %q is not an ISO 4217 code of an active currency", ErrInvalid, code)
}
