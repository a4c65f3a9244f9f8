// Package metrics is what a sidecar shows of itself: Prometheus metrics and a
// page about its health. It shows counts, times, digests and names out of route
// tables, policies and this program; nothing of any call. docs/operations.md has
// the list, held to the code by a test.
package metrics

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/decide"
)

// Metrics are those of one sidecar. Its methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	source   *Source

	decisions   *prometheus.CounterVec
	stages      [decide.Stages]prometheus.Observer
	defects     *prometheus.CounterVec
	unavailable *prometheus.CounterVec
	repeats     *prometheus.CounterVec
	evidence    *prometheus.CounterVec
	burnt       *prometheus.CounterVec

	codes, systems, operations *names
}

// stageBuckets are the upper bounds of the stages' histogram, in seconds: a stage
// takes tens of microseconds, and Envoy waits half a second.
var stageBuckets = []float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1}

// New returns metrics that ask the source for what is not told to Observe. It must
// be complete before somebody looks.
func New(source *Source) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		source:     source,
		codes:      newNames(decide.Codes()),
		systems:    newNames(nil),
		operations: newNames(nil),
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.decisions = counter("decisions_total", "Calls decided, or not.", "system", "operation", "outcome", "status", "code")
	m.defects = counter("defects_total", "Calls answered 500, by what is wrong.", "cause")
	m.unavailable = counter("unavailable_total", "Calls answered 503, by why.", "cause")
	m.repeats = counter("repeats_total", "Calls that were asked before, by what became of them.", "course")
	m.evidence = counter("evidence_total", "Secret fields that decisions were made of, by what they proved.", "kind", "result")
	m.burnt = counter("attempts_burnt_total", "Attempts that evidence burnt, by whose they were.", "kind", "whose")
	stages := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + "stage_seconds", Help: "How long the stages of calls took.", Buckets: stageBuckets,
	}, []string{"stage"})
	for stage := range decide.Stages {
		m.stages[stage] = stages.WithLabelValues(stage.String())
	}
	// What an alert is about is there from the start, as 0.
	for _, cause := range decide.DefectCauses {
		m.defects.WithLabelValues(string(cause))
	}
	for _, cause := range decide.UnavailableCauses {
		m.unavailable.WithLabelValues(string(cause))
	}
	m.registry.MustRegister(stages, sampler{source}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const prefix = "countersign_"

// Observe counts a call. It is a [decide.Config]'s Observe.
func (m *Metrics) Observe(seen *decide.Observation) {
	m.decisions.WithLabelValues(m.systems.name(seen.System), m.operations.name(seen.Operation),
		string(seen.Outcome), status(seen.Status), m.codes.name(seen.Code)).Inc()
	for stage, took := range seen.Took {
		if took > 0 {
			m.stages[stage].Observe(took.Seconds())
		}
	}
	switch {
	case seen.Outcome == decide.Defect:
		m.Defect(seen.Cause)
	case seen.Outcome == decide.Unavailable:
		m.unavailable.WithLabelValues(string(seen.Cause)).Inc()
	}
	if seen.Course != "" {
		m.repeats.WithLabelValues(string(seen.Course)).Inc()
	}
	for _, e := range seen.Evidence {
		m.evidence.WithLabelValues(e.Kind, result(e)).Inc()
		for _, budget := range e.Budgets {
			m.burnt.WithLabelValues(e.Kind, whose(budget)).Inc()
		}
	}
}

// Defect counts an answer that a fault gave. It is an extauthz.Service's Defect.
func (m *Metrics) Defect(cause decide.Cause) { m.defects.WithLabelValues(string(cause)).Inc() }

// status is "" for an allow, which has none.
func status(code int) string {
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}

func result(e decide.EvidenceRecord) string {
	switch {
	case e.SpentBefore:
		return "spent_before"
	case e.Matched:
		return "matched"
	default:
		return "unmatched"
	}
}

func whose(budget string) string {
	if strings.HasPrefix(budget, authzstore.SenderBudgets) {
		return "sender"
	}
	return "thing"
}

// seconds is a time as metrics have it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
