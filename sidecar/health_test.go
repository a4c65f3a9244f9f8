package sidecar_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/sidecar/metrics"
)

// The pages of a running sidecar: what it did, and how it is. A clock that jumped
// degrades it; Envoy's health check finds it serving all the while.
func TestMetricsAndHealth(t *testing.T) {
	g := startGuarded(t)
	bearer, err := tokens.Token(guardedSubject, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range canaryCalls {
		g.send(t, c, bearer)
	}
	g.checkWithoutEnvoy(t, bearer)
	if status, h := g.health(t); status != 200 || h.Status != metrics.OK || !strings.HasPrefix(h.Bundle.Digest, "sha256:") {
		t.Errorf("%d %+v", status, h)
	}
	_, page := g.get(t, "/metrics")
	for _, line := range []string{
		`countersign_decisions_total{code="",operation="pay",outcome="allow",status="",system="guarded"} 2`,
		`countersign_decisions_total{code="refused",operation="pay",outcome="deny",status="403",system="guarded"} 2`,
		`countersign_decisions_total{code="no_route",operation="",outcome="deny",status="403",system=""} 1`,
		`countersign_defects_total{cause="policy"} 1`,
		`countersign_defects_total{cause="panic"} 1`,
		`countersign_defects_total{cause="envoy"} 1`,
		`countersign_unavailable_total{cause="store"} 1`,
		`countersign_unavailable_total{cause="timeout"} 1`,
		`countersign_repeats_total{course="forwarded"} 1`,
		`countersign_repeats_total{course="told_again"} 1`,
		`countersign_repeats_total{course="other_call"} 1`,
		`countersign_evidence_total{kind="test_code",result="unmatched"} 3`,
		`countersign_attempts_burnt_total{kind="test_code",whose="thing"} 2`,
		`countersign_attempts_burnt_total{kind="test_code",whose="sender"} 3`,
		`countersign_stage_seconds_count{stage="total"} 18`,
		`countersign_calls_in_flight 0`,
		`countersign_serving 1`,
		`countersign_clock_uncertain 0`,
		`countersign_bundle_reload_ok 1`,
		`countersign_store_failed 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no %s in\n%s", line, ours(page))
		}
	}
	g.ahead.Store(int64(2 * time.Hour))
	if status, h := g.health(t); status != 200 || h.Status != metrics.Degraded || !h.Serving || h.Clock.Error == "" {
		t.Errorf("after the clock jumped: %d %+v", status, h)
	}
	if _, page := g.get(t, "/metrics"); !strings.Contains(page, "countersign_clock_uncertain 1\n") {
		t.Errorf("the clock is certain: %s", ours(page))
	}
	if err := g.edge.AwaitSidecar(t.Context(), true); err != nil {
		t.Error(err)
	}
}

// A policy that is refused degrades the sidecar, and the last good one decides.
func TestHealthOfARefusedPolicy(t *testing.T) {
	g := startGuarded(t)
	if err := os.WriteFile(filepath.Join(g.policies, "systems", "guarded", "wrong.rego"), []byte("package payments.systems.guarded\n\ndeny if {"), 0o600); err != nil {
		t.Fatal(err)
	}
	var h metrics.Health
	for status := 0; h.Bundle.Error == ""; time.Sleep(10 * time.Millisecond) {
		if status, h = g.health(t); status != 200 || !h.Serving {
			t.Fatalf("%d %+v", status, h)
		}
	}
	if h.Status != metrics.Degraded || !strings.Contains(h.Bundle.Error, "wrong.rego:3") {
		t.Errorf("%+v", h)
	}
	if _, page := g.get(t, "/metrics"); !strings.Contains(page, "countersign_bundle_reload_ok 0\n") || !strings.Contains(page, "countersign_bundle_refused_total 1\n") {
		t.Errorf("the metrics say %s", ours(page))
	}
	if err := g.edge.AwaitSidecar(t.Context(), true); err != nil {
		t.Error(err)
	}
	bearer, err := tokens.Token(guardedSubject, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.send(t, canaryCalls[0], bearer)
}

func (g *guarded) health(t *testing.T) (int, metrics.Health) {
	t.Helper()
	status, body := g.get(t, "/healthz")
	var h metrics.Health
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return status, h
}

// ours are the lines of a page that are no library's.
func ours(page string) string {
	var lines []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "countersign_") && !strings.Contains(line, "_bucket") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
