package call

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The route table of one system, as it stands in its file. docs/routes.md is its
// reference.
type tableYAML struct {
	System   string         `yaml:"system"`
	Identity identitiesYAML `yaml:"identity"`
	Upstream upstreamYAML   `yaml:"upstream"`
	Routes   []routeYAML    `yaml:"routes"`
}

// identitiesYAML are one identity, or a list of which a call has one.
type identitiesYAML struct {
	list bool
	all  []identityYAML
}

// UnmarshalYAML is of this form, and takes no node, because a node that decodes itself
// forgets that unknown keys are mistakes.
func (y *identitiesYAML) UnmarshalYAML(unmarshal func(any) error) error {
	var kind kindYAML
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if y.list = yaml.Kind(kind) == yaml.SequenceNode; y.list {
		return unmarshal(&y.all)
	}
	y.all = make([]identityYAML, 1)
	return unmarshal(&y.all[0])
}

// kindYAML is what a part of the file is: a list, a mapping, a scalar.
type kindYAML yaml.Kind

// UnmarshalYAML keeps the kind alone.
func (k *kindYAML) UnmarshalYAML(node *yaml.Node) error {
	*k = kindYAML(node.Kind)
	return nil
}

type identityYAML struct {
	Source      string `yaml:"source"`
	Issuer      string `yaml:"issuer"`       // of jwt
	Subject     string `yaml:"subject"`      // of jwt: a claim
	TrustDomain string `yaml:"trust_domain"` // of mtls
	Kind        string `yaml:"kind"`
	OnBehalfOf  *struct {
		Claim string `yaml:"claim"`
	} `yaml:"on_behalf_of"`
}

type upstreamYAML struct {
	Audience   *string `yaml:"audience"`
	Idempotent *bool   `yaml:"idempotent"`
	Expires    *string `yaml:"expires"` // as time.ParseDuration reads it
}

type routeYAML struct {
	Match struct {
		Method      string   `yaml:"method"`
		Path        string   `yaml:"path"`
		Authorities []string `yaml:"authorities"`
	} `yaml:"match"`
	Operation  string          `yaml:"operation"`
	Does       string          `yaml:"does"` // a built-in operation
	MovesMoney *bool           `yaml:"moves_money"`
	Identity   *identitiesYAML `yaml:"identity"` // in place of the system's
	Body       struct {
		Members string `yaml:"members"`
	} `yaml:"body"`
	Fields      map[string]fieldYAML `yaml:"fields"`
	Idempotency *placeYAML           `yaml:"idempotency"`
	Facts       map[string]string    `yaml:"facts"`
	Upstream    upstreamYAML         `yaml:"upstream"` // over the system's
}

// placeYAML names one place.
type placeYAML struct {
	JSON     *string   `yaml:"json"` // pointer into the body (RFC 6901)
	Header   *string   `yaml:"header"`
	Path     *string   `yaml:"path"` // variable of the path template
	Query    *string   `yaml:"query"`
	Form     *string   `yaml:"form"`
	Identity *string   `yaml:"identity"`
	Constant yaml.Node `yaml:"constant"`
}

type fieldYAML struct {
	placeYAML `yaml:",inline"`
	Type      string `yaml:"type"`
	Format    string `yaml:"format"`
	Optional  bool   `yaml:"optional"`
	Personal  bool   `yaml:"personal"`
	Secret    bool   `yaml:"secret"`
	Evidence  string `yaml:"evidence"`
}

// Load reads the route table of every system: systems/NAME/routes.yaml in dir.
// The error says everything that is wrong, each with file and line.
func Load(dir fs.FS, v Vocabulary) (*Table, error) {
	names, err := fs.Glob(dir, "systems/*/routes.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("routes: no systems/NAME/routes.yaml found")
	}
	table := &Table{}
	var all []error
	for _, name := range names {
		source, err := fs.ReadFile(dir, name)
		if err != nil {
			all = append(all, fmt.Errorf("routes: %w", err))
			continue
		}
		all = append(all, table.add(name, source, v)...)
	}
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return table, nil
}

// add reads one file of the table and returns what is wrong with it.
func (t *Table) add(name string, source []byte, v Vocabulary) []error {
	p := &problems{file: name}
	file, ok := p.decode(source)
	if ok {
		compiler{table: t, vocabulary: v, system: path.Base(path.Dir(name))}.compile(file, scope{problems: p})
	}
	return p.errors()
}

// problems are what is wrong with one file.
type problems struct {
	file string
	root *yaml.Node
	all  []problem
}

type problem struct {
	line int
	text string
}

func (p *problems) add(line int, text string) { p.all = append(p.all, problem{line, text}) }

// errors returns the problems in the order of the file.
func (p *problems) errors() []error {
	slices.SortStableFunc(p.all, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var all []error
	for _, one := range p.all {
		all = append(all, fmt.Errorf("%s:%d: %s", p.file, one.line, one.text))
	}
	return all
}

func (p *problems) decode(source []byte) (file tableYAML, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		p.addYAML(err)
		return tableYAML{}, false
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		p.add(max(1, second.Line), "more than one document: keep one")
		return tableYAML{}, false
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil || len(doc.Content) == 0 {
		p.add(1, "no route table in the file")
		return tableYAML{}, false
	}
	p.root = doc.Content[0]
	return file, true
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	yamlKind    = regexp.MustCompile(`^(cannot unmarshal .*) into .*$`)
)

// addYAML takes lines and texts out of an error of the YAML decoder, in the words
// of the file and not of our types.
func (p *problems) addYAML(err error) {
	texts := []string{err.Error()}
	var mismatch *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		p.add(1, "no route table in the file")
		return
	case errors.As(err, &mismatch):
		texts = mismatch.Errors
	}
	for _, text := range texts {
		line := 1
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = m[2]
		}
		text = yamlUnknown.ReplaceAllString(text, `unknown key "$1": docs/routes.md has all keys`)
		text = yamlKind.ReplaceAllString(text, "$1")
		p.add(line, "yaml: "+text)
	}
}

// A scope is a part of the file that something can be wrong with.
type scope struct {
	problems *problems
	path     []any // keys and indexes
}

func (s scope) at(steps ...any) scope {
	return scope{s.problems, append(slices.Clone(s.path), steps...)}
}

func (s scope) fail(format string, args ...any) {
	s.problems.add(lineOf(s.problems.root, s.path), fmt.Sprintf(format, args...))
}

// lineOf returns the line of the last key of a path that is there.
func lineOf(node *yaml.Node, path []any) int {
	line := node.Line
	for _, step := range path {
		key, value := child(node, step)
		if value == nil {
			break
		}
		line, node = key.Line, value
	}
	return line
}

func child(node *yaml.Node, step any) (key, value *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && step < len(node.Content) {
			return node.Content[step], node.Content[step]
		}
	case string:
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i], node.Content[i+1]
			}
		}
	}
	return nil, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func list(words []string) string { return strings.Join(words, ", ") }
