package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// builtins lists the functions that a payments policy may call. A function is
// on it only if its result depends on its arguments alone, so that every
// decision can be replayed; if it reaches nothing outside; and if it cannot be
// made to run away: to_number, json.unmarshal, units.parse and bits.lsh turn a
// few characters into a number of millions of digits (`1e9999999`),
// and rand, uuid and time.now_ns answer differently each time. The time of a
// decision is input.now_ns. Those that could take long have bounds: see bounded.
var builtins = []string{
	// Operators, and what the compiler writes for keywords.
	"and", "assign", "div", "eq", "equal", "gt", "gte", "lt", "lte", "minus",
	"mul", "neq", "or", "plus", "rem",
	"internal.member_2", "internal.member_3", "internal.print",
	"internal.template_string", "internal.test_case", "print",
	// Numbers.
	"abs", "ceil", "floor", "max", "min", "numbers.range", "round", "sum",
	// Strings.
	"concat", "contains", "endswith", "format_int", "indexof", "lower",
	"replace", "regex.match", "split", "sprintf", "startswith",
	"strings.any_prefix_match", "strings.any_suffix_match", "strings.count",
	"substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space",
	"trim_suffix", "upper",
	// Collections.
	"all", "any", "array.concat", "array.flatten", "array.reverse",
	"array.slice", "count", "intersection", "json.filter", "json.patch",
	"json.remove", "object.filter", "object.get", "object.keys",
	"object.remove", "object.subset", "object.union", "object.union_n",
	"set_diff", "sort", "union", "walk",
	// Types.
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set",
	"is_string", "type_name",
	// Instants given in nanoseconds; none reads the clock. Zones are UTC: see
	// boundZone.
	"time.add_date", "time.clock", "time.date", "time.diff", "time.format",
	"time.parse_duration_ns", "time.parse_rfc3339_ns", "time.weekday",
}

// capabilities is what the compiler of a payments policy knows.
func capabilities() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	caps := &ast.Capabilities{
		Features: []string{ast.FeatureRegoV1, "keywords_in_refs", "template_strings"},
		// Schemas are files of the bundle: a reference to one elsewhere is
		// refused instead of fetched.
		AllowNet: []string{},
	}
	for _, b := range all.Builtins {
		if slices.Contains(builtins, b.Name) {
			caps.Builtins = append(caps.Builtins, b)
		}
	}
	return caps
}
