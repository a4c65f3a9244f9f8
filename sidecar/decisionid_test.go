package sidecar_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar"
)

// One decision has one ID, wherever it is spoken of: to the caller, to Envoy, in
// the token, in the log, in the decision log and in the store.
func TestDecisionIDIsEverywhere(t *testing.T) {
	g := startGuarded(t)
	bearer, err := tokens.Token(guardedSubject, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range canaryCalls {
		g.send(t, c, bearer)
	}
	g.stop()

	var told []string // by Envoy's access log: what the caller was told, and the metadata
	access, err := os.ReadFile(g.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(access)) {
		var entry struct {
			DecisionID string `json:"decision_id"`
			Metadata   struct {
				DecisionID string `json:"decision_id"`
				Outcome    string
			}
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if entry.DecisionID != entry.Metadata.DecisionID || entry.Metadata.Outcome == "" {
			t.Errorf("the access log tells two stories: %s", line)
		}
		told = append(told, entry.DecisionID)
	}
	if !slices.Equal(told, g.ids) {
		t.Errorf("Envoy knows %q, the callers %q", told, g.ids)
	}
	var inTokens []string
	for _, payment := range g.claims {
		inTokens = append(inTokens, payment.DecisionID)
	}
	recorded := g.recordedIDs(t)
	for i, c := range canaryCalls {
		id := g.ids[i]
		if !strings.HasPrefix(id, "dec_") {
			t.Errorf("%s: the caller is told the decision %q", c.name, id)
		}
		if allowed := c.status == 201; slices.Contains(inTokens, id) != allowed {
			t.Errorf("%s: in a token: %v", c.name, !allowed)
		}
		kind, _, _ := strings.Cut(c.name, ":")
		again := strings.HasSuffix(c.name, ", again")
		if first := slices.Index(g.ids, id); (first < i) != again {
			t.Errorf("%s: its decision is that of %s", c.name, canaryCalls[first].name)
		}
		// What the policy was asked for is recorded; what went wrong or was refused
		// before is logged.
		asked := kind != "refused" && c.code != "key_other_call" && (c.code != "internal_error" || c.name == "defect: a panic") && c.code != "store_unavailable"
		for where, ids := range map[string][]string{"the decision log": g.loggedIDs(t, g.decisions.String()), "the store": recorded} {
			if slices.Contains(ids, id) != asked {
				t.Errorf("%s: in %s: %v, want %v", c.name, where, !asked, asked)
			}
		}
		if logged := kind == "refused" || kind == "defect" || kind == "unavailable" || c.code == "key_other_call"; slices.Contains(g.loggedIDs(t, g.log.String()), id) != logged {
			t.Errorf("%s: in the log: %v, want %v", c.name, !logged, logged)
		}
	}
}

// loggedIDs are the decisions in the lines of a log.
func (g *guarded) loggedIDs(t *testing.T, log string) (ids []string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct {
			DecisionID string `json:"decision_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		ids = append(ids, entry.DecisionID)
	}
	return ids
}

// recordedIDs are the decisions that the store has a record of which says its ID
// too.
func (g *guarded) recordedIDs(t *testing.T) (ids []string) {
	t.Helper()
	store, err := sidecar.OpenStore(t.Context(), g.data, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	err = store.View(context.Background(), func(s authzstore.Snapshot) error {
		for _, id := range g.ids {
			r, ok, err := s.Record(id)
			if err != nil {
				return err
			}
			if ok && strings.Contains(string(r.Detail), `"decision_id":"`+id+`"`) {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
