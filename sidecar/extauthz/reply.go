package extauthz

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/upstream"
)

const (
	headerPrefix        = "countersign-"
	headerDecisionID    = headerPrefix + "decision-id"
	headerReservationID = headerPrefix + "reservation-id"
	headerChallengeID   = headerPrefix + "challenge-id"
	headerIntentID      = headerPrefix + "intent-id"

	// maxBodyBytes bounds a denial's body: the example configuration cuts it
	// there (max_denied_response_body_bytes).
	maxBodyBytes = 4096

	retryAfterSeconds = 1
)

// reply turns a decision into Envoy's answer. It is a denial unless the
// decision's outcome is an allow, and one that can be carried out.
func (s *Service) reply(d decide.Decision, req call.Request) *authv3.CheckResponse {
	switch d.Outcome {
	case decide.Allow, decide.Deny, decide.Defect, decide.Unavailable, decide.StepUp:
	default:
		d.Outcome = decide.Defect
	}
	var ours []*corev3.HeaderValueOption
	if d.Outcome == decide.Allow {
		var err error
		if ours, err = s.forUpstream(d, req); err != nil {
			s.defect(decide.CauseUnsigned)
			s.log().Error("an allowed call cannot be signed", "decision_id", d.ID, "error", err)
			d = decide.Decision{ID: d.ID, Outcome: decide.Defect}
		}
	}
	response := &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		DynamicMetadata: metadata(d),
	}
	if d.Outcome == decide.Allow {
		response.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: allowed(d, req, ours)}
		response.Status.Code = int32(codes.OK)
		return response
	}
	response.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied(d)}
	return response
}

// metadata is on every answer: filters and access logs tell by it that a call
// was decided, and how.
func metadata(d decide.Decision) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"decision_id": structpb.NewStringValue(d.ID),
		"outcome":     structpb.NewStringValue(string(d.Outcome)),
	}}
}

// allowed sets our headers and removes all others of their kind that came with
// the request: only we speak as countersign-*. Setting replaces every copy that
// the client sent (measured); Envoy removes after it sets.
func allowed(d decide.Decision, req call.Request, ours []*corev3.HeaderValueOption) *authv3.OkHttpResponse {
	ok := &authv3.OkHttpResponse{
		Headers:              ours,
		ResponseHeadersToAdd: append([]*corev3.HeaderValueOption{header(headerDecisionID, d.ID)}, stepUpHeaders(d)...),
	}
	switch e := d.Execution; {
	case e == nil:
	case e.ReservationID != "":
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, header(headerReservationID, e.ReservationID))
	case e.Does != "" && e.Grant != "":
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, header(headerPrefix+"grant", encoded(e.Grant)))
	}
	if d.Replayed {
		ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, header(upstream.HeaderReplayed, "true"))
	}
	for _, h := range req.Headers {
		isOurs := func(o *corev3.HeaderValueOption) bool { return o.Header.Key == h.Name }
		if strings.HasPrefix(h.Name, headerPrefix) && !slices.ContainsFunc(ours, isOurs) {
			ok.HeadersToRemove = append(ok.HeadersToRemove, h.Name)
		}
	}
	return ok
}

func denied(d decide.Decision) *authv3.DeniedHttpResponse {
	status := d.Status
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	headers := append([]*corev3.HeaderValueOption{
		header("content-type", "application/problem+json"),
		header("cache-control", "no-store"),
		header(headerDecisionID, d.ID),
	}, stepUpHeaders(d)...)
	if d.Replayed {
		headers = append(headers, header(upstream.HeaderReplayed, "true"))
	}
	switch status {
	case http.StatusServiceUnavailable:
		headers = append(headers, header("retry-after", strconv.Itoa(retryAfterSeconds)))
	case http.StatusUnauthorized:
		headers = append(headers, header("www-authenticate", challengeOf(d)))
	}
	return &authv3.DeniedHttpResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)},
		Headers: headers,
		Body:    problem(status, d),
	}
}

// challengeOf is what a 401 asks for: a token (RFC 9110, 11.6.1), or, from a caller
// that has one, more than the token (RFC 9470, 3).
func challengeOf(d decide.Decision) string {
	if d.Outcome == decide.StepUp {
		return `Bearer error="insufficient_user_authentication"`
	}
	return "Bearer"
}

// A problem document (RFC 9457). The type is about:blank, so the title is the
// status's phrase; code says what the problem is.
type problemJSON struct {
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail,omitempty"`
	Code       string `json:"code"`
	DecisionID string `json:"decision_id"`
	// ReservationState says what became of the reservation of a call that was
	// allowed before.
	ReservationState string          `json:"reservation_state,omitempty"`
	Challenge        *challengeJSON  `json:"challenge,omitempty"`
	IntentID         string          `json:"intent_id,omitempty"`
	Reasons          []policy.Reason `json:"reasons,omitempty"`
}

// A challengeJSON is what the call waits for. It says nothing of whom it asks, and how.
type challengeJSON struct {
	ID             string `json:"id"`
	Kind           string `json:"kind"`
	ExpiresAtNanos int64  `json:"expires_at_ns"`
}

// problem writes the body of a denial: all reasons, as far as there is room.
func problem(status int, d decide.Decision) string {
	p := problemJSON{
		Title:            http.StatusText(status),
		Status:           status,
		Code:             decide.InternalError.Code,
		DecisionID:       d.ID,
		ReservationState: d.ReservationState,
		IntentID:         d.IntentID,
		Reasons:          d.Reasons,
	}
	if c := d.Challenge; c != nil {
		p.Challenge = &challengeJSON{c.ID, c.Kind, c.ExpiresAtNanos}
	}
	if len(d.Reasons) > 0 {
		p.Code, p.Detail = d.Reasons[0].Code, d.Reasons[0].Message
	}
	for {
		body, err := json.Marshal(p)
		switch {
		case err == nil && len(body) <= maxBodyBytes:
			// A string field of a protobuf that is not UTF-8 is an error to the
			// gRPC library; json.Marshal has replaced what is not.
			return string(body)
		case len(p.Reasons) > 0:
			p.Reasons = p.Reasons[:len(p.Reasons)-1]
		case p.Detail != "":
			p.Detail = ""
		default:
			return `{"title":"Internal Server Error","status":500,"code":"internal_error"}`
		}
	}
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
