package badgerkv

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
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
			MaxWaiters: maxWaiters,
		}
	})
}

func TestMain(m *testing.M) {
	childMain()
	// A failing badger.Open leaves these two behind. A Store that was not closed
	// would still show by Badger's other goroutines and its own.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}
