package call

import (
	"net/http"
)

// A Refusal is what Decode says of a request that it does not accept.
type Refusal struct {
	Status  int    // 400 to 499
	Code    string // snake_case, stable
	Message string // for the caller; says nothing of the request's content
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// Everything that Decode refuses, but for what strictjson says of a body.
var (
	errNoRoute = &Refusal{http.StatusForbidden, "no_route",
		"No route of this service has this method and path."}
	errPath = &Refusal{http.StatusBadRequest, "path_not_canonical",
		"The path holds an empty or dot segment, or a character other than letters, digits and - . _ ~ : /"}
	errQuery = &Refusal{http.StatusBadRequest, "query_unexpected",
		"This route takes no query."}
	errAuthority = &Refusal{http.StatusBadRequest, "authority_ambiguous",
		"The request names more than one host."}
	errOverride = &Refusal{http.StatusBadRequest, "override_header",
		"A header that overrides the method, the path or the host, or names a part of the body, is not accepted."}
	errTooManyHeaders = &Refusal{http.StatusRequestHeaderFieldsTooLarge, "too_many_headers",
		"The request has more than 90 header lines."}
	errUpgrade = &Refusal{http.StatusBadRequest, "upgrade_unexpected",
		"A protocol upgrade is not accepted."}
	errDuplicateHeader = &Refusal{http.StatusBadRequest, "header_duplicate",
		"A header that this route reads is there more than once."}
	errIdentity = &Refusal{http.StatusUnauthorized, "identity_missing",
		"The call carries no verified identity of the kind that this route takes."}
	errMediaType = &Refusal{http.StatusUnsupportedMediaType, "media_type_unsupported",
		"The body must be application/json in UTF-8."}
	errEncoding = &Refusal{http.StatusUnsupportedMediaType, "content_encoding_unsupported",
		"The body must not be compressed."}
	errPartial = &Refusal{http.StatusRequestEntityTooLarge, "body_too_big",
		"The body is longer than what can be checked."}
	errLength = &Refusal{http.StatusBadRequest, "body_length_mismatch",
		"The body is not as long as its content-length says."}
	errBodyUnexpected = &Refusal{http.StatusBadRequest, "body_unexpected",
		"This route takes no body."}
)

func fieldMissing(name string) *Refusal {
	return &Refusal{http.StatusBadRequest, "field_missing", "The field " + name + " is missing."}
}

func fieldInvalid(name, rule string) *Refusal {
	return &Refusal{http.StatusBadRequest, "field_invalid", "The field " + name + " " + rule + "."}
}
