package policy

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OPA looks at the cancel between its own steps and never within a built-in
// function. So a policy gets each function that can take long, or make much of
// little, with bounds of ours around it. Within them the function is OPA's and
// answers as OPA does; beyond them the evaluation is a defect.
const (
	// maxTextBytes bounds a text that a function reads or makes.
	maxTextBytes = 64 << 10
	// maxPatternBytes bounds a text that is a pattern: of a regular expression,
	// a layout of time, the characters to trim.
	maxPatternBytes = 1 << 10
	// maxNodes bounds the values in an operand, at any depth. A value that
	// stands in it twice counts twice, even where memory holds it once.
	maxNodes = 64 << 10
	// maxWork bounds what all functions of one evaluation do together: bytes of
	// text and values, read and made, or compared with each other.
	maxWork = 4 << 20
)

// meter is the cancel of one evaluation, and counts its work. OPA hands it to
// every function.
type meter struct {
	cancelled atomic.Bool
	work      int // touched by the evaluation alone
}

func (m *meter) Cancel()         { m.cancelled.Store(true) }
func (m *meter) Cancelled() bool { return m.cancelled.Load() }

// spend counts work that is to be done.
func (m *meter) spend(work int) error {
	if work > maxWork || m.work > maxWork-work {
		return boundError("more work in built-in functions than one evaluation may do")
	}
	m.work += work
	return nil
}

// boundError says which bound was passed, and nothing of the values that did.
type boundError string

func (e boundError) Error() string { return string(e) }

func tooMuch(format string, args ...any) error { return boundError(fmt.Sprintf(format, args...)) }

// A bound looks at the operands of a call before it is made, beyond their size,
// which is looked at for every function. size is the sum of all their nodes.
type bound func(m *meter, args []*ast.Term, size int) error

func sizeAlone(*meter, []*ast.Term, int) error { return nil }

// product is for functions that may compare every value of one operand with
// every value of another.
func product(m *meter, args []*ast.Term, _ int) error {
	work := 1
	for _, arg := range args[:2] {
		n, err := nodes(arg)
		if err != nil {
			return err
		}
		work *= n
	}
	return m.spend(work)
}

// square is for functions that may copy all they were given for each part of it.
func square(m *meter, args []*ast.Term, size int) error {
	return m.spend(size * length(args[len(args)-1]))
}

// bounded are the functions that get bounds. What is on the list of built-ins and
// not here takes a time that does not depend on its operands' size, or looks at
// the cancel itself (numbers.range, walk), or goes once through a collection
// that the policy has built in its own time (count, all, member).
var bounded = map[string]bound{
	"plus": sizeAlone, "minus": sizeAlone, "mul": sizeAlone, "div": sizeAlone, "rem": sizeAlone,
	"abs": sizeAlone, "ceil": sizeAlone, "floor": sizeAlone, "round": sizeAlone, "sum": sizeAlone,
	"max": sizeAlone, "min": sizeAlone,

	"concat": boundConcat, "contains": sizeAlone, "endswith": sizeAlone, "format_int": sizeAlone,
	"indexof": boundScan, "lower": sizeAlone, "replace": boundReplace, "regex.match": boundRegex,
	"split": sizeAlone, "sprintf": boundSprintf, "startswith": sizeAlone,
	"strings.any_prefix_match": sizeAlone, "strings.any_suffix_match": sizeAlone,
	"strings.count": sizeAlone, "substring": sizeAlone,
	"trim": boundScan, "trim_left": boundScan, "trim_right": boundScan,
	"trim_prefix": sizeAlone, "trim_suffix": sizeAlone, "trim_space": sizeAlone, "upper": sizeAlone,
	"internal.template_string": boundTemplate,

	"and": sizeAlone, "or": sizeAlone, "set_diff": sizeAlone, "intersection": square, "union": square,
	"array.concat": sizeAlone, "array.flatten": sizeAlone, "array.reverse": sizeAlone, "array.slice": sizeAlone,
	"json.filter": product, "json.patch": square, "json.remove": product,
	"object.filter": sizeAlone, "object.keys": sizeAlone, "object.remove": sizeAlone,
	"object.subset": product, "object.union": sizeAlone, "object.union_n": square, "sort": sizeAlone,

	"time.add_date": boundZone, "time.clock": boundZone, "time.date": boundZone, "time.diff": boundZone,
	"time.format": boundZone, "time.weekday": boundZone,
	"time.parse_duration_ns": patternAt(0), "time.parse_rfc3339_ns": patternAt(0),
}

// boundedPrefix is before the name of a function with bounds in a policy that is
// compiled. No policy can write it: the compiler does not know the name.
const boundedPrefix = "bounded."

