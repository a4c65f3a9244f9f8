package extauthz

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/upstream"
)

var errNoSigner = errors.New("no key to sign with")

// forUpstream returns the headers that an allow adds to the request: the
// decision's ID, and where money moves, an intent was opened or a built-in operation was
// done, the signed token. The others repeat what is in the token, for logs and for services that trust
// their network.
func (s *Service) forUpstream(d decide.Decision, req call.Request) ([]*corev3.HeaderValueOption, error) {
	ours := append([]*corev3.HeaderValueOption{header(headerDecisionID, d.ID)}, stepUpHeaders(d)...)
	e := d.Execution
	if e == nil {
		return ours, nil
	}
	if s.Sign == nil {
		return nil, errNoSigner
	}
	token, err := s.Sign(claims(d, req))
	if err != nil {
		return nil, err
	}
	ours = append(ours, header(upstream.HeaderToken, token))
	for _, text := range []struct{ name, value string }{
		{"account", e.Account}, {"grant", e.Grant}, {"payee", e.Payee}, {"currency", e.Currency},
	} {
		if text.value != "" {
			ours = append(ours, header(headerPrefix+text.name, encoded(text.value)))
		}
	}
	if e.ReservationID != "" {
		ours = append(ours, header(headerReservationID, e.ReservationID))
	}
	if e.AmountMinor != 0 {
		ours = append(ours, header(headerPrefix+"amount-minor", strconv.FormatInt(e.AmountMinor, 10)))
	}
	if e.Intent != "" && d.IntentID == "" {
		ours = append(ours, header(headerIntentID, encoded(e.Intent)))
	}
	if e.Replayed {
		ours = append(ours, header(upstream.HeaderReplayed, "true"))
	}
	return ours, nil
}

// stepUpHeaders name the challenge and the intent of a decision, where there are any.
func stepUpHeaders(d decide.Decision) (ours []*corev3.HeaderValueOption) {
	if d.Challenge != nil {
		ours = append(ours, header(headerChallengeID, d.Challenge.ID))
	}
	if d.IntentID != "" {
		ours = append(ours, header(headerIntentID, d.IntentID))
	}
	return ours
}

// claims are what the token of an allow says. Method, authority, target and body
// are Envoy's, which forwards them as it has shown them.
func claims(d decide.Decision, req call.Request) upstream.Claims {
	e := d.Execution
	return upstream.Claims{
		Audience:   e.Audience,
		Method:     req.Method,
		Authority:  req.Authority,
		Target:     req.Path,
		BodySHA256: upstream.Digest(req.Body),
		Does:       e.Does,
		Challenge:  e.Challenge,
		Terminal:   e.Terminal,
		SessionExp: sessionSeconds(e),
		Payment: upstream.Payment{
			System:        e.System,
			Operation:     e.Operation,
			Account:       e.Account,
			Grant:         e.Grant,
			Intent:        e.Intent,
			Payee:         e.Payee,
			Currency:      e.Currency,
			AmountMinor:   e.AmountMinor,
			ReservationID: e.ReservationID,
			DecisionID:    d.ID,
			Replayed:      e.Replayed,
			Identity:      upstream.Identity(e.Identity),
		},
	}
}

// sessionSeconds is when the caller's session ends, for the one operation that goes on
// until then: the whole second at or before it.
func sessionSeconds(e *decide.Execution) int64 {
	if e.Does != upstream.StreamMessages {
		return 0
	}
	return e.ExpiresAtNanos / int64(time.Second)
}

// encoded is a text as a header has it: percent-encoded (RFC 3986, 2.1) but for
// what may stand in a segment of a path, so that an ID is as it is. A text may
// hold any character; in a header, one that is not ASCII is read in different
// ways (RFC 9110, 5.5), and a comma, a semicolon or a space means something.
func encoded(text string) string { return url.PathEscape(text) }
