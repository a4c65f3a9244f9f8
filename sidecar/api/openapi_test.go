package api_test

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

//go:generate go test -run ^TestOpenAPI$ -update

var update = flag.Bool("update", false, "write docs/openapi-control.yaml")

const openAPIFile = "../../docs/openapi-control.yaml"

// docs/openapi-control.yaml is what the program says of itself. After a change of
// the API, `go generate ./sidecar/api` writes it.
func TestOpenAPI(t *testing.T) {
	got, err := newWorld(t).control.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(openAPIFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not current: go generate ./sidecar/api", openAPIFile)
	}
	for _, o := range api.Operations {
		if !strings.Contains(string(got), "operationId: "+o.ID+"\n") {
			t.Errorf("it has no %s", o.ID)
		}
	}
}

// What describes a noun has the same members, with the same rule for leaving them
// out, so that a body that fits the one fits the other.
func TestDescribed(t *testing.T) {
	for noun, by := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[authzstore.Identity]():        reflect.TypeFor[api.Identity](),
		reflect.TypeFor[authzstore.Limit]():           reflect.TypeFor[api.Limit](),
		reflect.TypeFor[authzstore.Period]():          reflect.TypeFor[api.Period](),
		reflect.TypeFor[authzstore.MerchantChannel](): reflect.TypeFor[api.MerchantChannel](),
		reflect.TypeFor[authzstore.Terms]():           reflect.TypeFor[api.Terms](),
		reflect.TypeFor[authzstore.Instant]():         reflect.TypeFor[api.Instant](),
		reflect.TypeFor[authzstore.Filter]():          reflect.TypeFor[api.Filter](),
		reflect.TypeFor[authzstore.Hours]():           reflect.TypeFor[api.Hours](),
		reflect.TypeFor[authzstore.Cooling]():         reflect.TypeFor[api.Cooling](),
	} {
		if got, want := members(by), members(noun); !slices.Equal(got, want) {
			t.Errorf("%s has %v, %s has %v", by, got, noun, want)
		}
	}
}

func members(of reflect.Type) (all []string) {
	for i := range of.NumField() {
		kind := of.Field(i).Type.Kind().String()
		all = append(all, of.Field(i).Tag.Get("json")+" "+kind)
	}
	return all
}

// docs/control.md has the table of roles and calls, and every call with its path.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/control.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, o := range api.Operations {
		line := "| `" + o.Method + " " + o.Path + "` | " + o.Says + " |"
		for _, role := range api.Roles {
			line += map[bool]string{true: " ✓ |", false: "   |"}[o.Allows(role)]
		}
		want = append(want, line)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") && strings.Contains(line, " /v1/") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table of docs/control.md is not the one in force, which is\n%s", strings.Join(want, "\n"))
	}
}
