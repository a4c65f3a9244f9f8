package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
)

// fine is a source of a sidecar that has nothing wrong.
func fine() *Source {
	return &Source{
		Serving:        func() bool { return true },
		InFlight:       func() int { return 3 },
		Bundle:         func() bundle.Status { return bundle.Status{ActiveDigest: "sha256:good", Activated: 1} },
		Clock:          func() error { return nil },
		Store:          func() Store { return Store{LastSeq: 9, JournalBytes: 4096} },
		RecordsLeftOut: func() int64 { return 5 },
		Messages:       func() Messages { return Messages{1, 2, 3, 4, 5, 6, 7} },
	}
}

func get(t testing.TB, m *Metrics, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	m.Server().Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// shown are the lines of /metrics that start with the prefix.
func shown(t testing.TB, m *Metrics) []string {
	t.Helper()
	w := get(t, m, "/metrics")
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	return slices.DeleteFunc(strings.Split(w.Body.String(), "\n"), func(line string) bool { return !strings.HasPrefix(line, prefix) })
}

func wantShown(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	all := shown(t, m)
	for _, line := range lines {
		if !slices.Contains(all, line) {
			t.Errorf("not shown: %s\nin %s", line, strings.Join(all, "\n"))
		}
	}
}

func TestObserve(t *testing.T) {
	m := New(fine())
	allowed := decide.Observation{System: "direct_payment", Operation: "pay", Outcome: decide.Allow}
	allowed.Took[decide.StageDecode], allowed.Took[decide.StageTotal] = 30*time.Microsecond, 70*time.Millisecond
	for _, seen := range []decide.Observation{
		allowed, allowed,
		{Outcome: decide.Deny, Status: 403, Code: "no_route"},
		{Outcome: decide.Defect, Status: 500, Code: "policy_defect", Cause: decide.CauseContradiction},
		{Outcome: decide.Unavailable, Status: 503, Code: "overloaded", Cause: decide.CauseLocks},
		{Outcome: decide.Allow, Course: decide.CourseForwarded},
		{Outcome: decide.Deny, Status: 403, Code: "no_permit", Evidence: []decide.EvidenceRecord{
			{Kind: "code", Matched: true, Budgets: []string{"tst_1"}},
			{Kind: "code", Budgets: []string{authzstore.SenderBudgets + "code/1"}},
			{Kind: "code", SpentBefore: true},
		}},
	} {
		m.Observe(&seen)
	}
	wantShown(t, m,
		`countersign_decisions_total{code="",operation="pay",outcome="allow",status="",system="direct_payment"} 2`,
		`countersign_decisions_total{code="no_route",operation="",outcome="deny",status="403",system=""} 1`,
		`countersign_stage_seconds_bucket{stage="decode",le="2.5e-05"} 0`,
		`countersign_stage_seconds_bucket{stage="decode",le="5e-05"} 2`,
		`countersign_stage_seconds_count{stage="total"} 2`,
		`countersign_stage_seconds_count{stage="commit"} 0`,
		`countersign_defects_total{cause="contradiction"} 1`,
		`countersign_defects_total{cause="policy"} 0`,
		`countersign_unavailable_total{cause="locks"} 1`,
		`countersign_repeats_total{course="forwarded"} 1`,
		`countersign_evidence_total{kind="code",result="matched"} 1`,
		`countersign_evidence_total{kind="code",result="unmatched"} 1`,
		`countersign_evidence_total{kind="code",result="spent_before"} 1`,
		`countersign_attempts_burnt_total{kind="code",whose="sender"} 1`,
		`countersign_attempts_burnt_total{kind="code",whose="thing"} 1`,
	)
}

// What a bundle can name has bounds; what this program names is never "other".
func TestNamesAreBounded(t *testing.T) {
	m := New(fine())
	const many = 3 * maxNames
	for i := range many {
		name := fmt.Sprintf("made_of_%d", i)
		m.Observe(&decide.Observation{Outcome: decide.Deny, Status: 403, Code: name})
		m.Observe(&decide.Observation{Outcome: decide.Allow, System: name, Operation: name})
	}
	m.Observe(&decide.Observation{Outcome: decide.Deny, Status: 400, Code: "body_syntax"})
	m.Observe(&decide.Observation{Outcome: decide.Deny, Status: 403, Code: "made_of_7"})
	wantShown(t, m,
		`countersign_decisions_total{code="body_syntax",operation="",outcome="deny",status="400",system=""} 1`,
		`countersign_decisions_total{code="made_of_7",operation="",outcome="deny",status="403",system=""} 2`,
		fmt.Sprintf(`countersign_decisions_total{code="other",operation="",outcome="deny",status="403",system=""} %d`, many-maxNames),
		fmt.Sprintf(`countersign_decisions_total{code="",operation="other",outcome="allow",status="",system="other"} %d`, many-maxNames),
	)
	if n := len(shown(t, m)); n > 2*maxNames+200 {
		t.Errorf("%d lines", n)
	}
}

func TestSource(t *testing.T) {
	m := New(fine())
	wantShown(t, m,
		`countersign_serving 1`,
		`countersign_calls_in_flight 3`,
		`countersign_clock_uncertain 0`,
		`countersign_bundle_info{digest="sha256:good"} 1`,
		`countersign_bundle_reload_ok 1`,
		`countersign_store_failed 0`,
		`countersign_store_last_seq 9`,
		`countersign_store_journal_bytes 4096`,
		`countersign_decision_log_left_out_total 5`,
	)
	s := fine()
	s.Clock = func() error { return errors.New("jumped") }
	s.Bundle = func() bundle.Status {
		return bundle.Status{ActiveDigest: "sha256:old", ActiveSince: time.Unix(1795532400, 5e8), LastError: "bad", Refused: 2}
	}
	s.Store = func() Store { return Store{Failed: true, PausedForWantOfDisk: true} }
	wantShown(t, New(s),
		`countersign_clock_uncertain 1`,
		`countersign_bundle_info{digest="sha256:old"} 1`,
		`countersign_bundle_reload_ok 0`,
		`countersign_bundle_refused_total 2`,
		`countersign_bundle_active_timestamp_seconds 1.7955324005e+09`,
		`countersign_store_failed 1`,
		`countersign_store_disk_paused 1`,
	)
}

func TestHealth(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Source)
		code   int
		want   Health
	}{
		"fine": {func(*Source) {}, 200, Health{Status: OK, Serving: true, Bundle: BundleHealth{Digest: "sha256:good"}}},
		"the bundle is refused": {func(s *Source) {
			s.Bundle = func() bundle.Status {
				return bundle.Status{ActiveDigest: "sha256:old", LastError: "no rule", FailedDigest: "sha256:new"}
			}
		}, 200, Health{Status: Degraded, Serving: true, Bundle: BundleHealth{Digest: "sha256:old", Error: "no rule", Failed: "sha256:new"}}},
		"the clock jumped": {func(s *Source) { s.Clock = func() error { return errors.New("jumped") } },
			200, Health{Status: Degraded, Serving: true, Bundle: BundleHealth{Digest: "sha256:good"}, Clock: ClockHealth{"jumped"}}},
		"the store failed": {func(s *Source) { s.Store = func() Store { return Store{Failed: true} } },
			503, Health{Status: Down, Bundle: BundleHealth{Digest: "sha256:good"}, StoreFailed: true}},
		"it ends": {func(s *Source) { s.Serving = func() bool { return false } },
			503, Health{Status: Down, Bundle: BundleHealth{Digest: "sha256:good"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fine()
			c.change(s)
			w := get(t, New(s), "/healthz")
			var got Health
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.code || got != c.want {
				t.Errorf("%d %+v, want %d %+v", w.Code, got, c.code, c.want)
			}
		})
	}
}

// The server only shows.
func TestServerOnlyReads(t *testing.T) {
	m := New(fine())
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{http.MethodPost, "/metrics", 405},
		{http.MethodPost, "/healthz", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/debug/pprof/", 404},
	} {
		w := httptest.NewRecorder()
		m.Server().Handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.code)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New(fine())
	seen := decide.Observation{System: "direct_payment", Operation: "pay", Outcome: decide.Allow}
	for stage := range seen.Took {
		seen.Took[stage] = time.Millisecond
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(&seen)
	}
}
