package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// mixCommand is the first argument that measures whole stories of all systems.
const mixCommand = "mix"

const (
	mixName  = "countersign-mix" // of the server
	mixTable = "bench mix"
)

// mixTitle is the row in which everybody tells all stories in turn.
const mixTitle = "all in turn"

// A mixCell is what is measured once a round: one story, or nil for all in turn.
type mixCell struct {
	story   *story
	callers int
}

func (c mixCell) title() string {
	if c.story == nil {
		return mixTitle
	}
	return c.story.title
}

// A mixSample is one cell of one round.
type mixSample struct {
	Story       string  `json:"story"` // its title
	Callers     int     `json:"callers"`
	Round       int     `json:"round"`
	Calls       int     `json:"calls"` // that were decided
	Stories     int     `json:"stories"`
	StepUps     int     `json:"step_ups"` // of the calls
	Denials     int     `json:"denials"`
	Unavailable int     `json:"unavailable"` // no part of Calls, but of the CPU time
	Waited      int     `json:"waited_for_payment_codes"`
	PerSecond   float64 `json:"calls_per_second"`
	CPUMicros   float64 `json:"cpu_micros_per_call"`
	P50Micros   float64 `json:"p50_micros"`
	P99Micros   float64 `json:"p99_micros"`
}

type mixResult struct {
	Machine machine     `json:"machine"`
	Rounds  int         `json:"rounds"`
	Seconds float64     `json:"seconds_per_cell"`
	Samples []mixSample `json:"samples"`

	cells []mixCell
}

func benchMix(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(mixCommand, flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how often each row is measured; the medians are reported")
	seconds := flags.Float64("seconds", 1.1, "length of one cell")
	callers := flags.String("callers", "1,16,64", "numbers of concurrent callers")
	names := flags.String("stories", "", "stories, by name; empty means all, and all in turn. Direct payments are always measured")
	json := flags.String("json", filepath.Join("build", "bench-mix.json"), "file for every sample")
	markdown := flags.String("md", "", "file for the table in Markdown; in a file with marks for it, only the table is replaced")
	profiles := flags.String("profiles", "", "directory for CPU and allocation profiles of the server, its start included")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *seconds <= 0 {
		return errors.New("-rounds and -seconds must be positive")
	}
	r := &mixResult{Machine: thisMachine(), Rounds: *rounds, Seconds: *seconds}
	if r.cells, err = mixCells(*names, *callers); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "countersign-bench-mix-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := r.run(ctx, dir, *profiles); err != nil {
		return err
	}
	fmt.Print("\n", r.text(terminal))
	if *json != "" {
		if err := writeJSON(*json, r); err != nil {
			return err
		}
	}
	return writeMarkdown(*markdown, mixTable, r.text(asMarkdown))
}

// mixCells are in the order of the table.
func mixCells(names, callers string) (cells []mixCell, err error) {
	selected, err := selectByName("-stories", stories, func(s *story) string { return s.name }, names)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(selected, directPayment) {
		selected = append([]*story{directPayment}, selected...)
	}
	if names == "" {
		selected = append(slices.Clone(selected), nil)
	}
	numbers, err := parseCallers(callers)
	for _, n := range numbers {
		for _, s := range selected {
			cells = append(cells, mixCell{s, n})
		}
	}
	return cells, err
}

// run measures every cell once a round.
func (r *mixResult) run(ctx context.Context, dir, profiles string) (err error) {
	debug.SetGCPercent(800) // as for the table of requests
	p, mail, err := startPeopled(ctx, mixName, dir, profiles)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(), mail.close()) }()
	stages, err := newStages(stories, mail.devices)
	if err != nil {
		return err
	}
	r.Machine.LoadBefore = loadAverage()
	for round := range r.Rounds {
		fmt.Printf("round %d of %d\n", round+1, r.Rounds)
		for _, c := range r.cells {
			on := stages
			if c.story != nil {
				on = stages[slices.Index(stories, c.story):][:1]
			}
			s, err := measureMix(ctx, p, mail, on, c.callers, time.Duration(r.Seconds*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s, with %d callers: %w", c.title(), c.callers, err)
			}
			s.Story, s.Callers, s.Round = c.title(), c.callers, round
			r.Samples = append(r.Samples, s)
		}
	}
	r.Machine.LoadAfter = loadAverage()
	return nil
}

// startPeopled starts one of the servers with all systems, and the mailroom that its
// messages go to.
func startPeopled(ctx context.Context, name, dir, profiles string) (*process, *mailroom, error) {
	i := slices.IndexFunc(withSystems, func(s server) bool { return s.name == name })
	mail, err := openMailroom(place{socket: socketOf(dir, name)}.mailroom())
	if err != nil {
		return nil, nil, err
	}
	p, err := startProcess(ctx, withSystems[i], dir, profiles)
	if err != nil {
		return nil, nil, errors.Join(err, mail.close())
	}
	if err := mail.await(); err != nil {
		return nil, nil, errors.Join(err, p.stop(), mail.close())
	}
	return p, mail, nil
}

