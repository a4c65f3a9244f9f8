package badgerkv

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t testing.TB) kvtest.Harness {
		fs := &faultFS{}
		o := testOptions(t.TempDir(), fs)
		return kvtest.Harness{
			Open: func(t testing.TB) kv.Store {
				s, err := Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Stall:      fs.stall,
			MaxWaiters: o.MaxWaiters,
		}
	})
}

func TestMain(m *testing.M) {
	childMain()
	goleak.VerifyTestMain(m)
}
