package authzstore

import "fmt"

// MaxAmountMinor is the largest amount, 2^53−1 minor units: the largest integer
// that every JSON reader holds exactly (RFC 7493, 2.2).
const MaxAmountMinor = 1<<53 - 1

func checkAmount(what string, minor int64) error {
	if minor < 1 || minor > MaxAmountMinor {
		return fmt.Errorf("%w: %s %d is not from 1 to %d minor units", ErrInvalid, what, minor, int64(MaxAmountMinor))
	}
	return nil
}

// IsCurrency tells whether code has the form of an ISO 4217 alphabetic code.
func IsCurrency(code string) bool {
	return len(code) == 3 && isUpper(code[0]) && isUpper(code[1]) && isUpper(code[2])
}

func checkCurrency(code string) error {
	if IsCurrency(code) {
		return nil
	}
	return fmt.Errorf("%w: currency %q is not an ISO 4217 alphabetic code", ErrInvalid, code)
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
