package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
)

// A server is one of the ext_authz servers that are compared.
type server struct {
	name  string // on the command line and in the JSON
	title string // in the table
	// encode is how Envoy is configured to send requests to such a server.
	encode encoding
	loads  []*workload // what it is asked
	// decides is false for a server that allows everything.
	decides bool
	// durable: an allow that moves money is a transaction on the disk, and has a
	// reservation and a signed token.
	durable bool
	// run serves until ctx is done.
	run func(ctx context.Context, p place) error
}

// A place is where a server runs.
type place struct {
	socket string
	dir    string // for its files
}

// policies is the directory of the bundle.
func (p place) policies() string { return filepath.Join(p.dir, "policies") }

// mailroom is the socket to which a server with all systems sends its messages.
func (p place) mailroom() string { return p.socket + ".mail" }

const (
	noOpName     = "no-op"
	plainOPAName = "plain-opa"
)

var servers = []server{
	{name: noOpName, title: "no-op", encode: encodeRaw, loads: []*workload{quotes}, run: runNoOp},
	{name: plainOPAName, title: "plain OPA", encode: encodeText, loads: []*workload{quotes, cold}, decides: true,
		run: plainOPA{}.run},
	{name: "plain-opa-log", title: "plain OPA, decision log", encode: encodeText, loads: []*workload{quotes, cold}, decides: true,
		run: plainOPA{log: true}.run},
	{name: "plain-opa-tuned", title: "plain OPA, tuned", encode: encodeText, loads: []*workload{quotes, cold}, decides: true,
		run: plainOPA{tuned: true}.run},
	{name: "countersign", title: "Countersign", encode: encodeRaw, loads: []*workload{quotes, cold, hot}, decides: true, durable: true,
		run: countersign{}.run},
	{name: "countersign-log", title: "Countersign, decision log", encode: encodeRaw, loads: []*workload{quotes}, decides: true, durable: true,
		run: countersign{log: true}.run},
}

// withSystems are those that have all built-in systems, and message logs: they are
// compared with nothing but themselves.
var withSystems = []server{
	{name: mixName, title: "Countersign", encode: encodeRaw, loads: []*workload{cold}, decides: true, durable: true,
		run: peopled{cast: mixCast}.run},
	{name: entriesName, title: "Countersign", encode: encodeRaw, loads: []*workload{cold}, decides: true, durable: true,
		run: peopled{cast: entriesCast, rules: entriesRules}.run},
}

func serverNames() []string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return names
}

// serveCommand is the first argument of a server's process.
const serveCommand = "serve"

// serve runs one server. Its standard input is the line to the process that
// measures it: for each line that comes, the CPU time used so far goes to the
// standard output, and the server ends when it is closed.
func serve(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	var p place
	name := flags.String("server", "", "name of the server")
	flags.StringVar(&p.socket, "socket", "", "unix socket to serve on")
	flags.StringVar(&p.dir, "dir", "", "directory for its files")
	profiles := flags.String("profiles", "", "directory for profiles")
	if err := flags.Parse(args); err != nil {
		return err
	}
	selected, err := selectByName("-server", slices.Concat(servers, withSystems), func(s server) string { return s.name }, *name)
	if err != nil {
		return err
	}
	stop, err := startProfiles(*profiles, *name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		reportUsage(os.Stdin, os.Stdout)
	}()
	return selected[0].run(ctx, p)
}

// serveGRPC serves with a gRPC server as grpc-go makes it by default, but for
// the options.
func serveGRPC(ctx context.Context, socket string, service authv3.AuthorizationServer, options ...grpc.ServerOption) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := grpc.NewServer(options...)
	authv3.RegisterAuthorizationServer(s, service)
	defer context.AfterFunc(ctx, s.Stop)()
	return s.Serve(listener)
}

// maxLogBytes bounds the file of a decision log.
const maxLogBytes = 64 << 20

// A logFile is the file of a decision log. It begins anew when it is full.
type logFile struct {
	mu    sync.Mutex
	file  *os.File
	bytes int
}

// openLog opens a decision log in dir.
func openLog(dir string) (*logFile, error) {
	file, err := os.Create(filepath.Join(dir, "decisions.jsonl"))
	if err != nil {
		return nil, err
	}
	return &logFile{file: file}, nil
}

func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes+len(line) > maxLogBytes {
		if err := l.file.Truncate(0); err != nil {
			return 0, err
		}
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		l.bytes = 0
	}
	n, err := l.file.Write(line)
	l.bytes += n
	if err != nil {
		err = fmt.Errorf("decision log: %w", err)
	}
	return n, err
}

func (l *logFile) Close() error { return l.file.Close() }
