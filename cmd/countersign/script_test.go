package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar"
)

// builtIn is the bundle with all systems.
var builtIn fs.FS

// The program has one of its systems here: with the race detector, judging all of
// them takes half a minute for each sidecar that starts.
func TestMain(m *testing.M) {
	builtIn = policies.FS
	direct, err := policiestest.Direct()
	if err != nil {
		panic(err)
	}
	policies.FS = direct
	testscript.Main(m, map[string]func(){"countersign": main})
}

// TestScripts runs the program as an operator does. The scripts have, beside
// testscript's own commands:
//
//	exits STATUS COMMAND…   run a command that must end with this status
//	signal NAME             send TERM or INT to what runs in the background
//	await FILE [PATTERN]    wait until the file is there, and has a text like this
//	pays SOCKET MINOR CODE  ask as Envoy does for a payment of Anna's; the answer
//	                        must be this code, or allowed; $decision is its ID then
//	mode MODE FILE          the file must have this mode
//	bundle DIR [SYSTEM…]    write the built-in bundle to a directory; of its systems
//	                        direct_payment, or those that are named
//	flip FILE OFFSET        change one byte of the file
//	pruned DIR ID           write this account until there are old records to prune,
//	                        and prune them; $oldest is the first number kept then
//	through CHECKS API SUBJECT METHOD PATH [FILE]
//	                        call the terminal API as Envoy does, after a check
//	keep NAME FILE          put the text of the file into a variable
//	shell DOC NUMBER FILE   write a block of shell commands of a page of the docs to a file
//	clocked DIR DURATION    the last sidecar on this store ran by a clock ahead by so much
//	answers SOCKET CODE     the sidecar must come to refuse a call to nowhere with this code
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "signal": signalBackground, "await": await, "pays": pays, "mode": mode, "bundle": copyBundle, "flip": flip,
			"pruned": pruned, "shell": shellOf, "through": through, "keep": keep,
			"clocked": clocked, "answers": answers,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var failed *exec.ExitError
	got := 0
	if errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func signalBackground(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal TERM|INT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [PATTERN]")
	}
	there := func() bool { _, err := os.Lstat(ts.MkAbs(args[0])); return err == nil }
	if len(args) == 2 {
		pattern, err := regexp.Compile(args[1])
		ts.Check(err)
		there = func() bool { text, err := os.ReadFile(ts.MkAbs(args[0])); return err == nil && pattern.Match(text) }
	}
	for range 6000 { // a minute
		if there() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", strings.Join(args, " with "))
}

func pays(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: pays SOCKET MINOR CODE")
	}
	conn, err := grpc.NewClient("unix:"+ts.MkAbs(args[0]), grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	claims, err := structpb.NewStruct(map[string]any{"jwt_payload": map[string]any{"iss": "https://id.example", "sub": "anna"}})
	ts.Check(err)
	body := fmt.Sprintf(`{"payee": "mer_bakery", "amount_minor": %s, "currency": "EUR"}`, args[1])
	answer, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "POST", Host: "pay.example", Path: "/v1/accounts/acc_anna/payments", RawBody: []byte(body),
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				{Key: "content-type", RawValue: []byte("application/json")},
				{Key: "content-length", RawValue: []byte(strconv.Itoa(len(body)))},
				{Key: "idempotency-key", RawValue: []byte(rand.Text())},
			}},
		}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.jwt_authn": claims}},
	}}, grpc.WaitForReady(true)) // the socket is there a moment before somebody listens
	ts.Check(err)
	got := struct{ Code string }{"allowed"}
	headers := answer.GetOkResponse().GetHeaders()
	if denied := answer.GetDeniedResponse(); denied != nil {
		headers = denied.GetHeaders()
		ts.Check(json.Unmarshal([]byte(denied.GetBody()), &got))
	}
	for _, h := range headers {
		if h.GetHeader().GetKey() == "countersign-decision-id" {
			ts.Setenv("decision", cmp.Or(h.GetHeader().GetValue(), string(h.GetHeader().GetRawValue())))
		}
	}
	if got.Code != args[2] {
		ts.Fatalf("a payment of %s is %s, want %s", args[1], got.Code, args[2])
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got != fs.FileMode(want) {
		ts.Fatalf("%s has the mode %04o, want %04o", args[1], got, want)
	}
}

func copyBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: bundle DIR [SYSTEM…]")
	}
	dir, systems := filepath.Clean(ts.MkAbs(args[0])), args[1:]
	if len(systems) == 0 {
		ts.Check(os.CopyFS(dir, policies.FS))
		return
	}
	ts.Check(os.CopyFS(dir, builtIn))
	all, err := fs.ReadDir(builtIn, "systems")
	ts.Check(err)
	for _, system := range all {
		if !slices.Contains(systems, system.Name()) {
			ts.Check(os.RemoveAll(filepath.Join(dir, "systems", system.Name())))
		}
	}
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	text[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

func pruned(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pruned DIR ID")
	}
	ctx := context.Background()
	refs := []kv.Ref{authzstore.AccountRef(args[1], kv.Exclusive)}
	account := authzstore.Account{ID: args[1], State: authzstore.AccountActive, Currency: "EUR",
		Owner: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "dora"}}
	for first := uint64(1); first == 1; {
		store, err := sidecar.OpenStore(ctx, ts.MkAbs(args[0]), nil) // again: what Close made durable twice may go
		ts.Check(err)
		for i := 0; i < 600 && err == nil; i++ {
			err = store.Update(ctx, sidecar.OperatorCause("test", time.Now()), refs, func(tx *authzstore.Tx) error {
				account.MaxPaymentMinor++
				return tx.PutAccount(account)
			})
		}
		if err == nil {
			first, err = store.Prune(ctx, kv.Retention{Now: time.Now().Add(2 * authzstore.MaxMessageLife), MaxBytes: 1, Exported: math.MaxUint64})
		}
		ts.Check(errors.Join(err, store.Close()))
		ts.Setenv("oldest", strconv.FormatUint(first, 10))
	}
}

func shellOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: shell DOC NUMBER FILE")
	}
	text, err := os.ReadFile(args[0]) // from where the test runs
	ts.Check(err)
	number, err := strconv.Atoi(args[1])
	ts.Check(err)
	blocks := strings.Split(string(text), "```sh\n")
	if number < 1 || number >= len(blocks) {
		ts.Fatalf("%s has %d blocks of commands", args[0], len(blocks)-1)
	}
	commands, _, _ := strings.Cut(blocks[number], "```")
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(commands), 0o600))
}
