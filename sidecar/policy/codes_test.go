package policy

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
)

// codesBundle is a system with these codes in its data, held to schemas/codes.json as
// it is delivered. What no schema can say, a test of the bundle does.
func codesBundle(t *testing.T, codes string) fstest.MapFS {
	t.Helper()
	schema, err := fs.ReadFile(policies.FS, "schemas/codes.json")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"schemas/codes.json":     {Data: schema},
		"systems/shop/data.yaml": {Data: []byte("codes: " + codes + "\n")},
		"decision.rego": {Data: []byte(`# METADATA
# schemas:
#   - data.systems.shop.codes: schema.codes
package payments

# METADATA
# entrypoint: true
decision := ` + denyDecision + ` if {
	data.systems.shop.codes.within_seconds * 1000000000 > 0
	data.systems.shop.codes.min_gap_seconds < data.systems.shop.codes.digits
}
`)},
	}
}

// An operator who asks for codes that the store would refuse, or that are too easy to
// guess, hears it when the data loads.
func TestCodesInData(t *testing.T) {
	for _, good := range []string{
		"{entry: any, digits: 6, max_attempts: 1, expires_seconds: 30}",
		"{entry: terminals, digits: 8, max_attempts: 5, expires_seconds: 3600, within_seconds: 3600, min_gap_seconds: 1, max_gap_seconds: 1}",
		"{entry: ascending, digits: 6, max_attempts: 3, expires_seconds: 300, min_gap_seconds: 1}",
		"{entry: descending, digits: 6, max_attempts: 3, expires_seconds: 300, max_gap_seconds: 9}",
		"{entry: sum, digits: 7, max_attempts: 3, expires_seconds: 300, within_seconds: 60}",
	} {
		if _, err := Load(t.Context(), codesBundle(t, good), Config{}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, c := range []struct{ codes, says string }{
		{"{entry: sum, digits: 8, max_attempts: 3, expires_seconds: 300, min_gap_seconds: 1}", "schema says: (Root): Additional property min_gap_seconds is not allowed"},
		{"{entry: sum, digits: 8, max_attempts: 3, expires_seconds: 300, max_gap_seconds: 1}", "schema says: (Root): Additional property max_gap_seconds is not allowed"},
		{"{entry: sum, digits: 6, max_attempts: 3, expires_seconds: 300}", "schema says: digits: Must be greater than or equal to 7"},
		{"{entry: difference, digits: 8, max_attempts: 3, expires_seconds: 300}", `schema says: entry: entry must be one of the following: "any", "terminals", "ascending", "descending", "sum"`},
		{"{entry: [terminals, ascending], digits: 8, max_attempts: 3, expires_seconds: 300}", "schema says: entry: Invalid type. Expected: string, given: array"},
		{"{digits: 8, max_attempts: 3, expires_seconds: 300}", "schema says: (Root): entry is required"},
		{"{entry: any, digits: 5, max_attempts: 3, expires_seconds: 300}", "schema says: digits: Must be greater than or equal to 6"},
		{"{entry: any, digits: 9, max_attempts: 3, expires_seconds: 300}", "schema says: digits: Must be less than or equal to 8"},
		{"{entry: any, max_attempts: 3, expires_seconds: 300}", "schema says: (Root): digits is required"},
		{"{entry: any, digits: 6, max_attempts: 0, expires_seconds: 300}", "schema says: max_attempts: Must be greater than or equal to 1"},
		{"{entry: any, digits: 6, max_attempts: 6, expires_seconds: 300}", "schema says: max_attempts: Must be less than or equal to 5"},
		{"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 3601}", "schema says: expires_seconds: Must be less than or equal to 3600"},
		{"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300, within_seconds: 0}", "schema says: within_seconds: Must be greater than or equal to 1"},
		{"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300, within_minutes: 1}", "schema says: (Root): Additional property within_minutes is not allowed"},
	} {
		t.Run(c.codes, func(t *testing.T) {
			wantLoadError(t, codesBundle(t, c.codes), "decision.rego:1: data.systems.shop.codes is not as its "+c.says)
		})
	}
}

// That the shortest gap is not above the longest one compares two numbers of the data,
// which no schema can: a test of the bundle does, and it runs when the data loads.
func TestGapsInData(t *testing.T) {
	for codes, wrong := range map[string]bool{
		"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300}":                                          false,
		"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300, min_gap_seconds: 9}":                      false,
		"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300, min_gap_seconds: 9, max_gap_seconds: 9}":  false,
		"{entry: any, digits: 6, max_attempts: 3, expires_seconds: 300, min_gap_seconds: 10, max_gap_seconds: 9}": true,
	} {
		files := codesBundle(t, codes)
		files["systems/shop/shop_test.rego"] = &fstest.MapFile{Data: []byte(`package payments.systems.shop_test

test_min_gap_is_not_above_max_gap if not crossed

crossed if data.systems.shop.codes.min_gap_seconds > data.systems.shop.codes.max_gap_seconds
`)}
		load(t, files, Config{}) // the schema has nothing against it
		_, err := runTests(t, files)
		if (err != nil) != wrong || wrong && !strings.Contains(err.Error(), "test_min_gap_is_not_above_max_gap") {
			t.Errorf("%s: %v", codes, err)
		}
	}
}
