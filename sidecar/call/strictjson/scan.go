package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// string reads a string and returns it unescaped: a slice of the text, or a copy if there
// were escapes. The next byte must be its opening quote.
func (p *parser) string() (string, error) {
	p.pos++
	start := p.pos
	for p.skipPlain(); p.pos < len(p.text); p.skipPlain() {
		switch c := p.text[p.pos]; {
		case c == '"':
			p.pos++
			return p.text[start : p.pos-1], nil
		case c == '\\':
			return p.escapedString(start)
		default:
			if err := p.plainRune(c); err != nil {
				return "", err
			}
		}
	}
	return "", p.unexpected("")
}

// skipPlain steps over the ASCII characters that stand for themselves, which most are.
func (p *parser) skipPlain() {
	i := p.pos
	for i < len(p.text) {
		if c := p.text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
		i++
	}
	p.pos = i
}

// escapedString goes on with a string that began at start and has its first escape here.
func (p *parser) escapedString(start int) (string, error) {
	decoded := append(make([]byte, 0, p.pos-start+32), p.text[start:p.pos]...)
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			p.pos++
			return string(decoded), nil
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			decoded = utf8.AppendRune(decoded, r)
		default:
			from := p.pos
			if err := p.plainRune(c); err != nil {
				return "", err
			}
			decoded = append(decoded, p.text[from:p.pos]...)
		}
	}
	return "", p.unexpected("")
}

// plainRune steps over one character that stands for itself, of which c is the first byte.
func (p *parser) plainRune(c byte) error {
	switch {
	case c < ' ':
		return fail(CodeSyntax, p.pos, "a control character stands unescaped in a string")
	case c < utf8.RuneSelf:
		p.pos++
		return nil
	}
	r, size := utf8.DecodeRuneInString(p.text[p.pos:])
	if isNoncharacter(r) {
		return fail(CodeForbiddenRune, p.pos, "a string holds a Unicode noncharacter")
	}
	p.pos += size
	return nil
}

// escape reads one escape, or two that form a surrogate pair.
func (p *parser) escape() (rune, error) {
	at := p.pos
	p.pos++
	c := p.peek()
	switch c {
	case '"', '\\', '/':
		p.pos++
		return rune(c), nil
	case 'b':
		p.pos++
		return '\b', nil
	case 'f':
		p.pos++
		return '\f', nil
	case 'n':
		p.pos++
		return '\n', nil
	case 'r':
		p.pos++
		return '\r', nil
	case 't':
		p.pos++
		return '\t', nil
	case 'u':
		p.pos++
		return p.escapedRune(at)
	}
	return 0, p.unexpected("this escape does not exist")
}

// escapedRune reads the digits of the \u escape at offset at, and the rest of a pair.
func (p *parser) escapedRune(at int) (rune, error) {
	r, err := p.fourHexDigits()
	if err != nil {
		return 0, err
	}
	if utf16.IsSurrogate(r) {
		if len(p.text)-p.pos < 2 || p.text[p.pos:p.pos+2] != `\u` {
			return 0, fail(CodeLoneSurrogate, at, "an escaped surrogate stands alone")
		}
		p.pos += 2
		low, err := p.fourHexDigits()
		if err != nil {
			return 0, err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return 0, fail(CodeLoneSurrogate, at, "an escaped surrogate stands alone")
		}
	}
	if r == 0 {
		return 0, fail(CodeForbiddenRune, at, "a string holds the character U+0000")
	}
	if isNoncharacter(r) {
		return 0, fail(CodeForbiddenRune, at, "a string holds a Unicode noncharacter")
	}
	return r, nil
}

func (p *parser) fourHexDigits() (rune, error) {
	var r rune
	for range 4 {
		c := p.peek()
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.unexpected("four hexadecimal digits are expected here")
		}
		p.pos++
	}
	return r, nil
}

// isNoncharacter says whether Unicode reserves r for internal use (Unicode 16, section 23.7).
func isNoncharacter(r rune) bool {
	return r&0xfffe == 0xfffe || 0xfdd0 <= r && r <= 0xfdef
}

const (
	maxNumberBytes = 40
	maxExponent    = 30
)

// number reads a number and returns its literal. The next byte must be '-' or a digit.
func (p *parser) number() (string, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
		if isDigit(p.peek()) {
			return "", p.unexpected("a number starts with a needless zero")
		}
	} else if err := p.digits(); err != nil {
		return "", err
	}
	if p.peek() == '.' {
		p.pos++
		if err := p.digits(); err != nil {
			return "", err
		}
	}
	exponent := ""
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		from := p.pos
		if err := p.digits(); err != nil {
			return "", err
		}
		exponent = p.text[from:p.pos]
	}
	if p.pos-start > maxNumberBytes {
		return "", fail(CodeNumberOutOfRange, start, "a number has more than 40 characters")
	}
	if !exponentInRange(exponent) {
		return "", fail(CodeNumberOutOfRange, start, "a number has an exponent beyond 30")
	}
	return p.text[start:p.pos], nil
}

// exponentInRange checks the digits of an exponent, which at most maxNumberBytes of them are.
func exponentInRange(digits string) bool {
	exponent := 0
	for _, c := range []byte(digits) {
		exponent = exponent*10 + int(c-'0')
		if exponent > maxExponent {
			return false
		}
	}
	return true
}

func (p *parser) digits() error {
	if !isDigit(p.peek()) {
		return p.unexpected("a digit is expected here")
	}
	for isDigit(p.peek()) {
		p.pos++
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
