package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// A sample is one cell of one round.
type sample struct {
	Server            string  `json:"server"`
	Load              string  `json:"load"` // the workload
	Callers           int     `json:"callers"`
	Round             int     `json:"round"`
	Requests          int     `json:"requests"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	CPUMicros         float64 `json:"cpu_micros_per_request"`
	P50Micros         float64 `json:"p50_micros"`
	P99Micros         float64 `json:"p99_micros"`
	// Unavailable answers are no part of Requests, but of the CPU time.
	Unavailable int `json:"unavailable"`
}

// machine says what the numbers were measured on.
type machine struct {
	Time       time.Time `json:"time"`
	OS         string    `json:"os"`
	Arch       string    `json:"arch"`
	CPU        string    `json:"cpu"`
	CPUs       int       `json:"cpus"`
	Go         string    `json:"go"`
	OPA        string    `json:"opa"`
	GRPC       string    `json:"grpc"`
	LoadBefore string    `json:"load_average_before"`
	LoadAfter  string    `json:"load_average_after"`
}

// run measures every cell once a round. The servers take turns, so that whatever
// else the machine does hits all of them alike.
func run(ctx context.Context, opts options, dir string) (result *result, err error) {
	// The load generator shares the processors with the servers: the less it
	// collects, the more they get.
	debug.SetGCPercent(800)
	result = newResult(opts)
	var processes []*process
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, s := range opts.servers {
		p, err := startProcess(ctx, s, dir, opts.profiles)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
	}
	result.Machine.LoadBefore = loadAverage()
	for round := range opts.rounds {
		fmt.Printf("round %d of %d\n", round+1, opts.rounds)
		for _, c := range opts.cells() {
			i := slices.IndexFunc(processes, func(p *process) bool { return p.name == c.server.name })
			s, err := measure(ctx, processes[i], c, opts)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, with %d callers: %w", c.server.name, c.load.name, c.callers, err)
			}
			s.Round = round
			result.Samples = append(result.Samples, s)
		}
	}
	result.Machine.LoadAfter = loadAverage()
	return result, nil
}

// measure measures one cell. The CPU time is read while no request is under way.
func measure(ctx context.Context, p *process, c cell, opts options) (sample, error) {
	if _, _, err := p.drive(ctx, c.load, c.callers, opts.warmUp); err != nil {
		return sample{}, err
	}
	runtime.GC()
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	taken, unavailable, err := p.drive(ctx, c.load, c.callers, opts.measured)
	if err != nil {
		return sample{}, err
	}
	elapsed := time.Since(start)
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	n := len(taken)
	if n == 0 {
		return sample{}, errors.New("no answer in time")
	}
	return sample{
		Server:            c.server.name,
		Load:              c.load.name,
		Callers:           c.callers,
		Requests:          n,
		RequestsPerSecond: float64(n) / elapsed.Seconds(),
		CPUMicros:         micros(after-before) / float64(n),
		P50Micros:         micros(taken[n/2]),
		P99Micros:         micros(taken[n*99/100]),
		Unavailable:       unavailable,
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
