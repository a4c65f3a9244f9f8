package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document of data or a schema.
const (
	maxDepth        = 64
	maxNumberLength = 40
	maxExponent     = 30
)

// readData reads data.json and data.yaml of every directory: the one in limits/
// is data.limits.
func readData(s *Snapshot) (map[string]any, error) {
	root := map[string]any{}
	for _, name := range s.names {
		read := readJSON
		switch path.Base(name) {
		case "data.json":
		case "data.yaml":
			read = readYAML
		default:
			continue
		}
		value, err := read(s.files[name])
		if err == nil {
			err = insert(root, path.Dir(name), value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return root, nil
}

func insert(root map[string]any, dir string, value any) error {
	if dir != "." {
		for parts := strings.Split(dir, "/"); len(parts) > 0; parts = parts[:len(parts)-1] {
			value = map[string]any{parts[len(parts)-1]: value}
		}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("the data at the top of a bundle is not an object")
	}
	return merge(root, object, "data")
}

func merge(to, from map[string]any, at string) error {
	for key, value := range from {
		old, exists := to[key]
		if !exists {
			to[key] = value
			continue
		}
		a, aok := old.(map[string]any)
		b, bok := value.(map[string]any)
		if !aok || !bok {
			return fmt.Errorf("another file of data gives %s.%s too", at, key)
		}
		if err := merge(a, b, at+"."+key); err != nil {
			return err
		}
	}
	return nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE]([+-]?[0-9]+))?$`)

// checkNumber refuses what a policy cannot count with: 1e9999999 is a few
// characters, and millions of digits once it is used.
func checkNumber(text string) error {
	m := jsonNumber.FindStringSubmatch(text)
	if m == nil {
		return errors.New("not a number as JSON writes it")
	}
	if len(text) > maxNumberLength {
		return fmt.Errorf("a number of more than %d characters", maxNumberLength)
	}
	if m[4] != "" {
		if exponent, err := strconv.Atoi(m[4]); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return fmt.Errorf("a number with an exponent beyond %d", maxExponent)
		}
	}
	return nil
}

// readJSON reads one document of JSON, without what two readers could read
// differently: a key twice, text that is not UTF-8, numbers without bounds.
func readJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	fail := func(err error) error {
		line := 1 + bytes.Count(text[:decoder.InputOffset()], []byte("\n"))
		return fmt.Errorf("line %d: %w", line, err)
	}
	value, err := readJSONValue(decoder, 0)
	if err != nil {
		return nil, fail(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(errors.New("more than one document"))
	}
	return value, nil
}

func readJSONValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	switch token := token.(type) {
	case json.Number:
		return token, checkNumber(token.String())
	case json.Delim:
		if token == '[' {
			return readJSONArray(decoder, depth)
		}
		return readJSONObject(decoder, depth)
	default:
		return token, nil
	}
}

func readJSONArray(decoder *json.Decoder, depth int) (any, error) {
	array := []any{}
	for decoder.More() {
		value, err := readJSONValue(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := decoder.Token()
	return array, err
}

func readJSONObject(decoder *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for decoder.More() {
		key, err := readJSONValue(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("a key is not a text")
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("key %q stands twice in one object", name)
		}
		if object[name], err = readJSONValue(decoder, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := decoder.Token()
	return object, err
}

// readYAML reads one document of the YAML that says the same as JSON: no
// anchors, no tags, no keys but text, numbers as JSON writes them.
func readYAML(text []byte) (any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return readYAMLNode(document.Content[0], 0)
}

func readYAMLNode(node *yaml.Node, depth int) (any, error) {
	fail := func(format string, args ...any) (any, error) {
		return nil, fmt.Errorf("line %d: %s", node.Line, fmt.Sprintf(format, args...))
	}
	switch {
	case depth > maxDepth:
		return fail("more than %d levels deep", maxDepth)
	case node.Kind == yaml.AliasNode, node.Anchor != "":
		return fail("anchors are not read: write it out")
	case node.Style&yaml.TaggedStyle != 0:
		return fail("tags are not read: write the value plainly")
	}
	switch node.Kind {
	case yaml.SequenceNode:
		array := []any{}
		for _, element := range node.Content {
			value, err := readYAMLNode(element, depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, value)
		}
		return array, nil
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, err := readYAMLNode(node.Content[i], depth+1)
			if err != nil {
				return nil, err
			}
			name, ok := key.(string)
			if !ok {
				return fail("a key is not a text: quote it")
			}
			if _, twice := object[name]; twice {
				return fail("key %q stands twice in one object", name)
			}
			if object[name], err = readYAMLNode(node.Content[i+1], depth+1); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	tag := node.ShortTag()
	if tag == "!!str" && node.Style == 0 && jsonNumber.MatchString(node.Value) {
		tag = "!!float" // out of the range of YAML's own numbers
	}
	switch tag {
	case "!!str":
		return node.Value, nil
	case "!!bool":
		return strings.EqualFold(node.Value, "true"), nil
	case "!!null":
		return nil, nil
	case "!!int", "!!float":
		if err := checkNumber(node.Value); err != nil {
			return fail("%v: %.50q", err, node.Value)
		}
		return json.Number(node.Value), nil
	default:
		return fail("%.50q would be read as %s: quote it", node.Value, tag)
	}
}
