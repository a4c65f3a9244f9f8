package strictjson

import "strconv"

// Code names the rule that a text broke. Codes are stable: they appear in logs, metrics and
// answers.
type Code string

const (
	CodeEmpty            Code = "body_empty"               // nothing, or only white space
	CodeTooBig           Code = "body_too_big"             // more than Limits.MaxBytes
	CodeNotUTF8          Code = "body_not_utf8"            // invalid UTF-8
	CodeByteOrderMark    Code = "body_byte_order_mark"     // starts with U+FEFF
	CodeSyntax           Code = "body_syntax"              // not in the grammar of RFC 8259
	CodeTrailingData     Code = "body_trailing_data"       // more text after the value
	CodeTooDeep          Code = "body_too_deep"            // more than Limits.MaxDepth
	CodeTooManyValues    Code = "body_too_many_values"     // more than Limits.MaxMembers
	CodeNumberOutOfRange Code = "body_number_out_of_range" // too long, or exponent too big
	CodeLoneSurrogate    Code = "body_lone_surrogate"      // \ud800 without its partner
	CodeForbiddenRune    Code = "body_forbidden_character" // U+0000 or a noncharacter
	CodeDuplicateMember  Code = "body_duplicate_member"    // equal or taken for equal
	CodeForbiddenMember  Code = "body_forbidden_member"    // __proto__, constructor.prototype
	CodeNameTooLong      Code = "body_name_too_long"       // more than 256 bytes, unescaped
	CodeMisspelledMember Code = "body_misspelled_member"   // see Document.CheckSpelling
)

// Error says which rule a text broke and where. It never holds any of the text.
type Error struct {
	Code   Code
	Offset int // bytes from the start of the text
	// Message is one of a fixed set of English phrases, without a capital or a full stop.
	Message string
}

// Error returns code, place and message in one line.
func (e *Error) Error() string {
	return string(e.Code) + " at byte " + strconv.Itoa(e.Offset) + ": " + e.Message
}

func fail(code Code, offset int, message string) error {
	return &Error{Code: code, Offset: offset, Message: message}
}