// measureMix measures one cell, as measure does.
func measureMix(ctx context.Context, p *process, mail *mailroom, stages []*stage, callers int, length time.Duration) (mixSample, error) {
	if _, err := tell(ctx, p.client, mail, stages, callers, length/5); err != nil {
		return mixSample{}, err
	}
	runtime.GC()
	before, err := p.cpu()
	if err != nil {
		return mixSample{}, err
	}
	start := time.Now()
	all, err := tell(ctx, p.client, mail, stages, callers, length)
	if err != nil {
		return mixSample{}, err
	}
	elapsed := time.Since(start)
	after, err := p.cpu()
	if err != nil {
		return mixSample{}, err
	}
	n := len(all.taken)
	if n == 0 {
		return mixSample{}, errors.New("no answer in time")
	}
	return mixSample{
		Calls: n, Stories: all.stories, StepUps: all.stepUps, Denials: all.denials, Unavailable: all.unavailable, Waited: all.waited,
		PerSecond: float64(n) / elapsed.Seconds(),
		CPUMicros: micros(after-before) / float64(n),
		P50Micros: micros(all.taken[n/2]),
		P99Micros: micros(all.taken[n*99/100]),
	}, nil
}

// tell has callers tell stories, each to its end and then another one, the stages in
// turn, until the time is over. What they came to is sorted by how long the calls took.
func tell(ctx context.Context, c *client, mail *mailroom, stages []*stage, callers int, length time.Duration) (told, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(length)
	sessions := make([]*session, callers)
	var wait sync.WaitGroup
	for i := range callers {
		s := &session{client: c, mail: mail, conn: i}
		sessions[i] = s
		wait.Go(func() {
			for turn := rand.IntN(len(stages)); time.Now().Before(end) && ctx.Err() == nil; turn++ {
				if err := stages[turn%len(stages)].perform(ctx, s); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return told{}, err
	}
	var all told
	for _, s := range sessions {
		all.add(s.told)
	}
	slices.Sort(all.taken)
	return all, nil
}

func (r *mixResult) text(layout layout) string {
	stories, unavailable, waited := 0, 0, 0
	for _, s := range r.Samples {
		stories, unavailable, waited = stories+s.Stories, unavailable+s.Unavailable, waited+s.Waited
	}
	return layout(r.rows()) + "\n" +
		fmt.Sprintf("%v; %d rounds of %.1f s, medians; ratios are to a direct payment in the same round; load average %s before, %s after. "+
			"%d stories were told to the end, %d calls were \"unavailable\" (no decision in time), %d payments waited for the next code.\n",
			r.Machine, r.Rounds, r.Seconds, r.Machine.LoadBefore, r.Machine.LoadAfter, stories, unavailable, waited)
}

func (r *mixResult) rows() [][]string {
	rows := [][]string{{"story, callers", "calls/story", "step-ups", "denials", "CPU µs/call", "(min–max)", "CPU ratio", "(min–max)", "CPU µs/story", "calls/s", "p50 ms", "p99 ms"}}
	for _, c := range r.cells {
		column := func(title string, value func(mixSample) float64) (values []float64) {
			for _, s := range r.Samples {
				if s.Story == title && s.Callers == c.callers {
					values = append(values, value(s))
				}
			}
			return values
		}
		cell := func(format string, value func(mixSample) float64) string {
			return fmt.Sprintf(format, median(column(c.title(), value)))
		}
		cpu := func(s mixSample) float64 { return s.CPUMicros }
		ratios := column(c.title(), cpu)
		least, largest := span(ratios)
		for i, direct := range column(directPayment.title, cpu) {
			ratios[i] /= direct
		}
		leastRatio, largestRatio := span(ratios)
		rows = append(rows, []string{
			fmt.Sprintf("%s, %d", c.title(), c.callers),
			cell("%.1f", mixSample.callsPerStory),
			cell("%.0f %%", func(s mixSample) float64 { return 100 * float64(s.StepUps) / float64(s.Calls) }),
			cell("%.0f %%", func(s mixSample) float64 { return 100 * float64(s.Denials) / float64(s.Calls) }),
			cell("%.0f", cpu),
			fmt.Sprintf("%.0f–%.0f", least, largest),
			fmt.Sprintf("%.2f", median(ratios)),
			fmt.Sprintf("%.2f–%.2f", leastRatio, largestRatio),
			cell("%.0f", func(s mixSample) float64 { return s.CPUMicros * s.callsPerStory() }),
			cell("%.0f", func(s mixSample) float64 { return s.PerSecond }),
			cell("%.2f", func(s mixSample) float64 { return s.P50Micros / 1000 }),
			cell("%.2f", func(s mixSample) float64 { return s.P99Micros / 1000 }),
		})
	}
	return rows
}

func (s mixSample) callsPerStory() float64 { return float64(s.Calls) / float64(max(1, s.Stories)) }
