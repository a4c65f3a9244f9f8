package policy

import (
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// patternAt bounds the text at one operand.
func patternAt(i int) bound {
	return func(_ *meter, args []*ast.Term, _ int) error { return checkPattern(args[i]) }
}

func checkPattern(t *ast.Term) error {
	if s, ok := t.Value.(ast.String); ok && len(s) > maxPatternBytes {
		return tooMuch("a pattern of more than %d bytes", maxPatternBytes)
	}
	return nil
}

// boundScan is for functions that look for parts of one text at every place of
// another.
func boundScan(m *meter, args []*ast.Term, _ int) error {
	if err := checkPattern(args[1]); err != nil {
		return err
	}
	return m.spend(len(text(args[0])) * len(text(args[1])) / 16)
}

// text returns the text of an operand, "" where it is none: OPA then refuses it.
func text(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

func checkMade(bytes int) error {
	if bytes > maxTextBytes {
		return tooMuch("a text of more than %d bytes", maxTextBytes)
	}
	return nil
}

func boundConcat(_ *meter, args []*ast.Term, _ int) error {
	bytes := len(text(args[0])) * max(0, length(args[1])-1)
	each := func(t *ast.Term) { bytes += len(text(t)) }
	switch v := args[1].Value.(type) {
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	}
	return checkMade(bytes)
}

func boundReplace(_ *meter, args []*ast.Term, _ int) error {
	whole, old, by := text(args[0]), text(args[1]), text(args[2])
	return checkMade(len(whole) + strings.Count(whole, old)*(len(by)-len(old)))
}

func boundTemplate(_ *meter, args []*ast.Term, _ int) error {
	return checkMade(written(args[0]))
}

// written is about the length of a term as text: quotes and escapes may add to it.
func written(t *ast.Term) int {
	const around = 16 // brackets, comma, space, quotes, "set()"
	sum := around
	switch v := t.Value.(type) {
	case ast.String:
		return len(v)
	case ast.Number:
		return len(v)
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { sum += written(t) })
	case ast.Set:
		v.Foreach(func(t *ast.Term) { sum += written(t) })
	case ast.Object:
		v.Foreach(func(key, value *ast.Term) { sum += written(key) + written(value) })
	}
	return sum
}

// boundSprintf bounds what Go's fmt could make of a format: it writes an operand
// as often as the format names it, and pads with up to a million characters.
func boundSprintf(m *meter, args []*ast.Term, _ int) error {
	const (
		maxDigits = 3  // of a width or a precision
		escaped   = 10 // %q writes four bytes as \U0001f600
		around    = 64 // %!d(string=)
		padding   = 1000
	)
	format := text(args[0])
	verbs, digits := 0, -1 // -1: outside a verb
	for _, c := range format {
		switch {
		case digits < 0:
			if c == '%' {
				verbs, digits = verbs+1, 0
			}
		case c >= '0' && c <= '9':
			if digits++; digits > maxDigits {
				return tooMuch("a width of more than %d digits in a format", maxDigits)
			}
		case c == '*':
			return tooMuch("a width in a format that is an operand")
		case strings.ContainsRune("+-# []", c):
		case c == '.':
			digits = 0
		default:
			digits = -1
		}
	}
	longest, all := 0, 0
	if array, ok := args[1].Value.(*ast.Array); ok {
		array.Foreach(func(t *ast.Term) {
			n := written(t)
			longest, all = max(longest, n), all+n+around
		})
	}
	padded := 0
	if strings.ContainsAny(format, "0123456789") {
		padded = padding
	}
	return m.spend(len(format) + all*escaped + verbs*(longest*escaped+around+padded))
}

// boundZone lets times be read in UTC alone: another zone's rules are those of
// the host, and would change what a decision means elsewhere or later.
func boundZone(_ *meter, args []*ast.Term, _ int) error {
	for _, arg := range args {
		array, ok := arg.Value.(*ast.Array)
		if !ok {
			continue
		}
		if array.Len() > 1 && text(array.Elem(1)) != "" && text(array.Elem(1)) != "UTC" {
			return tooMuch("a time zone that is not UTC: the rules of zones differ between hosts")
		}
		if array.Len() > 2 {
			if err := checkPattern(array.Elem(2)); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxInstructions bounds a compiled regular expression, maxRegexSteps the time
// to match one: a step for each instruction and byte.
const (
	maxInstructions = 1000
	maxRegexSteps   = 1 << 20
)

func boundRegex(m *meter, args []*ast.Term, _ int) error {
	if err := checkPattern(args[0]); err != nil {
		return err
	}
	n, known := regexSizes.get(text(args[0]))
	if !known {
		return nil // not a regular expression: OPA says so
	}
	if n > maxInstructions {
		return tooMuch("a regular expression of more than %d instructions", maxInstructions)
	}
	steps := n * (1 + len(text(args[1])))
	if steps > maxRegexSteps {
		return tooMuch("a regular expression of %d instructions on a text of %d bytes", n, len(text(args[1])))
	}
	// Nanoseconds for a step are tens, for other work about one.
	return m.spend(steps / 4)
}

// regexSizes keeps the sizes of the patterns used last.
var regexSizes = sizeCache{sizes: map[string]int{}}

const maxRegexSizes = 1000

type sizeCache struct {
	mu    sync.Mutex
	sizes map[string]int
}

func (c *sizeCache) get(pattern string) (size int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size, ok := c.sizes[pattern]; ok {
		return size, true
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, false
	}
	if len(c.sizes) >= maxRegexSizes {
		clear(c.sizes)
	}
	size = instructions(parsed)
	c.sizes[pattern] = size
	return size, true
}

// instructions is at least what re compiles to, without compiling it: that is
// what takes long for ((a{9}){9}){9}.
func instructions(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n = (n + 1) * max(re.Min, re.Max, 1)
	}
	if re.Op == syntax.OpCapture {
		n += 2
	}
	return n
}
