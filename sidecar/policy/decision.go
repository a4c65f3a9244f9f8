package policy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A Decision is what the policy answered, exactly as it must be: an allow has no
// reasons.
type Decision struct {
	Allow   bool
	Reasons []Reason // sorted by code
	// Document is the answer as the policy gave it, for the decision log.
	Document Value
}

// A Reason says why a call is refused.
type Reason struct {
	Code    string `json:"code"` // snake_case, at most 64 characters
	Message string `json:"message"`
}

// Bounds of one decision, so that a wrong policy cannot flood an answer.
const (
	maxReasons      = 16
	maxMessageBytes = 256
)

var codePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// readDecision reads the value of the entrypoint. Anything that is not exactly
// a decision is an error: {"allow": boolean, "reasons": a set or array of
// {"code", "message"}, "effects": a set or array}. The error goes to the log: it
// quotes no value, for the policy may have made it of the call.
func readDecision(v Value) (Decision, error) {
	if v.term == nil {
		return Decision{}, errors.New("undefined")
	}
	fields, err := readObject(v.term, "decision", "allow", "reasons", "effects")
	if err != nil {
		return Decision{}, err
	}
	allow, ok := fields["allow"].Value.(ast.Boolean)
	if !ok {
		return Decision{}, fmt.Errorf("allow is %s, not a boolean", ast.ValueName(fields["allow"].Value))
	}
	d := Decision{Allow: bool(allow), Document: v}
	if d.Reasons, err = readReasons(fields["reasons"]); err != nil {
		return Decision{}, err
	}
	effects, err := elements(fields["effects"], "effects")
	if err != nil {
		return Decision{}, err
	}
	if len(effects) > 0 {
		return Decision{}, errors.New("effects: this version knows no effect")
	}
	if d.Allow && len(d.Reasons) > 0 {
		return Decision{}, fmt.Errorf("allow contradicts %d reasons", len(d.Reasons))
	}
	return d, nil
}

func readReasons(t *ast.Term) ([]Reason, error) {
	terms, err := elements(t, "reasons")
	if err != nil {
		return nil, err
	}
	if len(terms) > maxReasons {
		return nil, fmt.Errorf("%d reasons, at most %d are read", len(terms), maxReasons)
	}
	reasons := make([]Reason, 0, len(terms))
	for _, term := range terms {
		fields, err := readObject(term, "reason", "code", "message")
		if err != nil {
			return nil, err
		}
		code, ok := fields["code"].Value.(ast.String)
		if !ok || !codePattern.MatchString(string(code)) {
			return nil, errors.New("a reason's code is not a snake_case name of at most 64 bytes")
		}
		message, ok := fields["message"].Value.(ast.String)
		if !ok || message == "" || len(message) > maxMessageBytes {
			return nil, fmt.Errorf("a reason's message is not a text of 1 to %d bytes", maxMessageBytes)
		}
		reasons = append(reasons, Reason{string(code), string(message)})
	}
	// A set is in the order of OPA's terms, an array in that of the policy.
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	return reasons, nil
}

// readObject returns the members of an object that has exactly these names.
func readObject(t *ast.Term, what string, names ...string) (map[string]*ast.Term, error) {
	object, ok := t.Value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("%s is %s, not an object", what, ast.ValueName(t.Value))
	}
	fields := make(map[string]*ast.Term, len(names))
	for _, name := range names {
		field := object.Get(ast.InternedTerm(name))
		if field == nil {
			return nil, fmt.Errorf("%s has no %s", what, name)
		}
		fields[name] = field
	}
	if object.Len() != len(names) {
		return nil, fmt.Errorf("%s has members beside %v", what, names)
	}
	return fields, nil
}

// elements returns the elements of a set, in order, or of an array.
func elements(t *ast.Term, what string) ([]*ast.Term, error) {
	switch v := t.Value.(type) {
	case ast.Set:
		return v.Slice(), nil
	case *ast.Array:
		terms := make([]*ast.Term, 0, v.Len())
		v.Foreach(func(term *ast.Term) { terms = append(terms, term) })
		return terms, nil
	default:
		return nil, fmt.Errorf("%s is %s, not a set or an array", what, ast.ValueName(v))
	}
}
