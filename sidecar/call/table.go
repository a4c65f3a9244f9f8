package call

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// The route table of one system, as it stands in its file.
type tableFile struct {
	System   string       `yaml:"system"`
	Identity identityYAML `yaml:"identity"`
	Routes   []routeYAML  `yaml:"routes"`
}

type identityYAML struct {
	Source string `yaml:"source"` // jwt
	Issuer string `yaml:"issuer"`
	Kind   string `yaml:"kind"`
}

type routeYAML struct {
	Match struct {
		Method string `yaml:"method"`
		Path   string `yaml:"path"`
	} `yaml:"match"`
	Operation  string               `yaml:"operation"`
	Fields     map[string]fieldYAML `yaml:"fields"`
	Facts      map[string]string    `yaml:"facts"` // read or write
	MovesMoney *bool                `yaml:"moves_money"`
	Upstream   struct {
		Audience   string `yaml:"audience"`
		Idempotent bool   `yaml:"idempotent"`
	} `yaml:"upstream"`
}

// fieldYAML names one place.
type fieldYAML struct {
	JSON *string `yaml:"json"` // pointer into the body (RFC 6901)
	Path *string `yaml:"path"` // variable of the path template
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// add reads one file of the table.
func (t *Table) add(name, system string, source []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	decoder.KnownFields(true)
	var file tableFile
	fail := func(line int, err error) error { return fmt.Errorf("%s:%d: %w", name, line, err) }
	if err := decoder.Decode(&file); err != nil {
		return fail(yamlError(err))
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return fail(max(1, second.Line), errors.New("more than one document"))
	}
	if file.System != system {
		return fail(lineOf(source, "system"), fmt.Errorf("system %q stands in the directory of %q: name them alike", file.System, system))
	}
	if err := file.Identity.check(); err != nil {
		return fail(lineOf(source, "identity"), err)
	}
	if len(file.Routes) == 0 {
		return fail(lineOf(source, "routes"), errors.New("no routes"))
	}
	for i, r := range file.Routes {
		route, err := r.compile(file)
		if err == nil {
			err = t.insert(route)
		}
		if err != nil {
			return fail(lineOf(source, "routes", i), err)
		}
	}
	return nil
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	yamlKind    = regexp.MustCompile(`^(cannot unmarshal .*) into .*$`)
)

// yamlError takes line and text out of an error of the YAML decoder, in the
// words of the file and not of our types.
func yamlError(err error) (line int, _ error) {
	text := err.Error()
	var mismatch *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return 1, errors.New("no route table in the file")
	case errors.As(err, &mismatch):
		text = mismatch.Errors[0]
	}
	line = 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	text = yamlUnknown.ReplaceAllString(text, `unknown key "$1"`)
	text = yamlKind.ReplaceAllString(text, "$1")
	return line, errors.New("yaml: " + text)
}

func (t *Table) insert(route *Route) error {
	for _, other := range t.routes {
		if route.overlaps(other) {
			return fmt.Errorf("%s %s overlaps with %s of system %s: a request must match one route",
				route.method, route.template, other.template, other.System)
		}
	}
	t.routes = append(t.routes, route)
	return nil
}

func (id identityYAML) check() error {
	switch {
	case id.Source != "jwt":
		return fmt.Errorf("identity source %q: this version knows jwt", id.Source)
	case id.Issuer == "":
		return errors.New("identity has no issuer")
	case !namePattern.MatchString(id.Kind):
		return fmt.Errorf("identity kind %q is not a snake_case name", id.Kind)
	}
	return nil
}

var methods = []string{"DELETE", "GET", "PATCH", "POST", "PUT"}

func (y routeYAML) compile(file tableFile) (*Route, error) {
	segments, err := parseTemplate(y.Match.Path)
	if err != nil {
		return nil, err
	}
	route := &Route{
		System:    file.System,
		Operation: y.Operation,
		Identity:  IdentitySource{Issuer: file.Identity.Issuer, Kind: file.Identity.Kind},
		Upstream:  Upstream{Audience: y.Upstream.Audience, Idempotent: y.Upstream.Idempotent},
		method:    y.Match.Method,
		template:  y.Match.Path,
		segments:  segments,
	}
	if !slices.Contains(methods, route.method) {
		return nil, fmt.Errorf("method %q is not one of %s", route.method, strings.Join(methods, ", "))
	}
	if !namePattern.MatchString(route.Operation) {
		return nil, fmt.Errorf("operation %q is not a snake_case name", route.Operation)
	}
	for _, name := range slices.Sorted(maps.Keys(y.Fields)) {
		field, err := y.Fields[name].compile(name, segments)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		for _, other := range route.Fields {
			if field.segment == other.segment && field.json.String() == other.json.String() {
				return nil, fmt.Errorf("fields %s and %s stand in one place", other.Name, name)
			}
		}
		route.hasBody = route.hasBody || field.segment < 0
		route.Fields = append(route.Fields, field)
	}
	route.MovesMoney = y.MovesMoney == nil && slices.ContainsFunc(route.Fields, func(f Field) bool { return f.Type == Amount }) ||
		y.MovesMoney != nil && *y.MovesMoney
	for _, name := range slices.Sorted(maps.Keys(y.Facts)) {
		route.Facts = append(route.Facts, Fact{Name: name, Write: y.Facts[name] == "write"})
	}
	if err := route.checkVariables(); err != nil {
		return nil, err
	}
	return route, route.checkFacts()
}

// checkVariables refuses a path variable that no field reads: it would choose
// something at the upstream that no policy saw.
func (r *Route) checkVariables() error {
	for i, s := range r.segments {
		read := slices.ContainsFunc(r.Fields, func(f Field) bool { return f.segment == i })
		if s.variable && !read {
			return fmt.Errorf("no field reads {%s} of the path", s.text)
		}
	}
	return nil
}

func (r *Route) checkFacts() error {
	for _, fact := range r.Facts {
		field, known := factFields[fact.Name]
		if !known {
			return fmt.Errorf("fact %q is not one of %s", fact.Name, list(factFields))
		}
		if !slices.ContainsFunc(r.Fields, func(f Field) bool { return f.Name == field }) {
			return fmt.Errorf("fact %s is looked up by the field %s, which the route does not map", fact.Name, field)
		}
	}
	return nil
}

func (y fieldYAML) compile(name string, segments []segment) (Field, error) {
	kind, known := wellKnown[name]
	if !known {
		return Field{}, fmt.Errorf("not one of %s", list(wellKnown))
	}
	field := Field{Name: name, Type: kind, segment: -1}
	switch {
	case (y.JSON == nil) == (y.Path == nil):
		return Field{}, errors.New("name one place: json or path")
	case y.Path != nil:
		field.segment = slices.Index(segments, segment{text: *y.Path, variable: true})
		if field.segment < 0 {
			return Field{}, fmt.Errorf("the path has no {%s}", *y.Path)
		}
		if kind == Amount {
			return Field{}, errors.New("an amount must stand in the body")
		}
		return field, nil
	default:
		pointer, err := strictjson.ParsePointer(*y.JSON)
		if err != nil {
			return Field{}, err
		}
		if pointer.HasIndex() {
			return Field{}, fmt.Errorf("json pointer %s picks an element of a list: the upstream would run the others undecided", pointer)
		}
		field.json = pointer
		return field, nil
	}
}

func list[V any](vocabulary map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(vocabulary)), ", ")
}

// lineOf returns the line of the value at a path of keys and indexes.
func lineOf(source []byte, path ...any) int {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil || len(doc.Content) == 0 {
		return 1
	}
	node := doc.Content[0]
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	return node.Line
}

func child(node *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	}
	return nil
}
