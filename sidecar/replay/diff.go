package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// diff compares two documents of JSON. Numbers are equal where they are written
// alike, and members of objects have no order.
func diff(was, now json.RawMessage) ([]string, error) {
	a, err := plain(was)
	if err != nil {
		return nil, fmt.Errorf("the recorded answer: %w", err)
	}
	b, err := plain(now)
	if err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	var d differ
	d.values("", a, b)
	return d.lines, nil
}

func plain(document json.RawMessage) (v any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	return v, decoder.Decode(&v)
}

type differ struct{ lines []string }

// values compares what stands at a path.
func (d *differ) values(path string, was, now any) {
	a, aIsObject := was.(map[string]any)
	b, bIsObject := now.(map[string]any)
	if aIsObject && bIsObject {
		d.objects(path, a, b)
		return
	}
	c, cIsArray := was.([]any)
	e, eIsArray := now.([]any)
	if cIsArray && eIsArray {
		d.arrays(path, c, e)
		return
	}
	if before, after := compact(was), compact(now); before != after {
		d.minus(path, before)
		d.plus(path, after)
	}
}

func (d *differ) objects(path string, was, now map[string]any) {
	names := maps.Clone(was)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := name
		if path != "" {
			at = path + "." + name
		}
		before, had := was[name]
		after, has := now[name]
		switch {
		case !has:
			d.minus(at, compact(before))
		case !had:
			d.plus(at, compact(after))
		default:
			d.values(at, before, after)
		}
	}
}

// arrays says which elements are in one alone: most of them were sets.
func (d *differ) arrays(path string, was, now []any) {
	before, after := texts(was), texts(now)
	if slices.Equal(before, after) {
		return
	}
	count := len(d.lines)
	for _, element := range without(before, after) {
		d.minus(path, element)
	}
	for _, element := range without(after, before) {
		d.plus(path, element)
	}
	if len(d.lines) == count { // the same elements in another order
		d.minus(path, compact(was))
		d.plus(path, compact(now))
	}
}

// without returns the elements of a that b has not, or has fewer of.
func without(a, b []string) []string {
	left := slices.Clone(b)
	var only []string
	for _, element := range a {
		if i := slices.Index(left, element); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		only = append(only, element)
	}
	return only
}

func (d *differ) minus(path, text string) { d.line("-", path, text) }
func (d *differ) plus(path, text string)  { d.line("+", path, text) }

func (d *differ) line(sign, path, text string) {
	if path == "" {
		path = "decision"
	}
	d.lines = append(d.lines, sign+" "+path+": "+text)
}

func texts(values []any) []string {
	var all []string
	for _, v := range values {
		all = append(all, compact(v))
	}
	return all
}

// compact is a value as JSON, members in order.
func compact(v any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil { // it was decoded from JSON
		return fmt.Sprint(v)
	}
	return string(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}
