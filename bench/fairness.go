package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/sidecar/decide"
)

// fairnessCommand is the first argument that measures what a hammered account
// costs everybody else, and how long an operator waits who freezes it.
const fairnessCommand = "fairness"

const fairnessTables = "bench fairness"

// What is compared: a few callers on cold accounts, and a hammer on one account
// that is offered several times what that account can take.
const (
	coldAccounts  = 100
	coldCallers   = 8
	hammerFactor  = 5
	hammerSenders = 1000 // of many identities
	peakCallers   = 64
)

var silent = slog.New(slog.DiscardHandler)

// A phase is one thing that the cold callers are measured beside.
type phase struct {
	name, title string
	hammer      []ask // empty for nothing
}

// hotAccount is none of the cold ones.
func hotAccount() ask { return payments()[accountCount-1] }

func phases() []phase {
	owner := hotAccount()
	var strangers []ask
	for i := range hammerSenders {
		stranger := owner
		stranger.subject = fmt.Sprintf("stranger-%d", i)
		strangers = append(strangers, stranger)
	}
	return []phase{
		{"alone", "alone", nil},
		{"owner", "one account hammered by its owner", []ask{owner}},
		{"strangers", fmt.Sprintf("one account hammered by %d identities", hammerSenders), strangers},
	}
}

// A fairnessSample is one phase of one round.
type fairnessSample struct {
	Phase     string  `json:"phase"`
	Round     int     `json:"round"`
	PerSecond float64 `json:"payments_per_second"`
	P50Micros float64 `json:"p50_micros"`
	P99Micros float64 `json:"p99_micros"`
	// Unavailable are the cold payments that got no decision.
	Unavailable int `json:"unavailable"`
	// What the hammer was.
	OfferedPerSecond float64 `json:"hammer_offered_per_second"`
	DecidedPerSecond float64 `json:"hammer_decided_per_second"`
}

type fairnessResult struct {
	Machine machine          `json:"machine"`
	Rounds  int              `json:"rounds"`
	Seconds float64          `json:"seconds_per_phase"`
	Peaks   []float64        `json:"hot_account_payments_per_second"`
	Samples []fairnessSample `json:"samples"`
	Freezes []freezeSample   `json:"freezes"`
}

