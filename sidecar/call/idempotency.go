package call

import "strings"

const maxKeyBytes = 128

// idempotencyKey returns the key of a route that takes one, "" for any other.
func (p *parts) idempotencyKey() (string, error) {
	if p.route.idempotency == nil {
		return "", nil
	}
	at, ok, err := p.find(*p.route.idempotency, true)
	switch {
	case err == errHeaderText:
		return "", errKeyInvalid
	case err != nil:
		return "", err
	case !ok:
		return "", errKeyMissing
	}
	key, isText := at.string()
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || !isText || key == "" || len(key) > maxKeyBytes || !isPlainASCII(key) || strings.Contains(key, " ") {
		return "", errKeyInvalid
	}
	return key, nil
}

// unquote returns the content of a string in quotes (RFC 8941, 3.3.3): the
// Idempotency-Key header is one by its draft, and clients leave the quotes out.
func unquote(s string) (string, bool) {
	s, ok := strings.CutSuffix(s[1:], `"`)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}
