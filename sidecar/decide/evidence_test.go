package decide_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// tightCode is a kind of evidence with two budgets in a row, the second one
// smaller, and a counter of what failed.
type tightCode struct{ testCode }

var tightBudgets = []evidence.Budget{
	{Name: "tight/first", Allowance: authzstore.Allowance{Max: 5}},
	{Name: "tight/second", Allowance: authzstore.Allowance{Max: 2}},
	{Name: "tight/third", Allowance: authzstore.Allowance{Max: 9}},
}

func (tightCode) Refs(a evidence.About, secret string) []kv.Ref {
	refs := []kv.Ref{authzstore.UseRef(codeThing(a.Call, secret))}
	for _, b := range tightBudgets {
		refs = append(refs, authzstore.AttemptsRef(b.Name))
	}
	return refs
}

func (tightCode) Check(_ *authzstore.Tx, a evidence.About, secret string) (evidence.Finding, error) {
	return evidence.Finding{
		Matched: strings.HasPrefix(secret, "right"), UsedWhenDenied: true,
		Thing: codeThing(a.Call, secret), Budgets: tightBudgets, Failures: "tight/failures",
	}, nil
}

// left is what is left of each budget, with what the counter has.
func (tightCode) left(t *testing.T, store *authzstore.Store) (left [4]int64) {
	t.Helper()
	refs := tightCode{}.Refs(evidence.About{Call: call.Call{Route: &call.Route{}}}, "")
	err := store.Update(context.Background(), operatorCause(), refs, func(tx *authzstore.Tx) (err error) {
		for i, b := range tightBudgets {
			if left[i], err = tx.AttemptsLeft(b.Name, b.Allowance); err != nil {
				return err
			}
		}
		left[3], err = tx.Counted("tight/failures")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Budgets are burnt in order, up to the first that has nothing left, which stops
// the look; a match that a denial uses up has paid with itself, and burns none.
func TestBudgetsInOrder(t *testing.T) {
	w := newWorld(t, withCodes(t, nil), func(c *decide.Config) { c.Evidence = map[string]evidence.Kind{"test_code": tightCode{}} })
	store := authzstore.New(w.backend)
	for i, c := range []struct {
		code        string
		amountMinor int64
		status      int
		codes       []string
		want        [4]int64
	}{
		{"right 0", 60000, 403, []string{"amount_over_payment_maximum"}, [4]int64{5, 2, 9, 0}},
		{"right 0", 100, 403, []string{"payment_code_invalid"}, [4]int64{4, 1, 8, 1}}, // the denial used it
		{"wrong", 100, 403, []string{"payment_code_invalid"}, [4]int64{3, 0, 7, 2}},
		{"right 1", 100, 403, []string{"payment_code_invalid"}, [4]int64{2, 0, 7, 3}},
		{"wrong", 100, 403, []string{"payment_code_invalid"}, [4]int64{1, 0, 7, 4}},
	} {
		d := w.decide(keyedPayment("acc_anna", fmt.Sprint("k", i), c.amountMinor, c.code))
		if d.Status != c.status || !reflect.DeepEqual(codesOf(d), c.codes) {
			t.Errorf("%d: %d %v, want %d %v", i, d.Status, codesOf(d), c.status, c.codes)
		}
		if left := (tightCode{}).left(t, store); left != c.want {
			t.Errorf("%d: left %v, want %v", i, left, c.want)
		}
	}
	clean(t, store)
}
