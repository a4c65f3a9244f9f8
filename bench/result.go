package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A result is everything that one run found.
type result struct {
	Machine machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds_per_cell"`
	Rows    []row    `json:"rows"`
	Samples []sample `json:"samples"`

	opts options
}

// A row is the medians of one cell.
type row struct {
	Title             string  `json:"title"`
	Server            string  `json:"server"`
	Load              string  `json:"load"`
	Callers           int     `json:"callers"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	CPUMicros         float64 `json:"cpu_micros_per_request"`
	CPUMicrosMin      float64 `json:"cpu_micros_per_request_min"`
	CPUMicrosMax      float64 `json:"cpu_micros_per_request_max"`
	P50Micros         float64 `json:"p50_micros"`
	P99Micros         float64 `json:"p99_micros"`
	// The ratios to plain OPA without a decision log are medians of the ratios
	// within each round. Zero where plain OPA was not measured.
	CPURatio    float64 `json:"cpu_ratio_to_plain_opa"`
	CPURatioMin float64 `json:"cpu_ratio_to_plain_opa_min"`
	CPURatioMax float64 `json:"cpu_ratio_to_plain_opa_max"`
	RateRatio   float64 `json:"rate_ratio_to_plain_opa"`

	load *workload
}

func newResult(opts options) *result {
	r := &result{Rounds: opts.rounds, Seconds: opts.measured.Seconds(), opts: opts}
	r.Machine = thisMachine()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			switch dep.Path {
			case "github.com/open-policy-agent/opa":
				r.Machine.OPA = dep.Version
			case "google.golang.org/grpc":
				r.Machine.GRPC = dep.Version
			}
		}
	}
	return r
}

func thisMachine() machine {
	return machine{
		Time: time.Now().UTC().Truncate(time.Second),
		OS:   runtime.GOOS,
		Arch: runtime.GOARCH,
		CPU:  cpuModel(),
		CPUs: runtime.GOMAXPROCS(0),
		Go:   runtime.Version(),
	}
}

// String names the machine.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d × %s, %s/%s, %s", m.Time.Format(time.DateOnly), m.CPUs, m.CPU, m.OS, m.Arch, m.Go)
}

// rows are the medians, in the order of the table.
func (r *result) rows() []row {
	var rows []row
	for _, c := range r.opts.cells() {
		samples := r.cell(c.server.name, c.load, c.callers)
		base := r.cell(plainOPAName, c.load.base(), c.callers)
		column := func(value func(sample) float64) []float64 {
			var values []float64
			for _, s := range samples {
				values = append(values, value(s))
			}
			return values
		}
		ratios := func(value func(sample) float64) []float64 {
			var ratios []float64
			for i := range base {
				ratios = append(ratios, value(samples[i])/value(base[i]))
			}
			return ratios
		}
		cpu := func(s sample) float64 { return s.CPUMicros }
		rate := func(s sample) float64 { return s.RequestsPerSecond }
		cpuMin, cpuMax := span(column(cpu))
		ratioMin, ratioMax := span(ratios(cpu))
		rows = append(rows, row{
			Title:             c.server.title,
			Server:            c.server.name,
			Load:              c.load.name,
			Callers:           c.callers,
			RequestsPerSecond: median(column(rate)),
			CPUMicros:         median(column(cpu)),
			CPUMicrosMin:      cpuMin,
			CPUMicrosMax:      cpuMax,
			P50Micros:         median(column(func(s sample) float64 { return s.P50Micros })),
			P99Micros:         median(column(func(s sample) float64 { return s.P99Micros })),
			CPURatio:          median(ratios(cpu)),
			CPURatioMin:       ratioMin,
			CPURatioMax:       ratioMax,
			RateRatio:         median(ratios(rate)),
			load:              c.load,
		})
	}
	return rows
}

// cell returns the samples of one cell, in the order of the rounds.
func (r *result) cell(server string, load *workload, callers int) []sample {
	var samples []sample
	for _, s := range r.Samples {
		if s.Server == server && s.Load == load.name && s.Callers == callers {
			samples = append(samples, s)
		}
	}
	return samples
}

// span is the least and the largest of values; zeros of none.
func span(values []float64) (least, largest float64) {
	if len(values) == 0 {
		return 0, 0
	}
	return slices.Min(values), slices.Max(values)
}

// median of values; zero of none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return (values[(n-1)/2] + values[n/2]) / 2
}

var columns = []string{"calls, callers", "server", "CPU µs/request", "(min–max)", "CPU ratio", "(min–max)", "requests/s", "ratio", "p50 ms", "p99 ms"}

func (r row) cells() []string {
	return []string{
		fmt.Sprintf("%s, %d", r.load.title, r.Callers),
		r.Title,
		fmt.Sprintf("%.0f", r.CPUMicros),
		fmt.Sprintf("%.0f–%.0f", r.CPUMicrosMin, r.CPUMicrosMax),
		fmt.Sprintf("%.2f", r.CPURatio),
		fmt.Sprintf("%.2f–%.2f", r.CPURatioMin, r.CPURatioMax),
		fmt.Sprintf("%.0f", r.RequestsPerSecond),
		fmt.Sprintf("%.2f", r.RateRatio),
		fmt.Sprintf("%.2f", r.P50Micros/1000),
		fmt.Sprintf("%.2f", r.P99Micros/1000),
	}
}

// about says where the numbers come from.
func (r *result) about() string {
	m := r.Machine
	requests, unavailable := 0, 0
	for _, s := range r.Samples {
		requests += s.Requests
		unavailable += s.Unavailable
	}
	return fmt.Sprintf("%s, OPA %s, grpc-go %s; %d rounds of %.1f s, medians; "+
		"ratios are to plain OPA in the same round; load average %s before, %s after. "+
		"%d answers were allows, %d \"unavailable\" (no decision in time).",
		m, m.OPA, m.GRPC,
		r.Rounds, r.Seconds, m.LoadBefore, m.LoadAfter, requests, unavailable)
}

// text is the table and where it comes from.
func (r *result) text(layout layout) string {
	rows := [][]string{columns}
	for _, row := range r.rows() {
		rows = append(rows, row.cells())
	}
	return layout(rows) + "\n" + r.about() + "\n"
}

// Marks around a table in a Markdown file. There is one of each name.
func tableBegin(name string) string { return "<!-- " + name + ": begin -->\n" }
func tableEnd(name string) string   { return "<!-- " + name + ": end -->\n" }

const requestsTable = "bench"

// write writes the files that were asked for.
func (r *result) write(opts options) error {
	if opts.json != "" {
		r.Rows = r.rows()
		if err := writeJSON(opts.json, r); err != nil {
			return err
		}
	}
	return writeMarkdown(opts.markdown, requestsTable, r.text(asMarkdown))
}

// writeMarkdown writes a table to a file; "" for none.
func writeMarkdown(file, name, table string) error {
	if file == "" {
		return nil
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(file, []byte(replaceTable(string(old), name, table)))
}

// replaceTable puts the table between its marks, or returns it alone where
// there are none.
func replaceTable(text, name, table string) string {
	before, rest, begins := strings.Cut(text, tableBegin(name))
	_, after, ends := strings.Cut(rest, tableEnd(name))
	if !begins || !ends {
		return table
	}
	return before + tableBegin(name) + "\n" + table + "\n" + tableEnd(name) + after
}

func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(file, append(text, '\n'))
}

func writeFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// cpuModel and loadAverage say what Linux says of them, and "unknown" elsewhere.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}