func benchFairness(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(fairnessCommand, flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how often each row is measured; the medians are reported")
	seconds := flags.Float64("seconds", 2, "length of one phase")
	json := flags.String("json", filepath.Join("build", "bench-fairness.json"), "file for every sample")
	markdown := flags.String("md", "", "file for the tables in Markdown; in a file with marks for them, only they are replaced")
	profiles := flags.String("profiles", "", "directory for CPU and allocation profiles")
	if err := flags.Parse(args); err != nil {
		return err
	}
	stop, err := startProfiles(*profiles, fairnessCommand)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	r := &fairnessResult{Machine: thisMachine(), Rounds: *rounds, Seconds: *seconds}
	r.Machine.LoadBefore = loadAverage()
	if err := r.hammer(ctx, time.Duration(*seconds*float64(time.Second))); err != nil {
		return err
	}
	for round := range *rounds {
		freeze, err := measureFreeze(ctx)
		if err != nil {
			return err
		}
		freeze.Round = round
		r.Freezes = append(r.Freezes, freeze)
	}
	r.Machine.LoadAfter = loadAverage()
	fmt.Print("\n", r.text(terminal))
	if *json != "" {
		if err := writeJSON(*json, r); err != nil {
			return err
		}
	}
	return writeMarkdown(*markdown, fairnessTables, r.text(asMarkdown))
}

// hammer measures every phase once a round.
func (r *fairnessResult) hammer(ctx context.Context, length time.Duration) (err error) {
	p, err := openInProcess(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for round := range r.Rounds {
		fmt.Printf("round %d of %d\n", round+1, r.Rounds)
		peak, err := p.drive(ctx, []ask{hotAccount()}, peakCallers, length/2)
		if err != nil {
			return err
		}
		rate := peak.PerSecond
		r.Peaks = append(r.Peaks, rate)
		for _, phase := range phases() {
			s, err := p.besides(ctx, phase, hammerFactor*rate, length)
			if err != nil {
				return fmt.Errorf("%s: %w", phase.name, err)
			}
			s.Phase, s.Round = phase.name, round
			r.Samples = append(r.Samples, s)
		}
	}
	return nil
}

// besides measures the cold callers while the phase's hammer sends at a rate, in
// calls a second.
func (p *inProcess) besides(ctx context.Context, phase phase, rate float64, length time.Duration) (fairnessSample, error) {
	var h *hammer
	if len(phase.hammer) > 0 {
		h = p.startHammer(ctx, phase.hammer, rate)
		time.Sleep(length / 4) // until it is in full swing
	}
	s, err := p.drive(ctx, payments()[:coldAccounts], coldCallers, length)
	if h != nil {
		s.OfferedPerSecond, s.DecidedPerSecond = h.stop()
	}
	return s, err
}

// drive has callers pay one payment after the other.
func (p *inProcess) drive(ctx context.Context, asks []ask, callers int, length time.Duration) (fairnessSample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	requests := newRequests(asks)
	taken := make([][]time.Duration, callers)
	var unavailable atomic.Int64
	start := time.Now()
	end := start.Add(length)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for began := time.Now(); began.Before(end) && ctx.Err() == nil; {
				d := p.pay(ctx, requests[rand.IntN(len(requests))])
				now := time.Now()
				switch d.Outcome {
				case decide.Allow:
					taken[i] = append(taken[i], now.Sub(began))
				case decide.Unavailable:
					unavailable.Add(1)
				default:
					cancel(unexpected(d))
				}
				began = now
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return fairnessSample{}, err
	}
	all := slices.Concat(taken...)
	if len(all) == 0 {
		return fairnessSample{}, errors.New("no payment was allowed")
	}
	slices.Sort(all)
	return fairnessSample{
		PerSecond:   float64(len(all)) / time.Since(start).Seconds(),
		P50Micros:   micros(all[len(all)/2]),
		P99Micros:   micros(all[len(all)*99/100]),
		Unavailable: int(unavailable.Load()),
	}, nil
}

// A hammer sends calls at a rate, whatever becomes of those before.
type hammer struct {
	cancel           context.CancelFunc
	wait             sync.WaitGroup
	began            time.Time
	offered, decided atomic.Int64
}

func (p *inProcess) startHammer(ctx context.Context, asks []ask, rate float64) *hammer {
	ctx, cancel := context.WithCancel(ctx)
	h := &hammer{cancel: cancel, began: time.Now()}
	requests := newRequests(asks)
	// More than are ever let in at once, so that one is free for each call. They
	// stay, and their stacks with them, as those of a gRPC server do.
	due := make(chan *request, 2*decide.DefaultMaxInFlight)
	for range cap(due) {
		h.wait.Go(func() {
			for r := range due {
				if p.pay(ctx, r).Outcome != decide.Unavailable {
					h.decided.Add(1)
				}
			}
		})
	}
	h.wait.Go(func() {
		defer close(due)
		for ctx.Err() == nil {
			for float64(h.offered.Load()) < rate*time.Since(h.began).Seconds() {
				h.offered.Add(1)
				due <- requests[rand.IntN(len(requests))]
			}
			time.Sleep(time.Millisecond)
		}
	})
	return h
}

// stop returns how many calls a second were offered and decided.
func (h *hammer) stop() (offered, decided float64) {
	elapsed := time.Since(h.began).Seconds()
	offered, decided = float64(h.offered.Load())/elapsed, float64(h.decided.Load())/elapsed
	h.cancel()
	h.wait.Wait()
	return offered, decided
}

func (r *fairnessResult) text(layout layout) string {
	return layout(r.hammerRows()) + "\n" + layout(r.freezeRows()) + "\n" +
		fmt.Sprintf("%v; %d rounds of %.1f s a phase, medians; ratios are within one round; load average %s before, %s after.\n",
			r.Machine, r.Rounds, r.Seconds, r.Machine.LoadBefore, r.Machine.LoadAfter)
}

func (r *fairnessResult) hammerRows() [][]string {
	rows := [][]string{{
		fmt.Sprintf("payments on %d accounts by %d callers", coldAccounts, coldCallers),
		"payments/s", "p50 ms", "p99 ms", "p99 ratio", "(min–max)", "unavailable", "hammer: calls/s", "decided/s",
	}}
	column := func(phase string, value func(fairnessSample) float64) (values []float64) {
		for _, s := range r.Samples {
			if s.Phase == phase {
				values = append(values, value(s))
			}
		}
		return values
	}
	for _, phase := range phases() {
		p99 := func(s fairnessSample) float64 { return s.P99Micros }
		ratios := column(phase.name, p99)
		for i, alone := range column("alone", p99) {
			ratios[i] /= alone
		}
		least, largest := span(ratios)
		cell := func(format string, value func(fairnessSample) float64) string {
			return fmt.Sprintf(format, median(column(phase.name, value)))
		}
		rows = append(rows, []string{
			phase.title,
			cell("%.0f", func(s fairnessSample) float64 { return s.PerSecond }),
			cell("%.2f", func(s fairnessSample) float64 { return s.P50Micros / 1000 }),
			cell("%.2f", func(s fairnessSample) float64 { return s.P99Micros / 1000 }),
			fmt.Sprintf("%.2f", median(ratios)),
			fmt.Sprintf("%.2f–%.2f", least, largest),
			cell("%.0f", func(s fairnessSample) float64 { return float64(s.Unavailable) }),
			cell("%.0f", func(s fairnessSample) float64 { return s.OfferedPerSecond }),
			cell("%.0f", func(s fairnessSample) float64 { return s.DecidedPerSecond }),
		})
	}
	return rows
}
