package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// through makes a call as Envoy does: it asks the sidecar, and sends the call with
// the headers of an allow to the terminal API. It prints the status and the body of
// whoever answered, and leaves the ID of the challenge that a denial names in the file
// challenge.
func through(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 || len(args) > 6 {
		ts.Fatalf("usage: through CHECKS API SUBJECT METHOD PATH [FILE]")
	}
	subject, method, path := args[2], args[3], args[4]
	var body []byte
	if len(args) == 6 {
		body = []byte(ts.ReadFile(args[5]))
	}
	check := checkRequest(ts, subject, method, path, body)
	conn, err := grpc.NewClient("unix:"+ts.MkAbs(args[0]), grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	answer, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), check, grpc.WaitForReady(true))
	ts.Check(err)
	if denied := answer.GetDeniedResponse(); denied != nil {
		fmt.Fprintf(ts.Stdout(), "%d %s\n", denied.GetStatus().GetCode(), denied.GetBody())
		for _, h := range denied.GetHeaders() {
			if h.GetHeader().GetKey() == "countersign-challenge-id" {
				ts.Check(os.WriteFile(ts.MkAbs("challenge"), []byte(h.GetHeader().GetValue()), 0o600))
			}
		}
		return
	}
	request, err := http.NewRequest(method, "http://pay.example"+path, bytes.NewReader(body))
	ts.Check(err)
	for _, h := range answer.GetOkResponse().GetHeaders() {
		request.Header.Add(h.GetHeader().GetKey(), cmp.Or(h.GetHeader().GetValue(), string(h.GetHeader().GetRawValue())))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", ts.MkAbs(args[1]))
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	shown, err := client.Do(request)
	ts.Check(err)
	defer shown.Body.Close()
	text, err := io.ReadAll(shown.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s", shown.StatusCode, text)
	ts.Check(os.WriteFile(ts.MkAbs("shown"), text, 0o600))
}

func checkRequest(ts *testscript.TestScript, subject, method, path string, body []byte) *authv3.CheckRequest {
	claims, err := structpb.NewStruct(map[string]any{"jwt_payload": map[string]any{"iss": "https://id.example", "sub": subject}})
	ts.Check(err)
	headers := []*corev3.HeaderValue{{Key: "idempotency-key", RawValue: []byte(rand.Text())}}
	if body != nil {
		headers = append(headers, &corev3.HeaderValue{Key: "content-type", RawValue: []byte("application/json")},
			&corev3.HeaderValue{Key: "content-length", RawValue: []byte(strconv.Itoa(len(body)))})
	}
	if strings.EqualFold(method, "GET") {
		headers = headers[1:] // a view needs no key
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: method, Host: "pay.example", Path: path, RawBody: body, HeaderMap: &corev3.HeaderMap{Headers: headers},
		}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.jwt_authn": claims}},
	}}
}

// keep puts the text of a file, without spaces around it, into a variable.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
