package extauthz

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/upstream"
)

// Service answers Envoy's Checks.
type Service struct {
	authv3.UnimplementedAuthorizationServer
	// Decide decides one request: [decide.Decider.Decide].
	Decide func(context.Context, call.Request) decide.Decision
	// Sign signs the token of an allowed call that moves money:
	// [upstream.Signer.Sign]. Nil means that no such call is allowed.
	Sign func(upstream.Claims) (string, error)
	// Defect is told of each answer that a fault gave, in place of Decide: a check
	// that Decide was not asked, or an allow that could not be signed. Nil means
	// that nobody is.
	Defect func(decide.Cause)
	// Log receives what Envoy does wrong, and panics. Nil means slog.Default.
	Log *slog.Logger
}

// Check answers one call. It never returns an error.
func (s *Service) Check(ctx context.Context, check *authv3.CheckRequest) (response *authv3.CheckResponse, _ error) {
	defer func() {
		if p := recover(); p != nil {
			// What it says may quote the call: only its type is told.
			response = s.undecided(decide.CausePanic, decide.InternalError, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	req, problem := readRequest(check)
	if problem != nil {
		return s.undecided(decide.CauseEnvoy, *problem), nil
	}
	return s.reply(s.Decide(ctx, req), req), nil
}

// undecided answers a check that could not be put to Decide.
func (s *Service) undecided(cause decide.Cause, reason policy.Reason, detail ...any) *authv3.CheckResponse {
	s.defect(cause)
	d := decide.Undecided(reason)
	s.log().Error("check not decided", append(detail, "decision_id", d.ID, "code", reason.Code)...)
	return s.reply(d, call.Request{})
}

func (s *Service) defect(cause decide.Cause) {
	if s.Defect != nil {
		s.Defect(cause)
	}
}

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// jwtNamespace and jwtPayload are where the example configuration has the
// jwt_authn filter put the claims of a verified token.
const (
	jwtNamespace = "envoy.filters.http.jwt_authn"
	jwtPayload   = "jwt_payload"
)

var (
	notHTTP = &policy.Reason{Code: "envoy_not_http",
		Message: "Envoy sent no HTTP request to decide on."}
	notRaw = &policy.Reason{Code: "envoy_not_raw",
		Message: "Envoy must send headers and body as they are: set encode_raw_headers and pack_as_bytes."}
)

// checkID names a check by the connection that its request came over and Envoy's
// random ID of the stream, which is the same where Envoy asks again (measured).
func checkID(attributes *authv3.AttributeContext) string {
	peer, id := attributes.GetSource().GetAddress().GetSocketAddress(), attributes.GetRequest().GetHttp().GetId()
	if peer == nil || id == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d/%s", peer.GetAddress(), peer.GetPortValue(), id)
}

// readRequest returns the request that a CheckRequest describes. Headers and
// body must be the bytes that the upstream will get: in the other encodings
// Envoy joins repeated headers and replaces bytes that are not UTF-8.
func readRequest(check *authv3.CheckRequest) (call.Request, *policy.Reason) {
	attributes := check.GetAttributes()
	h := attributes.GetRequest().GetHttp()
	if h == nil {
		return call.Request{}, notHTTP
	}
	if len(h.GetHeaders()) > 0 || h.GetBody() != "" {
		return call.Request{}, notRaw
	}
	lines := h.GetHeaderMap().GetHeaders()
	req := call.Request{
		Method:    h.GetMethod(),
		Authority: h.GetHost(),
		Path:      h.GetPath(),
		Headers:   make([]call.Header, len(lines)),
		Body:      h.GetRawBody(),
		Principal: attributes.GetSource().GetPrincipal(),
		CheckID:   checkID(attributes),
	}
	for i, line := range lines {
		if line.GetValue() != "" {
			return call.Request{}, notRaw
		}
		req.Headers[i] = call.Header{Name: line.GetKey(), Value: line.GetRawValue()}
	}
	metadata := attributes.GetMetadataContext().GetFilterMetadata()
	if payload := metadata[jwtNamespace].GetFields()[jwtPayload].GetStructValue(); payload != nil {
		req.Claims = payload.AsMap()
	}
	return req, nil
}
