package authzstore_test

import (
	"errors"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A transaction that declares what a recording reader was asked for can read all of it
// again, also what there is not, and nothing else; it can write none of it.
func TestReads(t *testing.T) {
	w := open(t)
	if err := w.putAccount(account("acc_anna")); err != nil {
		t.Fatal(err)
	}
	var reads authzstore.Reads
	look := func(r authzstore.Reader) error {
		for _, id := range []string{"acc_anna", "acc_nobody", "acc_anna"} {
			if _, _, err := r.Account(id); err != nil {
				return err
			}
		}
		_, err := r.Usage("acc_anna")
		return err
	}
	err := w.View(t.Context(), func(s authzstore.Snapshot) error { return look(s.Recording(&reads)) })
	if refs := reads.Refs(); err != nil || len(refs) != 3 {
		t.Fatalf("%d refs for three nouns: %v, %v", len(refs), refs, err)
	}
	for name, c := range map[string]struct {
		do   func(*authzstore.Tx) error
		want error
	}{
		"the same":      {func(tx *authzstore.Tx) error { return look(tx.Reader) }, nil},
		"something new": {func(tx *authzstore.Tx) error { _, _, err := tx.Account("acc_bob"); return err }, kv.ErrUndeclared},
		"a write":       {func(tx *authzstore.Tx) error { return tx.FreezeAccount("acc_anna") }, kv.ErrUndeclared},
	} {
		if err := w.update(reads.Refs(), c.do); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
