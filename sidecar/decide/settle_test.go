package decide_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// What a call without a decision showed is spent, also if another call was answered
// under its key before that could be written.
func TestSpentThoughTheKeyWasTaken(t *testing.T) {
	for name, amountMinor := range map[string]int64{"another call, denied": 60000, "another call, allowed": 200, "the same call, allowed": 100} {
		t.Run(name, func(t *testing.T) {
			backend := openBadger(t)
			putAccount(t, backend, anna())
			other := newWorld(t, withStore(backend), withCodes(t, nil))
			taken := false
			w := newWorld(t, withStore(fakeKV{Store: backend, update: func(ctx context.Context, refs []kv.Ref, fn func(kv.Tx) error) error {
				err := backend.Update(ctx, refs, fn)
				if err != nil && !taken {
					taken = true
					other.decide(keyedPayment("acc_anna", "k", amountMinor, ""))
				}
				return err
			}}), withCodes(t, func(files fstest.MapFS) {
				replace(t, files, "systems/direct_payment/direct_payment.rego", "finding.matched == false", "finding.matched == false\n\tinput.now_ns < 0")
			}))
			w.backend = backend
			d := w.decide(keyedPayment("acc_anna", "k", 100, "wrong"))
			want(t, d, decide.Defect, 500, "policy_defect")
			w.wantLeft(t, "acc_anna", codeAllowance.Max-1)
			if w.kept(t, d.ID) == "" {
				t.Error("no record")
			}
			clean(t, authzstore.New(backend))
		})
	}
}

// A kind of evidence that panics over an answer does not give it away for nothing.
type panicCode struct{ testCode }

func (panicCode) Check(*authzstore.Tx, evidence.About, string) (evidence.Finding, error) {
	panic("4711")
}

func TestSpentThoughItsCheckPanics(t *testing.T) {
	w := newWorld(t, withCodes(t, nil), func(c *decide.Config) { c.Evidence = map[string]evidence.Kind{"test_code": panicCode{}} })
	d := w.decide(keyedPayment("acc_anna", "k", 100, "wrong"))
	want(t, d, decide.Defect, 500, "internal_error")
	if r := w.kept(t, d.ID); !strings.Contains(r, `"budgets":["sender/test_code/`) {
		t.Errorf("record %s", r)
	}
}
