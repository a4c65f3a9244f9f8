package authzstore

import (
	"fmt"
	"math"

	"github.com/countersign/countersign/authzstore/kv"
)

// Usage is the sum of an account's reservations since it exists, whatever its
// limits are or were: a limit that is added later counts what came before.
type Usage struct {
	Account string `cbor:"1,keyasint" json:"account"`
	// PendingMinor is reserved and not resolved; reservations whose outcome is
	// unknown are among it.
	PendingMinor int64 `cbor:"2,keyasint" json:"pending_minor"`
	PostedMinor  int64 `cbor:"3,keyasint" json:"posted_minor"`
	// Count is the number of reservations that are not voided.
	Count int64 `cbor:"4,keyasint" json:"count"`
}

func (u Usage) check() error {
	if u.PendingMinor < 0 || u.PostedMinor < 0 || u.Count < 0 {
		return fmt.Errorf("%w: usage of %s is negative", ErrInvalid, u.Account)
	}
	return checkID("account", "acc", u.Account)
}

const (
	usageVersion = 1
	usagePrefix  = "usage/"
)

// UsageRef declares the sums of an account.
func UsageRef(account string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: usagePrefix + account, Mode: mode}
}

// Usage returns the sums of an account, which are zero before its first
// reservation.
func (r Reader) Usage(account string) (Usage, error) {
	u, ok, err := get[Usage](r, usagePrefix+account, usageVersion)
	if !ok {
		u.Account = account
	}
	return u, err
}

// within returns an *OverLimitError if one more payment would exceed a limit.
func (u Usage) within(a Account, amountMinor int64) error {
	if amountMinor > a.MaxPaymentMinor {
		return &OverLimitError{Limit: "payment", RemainingMinor: a.MaxPaymentMinor, RemainingCount: -1}
	}
	for _, l := range a.Limits {
		minor, count := l.Remaining(u)
		if minor >= 0 && amountMinor > minor || count == 0 {
			return &OverLimitError{l.Name, minor, count}
		}
	}
	return nil
}

// Remaining returns what the limit still allows, in minor units and in payments;
// -1 where it bounds nothing.
func (l Limit) Remaining(u Usage) (minor, count int64) {
	minor, count = -1, -1
	if l.MaxAmountMinor > 0 {
		minor = max(0, l.MaxAmountMinor-u.sum())
	}
	if l.MaxCount > 0 {
		count = max(0, l.MaxCount-u.Count)
	}
	return minor, count
}

// sum has no upper bound in time, but never overflows: it stops at the largest
// int64, which is over every limit.
func (u Usage) sum() int64 {
	if u.PendingMinor > math.MaxInt64-u.PostedMinor {
		return math.MaxInt64
	}
	return u.PendingMinor + u.PostedMinor
}

func (tx *Tx) putUsage(u Usage) error {
	return put(tx, usagePrefix+u.Account, usageVersion, u)
}
