package extauthz

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

// serve runs a service behind a unix socket and returns a connection to it. At
// the end of the test nothing of either is left.
func serve(t *testing.T, service *Service) (*Server, *grpc.ClientConn) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	path := socketPath(t)
	listener := mustListen(t, "unix:"+path, 0o600)
	server := NewServer(service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.GracefulStop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	conn, err := grpc.NewClient("passthrough:///sidecar", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return server, conn
}

// echo allows what has the method POST and tells the path in the decision's ID.
func echo(_ context.Context, req call.Request) decide.Decision {
	switch req.Method {
	case "POST":
		return decide.Decision{ID: "dec_" + req.Path, Outcome: decide.Allow}
	case "PANIC":
		panic("method PANIC")
	default:
		d := frozen()
		d.Reasons[0].Message = "not UTF-8: \xff"
		return d
	}
}

// Checks over a real connection: allow, deny, a panic, and after it another
// allow; each is an answer and no gRPC error.
func TestServerChecks(t *testing.T) {
	var log bytes.Buffer
	var counted []decide.Cause
	_, conn := serve(t, &Service{Decide: echo, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Defect: func(cause decide.Cause) { counted = append(counted, cause) }})
	client := authv3.NewAuthorizationClient(conn)
	for _, method := range []string{"POST", "GET", "PANIC", "POST"} {
		check := checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) { h.Method = method })
		r, err := client.Check(context.Background(), check)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		switch method {
		case "POST":
			if r.GetStatus().GetCode() != int32(codes.OK) || headers(t, r.GetOkResponse().GetHeaders())[headerDecisionID] != "dec_/v1/accounts/acc_anna/payments" {
				t.Errorf("POST: %v", r)
			}
		case "GET":
			if status, p := wantDenial(t, r); status != 403 || p.Detail != "not UTF-8: \ufffd" {
				t.Errorf("GET: %d %+v", status, p)
			}
		case "PANIC":
			status, p := wantDenial(t, r)
			if status != 500 {
				t.Errorf("PANIC: %d", status)
			}
			// What a panic says may quote the call.
			if text := log.String(); !strings.Contains(text, p.DecisionID) || !strings.Contains(text, "panic=string") || strings.Contains(text, "method PANIC") {
				t.Errorf("the log says %s", text)
			}
		}
	}
	r, err := client.Check(context.Background(), &authv3.CheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, p := wantDenial(t, r); p.Code != "envoy_not_http" {
		t.Errorf("an empty request: %s", p.Code)
	}
	if !slices.Equal(counted, []decide.Cause{decide.CausePanic, decide.CauseEnvoy}) {
		t.Errorf("counted %q", counted)
	}
}

// A message beyond the bound is refused before it is decoded.
func TestServerBoundsMessages(t *testing.T) {
	_, conn := serve(t, &Service{Decide: echo, Log: slog.New(slog.DiscardHandler)})
	client := authv3.NewAuthorizationClient(conn)
	for size, want := range map[int]codes.Code{maxMessageBytes / 2: codes.OK, maxMessageBytes + 1: codes.ResourceExhausted} {
		check := checkWith(t, func(h *authv3.AttributeContext_HttpRequest, _ *authv3.AttributeContext) {
			h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: "x-long", RawValue: []byte(strings.Repeat("a", size))})
		})
		if _, err := client.Check(context.Background(), check); status.Code(err) != want {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
	}
}

// Health is told for the whole server and for the service that Envoy asks about,
// and for no other.
func TestServerHealth(t *testing.T) {
	server, conn := serve(t, &Service{Decide: echo, Log: slog.New(slog.DiscardHandler)})
	client := healthv1.NewHealthClient(conn)
	want := func(service string, status healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		r, err := client.Check(context.Background(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || r.GetStatus() != status {
			t.Errorf("%q: %v, %v, want %v", service, r.GetStatus(), err, status)
		}
	}
	want("", healthv1.HealthCheckResponse_SERVING)
	want("envoy.service.auth.v3.Authorization", healthv1.HealthCheckResponse_SERVING)
	if _, err := client.Check(context.Background(), &healthv1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("another service: %v", err)
	}
	if !server.Serving() {
		t.Error("health says what Serving does not")
	}
	server.NotServing()
	if server.Serving() {
		t.Error("Serving says what health does not")
	}
	want("", healthv1.HealthCheckResponse_NOT_SERVING)
	want("envoy.service.auth.v3.Authorization", healthv1.HealthCheckResponse_NOT_SERVING)
	// Health is advice: what still comes is decided.
	if _, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), checkRequest(t)); err != nil {
		t.Error(err)
	}
}
