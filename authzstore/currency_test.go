package authzstore

import (
	"strings"
	"testing"
)

func TestCurrencyDigits(t *testing.T) {
	// ISK and UGX have no minor unit in ISO 4217; CLDR agrees. For AFN, ALL, LAK and
	// YER the standard has 2 digits where CLDR has none, and for IQD 3.
	for code, want := range map[string]int{
		"EUR": 2, "USD": 2, "CHF": 2, "JPY": 0, "KRW": 0, "ISK": 0, "UGX": 0, "BHD": 3, "TND": 3, "IQD": 3, "UYW": 4,
		"AFN": 2, "ALL": 2, "LAK": 2, "YER": 2, "HUF": 2, "XCG": 2, "ZWG": 2, "SLE": 2,
	} {
		if got, ok := CurrencyDigits(code); !ok || got != want {
			t.Errorf("%s has %d digits, %t, want %d", code, got, ok, want)
		}
	}
	for _, code := range []string{
		"", "eur", "Eur", "EU", "EURO", "EU1", " EUR", "ΕUR", "€", "978", // no code
		"XAU", "XAG", "XDR", "XTS", "XXX", "USN", "CHE", "UYI", // nobody is paid in it
		"DEM", "HRK", "BGN", "ANG", "ZWL", "SLL", "VEF", // no more
	} {
		if _, ok := CurrencyDigits(code); ok || IsCurrency(code) {
			t.Errorf("%q is a currency", code)
		}
	}
}

// The table has each code once, and as many as the list has without funds and
// codes without a minor unit.
func TestCurrencyTable(t *testing.T) {
	total := 0
	for _, codes := range currencies {
		total += len(strings.Fields(codes))
	}
	if total != 157 || len(currencyDigits) != total {
		t.Errorf("%d codes, %d of them different, want 157", total, len(currencyDigits))
	}
	for code := range currencyDigits {
		if len(code) != 3 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			t.Errorf("%q is no alphabetic code", code)
		}
	}
}
