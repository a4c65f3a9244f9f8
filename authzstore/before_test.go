package authzstore

import (
	"context"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestValuesFromBefore: stores that were written when limits had no periods and
// nobody had a grant are read, and go on.
func TestValuesFromBefore(t *testing.T) {
	s, backend := newStore(t)
	d := &desk{Store: s, now: 1_800_000_000_000_000_000}
	limited := stored()
	delete(limited, 7)
	limited[6] = []any{map[int]any{1: "total", 2: 1000}, map[int]any{1: "twice", 3: 3}}
	for key, of := range map[string]map[int]any{
		"account/acc_anna":    limited,
		"usage/acc_anna":      {1: "acc_anna", 2: 100, 3: 0, 4: 1},
		"reservation/rsv_1":   {1: "rsv_1", 2: "acc_anna", 3: "mer_bakery", 4: 100, 5: "EUR", 6: "pending", 8: "dec_1", 9: 1},
		"open/acc_anna/rsv_1": {},
		"use/chl_1":           {1: "chl_1", 2: "dec_1"},
	} {
		err := backend.Update(context.Background(), []kv.Ref{exclusive(key)}, func(tx kv.Tx) error { return tx.Put(key, value(asCBOR(t, of)...)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if a, ok, err := account(s, "acc_anna"); !ok || err != nil || a.Limits[0].Period != (Period{Kind: Lifetime}) || a.CreatedAtNanos != 0 {
		t.Errorf("the account is %+v, %t, %v", a, ok, err)
	}
	wantOver(t, d.pay("rsv_2", "", 901), OverLimitError{Holder: "acc_anna", Limit: "total", RemainingMinor: 900, RemainingCount: -1})
	if err := d.pay("rsv_2", "", 900); err != nil {
		t.Error(err)
	}
	if err := d.resolve("rsv_1", "", func(tx *Tx) error { return tx.Post("rsv_1", 40) }); err != nil {
		t.Error(err)
	}
	if u := d.usage(t, "acc_anna"); u.PendingMinor != 900 || u.PostedMinor != 40 || u.Count != 2 {
		t.Errorf("usage is %+v", u)
	}
	wantError(t, d.do([]kv.Ref{UseRef("chl_1")}, func(tx *Tx) error { return tx.UseOnce("chl_1") }), ErrUsed)
}
