package safelog_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/safelog"
)

// logging are the methods of a slog.Logger, with the number of arguments before
// the attributes; the last of those is the message, if there is one.
var logging = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3, "With": 0,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "LogAttrs": 3, "WithGroup": 0,
}

// notLoggers are what else has methods of these names.
var notLoggers = []string{"http", "p", "rules"}

// Arguments that are no literals, and are constants all the same.
var constants = map[string]bool{
	"sidecar/decide/fail.go f.message":       true, // of the table failures
	"sidecar/clock/run.go what":              true, // of complain
	"sidecar/extauthz/check.go append(…)...": true, // of undecided: literals in its calls
}

// A site is a call of a logger.
type site struct {
	where string
	call  *ast.CallExpr
	file  string
}

// Every line that the program can write has a message that is a constant, and
// attributes that are on the list; and every key of the list is in use.
func TestLogSites(t *testing.T) {
	sites := findSites(t)
	if len(sites) < 30 {
		t.Fatalf("only %d places that log", len(sites))
	}
	used := map[string]bool{"panic": true, "stack": true}
	for _, s := range sites {
		name := s.call.Fun.(*ast.SelectorExpr).Sel.Name
		before := logging[name]
		if len(s.call.Args) < before {
			continue // not a logger's
		}
		if before > 0 && !s.isConstant(s.call.Args[before-1]) {
			t.Errorf("%s: the message is no constant", s.where)
		}
		attributes := s.call.Args[before:]
		if s.call.Ellipsis.IsValid() {
			if !constants[s.file+" append(…)..."] {
				t.Errorf("%s: the attributes are not written out", s.where)
			}
			attributes = attributes[0].(*ast.CallExpr).Args[1:]
		}
		for i := 0; i < len(attributes); i += 2 {
			literal, ok := attributes[i].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a key is no literal", s.where)
				continue
			}
			key, _ := strconv.Unquote(literal.Value)
			used[key] = true
			if _, listed := safelog.Keys[key]; !listed {
				t.Errorf("%s: %q is not on the list", s.where, key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(safelog.Keys)) {
		if !used[key] {
			t.Errorf("%q is on the list, and nothing logs it", key)
		}
	}
}

// docs/operations.md says what the keys are, and of no others.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## The log")
	var want, got []string
	for _, key := range slices.Sorted(maps.Keys(safelog.Keys)) {
		want = append(want, fmt.Sprintf("| `%s` | %s |", key, safelog.Keys[key]))
	}
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if strings.HasPrefix(line, "| `") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the fields of docs/operations.md are not those of the list, which are\n%s", strings.Join(want, "\n"))
	}
}

func (s site) isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.STRING
	case *ast.Ident:
		return constants[s.file+" "+e.Name]
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && constants[s.file+" "+x.Name+"."+e.Sel.Name]
	}
	return false
}

// findSites looks at all of the program: not at tests, examples and benchmarks.
func findSites(t *testing.T) []site {
	t.Helper()
	root := os.DirFS("../..")
	var sites []site
	for _, dir := range []string{"authzstore", "cmd", "sidecar"} {
		err := fs.WalkDir(root, dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || path.Dir(name) == "sidecar/safelog" || path.Dir(name) == "authzstore/kv/kvtest" {
				return err
			}
			source, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, source, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if ok && isLogger(call) {
					sites = append(sites, site{fmt.Sprint(set.Position(call.Pos())), call, name})
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sites
}

func isLogger(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	if _, known := logging[method.Sel.Name]; !known {
		return false
	}
	x, ok := method.X.(*ast.Ident)
	return !ok || !slices.Contains(notLoggers, x.Name)
}
