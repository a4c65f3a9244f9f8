package call

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// maxHeaders bounds the header lines of a request, those of Envoy included. Envoy
// refuses a request of more than 100, also when it is our own header that makes
// it too many, and then an allowed call ends in an error.
const maxHeaders = 90

// maxTextBytes bounds a text field.
const maxTextBytes = 256

// Decode turns a request into a call. The error is a *Refusal, unless a key is
// missing.
func (t *Table) Decode(req Request, keys Keys) (Call, error) {
	segments, err := splitPath(req.Path)
	if err != nil {
		return Call{}, err
	}
	if strings.Contains(req.Authority, ",") {
		return Call{}, errAuthority
	}
	route := t.match(req.Method, segments)
	if route == nil {
		return Call{}, errNoRoute
	}
	headers, err := readHeaders(req.Headers)
	if err != nil {
		return Call{}, err
	}
	c := Call{Route: route, Fields: make([]Value, len(route.Fields))}
	if c.Identity, err = route.Identity.read(req.Claims); err != nil {
		return Call{}, err
	}
	body, err := route.readBody(headers, req.Body)
	if err != nil {
		return Call{}, err
	}
	for i, field := range route.Fields {
		if c.Fields[i], err = field.read(segments, body); err != nil {
			return Call{}, err
		}
	}
	return c, nil
}

// splitPath returns the segments of a path in its one canonical form. Paths
// that name the same resource in two ways are where gateways and services come
// to disagree (Envoy CVE-2021-29492, CVE-2021-32779), so a path that could be
// written otherwise is refused rather than normalised.
func splitPath(target string) ([]string, error) {
	path, _, hasQuery := strings.Cut(target, "?")
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, errPath
	}
	var segments []string
	if rest != "" {
		segments = strings.Split(rest, "/")
	}
	for _, s := range segments {
		if !isSegment(s) {
			return nil, errPath
		}
	}
	if hasQuery {
		return nil, errQuery
	}
	return segments, nil
}

// isSegment tells whether s is a path segment of unreserved characters (RFC
// 3986, 2.3) and the colon.
func isSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-' || c == '.' || c == '_' || c == '~' || c == ':':
		default:
			return false
		}
	}
	return true
}

// headerValues are the headers that decide how a request is read.
type headerValues struct {
	contentType, contentLength, contentEncoding, partialBody headerValue
}

// A headerValue is the value of a header that may be there once, as text or not
// at all: an empty value is there.
type headerValue struct {
	text string
	set  bool
}

func readHeaders(headers []Header) (headerValues, error) {
	if len(headers) > maxHeaders {
		return headerValues{}, errTooManyHeaders
	}
	var v headerValues
	var err error
	for _, h := range headers {
		switch h.Name {
		case "content-type":
			err = v.contentType.add(h.Value)
		case "content-length":
			err = v.contentLength.add(h.Value)
		case "content-encoding":
			err = v.contentEncoding.add(h.Value)
		case "x-envoy-auth-partial-body":
			err = v.partialBody.add(h.Value)
		case "upgrade":
			err = errUpgrade
		// Frameworks that honour one of these run another method or path than
		// the one decided on.
		case "x-http-method", "x-http-method-override", "x-method-override", "x-original-method", "x-request-method",
			"x-original-url", "x-original-uri", "x-original-path", "x-original-host", "x-rewrite-url", "x-override-url",
			"x-http-path-override", "x-http-destinationurl", "x-proxy-url", "request-uri", "x-host", "content-range":
			err = errOverride
		}
		if err != nil {
			return headerValues{}, err
		}
	}
	return v, nil
}

// add refuses a repetition. Envoy joins some repeated headers by commas, so a
// comma is one too.
func (v *headerValue) add(value []byte) error {
	if v.set || bytes.IndexByte(value, ',') >= 0 {
		return errDuplicateHeader
	}
	*v = headerValue{text: string(value), set: true}
	return nil
}

// not tells whether the header is there with any other value than this one.
func (v headerValue) not(text string) bool { return v.set && v.text != text }

func (s IdentitySource) read(claims map[string]any) (authzstore.Identity, error) {
	issuer, _ := claims["iss"].(string)
	subject, _ := claims["sub"].(string)
	if issuer != s.Issuer || checkText(subject) != "" {
		return authzstore.Identity{}, errIdentity
	}
	return authzstore.Identity{Kind: s.Kind, Issuer: issuer, Subject: subject}, nil
}

// readBody parses the body of a route that has one.
func (r *Route) readBody(h headerValues, body []byte) (*strictjson.Document, error) {
	switch {
	case h.partialBody.not("false"):
		return nil, errPartial
	case h.contentLength.not(strconv.Itoa(len(body))):
		return nil, errLength
	case h.contentEncoding.not("identity"):
		return nil, errEncoding
	case !r.hasBody && len(body) > 0:
		return nil, errBodyUnexpected
	case !r.hasBody:
		return nil, nil
	case !isJSON(h.contentType.text):
		return nil, errMediaType
	}
	doc, err := strictjson.Parse(body, strictjson.Limits{})
	if err != nil {
		return nil, bodyRefusal(err)
	}
	return doc, nil
}

func bodyRefusal(err error) error {
	var syntax *strictjson.Error
	if !errors.As(err, &syntax) {
		return err
	}
	status := http.StatusBadRequest
	if syntax.Code == strictjson.CodeTooBig {
		status = http.StatusRequestEntityTooLarge
	}
	return &Refusal{status, string(syntax.Code), fmt.Sprintf("The body is refused at byte %d: %s.", syntax.Offset, syntax.Message)}
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	// ParseMediaType drops an extended parameter (RFC 8187, charset*=utf-7''utf-7)
	// that it cannot decode; who reads it behind us reads another body.
	if strings.Contains(contentType, "*") {
		return false
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, has := params["charset"]
	return len(params) == 0 || len(params) == 1 && has && strings.EqualFold(charset, "utf-8")
}

// read returns the field's value.
func (f Field) read(segments []string, body *strictjson.Document) (Value, error) {
	if f.segment >= 0 {
		return f.fromText(segments[f.segment])
	}
	v, ok := body.Lookup(f.json)
	if !ok {
		return Value{}, fieldMissing(f.Name)
	}
	if f.Type == Amount {
		n, ok := v.Int()
		if !ok || n < 1 || n > authzstore.MaxAmountMinor {
			return Value{}, fieldInvalid(f.Name, "must be an integer from 1 to 9007199254740991, without fraction or exponent")
		}
		return Value{Int: n}, nil
	}
	if v.Kind() != strictjson.String {
		return Value{}, fieldInvalid(f.Name, "must be a text")
	}
	return f.fromText(v.String())
}

func (f Field) fromText(s string) (Value, error) {
	if f.Type == Currency && !authzstore.IsCurrency(s) {
		return Value{}, fieldInvalid(f.Name, "must be an ISO 4217 code of three capital letters")
	}
	if rule := checkText(s); rule != "" {
		return Value{}, fieldInvalid(f.Name, rule)
	}
	return Value{Text: s}, nil
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
