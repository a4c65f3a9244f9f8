package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// storeCommand is the first argument that benchmarks the store.
const storeCommand = "store"

const storePackage = "./authzstore/kv/badgerkv"

// storeTables are the marks' name in a Markdown file.
const storeTables = "bench store"

// metrics are what one benchmark reported, by unit.
type metrics map[string]float64

// storeResult is everything that one run found.
type storeResult struct {
	Machine machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Names   []string `json:"names"` // of the benchmarks, in the order of the tables
	// One element for each round, or one for what is measured once.
	Samples map[string][]metrics `json:"samples"`
}

// benchStore runs the benchmarks of the store's backend, which compare it with
// plain Badger. The updates take part in every round, so that whatever else the
// machine does spreads over all rows.
func benchStore(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(storeCommand, flag.ContinueOnError)
	rounds := flags.Int("rounds", 3, "how often each row is measured; the medians are reported")
	updates := flags.String("updates", ".", "pattern of the rows, such as disk=real/hot/callers=64$")
	json := flags.String("json", filepath.Join("build", "bench-store.json"), "file for every sample")
	markdown := flags.String("md", "", "file for the tables in Markdown; in a file with marks for them, only they are replaced")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "countersign-bench-store-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := buildStoreBench(ctx, dir)
	if err != nil {
		return err
	}
	r := &storeResult{Machine: thisMachine(), Rounds: *rounds, Samples: map[string][]metrics{}}
	r.Machine.LoadBefore = loadAverage()
	patterns := slices.Repeat([]string{"^BenchmarkUpdates$/" + *updates}, *rounds)
	if *updates == "." {
		patterns = append(patterns, "^BenchmarkMillionKeys$", "^BenchmarkReopen$")
	}
	for i, pattern := range patterns {
		fmt.Printf("part %d of %d: %s\n", i+1, len(patterns), pattern)
		if err := r.run(ctx, program, pattern); err != nil {
			return err
		}
	}
	r.Machine.LoadAfter = loadAverage()
	fmt.Print("\n", r.text(terminal))
	if *json != "" {
		if err := writeJSON(*json, r); err != nil {
			return err
		}
	}
	return writeMarkdown(*markdown, storeTables, r.text(asMarkdown))
}

// buildStoreBench compiles the benchmarks with the slow msync.
func buildStoreBench(ctx context.Context, dir string) (string, error) {
	modfile, err := slowSyncModfile(dir)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "bench")
	cmd := exec.CommandContext(ctx, "go", "test", "-modfile", modfile, "-c", "-o", program, storePackage)
	cmd.Stderr = os.Stderr
	return program, cmd.Run()
}

func (r *storeResult) run(ctx context.Context, program, pattern string) error {
	cmd := exec.CommandContext(ctx, program, "-test.run=^$", "-test.benchtime=1x", "-test.cpu="+strconv.Itoa(r.Machine.CPUs), "-test.bench="+pattern)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", pattern, err, out)
	}
	return r.read(out)
}

// read takes the lines that benchmarks print:
//
//	BenchmarkUpdates/disk=real/cold/callers=1-2    1    3128 ops/s    0.2950 p50-ms
func (r *storeResult) read(out []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(fields[0], "Benchmark"), "-"+strconv.Itoa(r.Machine.CPUs))
		m := metrics{}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%s: %w", lines.Text(), err)
			}
			m[fields[i+1]] = value
		}
		if r.Samples[name] == nil {
			r.Names = append(r.Names, name)
		}
		r.Samples[name] = append(r.Samples[name], m)
	}
	return lines.Err()
}

// median of one metric over the rounds.
func (r *storeResult) median(name, unit string) float64 { return median(r.values(name, unit)) }

func (r *storeResult) values(name, unit string) (values []float64) {
	for _, m := range r.Samples[name] {
		values = append(values, m[unit])
	}
	return values
}

// A layout turns a table into text.
type layout func(rows [][]string) string

func terminal(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	w.Flush()
	return b.String()
}

func asMarkdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("--:|", len(row)-1) + "\n")
		}
	}
	return b.String()
}

// text is all tables and where they come from.
func (r *storeResult) text(layout layout) string {
	text := layout(r.updateRows()) + "\n"
	if len(r.Samples["MillionKeys"]) > 0 {
		text += layout(r.openRows()) + "\n"
	}
	return text + fmt.Sprintf("%v; %d rounds, medians; ratios are within one round; load average %s before, %s after.\n",
		r.Machine, r.Rounds, r.Machine.LoadBefore, r.Machine.LoadAfter)
}

func (r *storeResult) updateRows() [][]string {
	rows := [][]string{{"syncs, keys, callers", "updates/s", "p50 ms", "p99 ms", "Badger alone /s", "p50 ms", "p99 ms", "ratio", "(min–max)"}}
	for _, name := range r.Names {
		row, ok := strings.CutPrefix(name, "Updates/")
		if !ok {
			continue
		}
		ratios := r.values(name, "x-badger")
		rows = append(rows, []string{
			strings.NewReplacer("disk=real", "as they are", "disk=+5ms", "+5 ms", "/callers=", ", ", "/", ", ").Replace(row),
			fmt.Sprintf("%.0f", r.median(name, "ops/s")),
			fmt.Sprintf("%.2f", r.median(name, "p50-ms")),
			fmt.Sprintf("%.2f", r.median(name, "p99-ms")),
			fmt.Sprintf("%.0f", r.median(name, "badger-ops/s")),
			fmt.Sprintf("%.2f", r.median(name, "badger-p50-ms")),
			fmt.Sprintf("%.2f", r.median(name, "badger-p99-ms")),
			fmt.Sprintf("%.1f", median(ratios)),
			fmt.Sprintf("%.1f–%.1f", slices.Min(ratios), slices.Max(ratios)),
		})
	}
	return rows
}

func (r *storeResult) openRows() [][]string {
	rows := [][]string{{"opening", "ms", "MB replayed", "RSS MB", "of it anonymous", "after 100 000 reads", "of it anonymous"}}
	for _, how := range []struct{ title, prefix string }{
		{"a million keys, closed before", "clean-"},
		{"a million keys, killed (kill -9) while adding more", "crash-"},
	} {
		value := func(unit string) string { return fmt.Sprintf("%.0f", r.median("MillionKeys", how.prefix+unit)) }
		rows = append(rows, []string{how.title, value("open-ms"), value("replayed-MB"),
			value("open-rss-MB"), value("open-anon-MB"), value("gets-rss-MB"), value("gets-anon-MB")})
	}
	reopen := r.Samples["Reopen"]
	if len(reopen) == 0 {
		return rows
	}
	return append(rows, []string{
		fmt.Sprintf("killed under full load, worst of %.0f", reopen[0]["kills"]),
		fmt.Sprintf("%.0f", reopen[0]["worst-ms"]), fmt.Sprintf("%.0f", reopen[0]["replayed-MB"]), "", "", "", "",
	})
}
