// Command bench compares what a request costs in several ext_authz servers that
// give the same answers: one that decides nothing, a generic integration of OPA,
// and Countersign. docs/benchmarks.md says how it measures.
//
//	go run ./bench            # under four minutes; the table of docs/benchmarks.md
//	go run ./bench -short     # about half a minute; rough
//	go run ./bench fairness   # what a hammered account costs the others, about a minute
//	go run ./bench store      # the store against plain Badger, about four minutes
//	go run ./bench mix        # whole stories of all built-in systems, about four minutes
//	go run ./bench entries    # whether the time of an entry tells what it was, about a minute
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
	loads    []*workload
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
	case len(os.Args) > 1 && os.Args[1] == fairnessCommand:
		err = benchFairness(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == mixCommand:
		err = benchMix(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == entriesCommand:
		err = benchEntries(ctx, os.Args[2:])
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

	fmt.Printf("%d cells × %d rounds, about %v\n", len(opts.cells()), opts.rounds, opts.length())
	result, err := run(ctx, opts, dir)
	if err != nil {
		return err
	}
	fmt.Print("\n", result.text(terminal))
	return result.write(opts)
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "a rough run of about half a minute: sets -rounds 2 and -seconds 0.4")
	rounds := flags.Int("rounds", 5, "how often each cell is measured; the medians are reported")
	seconds := flags.Float64("seconds", 1.1, "length of one cell")
	callers := flags.String("callers", "1,16,64", "numbers of concurrent callers")
	loads := flags.String("loads", "", "what is asked, by name; empty means all: quote,cold,hot")
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
	var err error
	if opts.callers, err = parseCallers(*callers); err != nil {
		return options{}, err
	}
	if opts.loads, err = selectByName("-loads", workloads, func(w *workload) string { return w.name }, *loads); err != nil {
		return options{}, err
	}
	if opts.servers, err = selectServers(*names); err != nil {
		return options{}, err
	}
	if len(opts.cells()) == 0 {
		return options{}, errors.New("none of the -servers is asked any of the -loads")
	}
	return opts, nil
}

func parseCallers(list string) (callers []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxCallers {
			return nil, fmt.Errorf("-callers: %q is not a number from 1 to %d", text, maxCallers)
		}
		callers = append(callers, n)
	}
	return callers, nil
}

func selectServers(names string) ([]server, error) {
	return selectByName("-servers", servers, func(s server) string { return s.name }, names)
}

// selectByName returns those of all that names lists; "" means all of them.
func selectByName[T any](flag string, all []T, name func(T) string, names string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	var selected []T
	for wanted := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == wanted })
		if i < 0 {
			return nil, fmt.Errorf("%s: there is no %q", flag, wanted)
		}
		selected = append(selected, all[i])
	}
	return selected, nil
}

// A cell is what is measured once a round.
type cell struct {
	load    *workload
	callers int
	server  server
}

// cells are in the order of the table.
func (o options) cells() []cell {
	var all []cell
	for _, group := range [][]*workload{{quotes}, {cold, hot}} {
		for _, callers := range o.callers {
			for _, s := range o.servers {
				for _, load := range group {
					if slices.Contains(s.loads, load) && slices.Contains(o.loads, load) {
						all = append(all, cell{load, callers, s})
					}
				}
			}
		}
	}
	return all
}

// length is how long the cells take.
func (o options) length() time.Duration {
	cells := o.rounds * len(o.cells())
	return (time.Duration(cells) * (o.measured + o.warmUp)).Round(time.Second)
}
