package decide_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/evidence"
)

// The log says what is wrong with the store, and nothing of the call: an error of
// the store may name accounts, keys and values.
func TestErrorsAreLoggedWithoutValues(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"undeclared":   {fmt.Errorf("%w: %q", kv.ErrUndeclared, "account/canary4711"), "kv: record not declared"},
		"damaged noun": {fmt.Errorf("%w: account/canary4711: %w", authzstore.ErrDamaged, errors.New("canary4711")), "authzstore: stored value cannot be read"},
		"damaged file": {&kv.DamageError{File: "state/1.sst", What: "canary4711", Do: "restore it"}, "kv: damaged: state/1.sst: restore it"},
		"over a limit": {&authzstore.OverLimitError{Limit: "canary4711"}, "authzstore: over a limit"},
		"sealed":       {fmt.Errorf("of canary4711: %w", evidence.ErrSealed), "its bytes are damaged, or the key file is not the one it was sealed with"},
		"the disk":     {fmt.Errorf("write canary4711: %w", syscall.ENOSPC), "no space left on device"},
		"two at once":  {errors.Join(kv.ErrUnknown, errors.New("canary4711")), "kv: outcome unknown"},
		"anything":     {fmt.Errorf("of canary4711: %w", errors.New("canary4711")), "*errors.errorString"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withFake(t, fakeKV{update: func(context.Context, []kv.Ref, func(kv.Tx) error) error { return c.err }}))
			d := w.Decide(t.Context(), good())
			log := w.log.String()
			if strings.Contains(log, "canary4711") || !strings.Contains(log, c.want) || !strings.Contains(log, d.ID) {
				t.Errorf("logged %s, want %q", log, c.want)
			}
		})
	}
}
