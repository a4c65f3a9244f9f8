package policy

import (
	"testing"
	"testing/fstest"
)

// Data that a package names a schema for fits it.
func TestDataFitsItsSchema(t *testing.T) {
	const schema = `{
	"type": "object", "additionalProperties": false, "required": ["most", "currencies"],
	"properties": {
		"most": {"type": "integer", "minimum": 1, "maximum": 9},
		"currencies": {"type": "object", "propertyNames": {"pattern": "^[A-Z]{3}$"}}
	}
}`
	const rules = `# METADATA
# schemas:
#   - data.limits: schema.limits
package payments

# METADATA
# entrypoint: true
decision := ` + denyDecision + ` if data.limits.most
`
	bundle := func(data string) fstest.MapFS {
		dir := fstest.MapFS{
			"decision.rego":       {Data: []byte(rules)},
			"schemas/limits.json": {Data: []byte(schema)},
		}
		if data != "" {
			dir["limits/data.yaml"] = &fstest.MapFile{Data: []byte(data)}
		}
		return dir
	}
	for _, good := range []string{"most: 1\ncurrencies: {EUR: 1}", "most: 9\ncurrencies: {}"} {
		if _, err := Load(t.Context(), bundle(good), Config{}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, c := range []struct{ data, says string }{
		{"most: 0\ncurrencies: {}", "data.limits is not as its schema says: most: Must be greater than or equal to 1"},
		{"most: 10\ncurrencies: {}", "most: Must be less than or equal to 9"},
		{"most: 1.5\ncurrencies: {}", "most: Invalid type. Expected: integer"},
		{"most: \"5\"\ncurrencies: {}", "most: Invalid type. Expected: integer, given: string"},
		{"most: 5", "currencies is required"},
		{"most: 5\ncurrencies: {}\nmore: 1", "Additional property more is not allowed"},
		{"most: 5\ncurrencies: {eur: 1}", `currencies: Does not match pattern`},
		{"", "decision.rego:1: there is no data.limits"},
	} {
		t.Run(c.says, func(t *testing.T) { wantLoadError(t, bundle(c.data), "decision.rego:1", c.says) })
	}
}
