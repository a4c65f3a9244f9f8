package decide_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
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

// The outcome of another verdict is that which the call itself would have had.
func TestRecordWould(t *testing.T) {
	w := newWorld(t)
	w.Decide(context.Background(), good())
	r := w.records[0]
	own := policy.Reserve{Account: "acc_anna", Payee: "mer_bakery", AmountMinor: 1250, Currency: "EUR"}
	other := own
	other.AmountMinor++
	reason := []policy.Reason{{Code: "a", Message: "A."}}
	unmatched := r
	unmatched.Input = json.RawMessage(strings.Replace(string(r.Input), `"facts"`, `"evidence":{"code":{"matched":false}},"facts"`, 1))
	byGrant, pays := r, own
	byGrant.Input = json.RawMessage(strings.NewReplacer(`"account":"acc_anna",`, "", `"facts":{`, `"facts":{"grant":{"id":"grt_ben","account":"acc_anna"},`).Replace(string(r.Input)))
	pays.Grant = "grt_ben"
	for name, c := range map[string]struct {
		record     decide.Record
		verdict    policy.Decision
		movesMoney bool
		want       decide.Outcome
	}{
		"as it was":            {r, policy.Decision{Allow: true, Effects: []policy.Effect{own}}, true, decide.Allow},
		"denied":               {r, policy.Decision{Reasons: reason, Public: reason}, true, decide.Deny},
		"no reservation":       {r, policy.Decision{Allow: true}, true, decide.Defect},
		"no money":             {r, policy.Decision{Allow: true}, false, decide.Allow},
		"two":                  {r, policy.Decision{Allow: true, Effects: []policy.Effect{own, own}}, true, decide.Defect},
		"another amount":       {r, policy.Decision{Allow: true, Effects: []policy.Effect{other}}, true, decide.Defect},
		"by a grant":           {byGrant, policy.Decision{Allow: true, Effects: []policy.Effect{pays}}, true, decide.Allow},
		"without the grant":    {byGrant, policy.Decision{Allow: true, Effects: []policy.Effect{own}}, true, decide.Defect},
		"by no grant's call":   {r, policy.Decision{Allow: true, Effects: []policy.Effect{pays}}, true, decide.Defect},
		"unmatched":            {unmatched, policy.Decision{Allow: true, Effects: []policy.Effect{own}}, true, decide.Defect},
		"unmatched and denied": {unmatched, policy.Decision{}, true, decide.Deny},
	} {
		if got, err := c.record.Would(c.verdict, c.movesMoney); got != c.want || (err != nil) != (c.want == decide.Defect) {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
}
