package decide_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/decide"
)

// A record is read back as it was written; a stored record that is not exactly
// one is refused.
func TestReadRecord(t *testing.T) {
	w := newWorld(t)
	for _, req := range []string{goodBody, strings.Replace(goodBody, "1250", "50001", 1)} {
		w.Decide(context.Background(), payment(req))
	}
	for _, want := range w.records {
		stored := authzstore.Record{ID: want.DecisionID, Detail: []byte(w.kept(t, want.DecisionID))}
		got, err := decide.ReadRecord(stored)
		if err != nil {
			t.Fatal(err)
		}
		if indented(t, got) != indented(t, want) || !decide.IsDecision(stored) {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	id, good := w.records[0].DecisionID, w.kept(t, w.records[0].DecisionID)
	for name, detail := range map[string]string{
		"empty":            "",
		"half":             good[:len(good)/2],
		"two":              good + good,
		"unknown member":   strings.Replace(good, `{"decision_id"`, `{"newer":1,"decision_id"`, 1),
		"another decision": strings.Replace(good, id, authzstore.NewID("dec"), 1),
		"not an object":    "[]",
	} {
		if r, err := decide.ReadRecord(authzstore.Record{ID: id, Detail: []byte(detail)}); err == nil || !strings.Contains(err.Error(), id) {
			text, _ := json.Marshal(r)
			t.Errorf("%s: read as %s, %v", name, text, err)
		}
	}
	if decide.IsDecision(authzstore.Record{ID: authzstore.NewID("chg")}) {
		t.Error("an operator's change is a decision")
	}
}
