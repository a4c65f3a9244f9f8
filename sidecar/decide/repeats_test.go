package decide

import (
	"fmt"
	"testing"
	"time"
)

// An answer is told again for a while, and then forgotten; what is remembered is
// bounded.
func TestRepeats(t *testing.T) {
	var r repeats
	start := time.Unix(1000, 0)
	keep, before := r.begin("a", start)
	if before != nil {
		t.Fatal("a new check was asked before")
	}
	keep(Decision{ID: "dec_1"})
	if _, before = r.begin("a", start.Add(repeatTTL-1)); before == nil {
		t.Fatal("forgotten too early")
	}
	<-before.done
	if before.decision.ID != "dec_1" {
		t.Errorf("answer %+v", before.decision)
	}
	if _, before = r.begin("a", start.Add(repeatTTL)); before != nil {
		t.Error("told again too late")
	}
	keep, _ = r.begin("b", start)
	keep(Decision{Outcome: Unavailable})
	if keep, before = r.begin("b", start); before != nil {
		t.Error("that there was no answer is told again")
	}
	keep(Decision{Outcome: Allow})
	if _, before = r.begin("b", start.Add(1)); before == nil || before.decision.Outcome != Allow {
		t.Errorf("answer %+v", before)
	}
	for i := range maxRepeats + 10 {
		r.begin(fmt.Sprint(i), start.Add(repeatTTL))
	}
	if len(r.answers) > maxRepeats || len(r.order) > maxRepeats {
		t.Errorf("%d answers, %d in order", len(r.answers), len(r.order))
	}
}
