package call

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// A Refusal is what Decode says of a request that it does not accept.
type Refusal struct {
	Status  int    // 400 to 499
	Code    string // snake_case, stable
	Message string // for the caller; says nothing of the request's content
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// statuses are all codes that Decode refuses with.
var statuses = map[string]int{
	"identity_missing":             http.StatusUnauthorized,
	"identity_ambiguous":           http.StatusUnauthorized,
	"no_route":                     http.StatusForbidden,
	"body_too_big":                 http.StatusRequestEntityTooLarge,
	"content_encoding_unsupported": http.StatusUnsupportedMediaType,
	"media_type_unsupported":       http.StatusUnsupportedMediaType,
	"too_many_headers":             http.StatusRequestHeaderFieldsTooLarge,
	"headers_too_big":              http.StatusRequestHeaderFieldsTooLarge,

	"authority_ambiguous":     http.StatusBadRequest,
	"path_not_canonical":      http.StatusBadRequest,
	"query_unexpected":        http.StatusBadRequest,
	"query_invalid":           http.StatusBadRequest,
	"parameter_unknown":       http.StatusBadRequest,
	"parameter_duplicate":     http.StatusBadRequest,
	"override_header":         http.StatusBadRequest,
	"upgrade_unexpected":      http.StatusBadRequest,
	"header_duplicate":        http.StatusBadRequest,
	"header_invalid":          http.StatusBadRequest,
	"idempotency_key_missing": http.StatusBadRequest,
	"idempotency_key_invalid": http.StatusBadRequest,
	"field_missing":           http.StatusBadRequest,
	"field_invalid":           http.StatusBadRequest,
	"form_invalid":            http.StatusBadRequest,
	"terms_invalid":           http.StatusBadRequest,
	"body_length_mismatch":    http.StatusBadRequest,
	"body_unexpected":         http.StatusBadRequest,
	"body_member_unknown":     http.StatusBadRequest,

	string(strictjson.CodeEmpty):            http.StatusBadRequest,
	string(strictjson.CodeNotUTF8):          http.StatusBadRequest,
	string(strictjson.CodeByteOrderMark):    http.StatusBadRequest,
	string(strictjson.CodeSyntax):           http.StatusBadRequest,
	string(strictjson.CodeTrailingData):     http.StatusBadRequest,
	string(strictjson.CodeTooDeep):          http.StatusBadRequest,
	string(strictjson.CodeTooManyValues):    http.StatusBadRequest,
	string(strictjson.CodeNumberOutOfRange): http.StatusBadRequest,
	string(strictjson.CodeLoneSurrogate):    http.StatusBadRequest,
	string(strictjson.CodeForbiddenRune):    http.StatusBadRequest,
	string(strictjson.CodeDuplicateMember):  http.StatusBadRequest,
	string(strictjson.CodeForbiddenMember):  http.StatusBadRequest,
	string(strictjson.CodeNameTooLong):      http.StatusBadRequest,
	string(strictjson.CodeMisspelledMember): http.StatusBadRequest,
}

// Codes returns all codes that Decode refuses with, in no order.
func Codes() []string { return slices.Collect(maps.Keys(statuses)) }

// refusal makes the refusal of a code.
func refusal(code, message string) *Refusal {
	return &Refusal{Status: statuses[code], Code: code, Message: message}
}

var (
	errNoRoute = refusal("no_route", "No route of this service has this method and path.")
	errPath    = refusal("path_not_canonical",
		"The path holds an empty or dot segment, or a character other than letters, digits and - . _ ~ : /")
	errQuery        = refusal("query_unexpected", "This route takes no query.")
	errQueryInvalid = refusal("query_invalid",
		"The query must be name=value pairs, with all but letters, digits and - . _ ~ in percent-encoding with capital digits.")
	errFormInvalid = refusal("form_invalid",
		"The form must be name=value pairs, with + for a space and all but letters, digits and - . _ ~ in percent-encoding with capital digits.")
	errParamUnknown    = refusal("parameter_unknown", "The query or form has a parameter that this route does not take.")
	errParamDuplicate  = refusal("parameter_duplicate", "The query or form has a parameter twice.")
	errAuthority       = refusal("authority_ambiguous", "The request names more than one host.")
	errOverride        = refusal("override_header", "A header that overrides the method, the path or the host, or names a part of the body, is not accepted.")
	errTooManyHeaders  = refusal("too_many_headers", "The request has more than 80 header lines.")
	errHeadersTooBig   = refusal("headers_too_big", "The request has more than 44 KiB of headers.")
	errUpgrade         = refusal("upgrade_unexpected", "A protocol upgrade is not accepted.")
	errDuplicateHeader = refusal("header_duplicate", "A header that this route reads is there more than once, or holds a comma.")
	errHeaderText      = refusal("header_invalid", "A header that this route reads holds other than visible ASCII characters and spaces.")
	errIdentity        = refusal("identity_missing", "The call carries no verified identity of the kind that this route takes.")
	errIdentities      = refusal("identity_ambiguous", "The call carries more than one of the verified identities that this route takes, such as a token and a certificate: send one.")
	errMediaJSON       = refusal("media_type_unsupported", "The body must be application/json in UTF-8.")
	errMediaForm       = refusal("media_type_unsupported", "The body must be application/x-www-form-urlencoded in UTF-8.")
	errEncoding        = refusal("content_encoding_unsupported", "The body must not be compressed.")
	errPartial         = refusal("body_too_big", "The body is longer than what can be checked.")
	errLength          = refusal("body_length_mismatch", "The body is not as long as its content-length says.")
	errBodyUnexpected  = refusal("body_unexpected", "This route takes no body.")
	errMemberUnknown   = refusal("body_member_unknown", "The body has a member that this route does not take.")
	errKeyMissing      = refusal("idempotency_key_missing", "The call needs an idempotency key: one for each payment, the same for each retry.")
	errKeyInvalid      = refusal("idempotency_key_invalid", "The idempotency key must have 1 to 128 visible ASCII characters.")
)

func fieldMissing(name string) *Refusal {
	return refusal("field_missing", "The field "+name+" is missing.")
}

// termsInvalid says what is wrong with terms, for whoever writes them by hand.
func termsInvalid(err error) *Refusal {
	why := strings.TrimPrefix(strings.ReplaceAll(err.Error(), authzstore.ErrInvalid.Error()+": ", ""), "terms: ")
	if len(why) > maxReasonBytes {
		why = strings.ToValidUTF8(why[:maxReasonBytes], "") + "…"
	}
	return refusal("terms_invalid", "The terms of the grant are not valid: "+why+".")
}

// maxReasonBytes bounds what a refusal says of terms.
const maxReasonBytes = 160

func fieldInvalid(name, rule string) *Refusal {
	return refusal("field_invalid", "The field "+name+" "+rule+".")
}
