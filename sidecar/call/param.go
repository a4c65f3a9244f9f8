package call

import (
	"slices"
	"strings"
)

// A param is one parameter, decoded.
type param struct{ name, value string }

type params []param

func (p params) get(name string) (string, bool) {
	for _, q := range p {
		if q.name == name {
			return q.value, true
		}
	}
	return "", false
}

// A paramKind says where parameters stand, and so how a space is written.
type paramKind struct {
	plus    bool // a space is + (WHATWG URL, 5), else %20: readers of queries differ on +
	invalid *Refusal
}

var (
	queryParams = paramKind{plus: false, invalid: errQueryInvalid}
	formParams  = paramKind{plus: true, invalid: errFormInvalid}
)

// readParams reads name=value&name=value where every name is known and there
// once. Each text has one spelling: what can stand for itself does, and the rest is
// in percent-encoding with capital digits.
func readParams(text string, kind paramKind, known []string) (params, error) {
	var all params
	for pair := range strings.SplitSeq(text, "&") {
		encodedName, encodedValue, ok := strings.Cut(pair, "=")
		name, nameOK := kind.decode(encodedName)
		value, valueOK := kind.decode(encodedValue)
		if !ok || !nameOK || !valueOK {
			return nil, kind.invalid
		}
		if !slices.Contains(known, name) {
			return nil, errParamUnknown
		}
		if _, twice := all.get(name); twice {
			return nil, errParamDuplicate
		}
		all = append(all, param{name, value})
	}
	return all, nil
}

// decode returns the text that s is the canonical spelling of.
func (k paramKind) decode(s string) (string, bool) {
	if strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isUnreserved(c):
			b.WriteByte(c)
		case c == '+' && k.plus:
			b.WriteByte(' ')
		case c == '%' && i+2 < len(s) && isCapitalHex(s[i+1]) && isCapitalHex(s[i+2]):
			c = hexValue(s[i+1])<<4 | hexValue(s[i+2])
			if isUnreserved(c) || c == ' ' && k.plus {
				return "", false
			}
			b.WriteByte(c)
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), true
}

func isCapitalHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'A' + 10
}
