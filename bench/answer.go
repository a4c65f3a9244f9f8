package main

import (
	"context"
	"encoding/json"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
)

// The servers that are not Countersign answer exactly as it does, with the same
// status, headers, metadata and body, but for what comes with a payment made
// durable. A test holds them to it.

const (
	headerDecisionID    = "countersign-decision-id"
	headerReservationID = "countersign-reservation-id" // Countersign's alone
)

type reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Of a limit: its name and what remains, as OPA has the number.
	Limit          string `json:"limit,omitempty"`
	RemainingMinor any    `json:"remaining_minor,omitempty"`
}

func allow(id string) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(codes.OK)},
		DynamicMetadata: metadata(id, "allow"),
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:              []*corev3.HeaderValueOption{header(headerDecisionID, id)},
			ResponseHeadersToAdd: []*corev3.HeaderValueOption{header(headerDecisionID, id)},
		}},
	}
}

func deny(id string, reasons []reason) (*authv3.CheckResponse, error) {
	if len(reasons) == 0 {
		reasons = []reason{{Code: "no_permit", Message: "No rule permits this call."}}
	}
	body, err := json.Marshal(struct {
		Title      string   `json:"title"`
		Status     int      `json:"status"`
		Detail     string   `json:"detail"`
		Code       string   `json:"code"`
		DecisionID string   `json:"decision_id"`
		Reasons    []reason `json:"reasons"`
	}{http.StatusText(http.StatusForbidden), http.StatusForbidden, reasons[0].Message, reasons[0].Code, id, reasons})
	if err != nil {
		return nil, err
	}
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		DynamicMetadata: metadata(id, "deny"),
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden},
			Headers: []*corev3.HeaderValueOption{
				header("content-type", "application/problem+json"),
				header("cache-control", "no-store"),
				header(headerDecisionID, id),
			},
			Body: string(body),
		}},
	}, nil
}

func metadata(id, outcome string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"decision_id": structpb.NewStringValue(id),
		"outcome":     structpb.NewStringValue(outcome),
	}}
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// noOp allows everything: what is left is the cost of gRPC.
type noOp struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

func (n *noOp) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return n.answer, nil
}

func runNoOp(ctx context.Context, p place) error {
	return serveGRPC(ctx, p.socket, &noOp{answer: allow("dec_2aaaaaaaaaaaaaaaaaaaaaaaaa")})
}
