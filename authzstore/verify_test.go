package authzstore_test

import (
	"context"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// TestVerifyNames bends stored values behind the setters' back and checks that
// Verify says which noun is wrong and why.
func TestVerifyNames(t *testing.T) {
	for name, test := range map[string]struct {
		key  string
		bend func(val []byte) []byte
		want string
	}{
		"an account changed":        {"account/acc_anna", flipLast, "every change belongs to a record"},
		"an account gone":           {"account/acc_anna", remove, "nothing acknowledged is lost"},
		"a version from the future": {"account/acc_anna", func(v []byte) []byte { v[0] = 9; return v }, "every stored value can be read"},
		"cut short":                 {"account/acc_anna", func(v []byte) []byte { return v[:4] }, "every stored value can be read"},
		"usage gone":                {"usage/acc_anna", remove, "usage is the sum of the reservations"},
		"an index entry gone":       {"open/acc_anna/rsv_1", remove, "the indexes hold the nouns"},
		"a reservation gone":        {"reservation/rsv_1", remove, "usage is the sum of the reservations"},
		"an index entry too many":   {"open/acc_anna/rsv_2", func([]byte) []byte { return []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xa0} }, "the indexes hold the nouns"},
		"a kind nobody knows":       {"ghost/gst_1", func([]byte) []byte { return make([]byte, 10) }, "every stored value can be read"},
		"an account without record": {"account/acc_eve", func([]byte) []byte { return make([]byte, 10) }, "every change belongs to a record"},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			mustDo(t, w.putAccount(account("acc_anna")))
			mustDo(t, w.reserve("acc_anna", "rsv_1", 100))
			w.clean(t)
			mustDo(t, w.kv.Update(context.Background(), []kv.Ref{{Key: test.key, Mode: kv.Exclusive}}, func(tx kv.Tx) error {
				val, _, err := tx.Get(test.key)
				if err != nil {
					return err
				}
				if val = test.bend(val); val == nil {
					return tx.Delete(test.key)
				}
				return tx.Put(test.key, val)
			}))
			problems, err := w.Verify(context.Background())
			mustDo(t, err)
			for _, p := range problems {
				if strings.Contains(p.Invariant, test.want) && (p.Key == test.key || strings.HasPrefix(p.Key, "usage/")) {
					return
				}
			}
			t.Errorf("no problem says %q of %s: %v", test.want, test.key, problems)
		})
	}
}

func flipLast(v []byte) []byte { v[len(v)-1] ^= 1; return v }

func remove([]byte) []byte { return nil }

// TestVerifyAfterPruning: what pruned records would have said is not missed.
func TestVerifyAfterPruning(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna", authzstore.Limit{Name: "total", MaxAmountMinor: 1 << 40})))
	for range 50 {
		mustDo(t, w.reserve("acc_anna", authzstore.NewID("rsv"), 1))
	}
	_, err := w.Prune(context.Background(), kv.Retention{Now: w.now.Add(2 * authzstore.MaxMessageLife), MaxBytes: 1, Exported: 1 << 60})
	mustDo(t, err)
	w.clean(t)
}
