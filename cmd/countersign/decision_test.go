package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/replay"
)

// A difference under the bundle of the day is an error, and one under another
// bundle only where it is asked for.
func TestReplayVerdict(t *testing.T) {
	for _, c := range []struct {
		name             string
		trying, exitCode bool
		replayed         replay.Replay
		fails            bool
	}{
		{"equal", false, false, replay.Replay{Result: replay.Equal}, false},
		{"cannot", false, false, replay.Replay{Result: replay.Cannot}, false},
		{"different", false, false, replay.Replay{Result: replay.Different, Recorded: decide.Deny, Replayed: decide.Deny}, true},
		{"another outcome under other rules", true, false, replay.Replay{Result: replay.Different, Recorded: decide.Deny, Replayed: decide.Allow}, false},
		{"the same, with a flag", true, true, replay.Replay{Result: replay.Different, Recorded: decide.Deny, Replayed: decide.Allow}, true},
		{"other reasons, with a flag", true, true, replay.Replay{Result: replay.Different, Recorded: decide.Deny, Replayed: decide.Deny}, false},
	} {
		run := replayRun{out: &bytes.Buffer{}, trying: c.trying}
		if err := run.report(decision{}, c.replayed); err != nil {
			t.Fatal(err)
		}
		if err := run.verdict(c.exitCode); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Every part of a reason and of the evidence is told.
func TestWriteDecision(t *testing.T) {
	minor, count, resets := int64(1250), int64(2), int64(1795532400000000000)
	d := decision{Identity: authzstore.Identity{Kind: "agent", Issuer: "i", Subject: "bo\u202et", OnBehalfOf: "anna"}, Record: decide.Record{
		DecisionID: "dec_x", Time: time.Unix(0, resets).UTC(), Outcome: decide.Deny, Status: 403, Error: "none",
		Evidence: []decide.EvidenceRecord{{Field: "code", Kind: "otp", Budgets: []string{"sender/x"}}, {Field: "word", Kind: "otp", Matched: true}},
		Input:    []byte(`{"call":{"system":"s","operation":"o"}}`), Decision: []byte("null"),
	}}
	d.Reasons = []policy.Reason{{Code: "a", Message: "A\x1b[2J\u009b.", Limit: "day", RemainingMinor: &minor, RemainingCount: &count, ResetsAtNanos: &resets}}
	var text bytes.Buffer
	if err := writeDecision(&text, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"deny, 403 for the caller", "s o", "agent bo\ufffdt of i, on behalf of anna",
		"a: A\ufffd[2J\ufffd. Limit day, 1250 minor units remain, 2 payments remain, resets at 2026-11-24T15:00:00Z",
		"code (otp) did not match, an attempt of sender/x was burnt", "word (otp) matched\n", "\ndecision null\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}