// boundedBuiltins are the functions by their names in a compiled policy. OPA's
// own stay as they are for whoever else uses them in this process.
var boundedBuiltins = func() map[string]*topdown.Builtin {
	all := map[string]*topdown.Builtin{}
	for name, check := range bounded {
		declared := *ast.BuiltinMap[name]
		declared.Name = boundedPrefix + name
		declared.CanSkipBctx = false // the meter comes with it
		all[declared.Name] = &topdown.Builtin{Decl: &declared, Func: withBounds(name, check, topdown.GetBuiltin(name))}
	}
	return all
}()

func withBounds(name string, check bound, call topdown.BuiltinFunc) topdown.BuiltinFunc {
	arity := ast.BuiltinMap[name].Decl.Arity()
	return func(bctx topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
		halt := func(err error) error {
			e := &topdown.Error{Code: topdown.BuiltinErr, Location: bctx.Location, Message: name}
			return topdown.Halt{Err: e.Wrap(err)}
		}
		m := bctx.Cancel.(*meter)
		size := 0
		for _, arg := range args[:arity] {
			n, err := nodes(arg)
			if err != nil {
				return halt(err)
			}
			size += n
		}
		if err := m.spend(size); err != nil {
			return halt(err)
		}
		if err := check(m, args[:arity], size); err != nil {
			return halt(err)
		}
		return call(bctx, args, func(result *ast.Term) error {
			if err := checkResult(m, result); err != nil {
				return halt(err)
			}
			return yield(result)
		})
	}
}

// checkResult bounds what a function made. Collections count by their length:
// their members were counted as operands.
func checkResult(m *meter, result *ast.Term) error {
	switch v := result.Value.(type) {
	case ast.String:
		if len(v) > maxTextBytes {
			return tooMuch("a text of more than %d bytes", maxTextBytes)
		}
		return m.spend(len(v))
	case ast.Number:
		if !isBounded(v) {
			return tooMuch("a number of more than %d characters, or an exponent beyond %d", maxNumberLength, maxExponent)
		}
		return nil
	default:
		return m.spend(length(result))
	}
}

// isBounded is checkNumber, quick for what is no danger.
func isBounded(n ast.Number) bool {
	return len(n) <= maxNumberLength && (!strings.ContainsAny(string(n), "eE") || checkNumber(string(n)) == nil)
}

// length is the number of direct members.
func length(t *ast.Term) int {
	switch v := t.Value.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.Object:
		return v.Len()
	default:
		return 1
	}
}

// nodes counts the values in t, and the bytes of its texts as a value for every
// 16. It stops at maxNodes, however much there is.
func nodes(t *ast.Term) (int, error) {
	counter := nodeCounter{}
	counter.count(t)
	return counter.n, counter.err
}

type nodeCounter struct {
	n   int
	err error
}

// count returns true once it is enough.
func (c *nodeCounter) count(t *ast.Term) bool {
	c.n++
	switch v := t.Value.(type) {
	case ast.String:
		if len(v) > maxTextBytes {
			c.err = tooMuch("a text of more than %d bytes", maxTextBytes)
			return true
		}
		c.n += len(v) / 16
	case ast.Number:
		if !isBounded(v) {
			c.err = tooMuch("a number of more than %d characters, or an exponent beyond %d", maxNumberLength, maxExponent)
			return true
		}
	case *ast.Array:
		v.Until(c.count)
	case ast.Set:
		v.Until(c.count)
	case ast.Object:
		v.Until(func(key, value *ast.Term) bool { return c.count(key) || c.count(value) })
	}
	if c.err == nil && c.n > maxNodes {
		c.err = tooMuch("an operand of more than %d values", maxNodes)
	}
	return c.err != nil
}

// useBounds replaces, in the modules of a compiled policy, the functions that
// have bounds by those with them. It refuses `with` where it exchanges a function
// of OPA: that is for tests.
func useBounds(modules map[string]*ast.Module) (err error) {
	for _, module := range modules {
		ast.WalkExprs(module, func(expr *ast.Expr) bool {
			if terms, ok := expr.Terms.([]*ast.Term); ok {
				if name := terms[0].String(); bounded[name] != nil {
					terms[0] = ast.NewTerm(ast.Ref{ast.VarTerm(boundedPrefix + name)}).SetLocation(terms[0].Location)
				}
			}
			for _, with := range expr.With {
				if ast.BuiltinMap[with.Target.String()] != nil || ast.BuiltinMap[with.Value.String()] != nil {
					err = fmt.Errorf("%v: `with` exchanges a built-in function: that is for tests", with.Location)
				}
			}
			return err != nil
		})
	}
	return err
}
