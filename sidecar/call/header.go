package call

import (
	"bytes"
	"slices"
	"strings"
)

// Bounds of the headers of a request, those of Envoy included. Envoy refuses a
// request of more than 100 lines or 60 KiB, also when it is our own headers that
// make it too many, and then an allowed call ends in an error, with its money
// reserved (measured). Left over is room for ours, for the token, and for cookies,
// which the sidecar does not see.
const (
	maxHeaders     = 80
	maxHeaderBytes = 44 << 10
)

// headerValues are the headers that decide how a request is read, and those that
// fields stand in.
type headerValues struct {
	contentType, contentLength, contentEncoding, partialBody headerValue
	named                                                    []headerValue // as Route.headers
}

// A headerValue is the value of a header that may be there once, as text or not
// at all: an empty value is there.
type headerValue struct {
	text string
	set  bool
}

func (r *Route) readHeaders(headers []Header) (headerValues, error) {
	if len(headers) > maxHeaders {
		return headerValues{}, errTooManyHeaders
	}
	total := 0
	for _, h := range headers {
		total += len(h.Name) + len(h.Value)
	}
	if total > maxHeaderBytes {
		return headerValues{}, errHeadersTooBig
	}
	v := headerValues{named: make([]headerValue, len(r.headers))}
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
		default:
			if i := slices.Index(r.headers, h.Name); i >= 0 {
				err = v.named[i].add(h.Value)
			} else if slices.Contains(overrides, h.Name) {
				err = errOverride
			}
		}
		if err != nil {
			return headerValues{}, err
		}
	}
	return v, nil
}

// overrides are headers that frameworks honour: they run another method, path or
// host than the one decided on, or a part of the body.
var overrides = []string{
	"x-http-method", "x-http-method-override", "x-method-override", "x-original-method", "x-request-method",
	"x-original-url", "x-original-uri", "x-original-path", "x-original-host", "x-rewrite-url", "x-override-url",
	"x-http-path-override", "x-http-destinationurl", "x-proxy-url", "request-uri", "x-host", "content-range",
}

// add refuses a repetition. Envoy joins some repeated headers by commas, and so
// may a proxy before it, so a comma is one too.
func (v *headerValue) add(value []byte) error {
	if v.set || bytes.IndexByte(value, ',') >= 0 {
		return errDuplicateHeader
	}
	*v = headerValue{text: string(value), set: true}
	return nil
}

// not tells whether the header is there with any other value than this one.
func (v headerValue) not(text string) bool { return v.set && v.text != text }

// checkHeaderName says why no field can stand in a header, "" where one can.
func checkHeaderName(name string) string {
	switch {
	case name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return "write it in lower-case letters, digits and -"
	case strings.HasPrefix(name, "countersign-"):
		return "only the sidecar sets countersign-*"
	case strings.HasPrefix(name, "x-envoy-"), strings.HasPrefix(name, "x-forwarded-"), name == "forwarded", name == "x-real-ip":
		return "Envoy removes what a client sends there"
	case slices.Contains([]string{"authorization", "cookie"}, name):
		return "Envoy does not show it to the sidecar"
	case slices.Contains([]string{"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}, name):
		return "it belongs to the connection and does not reach the upstream"
	case slices.Contains([]string{"content-type", "content-length", "content-encoding", "host", "expect"}, name),
		slices.Contains(overrides, name):
		return "it says how the request is read, and is no data"
	}
	return ""
}
