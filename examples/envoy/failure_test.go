package envoy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// ok is the status that ext_authz takes as an allow.
var ok = &rpcstatus.Status{Code: int32(codes.OK)}

// Replies that Envoy would take as an allow, or that are no decision: none of
// them may let the call pass. The first group fails without the filter "decided"
// of envoy.yaml.
func TestReplyThatIsNoDecision(t *testing.T) {
	denied := &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden}}}
	failed := &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable}}}
	okResponse := &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}
	refused := &rpcstatus.Status{Code: int32(codes.PermissionDenied)}
	for _, test := range []struct {
		name   string
		resp   *authv3.CheckResponse
		status int
	}{
		{"empty", &authv3.CheckResponse{}, 403},
		{"no status", &authv3.CheckResponse{HttpResponse: okResponse}, 403},
		{"status 0", &authv3.CheckResponse{Status: ok}, 403},
		{"status 0 and OK, no metadata", &authv3.CheckResponse{Status: ok, HttpResponse: okResponse}, 403},
		{"status 0 and denied", &authv3.CheckResponse{Status: ok, HttpResponse: denied}, 403},
		{"status 0 and denied, outcome deny",
			&authv3.CheckResponse{Status: ok, HttpResponse: denied, DynamicMetadata: outcome("deny")}, 403},
		{"status 0 and error", &authv3.CheckResponse{Status: ok, HttpResponse: failed}, 403},
		{"status 0, outcome ALLOW", &authv3.CheckResponse{Status: ok, DynamicMetadata: outcome("ALLOW")}, 403},
		{"status 0, outcome empty", &authv3.CheckResponse{Status: ok, DynamicMetadata: outcome("")}, 403},

		{"refused, outcome allow", &authv3.CheckResponse{Status: refused, DynamicMetadata: outcome("allow")}, 403},
		{"refused and OK, outcome allow",
			&authv3.CheckResponse{Status: refused, HttpResponse: okResponse, DynamicMetadata: outcome("allow")}, 403},
		{"refused and error, outcome allow",
			&authv3.CheckResponse{Status: refused, HttpResponse: failed, DynamicMetadata: outcome("allow")}, 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(reply(test.resp))
			expect(t, post(t, edge, "/v1/payments", "{}"), test.status, 1, 0)
		})
	}
}

// A gRPC error is "cannot decide": 503, whatever its code. Code 0 cannot be one.
func TestGRPCError(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			script(func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
				return nil, status.Error(code, "secret reason")
			})
			resp := post(t, edge, "/v1/payments", "{}")
			expect(t, resp, 503, 1, 0)
			if resp.body != "" {
				t.Errorf("client got %q, want nothing", resp.body)
			}
		})
	}
}

// A sidecar that answers too late: Envoy gives up after the 0.5 s of envoy.yaml,
// which the sidecar can see as a deadline, and the late allow changes nothing.
func TestHungCheck(t *testing.T) {
	release, bounded := make(chan struct{}), make(chan bool, 1)
	script(func(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		_, ok := ctx.Deadline()
		bounded <- ok
		<-release
		return allow(ctx, req)
	})
	resp := post(t, edge, "/v1/payments", "{}")
	close(release)
	expect(t, resp, 503, 1, 0)
	if len(bounded) != 1 || !<-bounded {
		t.Error("the check had no deadline")
	}
}

// What may be at the other end of the socket instead of a sidecar.
var impostors = []struct {
	name  string
	serve func(net.Conn) // nil: nobody listens
}{
	{"socket missing", nil},
	{"closes", func(c net.Conn) { c.Close() }},
	{"hangs", func(c net.Conn) { io.Copy(io.Discard, c) }},
	{"answers garbage", func(c net.Conn) {
		fmt.Fprint(c, "\x00\xff\x13garbage\r\n\r\n")
		io.Copy(io.Discard, c)
	}},
	{"answers HTTP/1", func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, c)
	}},
}

// With the health check of envoy.yaml Envoy does not even ask an impostor;
// without it, asking brings nothing either.
func TestImpostor(t *testing.T) {
	for _, health := range []bool{true, false} {
		for _, impostor := range impostors {
			t.Run(fmt.Sprintf("%s, health check %t", impostor.name, health), func(t *testing.T) {
				script(allow)
				e := bent(t, listen(t, impostor.serve), func(root map[string]any) {
					if !health {
						delete(object(Cluster(root, "countersign")), "health_checks")
					}
				})
				expect(t, post(t, e, "/v1/payments", "{}"), 503, 0, 0)
			})
		}
	}
}

