package sidecar

import (
	"context"
	"errors"
	"net"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/extauthz"
)

// A call that never ends, or a commit that failed, does not keep the process from
// ending, whether it was told to stop or not.
func TestBrokenServerEnds(t *testing.T) {
	serving := func(server *extauthz.Server, served <-chan error, failed, stuck <-chan struct{}) error {
		return wait(context.Background(), server, served, failed, stuck)
	}
	for name, await := range map[string]func(*extauthz.Server, <-chan error, <-chan struct{}) error{
		"stuck while serving": func(server *extauthz.Server, served <-chan error, broken <-chan struct{}) error {
			return serving(server, served, nil, broken)
		},
		"stuck while shutting down": func(server *extauthz.Server, served <-chan error, broken <-chan struct{}) error {
			return shutDown(server, served, nil, broken)
		},
		"failed while serving": func(server *extauthz.Server, served <-chan error, broken <-chan struct{}) error {
			return serving(server, served, broken, nil)
		},
		"failed while shutting down": func(server *extauthz.Server, served <-chan error, broken <-chan struct{}) error {
			return shutDown(server, served, broken, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			server := extauthz.NewServer(&extauthz.Service{Decide: func(context.Context, call.Request) decide.Decision {
				close(entered)
				<-release
				return decide.Decision{}
			}})
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(listener) }()
			conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			check := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
				Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET"}},
			}}
			go func() { _, _ = authv3.NewAuthorizationClient(conn).Check(context.Background(), check) }() // it is cut off
			<-entered

			broken, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- await(server, served, broken) }()
			broken <- struct{}{}
			if err := <-ended; !errors.Is(err, ErrFailStop) {
				t.Errorf("ended with %v, want %v", err, ErrFailStop)
			}
		})
	}
}
