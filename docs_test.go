package countersign_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// codeLink is a link from a page to something declared in a file: [`name`](file).
var codeLink = regexp.MustCompile("\\[`(\\w+)`\\]\\(([^)]+\\.(?:go|rego))\\)")

// What pages say stands in a file is declared there.
func TestCodeLinks(t *testing.T) {
	found := 0
	for _, page := range files(t) {
		if path.Ext(page) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(page))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range codeLink.FindAllStringSubmatch(string(text), -1) {
			found++
			if err := checkDeclared(link[1], path.Join(path.Dir(page), link[2])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d links to code found", found)
	}
}

func TestCodeLinkCanFail(t *testing.T) {
	for _, c := range []struct {
		name, file string
		declared   bool
	}{
		{"checkDeclared", "docs_test.go", true},
		{"Decide", "sidecar/decide/decide.go", true},
		{"Decider", "sidecar/decide/decide.go", true},
		{"failures", "sidecar/decide/fail.go", true},
		{"told", "policies/shared/reasons/reasons.rego", true},
		{"Decides", "sidecar/decide/decide.go", false},
		{"Reservation", "sidecar/decide/decide.go", false}, // only used there
		{"Decide", "sidecar/decide/none.go", false},
	} {
		if err := checkDeclared(c.name, c.file); (err == nil) != c.declared {
			t.Errorf("%s in %s: %v", c.name, c.file, err)
		}
	}
}

// checkDeclared says that a file declares a function, a method, a type, a variable or
// a rule of this name at its top level.
func checkDeclared(name, file string) error {
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		return err
	}
	declared := `(?m)^(func (\([^)]*\) )?|type |var |const )` + name + `\b`
	if strings.HasSuffix(file, ".rego") {
		declared = `(?m)^` + name + `\b`
	}
	if !regexp.MustCompile(declared).Match(text) {
		return fmt.Errorf("%s does not declare %s", file, name)
	}
	return nil
}
