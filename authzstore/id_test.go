package authzstore_test

import (
	"regexp"
	"testing"
)

// A store has an ID of its own, which outlives the process and costs no record.
func TestStoreID(t *testing.T) {
	w, other := open(t), open(t)
	id := w.ID()
	if !regexp.MustCompile(`^sto_[a-z2-7]{26}$`).MatchString(id) || id == other.ID() {
		t.Errorf("IDs %s, %s", id, other.ID())
	}
	w.close(t)
	w.reopen(t)
	if w.ID() != id {
		t.Errorf("ID %s, before %s", w.ID(), id)
	}
	if err := w.putAccount(account("acc_a")); err != nil {
		t.Fatal(err)
	}
	w.close(t)
	w.reopen(t)
	if w.ID() != id {
		t.Errorf("ID %s, before %s", w.ID(), id)
	}
	if problems, err := w.Verify(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
