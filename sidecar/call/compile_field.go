package call

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call/strictjson"
)

var fieldTypes = map[string]Type{"": Text, "text": Text, "integer": Integer, "boolean": Boolean, "grant_terms": GrantTerms}

// notFields are names that the input has for itself beside the fields.
var notFields = []string{"system", "operation"}

// compileField adds a field, or a secret, to the route.
func (c compiler) compileField(r *Route, name string, y fieldYAML, s scope) {
	f := Field{Name: name, Optional: y.Optional, Personal: y.Personal}
	fail := func(err error) { s.fail("field %s: %v", name, err) }
	var err error
	if f.Type, err = fieldType(name, y); err != nil {
		fail(err)
		return
	}
	if f.at, err = compilePlace(y.placeYAML, f.Type, &r.match); err != nil {
		fail(err)
		return
	}
	if f.decimal, err = isDecimal(f, y.Format); err != nil {
		fail(err)
	}
	if f.at.reads(partAMR) && !slices.ContainsFunc(r.Identities, func(id IdentitySource) bool { return id.Source == sourceJWT }) {
		fail(errors.New("amr is a claim of a token, and mtls has none: leave it out"))
	}
	if err := c.checkFlags(f, y); err != nil {
		fail(err)
	}
	for _, other := range r.places() {
		if f.at.chosen() && other.String() == f.at.String() {
			fail(fmt.Errorf("another field stands in %s too: one place is one field", f.at))
		}
	}
	r.note(f.at)
	if y.Secret {
		r.Secrets = append(r.Secrets, Secret{Name: name, Evidence: y.Evidence, Optional: y.Optional, at: f.at})
		return
	}
	r.Fields = append(r.Fields, f)
}

func fieldType(name string, y fieldYAML) (Type, error) {
	if !authzstore.IsSnakeCase(name) || slices.Contains(notFields, name) {
		return 0, fmt.Errorf("not a snake_case name of its own: choose another")
	}
	t, known := fieldTypes[y.Type]
	if !known {
		return 0, fmt.Errorf("type %q: write text, integer or boolean", y.Type)
	}
	if fixed, ok := wellKnown[name]; ok {
		if y.Type != "" && (fixed != GrantTerms || t != GrantTerms) {
			return 0, fmt.Errorf("its type is %s: leave type out", fixed)
		}
		return fixed, nil
	}
	if t == GrantTerms {
		return 0, fmt.Errorf("only the field %s has the type %s", fieldTerms, t)
	}
	return t, nil
}

func isDecimal(f Field, format string) (bool, error) {
	switch {
	case format == "":
		return false, nil
	case f.Name != fieldAmount || format != "decimal":
		return false, fmt.Errorf("format %q: only amount_minor has one, decimal, for major units such as 12.50", format)
	case f.at.in == isConstant:
		return false, errors.New("a constant is in minor units: leave format out")
	}
	return true, nil
}

func (c compiler) checkFlags(f Field, y fieldYAML) error {
	_, isWellKnown := wellKnown[f.Name]
	mayBeAbsent := f.at.chosen() && f.at.in != inPath || f.at.reads(partOnBehalfOf) || f.at.reads(partAMR)
	switch {
	case f.Optional && !mayBeAbsent:
		return fmt.Errorf("%s is always there: leave optional out", f.at)
	case f.at.reads(partOnBehalfOf) && !f.Optional:
		return errors.New("most callers act for nobody else: write optional: true")
	case f.at.reads(partAMR) && !f.Optional:
		return errors.New("not every token says how its subject was authenticated: write optional: true")
	case (f.Personal || y.Secret) && (f.Type != Text || !f.at.chosen()):
		return errors.New("personal and secret are for texts that the caller sends")
	case f.Type == GrantTerms && f.at.in != inJSON:
		return errors.New("a grant's terms are an object of JSON: write {json: /pointer}")
	case f.Personal && slices.Contains(asTheyAre, f.Name):
		return errors.New("the store knows it as it is: leave personal out")
	case f.Personal && y.Secret:
		return errors.New("a secret is never seen, so it needs no token: leave personal out")
	case y.Secret && isWellKnown:
		return errors.New("a policy must see it: leave secret out")
	case y.Secret && !slices.Contains(c.evidence(), y.Evidence):
		return fmt.Errorf("evidence %q is not a kind of evidence that this version knows (%s)", y.Evidence, list(c.evidence()))
	case !y.Secret && y.Evidence != "":
		return errors.New("evidence is of a secret field: write secret: true")
	}
	return nil
}

// evidence are the kinds of evidence that a secret field can be.
func (c compiler) evidence() []string {
	return append([]string{PaymentCode, StoredCode, IntentToken, ChallengeCode}, c.vocabulary.Evidence...)
}

// compilePlace reads the one place that y names.
func compilePlace(y placeYAML, t Type, m *match) (place, error) {
	var found []place
	for _, one := range []struct {
		in   string
		name *string
	}{
		{inJSON, y.JSON}, {inHeader, y.Header}, {inPath, y.Path}, {inQuery, y.Query}, {inForm, y.Form}, {ofIdentity, y.Identity},
	} {
		if one.name != nil {
			found = append(found, place{in: one.in, name: *one.name})
		}
	}
	if !y.Constant.IsZero() {
		found = append(found, place{in: isConstant})
	}
	if len(found) != 1 {
		return place{}, errors.New("name one place: json, header, path, query, form, identity or constant")
	}
	at := found[0]
	switch at.in {
	case inJSON:
		return jsonPlace(at)
	case inHeader:
		if why := checkHeaderName(at.name); why != "" {
			return place{}, fmt.Errorf("header %q: %s", at.name, why)
		}
	case inPath:
		if !slices.Contains(m.segments, segment{text: at.name, variable: true}) {
			return place{}, fmt.Errorf("the path has no {%s}", at.name)
		}
	case inQuery, inForm:
		if at.name == "" || len(at.name) > 64 || !isPlainASCII(at.name) {
			return place{}, fmt.Errorf("%s %q is not a name of 1 to 64 visible ASCII characters", at.in, at.name)
		}
	case ofIdentity:
		if !slices.Contains(identityParts, at.name) {
			return place{}, fmt.Errorf("identity %q is not one of %s", at.name, list(identityParts))
		}
	case isConstant:
		var err error
		at.constant, err = constantValue(&y.Constant, t)
		return at, err
	}
	return at, nil
}

func jsonPlace(at place) (place, error) {
	var err error
	if at.pointer, err = strictjson.ParsePointer(at.name); err != nil {
		return place{}, fmt.Errorf("json %q: %w", at.name, err)
	}
	if at.pointer.HasIndex() {
		return place{}, fmt.Errorf("json pointer %s picks an element of a list: the upstream would run the others undecided", at.pointer)
	}
	return at, nil
}

// constantValue reads a constant as a field of this type would be read from a
// text.
func constantValue(node *yaml.Node, t Type) (Value, error) {
	tag := map[Type]string{Text: "!!str", Currency: "!!str", Integer: "!!int", Amount: "!!int", Boolean: "!!bool"}[t]
	if node.Kind != yaml.ScalarNode || node.ShortTag() != tag {
		return Value{}, fmt.Errorf("the constant is not of the type %s (a text that looks like another type stands in quotes)", t)
	}
	v, rule := Field{Type: t}.parse(found{text: node.Value}, "")
	if rule != "" {
		return Value{}, fmt.Errorf("the constant %s", rule)
	}
	return v, nil
}
