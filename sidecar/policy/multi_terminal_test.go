package policy

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies/policiestest"
)

// Conditions that make no sense, or leave too little to guess, are refused when the
// data of multi_terminal loads.
func TestConditionsOfSeveralTerminals(t *testing.T) {
	const system = "systems/multi_terminal/"
	const name = system + "data.yaml"
	bundle := policiestest.All(t)
	maps.DeleteFunc(bundle, func(name string, _ *fstest.MapFile) bool { // the others take their time
		return strings.HasPrefix(name, "systems/") && !strings.HasPrefix(name, system)
	})
	kept, _, found := strings.Cut(string(bundle[name].Data), "\nrules:\n")
	if !found {
		t.Fatalf("%s has no rules", name)
	}
	const times = "max_attempts: 3, expires_seconds: 300"
	for _, c := range []struct{ rule, says string }{
		{"{from_minor: 1, entry: any, digits: 6, " + times + ", within_seconds: 1}", ""},
		{"{from_minor: 1, entry: any, digits: 6, " + times + ", min_gap_seconds: 1}", ""},
		{"{from_minor: 1, entry: any, digits: 6, " + times + ", max_gap_seconds: 1}", ""},
		{"{from_minor: 1, entry: terminals, digits: 6, " + times + "}", ""},
		{"{from_minor: 1, entry: descending, digits: 8, " + times + ", within_seconds: 9, min_gap_seconds: 1, max_gap_seconds: 9}", ""},
		{"{from_minor: 1, entry: sum, digits: 7, " + times + ", within_seconds: 9}", ""},
		{"{from_minor: 1, entry: any, digits: 6, " + times + "}", "within_seconds is required"},
		{"{from_minor: 1, entry: sum, digits: 6, " + times + "}", "digits: Must be greater than or equal to 7"},
		{"{from_minor: 1, entry: sum, digits: 8, " + times + ", min_gap_seconds: 1}", "Additional property min_gap_seconds is not allowed"},
		{"{from_minor: 1, entry: sum, digits: 8, " + times + ", max_gap_seconds: 1}", "Additional property max_gap_seconds is not allowed"},
		{"{from_minor: 1, entry: difference, digits: 8, " + times + "}", "entry must be one of the following"},
		{"{from_minor: 1, entry: [terminals, ascending], digits: 8, " + times + "}", "entry: Invalid type"},
		{"{from_minor: 2, entry: terminals, digits: 6, " + times + "}", "At least one of the items must match"},
		{"{from_minor: 1, entry: terminals, digits: 5, " + times + "}", "digits: Must be greater than or equal to 6"},
		{"{from_minor: 1, entry: terminals, digits: 6, max_attempts: 6, expires_seconds: 300}", "max_attempts: Must be less than or equal to 5"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			files := maps.Clone(bundle)
			files[name] = &fstest.MapFile{Data: []byte(kept + "\nrules:\n  EUR:\n  - " + c.rule + "\n")}
			if c.says == "" {
				load(t, files, Config{})
				return
			}
			wantLoadError(t, files, "data.systems.multi_terminal is not as its schema says", c.says)
		})
	}
}
