package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/countersign/countersign/sidecar/clock"
)

// clocked leaves the clock's file as a sidecar does that ran while the clock showed
// another time: to the next one, the clock has jumped by as much.
func clocked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: clocked DIR DURATION")
	}
	wrong, err := time.ParseDuration(args[1])
	ts.Check(err)
	if err := os.Remove(filepath.Join(ts.MkAbs(args[0]), "clock")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		ts.Fatalf("%v", err)
	}
	cfg := clock.Config{
		Wall: func() time.Time { return time.Now().Add(wrong) },
		Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	_, err = clock.Open(ts.MkAbs(args[0]), func() (time.Time, error) { return time.Time{}, nil }, cfg)
	ts.Check(err)
}

// answers asks the sidecar about a call until the answer holds the code, for half a
// minute.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answers SOCKET CODE")
	}
	conn, err := grpc.NewClient("unix:"+ts.MkAbs(args[0]), grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	check := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Host: "pay.example", Path: "/nowhere",
		}},
	}}
	body := ""
	for range 300 {
		answer, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), check)
		if err != nil { // the socket is that of a process that was killed
			body = err.Error()
		} else if body = answer.GetDeniedResponse().GetBody(); strings.Contains(body, `"code":"`+args[1]+`"`) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("the answer is %s, not %s", body, args[1])
}
