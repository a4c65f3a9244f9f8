package decide_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// goldenInput is the whole document that the policy decides on, for a good call.
// It is an interface: rules, replays and other programs read it. A change of it
// needs a new version.
const goldenInput = `{
  "arrived_ns": 1795532400123456789,
  "call": {
    "account": "acc_anna",
    "amount_minor": 1250,
    "currency": "EUR",
    "operation": "pay",
    "payee": "mer_bakery",
    "system": "direct_payment"
  },
  "facts": {
    "account": {
      "currency": "EUR",
      "delegates": {
        "open": 0
      },
      "id": "acc_anna",
      "limits": [
        {
          "amount": {
            "max_minor": 100000,
            "mode": "at_most",
            "remaining_minor": 100000
          },
          "count": {
            "mode": "any"
          },
          "name": "total",
          "period": {
            "kind": "lifetime"
          },
          "window_full": false
        },
        {
          "amount": {
            "mode": "any"
          },
          "count": {
            "max": 10,
            "mode": "at_most",
            "remaining": 10
          },
          "name": "first_ten",
          "period": {
            "kind": "lifetime"
          },
          "window_full": false
        }
      ],
      "max_payment_minor": 50000,
      "owner": {
        "issuer": "https://id.example",
        "kind": "user",
        "subject": "anna"
      },
      "state": "active"
    }
  },
  "identity": {
    "issuer": "https://id.example",
    "kind": "user",
    "subject": "anna"
  },
  "now_ns": 1795532400123456789,
  "version": 1
}`

func indented(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A record holds the input and the policy's own answer: enough to decide again.
func TestRecord(t *testing.T) {
	w := newWorld(t)
	limited := anna()
	limited.Limits = []authzstore.Limit{{Name: "total", MaxAmountMinor: 100000}, {Name: "first_ten", MaxCount: 10}}
	putAccount(t, w.backend, limited)
	d := w.Decide(context.Background(), good())
	if len(w.records) != 1 {
		t.Fatalf("%d records", len(w.records))
	}
	r := w.records[0]
	if got := indented(t, r.Input); got != goldenInput {
		t.Errorf("input %s\nwant %s", got, goldenInput)
	}
	wantLine := `{"decision_id":"` + d.ID + `","time":"` + noon.Format("2006-01-02T15:04:05.999999999Z07:00") +
		`","outcome":"allow","reservation_id":"` + d.Execution.ReservationID + `","bundle":"` + w.bundle().Digest + `","input":` + compact(t, goldenInput) +
		`,"decision":{"allow":true,"effects":[{"account":"acc_anna","amount_minor":1250,"currency":"EUR","payee":"mer_bakery","type":"reserve"}],"public_reasons":[],"reasons":[]}}`
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if string(line) != wantLine {
		t.Errorf("record %s\nwant   %s", line, wantLine)
	}
	if kept := w.kept(t, d.ID); kept != wantLine {
		t.Errorf("the store keeps %s\nwant %s", kept, wantLine)
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	line, err := json.Marshal(json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// A fact that does not exist is absent from the input, not null.
func TestRecordWithoutFact(t *testing.T) {
	w := newWorld(t)
	req := good()
	req.Path = "/v1/accounts/acc_nobody/payments"
	w.Decide(context.Background(), req)
	text := indented(t, w.records[0].Input)
	if !strings.Contains(text, `"facts": {},`) {
		t.Errorf("input %s", text)
	}
}

// Only what the route maps is in the input, and so in the record: no token, no
// other claim, no other header, no other member of the body.
func TestRecordHoldsNothingElse(t *testing.T) {
	w := newWorld(t)
	req := payment(`{"pin":"4711","payee":"mer_bakery","amount_minor":1250,"currency":"EUR"}`)
	w.Decide(context.Background(), req)
	line := indented(t, w.records[0])
	if strings.Contains(line, "4711") || strings.Contains(w.log.String(), "4711") {
		t.Errorf("record %s, log %s", line, &w.log)
	}
}

// Record is called once for each call that the policy was asked for, and for no
// other.
func TestRecordedCalls(t *testing.T) {
	w := newWorld(t)
	denied := payment(strings.Replace(goodBody, "1250", "50001", 1))
	unauthenticated := good()
	unauthenticated.Claims = nil
	for _, c := range []struct {
		req      call.Request
		recorded bool
	}{
		{good(), true}, {denied, true}, {unauthenticated, false}, {payment("{"), false}, {call.Request{}, false},
	} {
		w.records = nil
		d := w.Decide(context.Background(), c.req)
		if recorded := len(w.records) == 1; recorded != c.recorded || recorded && w.records[0].DecisionID != d.ID {
			t.Errorf("%s: %d records", d.Outcome, len(w.records))
		}
	}
}

// A decider without Record decides all the same.
func TestNoRecord(t *testing.T) {
	w := newWorld(t, func(cfg *decide.Config) { cfg.Record = nil })
	want(t, w.Decide(context.Background(), good()), "allow", 0)
}
