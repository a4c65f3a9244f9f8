package extauthz

import (
	"bytes"
	"context"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// checkRequest is what Envoy sends under our configuration.
func checkRequest(t testing.TB) *authv3.CheckRequest {
	t.Helper()
	payload, err := structpb.NewStruct(map[string]any{"iss": "https://id.example", "sub": "anna", "aud": []any{"pay"}, "exp": 1795532400})
	if err != nil {
		t.Fatal(err)
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Principal: "spiffe://shop.example/till"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method:  "POST",
			Host:    "pay.example",
			Path:    "/v1/accounts/acc_anna/payments",
			RawBody: []byte("{\xff}"),
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				{Key: "content-type", RawValue: []byte("application/json")},
				{Key: "x-note", RawValue: []byte("\xff")}, {Key: "x-note", RawValue: nil},
			}},
		}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.filters.http.jwt_authn": {Fields: map[string]*structpb.Value{"jwt_payload": structpb.NewStructValue(payload)}},
		}},
	}}
}

func checkWith(t testing.TB, change func(*authv3.AttributeContext_HttpRequest, *authv3.AttributeContext)) *authv3.CheckRequest {
	t.Helper()
	check := checkRequest(t)
	change(check.Attributes.Request.Http, check.Attributes)
	return check
}

// allowing is a service that allows everything and keeps what it was asked.
func allowing(asked *[]call.Request) *Service {
	return &Service{Decide: func(_ context.Context, req call.Request) decide.Decision {
		*asked = append(*asked, req)
		return decide.Decision{ID: "dec_x", Outcome: decide.Allow}
	}}
}

// A CheckRequest becomes a request with every byte as it is.
func TestCheckReadsRequest(t *testing.T) {
	var asked []call.Request
	r, err := allowing(&asked).Check(context.Background(), checkRequest(t))
	if err != nil || r.GetStatus().GetCode() != int32(codes.OK) {
		t.Fatalf("%v, %v", r, err)
	}
	want := []call.Request{{
		Method:    "POST",
		Authority: "pay.example",
		Path:      "/v1/accounts/acc_anna/payments",
		Headers: []call.Header{
			{Name: "content-type", Value: []byte("application/json")},
			{Name: "x-note", Value: []byte("\xff")}, {Name: "x-note", Value: nil},
		},
		Body:      []byte("{\xff}"),
		Claims:    map[string]any{"iss": "https://id.example", "sub": "anna", "aud": []any{"pay"}, "exp": 1795532400.0},
		Principal: "spiffe://shop.example/till",
	}}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v\nwant  %+v", asked, want)
	}
}

// Claims are those that jwt_authn verified, from its own place and no other.
func TestCheckReadsClaims(t *testing.T) {
	forged := structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"sub": structpb.NewStringValue("bob")}})
	for name, metadata := range map[string]*corev3.Metadata{
		"none":             nil,
		"empty":            {},
		"no payload":       {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: {}}},
		"nil namespace":    {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: nil}},
		"other namespace":  {FilterMetadata: map[string]*structpb.Struct{"envoy.lb": {Fields: map[string]*structpb.Value{jwtPayload: forged}}}},
		"other key":        {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: {Fields: map[string]*structpb.Value{"payload": forged}}}},
		"a text":           {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: {Fields: map[string]*structpb.Value{jwtPayload: structpb.NewStringValue("bob")}}}},
		"null":             {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: {Fields: map[string]*structpb.Value{jwtPayload: structpb.NewNullValue()}}}},
		"a list of claims": {FilterMetadata: map[string]*structpb.Struct{jwtNamespace: {Fields: map[string]*structpb.Value{jwtPayload: structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{forged}})}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []call.Request
			check := checkWith(t, func(_ *authv3.AttributeContext_HttpRequest, a *authv3.AttributeContext) { a.MetadataContext = metadata })
			if _, err := allowing(&asked).Check(context.Background(), check); err != nil || len(asked) != 1 {
				t.Fatalf("asked %d times, %v", len(asked), err)
			}
			if asked[0].Claims != nil {
				t.Errorf("claims %v", asked[0].Claims)
			}
		})
	}
}

// A CheckRequest that is not what our configuration makes Envoy send is denied
// before anything is decided.
func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		check *authv3.CheckRequest
		code  string
	}{
		{"nil", nil, "envoy_not_http"},
		{"empty", &authv3.CheckRequest{}, "envoy_not_http"},
		{"nil attributes", &authv3.CheckRequest{Attributes: nil}, "envoy_not_http"},
		{"no request", &authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}, "envoy_not_http"},
		{"no HTTP", &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}}, "envoy_not_http"},
		{"headers in a map", checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) {
			h.Headers = map[string]string{"content-type": "application/json"}
		}), "envoy_not_raw"},
		{"headers in a map alone", checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) {
			h.Headers, h.HeaderMap = map[string]string{"content-type": "application/json"}, nil
		}), "envoy_not_raw"},
		{"body a string", checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) {
			h.Body, h.RawBody = "{}", nil
		}), "envoy_not_raw"},
		{"body twice", checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) { h.Body = "{}" }), "envoy_not_raw"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []call.Request
			r, err := allowing(&asked).Check(context.Background(), c.check)
			if err != nil {
				t.Fatal(err)
			}
			status, p := wantDenial(t, r)
			if status != 500 || p.Code != c.code || len(asked) != 0 {
				t.Errorf("%d %s, asked %d times, want 500 %s", status, p.Code, len(asked), c.code)
			}
		})
	}
}

// A header line without raw value, as Envoy sends it without encode_raw_headers,
// must not be read as an empty one.
func TestCheckRefusesHeaderWithoutRawValue(t *testing.T) {
	check := checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) {
		h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: "content-encoding", Value: "gzip"})
	})
	var asked []call.Request
	r, err := allowing(&asked).Check(context.Background(), check)
	if err != nil {
		t.Fatal(err)
	}
	if _, p := wantDenial(t, r); p.Code != "envoy_not_raw" || len(asked) != 0 {
		t.Errorf("%s, asked %d times", p.Code, len(asked))
	}
}

// A panic is a denial, and is logged.
func TestCheckPanics(t *testing.T) {
	for name, decider := range map[string]func(context.Context, call.Request) decide.Decision{
		"text":    func(context.Context, call.Request) decide.Decision { panic("panic4711") },
		"nothing": nil,
		"nil":     func(context.Context, call.Request) decide.Decision { panic(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := &Service{Decide: decider, Log: slog.New(slog.NewTextHandler(&log, nil))}
			r, err := s.Check(context.Background(), checkRequest(t))
			if err != nil {
				t.Fatal(err)
			}
			if status, p := wantDenial(t, r); status != 500 || p.Code != "internal_error" || strings.Contains(r.String(), "4711") {
				t.Errorf("answer %v", r)
			}
			if !strings.Contains(log.String(), "panic") {
				t.Errorf("log %q", &log)
			}
		})
	}
}

// The caller's context, with its deadline, is the decision's.
func TestCheckPassesContext(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "x")
	s := &Service{Decide: func(ctx context.Context, _ call.Request) decide.Decision {
		if ctx.Value(key{}) != "x" {
			t.Error("another context")
		}
		return decide.Decision{}
	}}
	r, err := s.Check(ctx, checkRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	wantDenial(t, r)
}
