package call

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// maxTextBytes bounds a text field.
const maxTextBytes = authzstore.MaxNameBytes

// read returns the field's value in a request. The currency is the call's, for an
// amount in major units.
func (f Field) read(p *parts, currency string) (Value, error) {
	if f.at.in == isConstant {
		return f.at.constant, nil
	}
	at, ok, err := p.find(f.at, f.Optional)
	switch {
	case err != nil:
		return Value{}, err
	case !ok && f.Optional:
		return Value{Absent: true}, nil
	case !ok:
		return Value{}, fieldMissing(f.Name)
	}
	if f.Type == GrantTerms {
		return readTerms(at)
	}
	v, rule := f.parse(at, currency)
	if rule != "" {
		return Value{}, fieldInvalid(f.Name, rule)
	}
	return v, nil
}

// readTerms returns terms in their canonical form: those that say the same are the
// same, however they were written.
func readTerms(at found) (Value, error) {
	terms, err := authzstore.ReadTerms(at.json)
	if err != nil {
		return Value{}, termsInvalid(err)
	}
	canonical, err := json.Marshal(terms)
	return Value{Text: string(canonical)}, err
}

// parse returns the value, or the rule that it breaks.
func (f Field) parse(at found, currency string) (v Value, rule string) {
	switch f.Type {
	case Integer:
		n, ok := at.integer()
		if !ok {
			return Value{}, "must be an integer of at most 9007199254740991, without fraction or exponent"
		}
		return Value{Int: n}, ""
	case Amount:
		return f.parseAmount(at, currency)
	case Boolean:
		b, ok := at.boolean()
		if !ok {
			return Value{}, "must be true or false"
		}
		return Value{Bool: b}, ""
	}
	text, ok := at.string()
	switch {
	case !ok:
		return Value{}, "must be a text"
	case f.Type == Currency && !authzstore.IsCurrency(text):
		return Value{}, "must be the ISO 4217 code of an active currency, in capital letters"
	}
	return Value{Text: text}, checkText(text)
}

func (f found) string() (string, bool) {
	if f.isJSON() {
		return f.json.String(), f.json.Kind() == strictjson.String
	}
	return f.text, true
}

func (f found) integer() (int64, bool) {
	if f.isJSON() {
		return f.json.Int()
	}
	n, err := strconv.ParseInt(f.text, 10, 64)
	canonical := err == nil && strconv.FormatInt(n, 10) == f.text
	return n, canonical && -authzstore.MaxAmountMinor <= n && n <= authzstore.MaxAmountMinor
}

func (f found) boolean() (value, ok bool) {
	if f.isJSON() {
		return f.json.Bool(), f.json.Kind() == strictjson.Bool
	}
	return f.text == "true", f.text == "true" || f.text == "false"
}

func (f Field) parseAmount(at found, currency string) (Value, string) {
	var n int64
	var ok bool
	if f.decimal {
		digits, _ := authzstore.CurrencyDigits(currency)
		if n, ok = at.decimal(digits); !ok {
			return Value{}, "must be an amount such as 12.50, with no more digits after the point than the currency has"
		}
	} else if n, ok = at.integer(); !ok {
		return Value{}, amountRule
	}
	if n < 1 || n > authzstore.MaxAmountMinor {
		return Value{}, amountRule
	}
	return Value{Int: n}, ""
}

const amountRule = "must be from 1 to 9007199254740991 minor units, as an integer without fraction or exponent"

// maxNumberDigits is how many decimal digits every double holds. A number of JSON
// with more of them is another one to some readers; a string is not.
const maxNumberDigits = 15

// decimal reads an amount in major units as one in minor units of so many digits.
func (f found) decimal(digits int) (minor int64, ok bool) {
	text := f.text
	if f.isJSON() {
		text = f.json.String() + f.json.Number() // one of them is ""
		if f.json.Kind() == strictjson.Number && len(strings.ReplaceAll(text, ".", "")) > maxNumberDigits {
			return 0, false
		}
	}
	major, fraction, hasPoint := strings.Cut(text, ".")
	if len(fraction) > digits || hasPoint && fraction == "" || major == "" || len(major) > 1 && major[0] == '0' {
		return 0, false
	}
	all := major + fraction + strings.Repeat("0", digits-len(fraction))
	if strings.Trim(all, "0123456789") != "" {
		return 0, false
	}
	minor, err := strconv.ParseInt(all, 10, 64)
	return minor, err == nil
}

// checkText returns the rule that a text breaks, "" where it breaks none.
func checkText(s string) string {
	if s == "" || len(s) > maxTextBytes {
		return "must have 1 to 256 bytes"
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, isInvisible) {
		return "must not hold control or format characters"
	}
	if strings.TrimSpace(s) != s || !norm.NFC.IsNormalString(s) {
		return "must be in Unicode's normal form C, without space at its ends"
	}
	return ""
}

// isInvisible is for characters that one reader drops and another compares.
func isInvisible(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

const personalPrefix = "ptk_"

// personalToken stands for a personal value: the same for the same value of the
// same field under one key, and nothing can be read from it without the key.
func personalToken(key []byte, field, value string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(binary.AppendUvarint(nil, uint64(len(field))))
	mac.Write([]byte(field + value))
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil))
	return personalPrefix + strings.ToLower(text)
}
