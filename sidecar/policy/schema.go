package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

const (
	maxSchemaBytes = 256 << 10
	// maxSchemaNodes counts what is referred to once for each reference: OPA
	// makes a type of it all.
	maxSchemaNodes = 10_000
)

// drafts are the values of $schema that OPA knows without a look elsewhere.
var drafts = []string{
	"http://json-schema.org/draft-04/schema#",
	"http://json-schema.org/draft-06/schema#",
	"http://json-schema.org/draft-07/schema#",
}

// readSchemas reads schemas/NAME.json as schema.NAME.
func readSchemas(s *Snapshot) (*ast.SchemaSet, error) {
	set := ast.NewSchemaSet()
	for _, name := range s.names {
		if path.Dir(name) != "schemas" || path.Ext(name) != ".json" || path.Base(name) == "data.json" {
			continue
		}
		schema, err := readSchema(s.files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		stem := strings.TrimSuffix(path.Base(name), ".json")
		set.Put(ast.SchemaRootRef.Append(ast.StringTerm(stem)), schema)
	}
	return set, nil
}

// readSchema reads a schema that stands by itself: OPA would read a file for a
// reference to file://, quote it in an error, and not end on a cycle.
func readSchema(text []byte) (any, error) {
	if len(text) > maxSchemaBytes {
		return nil, fmt.Errorf("a schema of more than %d bytes", maxSchemaBytes)
	}
	schema, err := readJSON(text)
	if err != nil {
		return nil, err
	}
	if _, ok := schema.(map[string]any); !ok {
		return nil, errors.New("a schema is an object")
	}
	w := schemaWalk{root: schema}
	return schema, w.walk(schema)
}

type schemaWalk struct {
	root  any
	nodes int
	refs  []string // being followed
}

func (w *schemaWalk) walk(node any) error {
	if w.nodes++; w.nodes > maxSchemaNodes {
		return fmt.Errorf("a schema of more than %d parts, each counted as often as it is referred to", maxSchemaNodes)
	}
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			if err := w.walk(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, member := range node {
			if err := w.member(key, member); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *schemaWalk) member(key string, value any) error {
	text, isText := value.(string)
	switch {
	case key == "$ref" && isText:
		return w.follow(text)
	case key == "$ref", (key == "$id" || key == "id") && isText:
		return fmt.Errorf("%s: not read here: refer with {\"$ref\": \"#/definitions/NAME\"}", key)
	case key == "$schema" && !slices.Contains(drafts, text):
		return fmt.Errorf("$schema is not one of %s", strings.Join(drafts, ", "))
	}
	return w.walk(value)
}

func (w *schemaWalk) follow(ref string) error {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return fmt.Errorf("$ref %q: a schema refers only to parts of itself: #/definitions/NAME", ref)
	}
	if slices.Contains(w.refs, ref) {
		return fmt.Errorf("$ref %q refers to itself in the end", ref)
	}
	target := w.root
	for step := range strings.SplitSeq(pointer, "/") {
		if strings.ContainsAny(step, "~%") {
			return fmt.Errorf("$ref %q: name the part without ~ and %%", ref)
		}
		switch at := target.(type) {
		case map[string]any:
			target = at[step]
		case []any:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(at) {
				target = at[i]
				continue
			}
			target = nil
		default:
			target = nil
		}
		if target == nil {
			return fmt.Errorf("$ref %q leads to nothing", ref)
		}
	}
	w.refs = append(w.refs, ref)
	err := w.walk(target)
	w.refs = w.refs[:len(w.refs)-1]
	return err
}
