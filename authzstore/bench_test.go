package authzstore

import (
	"context"
	"fmt"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// memory is a backend without a disk or locks, to measure what the nouns cost.
type memory struct {
	kv.Store
	kv.Tx
	values map[string][]byte
}

func (m *memory) Update(_ context.Context, _ []kv.Ref, fn func(kv.Tx) error) error { return fn(m) }

func (m *memory) Get(key string) ([]byte, bool, error) {
	val, ok := m.values[key]
	return val, ok, nil
}

func (m *memory) Put(key string, val []byte) error {
	m.values[key] = val
	return nil
}

func (m *memory) Append(string, string, []byte) error { return nil }

// BenchmarkReserve is one reservation of an account, without the disk.
func BenchmarkReserve(b *testing.B) {
	month := Period{Kind: Month, Alignment: ByCalendar, Zone: "Europe/Berlin"}
	for _, account := range []struct {
		limits string
		of     []Limit
	}{
		{"lifetime", []Limit{{Name: "total", MaxAmountMinor: MaxAmountMinor}, {Name: "count", MaxCount: 1 << 50}}},
		{"month", []Limit{{Name: "monthly", MaxAmountMinor: MaxAmountMinor, Period: month}}},
	} {
		b.Run(account.limits, func(b *testing.B) {
			s := New(&memory{values: map[string][]byte{}})
			a := annaWith(func(a *Account) { a.Limits = account.of })
			if err := putAccount(s, a, kv.Exclusive); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := Reservation{ID: fmt.Sprintf("rsv_%d", i), Account: "acc_anna", Payee: "mer_bakery", AmountMinor: 1, Currency: "EUR"}
				err := s.Update(context.Background(), someCause(), ReserveRefs(r), func(tx *Tx) error { return tx.ReserveWithinLimits(r) })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
