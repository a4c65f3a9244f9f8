package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// checkData holds data to the schemas that packages name for it, as in
//
//	# schemas:
//	#   - data.systems.refunds: schema.refunds
//
// OPA itself only looks whether rules read what the schema has.
func checkData(modules map[string]*ast.Module, data map[string]any, schemas *ast.SchemaSet) error {
	all, err := ast.InterfaceToValue(data)
	if err != nil {
		return err
	}
	checked := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		for _, a := range modules[name].Annotations {
			for _, s := range a.Schemas {
				pair := s.Path.String() + " " + s.Schema.String()
				if checked[pair] || !s.Path.HasPrefix(ast.DefaultRootRef) {
					continue
				}
				checked[pair] = true
				if err := checkDataAt(all, s.Path, schemas.Get(s.Schema)); err != nil {
					return fmt.Errorf("%v: %w", a.Location, err)
				}
			}
		}
	}
	return nil
}

func checkDataAt(all ast.Value, path ast.Ref, schema any) error {
	document, err := all.Find(path[1:])
	if err != nil {
		return fmt.Errorf("there is no %v", path)
	}
	wanted, err := ast.InterfaceToValue(schema)
	if err != nil {
		return err
	}
	var complaints []string
	match := topdown.GetBuiltin("json.match_schema")
	err = match(topdown.BuiltinContext{}, []*ast.Term{ast.NewTerm(document), ast.NewTerm(wanted)}, func(result *ast.Term) error {
		complaints = schemaComplaints(result)
		return nil
	})
	if err == nil && len(complaints) > 0 {
		err = errors.New(strings.Join(complaints, "; "))
	}
	if err != nil {
		return fmt.Errorf("%v is not as its schema says: %w", path, err)
	}
	return nil
}

// schemaComplaints reads what json.match_schema returns: whether it matches, and the
// complaints. That some "then" is not met says nothing beside what it is about.
func schemaComplaints(result *ast.Term) (complaints []string) {
	all := result.Value.(*ast.Array).Elem(1).Value.(*ast.Array)
	all.Foreach(func(complaint *ast.Term) {
		if kind := complaint.Get(ast.StringTerm("type")); all.Len() > 1 && kind.Equal(ast.StringTerm("condition_then")) {
			return
		}
		text, _ := complaint.Get(ast.StringTerm("error")).Value.(ast.String)
		complaints = append(complaints, string(text))
	})
	if len(complaints) > maxComplaints {
		complaints = append(complaints[:maxComplaints], fmt.Sprintf("and %d more", len(complaints)-maxComplaints))
	}
	return complaints
}
