package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds Parse to its promises on any bytes: what it accepts, encoding/json accepts
// with equal values, so what encoding/json refuses is refused; nothing may follow the value
// or be missing from it.
func FuzzParse(f *testing.F) {
	for _, text := range accepted {
		f.Add([]byte(text))
	}
	for _, c := range refused {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		original := bytes.Clone(text)
		document, err := Parse(text, Limits{})
		if !bytes.Equal(text, original) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			e, ok := err.(*Error)
			if !ok || document != nil || e.Code == "" || e.Message == "" || e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("odd refusal: %#v, %v", err, document)
			}
			return
		}
		checkTree(t, document)
		var theirs any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&theirs); err != nil || !json.Valid(text) {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if err := differs(document.Root(), theirs); err != nil {
			t.Fatalf("encoding/json reads it otherwise: %v", err)
		}
		checkNeighbours(t, string(text), document)
	})
}

// FuzzLenientReader reads payments as most services do, with a decoder that takes members
// in any case and the last of several: of a text that Parse accepts, and whose absent members
// CheckSpelling finds absent, it has the same payment.
func FuzzLenientReader(f *testing.F) {
	for _, text := range accepted {
		f.Add([]byte(text))
	}
	for _, c := range refused {
		f.Add([]byte(c.text))
	}
	for _, text := range []string{
		`{"payee":"a","amount_minor":1,"currency":"EUR"}`, `{"Payee":"a","amount_minor":1}`, `{"payee":"a","PAYEE":"b"}`, `{"amount_minor":1,"amount_mınor":2}`,
		`{"amountMinor":1}`, `{"\u0070ayee":null,"ſ":1}`, `{"currency":{"currency":1}}`, `[{"payee":"a"}]`,
	} {
		f.Add([]byte(text))
	}
	fields := map[string]Pointer{}
	for _, name := range []string{"payee", "amount_minor", "currency"} {
		pointer, err := ParsePointer("/" + name)
		if err != nil {
			f.Fatal(err)
		}
		fields[name] = pointer
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		document, err := Parse(text, Limits{})
		if err != nil || document.Root().Kind() != Object {
			return
		}
		var payment struct {
			Payee       json.RawMessage `json:"payee"`
			AmountMinor json.RawMessage `json:"amount_minor"`
			Currency    json.RawMessage `json:"currency"`
		}
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&payment); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		theirs := map[string]json.RawMessage{"payee": payment.Payee, "amount_minor": payment.AmountMinor, "currency": payment.Currency}
		for name, pointer := range fields {
			ours, found := document.Lookup(pointer)
			switch {
			case !found && document.CheckSpelling(pointer) != nil:
				continue // refused where it matters
			case found != (theirs[name] != nil):
				t.Fatalf("%s: found %t here, encoding/json has %q", name, found, theirs[name])
			case !found:
				continue
			}
			reading, err := Parse(theirs[name], Limits{})
			if err != nil || canonical(reading.Root()) != canonical(ours) {
				t.Fatalf("%s is %s here, %s to encoding/json, %v", name, canonical(ours), theirs[name], err)
			}
		}
	})
}

// checkTree checks what the accessors rely on: every node is reached once, in order.
func checkTree(t *testing.T, document *Document) {
	visited := uint32(0)
	var walk func(v Value)
	walk = func(v Value) {
		if v.at != visited {
			t.Fatalf("node %d is visited as number %d", v.at, visited)
		}
		visited++
		children := 0
		for name, member := range v.Members() {
			children++
			if found, ok := v.Member(name); !ok || found != member {
				t.Fatal("a member is not found by its name")
			}
			walk(member)
		}
		for _, element := range v.Elements() {
			children++
			walk(element)
		}
		if children != v.Len() || v.Kind() == Invalid || v.node().end != visited {
			t.Fatal("a container does not hold its children")
		}
	}
	walk(document.Root())
	if int(visited) != len(document.nodes) || visited > defaultMaxMembers {
		t.Fatalf("%d of %d nodes are reachable", visited, len(document.nodes))
	}
}

// differs compares with what encoding/json made of the same text.
func differs(ours Value, theirs any) error {
	equal := false
	switch theirs := theirs.(type) {
	case nil:
		equal = ours.Kind() == Null
	case bool:
		equal = ours.Kind() == Bool && ours.Bool() == theirs
	case json.Number:
		equal = ours.Kind() == Number && ours.Number() == string(theirs)
		if i, ok := ours.Int(); ok {
			want, err := theirs.Int64()
			float, _ := theirs.Float64()
			equal = equal && err == nil && i == want && int64(float) == i
		}
	case string:
		equal = ours.Kind() == String && ours.String() == theirs && utf8.ValidString(theirs)
	case []any:
		equal = ours.Kind() == Array && ours.Len() == len(theirs)
		for i, element := range ours.Elements() {
			if !equal {
				break
			}
			if err := differs(element, theirs[i]); err != nil {
				return err
			}
		}
	case map[string]any:
		// Of two members with one name encoding/json keeps one, and the lengths differ.
		equal = ours.Kind() == Object && ours.Len() == len(theirs)
		for name, member := range ours.Members() {
			other, ok := theirs[name]
			if !ok {
				return fmt.Errorf("no member %q", name)
			}
			if err := differs(member, other); err != nil {
				return err
			}
		}
	}
	if !equal {
		return fmt.Errorf("%v against %#v", ours.Kind(), theirs)
	}
	return nil
}

// checkNeighbours changes an accepted text so that it must be refused, or mean the same.
func checkNeighbours(t *testing.T, text string, document *Document) {
	if len(text) > 1<<10 {
		return // each neighbour is parsed, so long texts take quadratic time
	}
	for _, more := range []string{" 1", "\x00", " null", ",", "{}", " \"\"", "//", "]", "}"} {
		if _, err := Parse([]byte(text+more), Limits{}); err == nil {
			t.Fatalf("accepted with %q after it", more)
		}
	}
	trimmed := strings.TrimRight(text, " \t\r\n")
	if kind := document.Root().Kind(); kind == Object || kind == Array || kind == String {
		for end := range len(trimmed) {
			if _, err := Parse([]byte(trimmed[:end]), Limits{}); err == nil {
				t.Fatalf("accepted when cut after %d bytes", end)
			}
		}
	}
	spaced, err := Parse([]byte("\r\n "+text+"\t"), Limits{})
	if err != nil || canonical(spaced.Root()) != canonical(document.Root()) {
		t.Fatalf("white space around it changes it: %v", err)
	}
	if len(document.nodes) < defaultMaxMembers {
		pair, err := Parse([]byte(`[`+text+`,`+text+`]`), Limits{MaxDepth: 17, MaxMembers: 3 * defaultMaxMembers})
		if err != nil {
			t.Fatalf("two of them in an array are refused: %v", err)
		}
		for _, element := range pair.Root().Elements() {
			if canonical(element) != canonical(document.Root()) {
				t.Fatal("its place in the text changes it")
			}
		}
	}
}

// canonical returns a form that two values share only if they are equal, order of members and
// spelling of numbers included. The script for Python prints the same form.
func canonical(v Value) string {
	var parts []string
	switch v.Kind() {
	case Bool:
		return map[bool]string{true: "t", false: "f"}[v.Bool()]
	case Number:
		return "#" + v.Number()
	case String:
		return fmt.Sprintf("$%x", v.String())
	case Array:
		for _, element := range v.Elements() {
			parts = append(parts, canonical(element))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case Object:
		for name, member := range v.Members() {
			parts = append(parts, fmt.Sprintf("%x:%s", name, canonical(member)))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "n"
}
