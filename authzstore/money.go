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
