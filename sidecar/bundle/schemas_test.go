package bundle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/call"
)

// A member is one that a schema describes, wherever in it that stands.
type member struct {
	Minimum, Maximum *int64
	Enum             []any
	Required         []string
	Properties       map[string]json.RawMessage
}

// members calls see with all members of a schema, the path of each, and what it says.
func members(t *testing.T, path string, schema []byte, see func(path, name string, m member)) {
	t.Helper()
	var parts map[string]json.RawMessage
	if json.Unmarshal(schema, &parts) != nil {
		return // no object
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if strings.HasSuffix(path, "/properties") {
			var m member
			if err := json.Unmarshal(parts[name], &m); err != nil {
				t.Fatalf("%s/%s: %v", path, name, err)
			}
			see(path, name, m)
		}
		members(t, path+"/"+name, parts[name], see)
	}
	var alternatives struct{ AllOf []json.RawMessage }
	if json.Unmarshal(schema, &alternatives) == nil {
		for i, part := range alternatives.AllOf {
			members(t, fmt.Sprintf("%s/%d", path, i), part, see)
		}
	}
}

// readSchema returns one of the built-in schemas.
func readSchema(t *testing.T, name string) []byte {
	t.Helper()
	schema, err := fs.ReadFile(policies.FS, "schemas/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// JSON schemas cannot name a constant of Go: what they say of numbers that the store
// bounds is held equal here, by the names of the members.
func TestSchemasHaveTheBoundsOfTheStore(t *testing.T) {
	type bounds struct{ min, max int64 } // 0: another part of the schema says it
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	in := map[string]bounds{ // by the last part of the path
		"digits":                              {authzstore.MinCodeDigits, authzstore.MaxCodeDigits},
		"then/properties/digits":              {authzstore.MinSumDigits, 0},
		"max_attempts":                        {1, authzstore.MaxChallengeAttempts},
		"asking/properties/max_starts":        {1, authzstore.MaxStarts},
		"approval/properties/expires_seconds": {30, seconds(authzstore.MaxChallengeLife)},
		"max_open":                            {1, authzstore.MaxOpenIntents},
		"max_delegates":                       {1, authzstore.MaxDelegates},
		"from_minor":                          {1, authzstore.MaxAmountMinor},
	}
	seen := map[string]int{}
	schemas, err := fs.Glob(policies.FS, "schemas/*.json")
	if err != nil || len(schemas) < 5 {
		t.Fatalf("schemas: %v, %v", schemas, err)
	}
	for _, file := range schemas {
		name := strings.TrimPrefix(file, "schemas/")
		members(t, name, readSchema(t, name), func(path, name string, m member) {
			ends := ""
			for end := range in {
				if strings.HasSuffix(path+"/"+name, "/"+end) && len(end) > len(ends) {
					ends = end
				}
			}
			if ends == "" || m.Minimum == nil && m.Maximum == nil {
				return
			}
			seen[ends]++
			is := func(said *int64, want int64) bool { return want == 0 && said == nil || said != nil && *said == want }
			if want := in[ends]; !is(m.Minimum, want.min) || !is(m.Maximum, want.max) {
				t.Errorf("%s/%s: the store's bounds are %+v", path, name, want)
			}
		})
	}
	for end := range in {
		if seen[end] == 0 {
			t.Errorf("no schema has %s: leave it out here", end)
		}
	}
}

// Whom a system asks, and how often, is one object, which shared/challenge reads: its
// schema stands with each system, and says the same.
func TestAskingIsTheSame(t *testing.T) {
	first, seen := "", 0
	for _, name := range []string{"agent_order.json", "delegated_payment.json", "multi_terminal.json"} {
		members(t, name, readSchema(t, name), func(path, name string, m member) {
			if name != "asking" {
				return
			}
			seen++
			text, err := json.Marshal([]any{m.Required, m.Properties})
			if first = cmp.Or(first, string(text)); err != nil || string(text) != first {
				t.Errorf("%s/%s is\n%s\nand not, as elsewhere,\n%s", path, name, text, first)
			}
		})
	}
	if seen != 3 {
		t.Errorf("%d of 3 found", seen)
	}
}

// The words of the store in schemas are all of them.
func TestSchemasHaveTheWordsOfTheStore(t *testing.T) {
	words := map[string][]any{
		"input.json/properties/facts/properties/challenge/properties/kind":    asAny(authzstore.ChallengeKinds()),
		"input.json/properties/facts/properties/challenge/properties/expects": asAny(authzstore.AllExpects()),
		"codes.json/properties/entry":                                         asAny(authzstore.EntryOrders()),
		"multi_terminal.json/definitions/rule/properties/entry":               asAny(authzstore.EntryOrders()),
	}
	seen := 0
	for _, name := range []string{"input.json", "codes.json", "multi_terminal.json"} {
		members(t, name, readSchema(t, name), func(path, name string, m member) {
			want, ok := words[path+"/"+name]
			if !ok {
				return
			}
			if seen++; !slices.Equal(m.Enum, want) {
				t.Errorf("%s/%s: %v, the store has %v", path, name, m.Enum, want)
			}
		})
	}
	if seen != len(words) {
		t.Errorf("%d of %d members found", seen, len(words))
	}
}

func asAny[W ~string](words []W) (all []any) {
	for _, w := range words {
		all = append(all, string(w))
	}
	return all
}

// The input has the facts that route tables name, and what comes with them.
func TestInputHasTheFactsOfRoutes(t *testing.T) {
	want := append(call.FactNames(), slices.Collect(maps.Keys(brings))...)
	slices.Sort(want)
	var got []string
	members(t, "", readSchema(t, "input.json"), func(path, name string, _ member) {
		if path == "/properties/facts/properties" {
			got = append(got, name)
		}
	})
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("schemas/input.json has the facts %v, routes %v", got, want)
	}
}
