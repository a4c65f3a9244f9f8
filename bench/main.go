// Command bench compares what a request costs in several ext_authz servers that
// give the same answers: one that decides nothing, a generic integration of OPA,
// and Countersign. docs/benchmarks.md says how it measures.
//
//	go run ./bench            # about three minutes; the table of docs/benchmarks.md
//	go run ./bench -short     # about twenty seconds; rough
//	go run ./bench store      # the store against plain Badger, about four minutes
//
// Every server is a process of its own: this binary, started again with `serve`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	rounds   int
	measured time.Duration // of one cell: a server with a number of callers
	warmUp   time.Duration // before each cell
	callers  []int
	servers  []server
	json     string // file to write, "" for none
	markdown string // file to write or to update, "" for none
	profiles string // directory for profiles of the servers, "" for none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == serveCommand:
		err = serve(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == storeCommand:
		err = benchStore(ctx, os.Args[2:])
	default:
		err = compare(ctx, os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare is the whole benchmark.
func compare(ctx context.Context, args []string) (err error) {
	opts, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "countersign-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Printf("%d servers × %v callers × %d rounds, about %v\n", len(opts.servers), opts.callers, opts.rounds, opts.length())
	result, err := run(ctx, opts, dir)
	if err != nil {
		return err
	}
	fmt.Println()
	if err := result.print(os.Stdout); err != nil {
		return err
	}
	return result.write(opts)
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "a rough run of about 20 s: sets -rounds 2 and -seconds 0.4")
	rounds := flags.Int("rounds", 5, "how often each cell is measured; the medians are reported")
	seconds := flags.Float64("seconds", 1.6, "length of one cell")
	callers := flags.String("callers", "1,16,64", "numbers of concurrent callers")
	names := flags.String("servers", "", "servers to compare, by name; empty means all: "+strings.Join(serverNames(), ","))
	opts := options{}
	flags.StringVar(&opts.json, "json", filepath.Join("build", "bench.json"), "file for every sample")
	flags.StringVar(&opts.markdown, "md", "", "file for the table in Markdown; in a file with marks for it, only the table is replaced")
	flags.StringVar(&opts.profiles, "profiles", "", "directory for CPU and allocation profiles of the servers")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if *short {
		*rounds, *seconds = 2, 0.4
	}
	if *rounds < 1 || *seconds <= 0 {
		return options{}, errors.New("-rounds and -seconds must be positive")
	}
	opts.rounds = *rounds
	opts.measured = time.Duration(*seconds * float64(time.Second))
	opts.warmUp = opts.measured / 5
	for text := range strings.SplitSeq(*callers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxCallers {
			return options{}, fmt.Errorf("-callers: %q is not a number from 1 to %d", text, maxCallers)
		}
		opts.callers = append(opts.callers, n)
	}
	var err error
	opts.servers, err = selectServers(*names)
	return opts, err
}

func selectServers(names string) ([]server, error) {
	if names == "" {
		return servers, nil
	}
	var selected []server
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-servers: %q is not one of %s", name, strings.Join(serverNames(), ", "))
		}
		selected = append(selected, servers[i])
	}
	return selected, nil
}

// length is how long the cells take.
func (o options) length() time.Duration {
	cells := o.rounds * len(o.callers) * len(o.servers)
	return (time.Duration(cells) * (o.measured + o.warmUp)).Round(time.Second)
}
