package call

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
)

// The reference names every code with its status, and every key; its example is a
// table that loads.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/routes.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	told := map[string]int{}
	_, refused, _ := strings.Cut(doc, "## What is refused")
	for line := range strings.Lines(refused) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		status, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		for _, code := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(cells[2], -1) {
			told[code[1]] = status
		}
	}
	for code, status := range statuses {
		if told[code] != status {
			t.Errorf("%s is %d, the reference says %d", code, status, told[code])
		}
	}
	if len(told) != len(statuses) {
		t.Errorf("the reference has %d codes, Decode has %d", len(told), len(statuses))
	}
	example := regexp.MustCompile("(?s)```yaml\n(system: (\\w+).*?)```").FindStringSubmatch(doc)
	if example == nil {
		t.Fatal("the reference has no example")
	}
	table, err := Load(fstest.MapFS{path.Join("systems", example[2], "routes.yaml"): {Data: []byte(example[1])}}, Vocabulary{})
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, r := range table.routes {
		for _, at := range r.places() {
			places = append(places, at.in)
		}
	}
	for _, in := range []string{inJSON, inHeader, inPath, inQuery, inForm, ofIdentity, isConstant} {
		if !slices.Contains(places, in) {
			t.Errorf("the example has no %s", in)
		}
	}
}

// The reference has every fact, every built-in operation with what it needs, and every
// kind of evidence.
func TestReferenceTables(t *testing.T) {
	text, err := os.ReadFile("../../docs/routes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][][]string{} // by chapter: the cells of each row of its tables
	chapter := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			chapter = strings.TrimSpace(name)
		}
		if cells := strings.Split(line, " | "); len(cells) > 1 {
			rows[chapter] = append(rows[chapter], cells)
		}
	}
	row := func(chapter, name string) []string {
		for _, cells := range rows[chapter] {
			if strings.Contains(cells[0], "`"+name+"`") {
				return cells
			}
		}
		t.Errorf("%s has no row for %s", chapter, name)
		return make([]string, 5)
	}
	for i, fact := range factNames {
		row("facts", fact)
		if first := rows["facts"][i+1][0]; !strings.Contains(first, "`"+fact+"`") {
			t.Errorf("fact %d is %s in the reference, and %s is followed there", i, first, fact)
		}
	}
	for _, kind := range (compiler{}).evidence() {
		row("fields", kind)
	}
	for does, b := range BuiltIns {
		cells := row("does", does)
		for _, field := range b.Fields {
			if !strings.Contains(cells[1], "`"+field+"`") {
				t.Errorf("%s: the reference does not name the field %s", does, field)
			}
		}
		mode := map[bool]string{false: ": read", true: ": write"}[b.Writes]
		for fact, mode := range map[string]string{b.Fact: mode, b.Or: mode, b.Beside: ": read"} {
			if fact != "" && !strings.Contains(cells[2], "`"+fact+mode+"`") {
				t.Errorf("%s: the reference does not name the fact %s%s", does, fact, mode)
			}
		}
		if takesKey := strings.TrimSpace(cells[3]) == "yes"; takesKey != (b.Writes && !b.Again) {
			t.Errorf("%s takes a key in the reference: %t", does, takesKey)
		}
	}
}

// Every refusal has a status, and none but those of the table.
func TestStatuses(t *testing.T) {
	for _, r := range []*Refusal{
		errNoRoute, errPath, errQuery, errQueryInvalid, errFormInvalid, errParamUnknown, errParamDuplicate, errAuthority, errOverride,
		errTooManyHeaders, errUpgrade, errDuplicateHeader, errHeaderText, errIdentity, errIdentities, errMediaJSON, errMediaForm, errEncoding, errPartial,
		errLength, errBodyUnexpected, errMemberUnknown, errKeyMissing, errKeyInvalid, termsInvalid(authzstore.ErrInvalid), fieldMissing("x"), fieldInvalid("x", "is"),
	} {
		if r.Status < 400 || r.Status > 499 || r.Message == "" {
			t.Errorf("%+v", r)
		}
	}
}
