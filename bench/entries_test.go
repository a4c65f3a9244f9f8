package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// Each entry is what its row says: of those that a challenge expects the record says so,
// and what the call that waits is answered then, measure sees.
func TestEntries(t *testing.T) {
	const each = 2
	log := &lines{}
	c, mail, stop := startParties(t, peopled{cast: entriesOf(each), rules: entriesRules, log: log})
	if err := spendStranger(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := &entriesResult{Rounds: 1, Each: each}
	if err := r.measure(t.Context(), c, mail, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	expected, inVain := log.entries(t)
	for _, class := range entryClasses {
		if n := len(r.of(class.name, 0)); n != each {
			t.Errorf("%s: %d entries, not %d", class.title, n, each)
		}
		wantExpected, wantInVain := len(class.before)+1, 0
		if class.nowhere || class.stranger || class.name == "closed" {
			wantExpected, wantInVain = wantExpected-1, 1
		}
		for i := range each {
			p := class.party(0, i)
			sender := p.owner()
			switch {
			case class.spent:
				continue // below
			case class.stranger:
				wantInVain, sender = 0, p.subject("stranger")
				if inVain[sender] != 1 {
					t.Errorf("%s: %d entries in vain", class.title, inVain[sender])
				}
				sender = p.owner()
			}
			if expected[sender] != wantExpected || inVain[sender] != wantInVain {
				t.Errorf("%s: %d entries that were expected and %d in vain, want %d and %d",
					class.title, expected[sender], inVain[sender], wantExpected, wantInVain)
			}
		}
	}
	if want := int(evidence.SenderAllowance.Max) + each; inVain[spentStranger] != want {
		t.Errorf("the stranger without attempts has made %d entries, not %d", inVain[spentStranger], want)
	}
}

// An entry that is another than it claims to be ends the run.
func TestEntriesAreChecked(t *testing.T) {
	c, mail, _ := startParties(t, peopled{cast: entriesOf(1), rules: entriesRules})
	was := entryClasses
	defer func() { entryClasses = was }()
	for _, class := range was {
		if class.name == "right" {
			class.code = wrongCode
			entryClasses = []entryClass{class}
		}
	}
	r := &entriesResult{Rounds: 1, Each: 1}
	if err := r.measure(t.Context(), c, mail, 0); err == nil || !strings.Contains(err.Error(), "what follows on an entry, right codes") {
		t.Errorf("a wrong code went for right ones: %v", err)
	}
}

func entriesOf(each int) func() []party {
	return func() []party {
		var all []party
		for _, c := range entryClasses {
			for i := range each {
				all = append(all, c.party(0, i))
			}
		}
		return all
	}
}

// lines is a decision log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// entries counts the codes that were entered, by who sent them: those that the challenge
// expected, and the others.
func (l *lines) entries(t *testing.T) (expected, inVain map[string]int) {
	t.Helper()
	expected, inVain = map[string]int{}, map[string]int{}
	for line := range bytes.Lines(l.text.Bytes()) {
		var r decide.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		var input struct{ Identity struct{ Subject string } }
		if err := json.Unmarshal(r.Input, &input); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Evidence {
			switch {
			case e.Kind != evidence.ChallengeCode:
			case e.Matched:
				expected[input.Identity.Subject]++
			default:
				inVain[input.Identity.Subject]++
			}
		}
	}
	return expected, inVain
}

func TestEntryRows(t *testing.T) {
	r := &entriesResult{Rounds: 2}
	for round, taken := range [][2][]float64{{{100, 200, 300}, {300, 400, 500}}, {{200, 400, 600}, {100, 200, 300}}} {
		for i, class := range []string{"wrong", "right"} {
			for _, micros := range taken[i] {
				r.Samples = append(r.Samples, entrySample{class, round, micros})
			}
		}
	}
	got := terminal(r.rows())
	if fields := strings.Join(strings.Fields(got), " "); !strings.Contains(fields, "right codes 300 200–400 500 1.250 0.500–2.000 56 %") {
		t.Errorf("got\n%s", got)
	}
}

func TestLongerShare(t *testing.T) {
	for _, c := range []struct {
		values, base []float64
		want         float64
	}{
		{[]float64{1, 2}, []float64{1, 2}, 0.5},
		{[]float64{3, 4}, []float64{1, 2}, 1},
		{[]float64{1}, []float64{2, 3}, 0},
		{[]float64{2}, []float64{1, 2, 2, 3}, 0.5},
	} {
		if got := longerShare(c.values, c.base); got != c.want {
			t.Errorf("longerShare(%v, %v) = %v, not %v", c.values, c.base, got, c.want)
		}
	}
}