// A plain gRPC server that knows no Authorization service, and one that was
// stopped: the socket file is there, nobody accepts.
func TestWrongOrStoppedServer(t *testing.T) {
	noHealth := func(root map[string]any) { delete(object(Cluster(root, "countersign")), "health_checks") }
	script(allow)
	socket := socketPath(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	server := grpc.NewServer()
	go server.Serve(l)
	e := bent(t, socket, noHealth)
	expect(t, post(t, e, "/v1/payments", "{}"), 503, 0, 0)
	server.Stop()
	expect(t, post(t, e, "/v1/payments", "{}"), 503, 0, 0)
}

// A sidecar that says NOT_SERVING gets no checks, and gets them again after,
// also when it changes its mind quickly: Envoy holds a change back for up to
// 1 s after the one before unless update_merge_window is 0.
func TestNotServing(t *testing.T) {
	fickle := &sidecar{}
	if err := fickle.listen(socketPath(t)); err != nil {
		t.Fatal(err)
	}
	defer fickle.server.Stop()
	fickle.answer = checks.Check // which counts
	e := bent(t, fickle.socket, func(root map[string]any) {
		object(At(object(Cluster(root, "countersign")), "health_checks", 0))["interval"] = "0.1s"
	})
	say := func(s healthpb.HealthCheckResponse_ServingStatus, healthy bool) {
		t.Helper()
		fickle.health.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, s)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := e.AwaitSidecar(ctx, healthy); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		say(healthpb.HealthCheckResponse_NOT_SERVING, false)
		script(allow)
		expect(t, post(t, e, "/v1/payments", "{}"), 503, 0, 0)
		say(healthpb.HealthCheckResponse_SERVING, true)
		expect(t, post(t, e, "/v1/payments", "{}"), 200, 1, 1)
	}
}

// A call that the upstream did not answer may have run: Envoy does not send it
// again.
func TestNoRetry(t *testing.T) {
	script(allow)
	expect(t, post(t, edge, "/", "{}", "Test-Upstream", "reset"), 503, 1, 1)
	script(allow)
	expect(t, post(t, edge, "/", "{}", "Test-Upstream", "500"), 500, 1, 1)
}

// Ways to switch ext_authz off that the filter "decided" closes: 403, and nothing
// reaches the upstream.
func TestExtAuthzSwitchedOff(t *testing.T) {
	const filter = "envoy.filters.http.ext_authz"
	off := map[string]any{filter: map[string]any{
		"@type":    "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
		"disabled": true,
	}}
	host := []any{"route_config", "virtual_hosts", "payments"}
	for _, test := range []struct {
		name      string
		edit      func(manager map[string]any)
		wantAsked int
	}{
		{"by the route", func(m map[string]any) {
			object(At(m, below(host, "routes", "payments")...))["typed_per_filter_config"] = off
		}, 0},
		{"by the virtual host", func(m map[string]any) {
			object(At(m, host...))["typed_per_filter_config"] = off
		}, 0},
		{"by the route table", func(m map[string]any) {
			object(At(m, "route_config"))["typed_per_filter_config"] = off
		}, 0},
		{"filter disabled", func(m map[string]any) {
			object(At(m, "http_filters", filter))["disabled"] = true
		}, 0},
		{"sampled at 0 %", func(m map[string]any) {
			object(At(m, "http_filters", filter, "typed_config"))["filter_enabled"] = map[string]any{
				"default_value": map[string]any{"numerator": 0}}
		}, 0},
		{"shadow mode", func(m map[string]any) {
			object(At(m, "http_filters", filter, "typed_config"))["shadow_mode"] = true
		}, 1},
		{"fails open", func(m map[string]any) {
			object(At(m, "http_filters", filter, "typed_config"))["failure_mode_allow"] = true
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			script(deny)
			if test.name == "fails open" {
				script(func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
					return nil, status.Error(codes.Internal, "broken")
				})
			}
			e := bent(t, checks.socket, func(root map[string]any) { test.edit(object(Manager(root))) })
			expect(t, post(t, e, "/v1/payments", "{}"), http.StatusForbidden, test.wantAsked, 0)
		})
	}
}

// socketPath is a new path short enough for a socket; t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// listen serves connections to a new socket until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	socket := socketPath(t)
	if serve == nil {
		return socket
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return socket
}
