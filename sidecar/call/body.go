package call

import (
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// maxFormBytes is what strictjson takes of JSON.
const maxFormBytes = 64 << 10

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// readBody parses the body of a route that has one.
func (p *parts) readBody(h headerValues, body []byte) error {
	r := p.route
	switch {
	case h.partialBody.not("false"):
		return errPartial
	case h.contentLength.not(strconv.Itoa(len(body))):
		return errLength
	case h.contentEncoding.not("identity"):
		return errEncoding
	case r.json:
		return p.readJSON(h, body)
	case len(r.form) > 0:
		return p.readForm(h, body)
	case len(body) > 0:
		return errBodyUnexpected
	}
	return nil
}

func (p *parts) readJSON(h headerValues, body []byte) (err error) {
	if !isMedia(h.contentType.text, mediaJSON) {
		return errMediaJSON
	}
	if p.body, err = strictjson.Parse(body, strictjson.Limits{}); err != nil {
		return bodyRefusal(err)
	}
	if m := p.route.members; m != nil && !m.hold(p.body.Root()) {
		return errMemberUnknown
	}
	return nil
}

func (p *parts) readForm(h headerValues, body []byte) (err error) {
	switch {
	case !isMedia(h.contentType.text, mediaForm):
		return errMediaForm
	case len(body) > maxFormBytes:
		return errPartial
	case len(body) == 0:
		return nil
	}
	p.form, err = readParams(string(body), formParams, p.route.form)
	return err
}

func bodyRefusal(err error) error {
	var syntax *strictjson.Error
	if !errors.As(err, &syntax) {
		return err
	}
	return refusal(string(syntax.Code), fmt.Sprintf("The body is refused at byte %d: %s.", syntax.Offset, syntax.Message))
}

// isMedia tells whether a content type is this one, in UTF-8.
func isMedia(contentType, want string) bool {
	if contentType == want {
		return true
	}
	// ParseMediaType drops an extended parameter (RFC 8187, charset*=utf-7''utf-7)
	// that it cannot decode; who reads it behind us reads another body.
	if strings.Contains(contentType, "*") {
		return false
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != want {
		return false
	}
	charset, has := params["charset"]
	return len(params) == 0 || len(params) == 1 && has && strings.EqualFold(charset, "utf-8")
}
