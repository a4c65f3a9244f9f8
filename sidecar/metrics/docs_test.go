package metrics

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/decide"
)

// docs/operations.md has a row for each metric, and for nothing else.
func TestDocs(t *testing.T) {
	m := New(fine())
	m.Observe(&decide.Observation{Course: decide.CourseForwarded, Evidence: []decide.EvidenceRecord{{Kind: "code", Budgets: []string{"tst_1"}}}})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		var labels []string
		for _, label := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp()))
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### The metrics")
	var got []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `"+prefix) {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the metrics of docs/operations.md are not those of the code, which are\n%s", strings.Join(want, "\n"))
	}
	for _, word := range named() {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("docs/operations.md does not explain %s", word)
		}
	}
}

// named are the values of labels that this program names.
func named() []string {
	words := []string{"matched", "unmatched", "spent_before", "thing", "sender", otherName}
	for _, cause := range slices.Concat(decide.DefectCauses, decide.UnavailableCauses) {
		words = append(words, string(cause))
	}
	for stage := range decide.Stages {
		words = append(words, stage.String())
	}
	for _, course := range decide.Courses {
		words = append(words, string(course))
	}
	return words
}
