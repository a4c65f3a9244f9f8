package extauthz

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// Bounds of the gRPC server. There is one client, Envoy, with a connection for
// each of its workers.
const (
	maxMessageBytes    = 1 << 20 // a body of 64 KiB, 60 KiB of headers, a certificate
	maxHeaderListBytes = 16 << 10
	maxStreams         = 1024 // for each connection
	connectTimeout     = 5 * time.Second
	idleAfter          = 30 * time.Second
	idleTimeout        = 10 * time.Second

	// streamWorkers serve one call after the other, so that not every call is a
	// goroutine whose stack has to grow: that took 5 to 10 % of a call's CPU time
	// (measured). Calls beyond as many at once get goroutines of their own.
	streamWorkers = 64
)

// Server is the gRPC server with the Authorization and the Health service.
type Server struct {
	*grpc.Server
	health  *health.Server
	stopped atomic.Bool
}

// NewServer returns a server that answers Checks. Health says SERVING for the
// whole server and for the Authorization service, which Envoy asks about.
func NewServer(service *Service) *Server {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderListBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: idleAfter, Timeout: idleTimeout}),
	)
	authv3.RegisterAuthorizationServer(server, service)
	h := health.NewServer()
	h.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(server, h)
	return &Server{Server: server, health: h}
}

// Serve answers on the listener until the server is stopped, before or after it
// starts to.
func (s *Server) Serve(listener net.Listener) error {
	if err := s.Server.Serve(listener); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// NotServing has health say NOT_SERVING from now on.
func (s *Server) NotServing() {
	s.stopped.Store(true)
	s.health.Shutdown()
}

// Serving tells whether health says SERVING.
func (s *Server) Serving() bool { return !s.stopped.Load() }
