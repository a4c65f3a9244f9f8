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

// Every refusal has a status, and none but those of the table.
func TestStatuses(t *testing.T) {
	for _, r := range []*Refusal{
		errNoRoute, errPath, errQuery, errQueryInvalid, errFormInvalid, errParamUnknown, errParamDuplicate, errAuthority, errOverride,
		errTooManyHeaders, errUpgrade, errDuplicateHeader, errHeaderText, errIdentity, errMediaJSON, errMediaForm, errEncoding, errPartial,
		errLength, errBodyUnexpected, errMemberUnknown, errKeyMissing, errKeyInvalid, termsInvalid(authzstore.ErrInvalid), fieldMissing("x"), fieldInvalid("x", "is"),
	} {
		if r.Status < 400 || r.Status > 499 || r.Message == "" {
			t.Errorf("%+v", r)
		}
	}
}
