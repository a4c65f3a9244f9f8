package main

import (
	"strings"
	"testing"
	"time"
)

// A hammer is let in and does not end the others' payments.
func TestHammer(t *testing.T) {
	p, err := openInProcess(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, phase := range phases() {
		s, err := p.besides(t.Context(), phase, 1000, 100*time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", phase.name, err)
		}
		if s.PerSecond <= 0 || (s.OfferedPerSecond > 0) != (len(phase.hammer) > 0) {
			t.Errorf("%s: %+v", phase.name, s)
		}
	}
}

// An account that is not frozen any more, or paid on, is an error.
func TestCountAround(t *testing.T) {
	p, err := openInProcess(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	hot := newRequest(hotAccount())
	first := p.pay(t.Context(), hot)
	second := p.pay(t.Context(), hot)
	for _, c := range []struct{ id, want string }{
		{second.ID, "a frozen account paid"}, // as if it had been the freeze
		{"chg_unknown", "the freeze has no record"},
	} {
		var s freezeSample
		if err := p.countAround(t.Context(), c.id, &s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the freeze %s, after %s: %+v, %v", c.id, first.ID, s, err)
		}
	}
}

func TestHammerRows(t *testing.T) {
	r := &fairnessResult{}
	for _, p99 := range [][3]float64{{1000, 1500, 1}, {2000, 5000, 1}, {1000, 1000, 1}} { // of the phases of a round
		for i, phase := range phases() {
			r.Samples = append(r.Samples, fairnessSample{Phase: phase.name, P99Micros: p99[i]})
		}
	}
	got := terminal(r.hammerRows())
	if fields := strings.Join(strings.Fields(got), " "); !strings.Contains(fields, "by its owner 0 0.00 1.50 1.50 1.00–2.50 0 0 0") {
		t.Errorf("got\n%s", got)
	}
}
