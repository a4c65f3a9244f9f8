package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Config says how a Policy evaluates.
type Config struct {
	// Budget bounds one evaluation. Zero means DefaultBudget.
	Budget time.Duration
	// Wait bounds how long a call waits for its turn. Zero means DefaultWait.
	Wait time.Duration
	// Concurrent bounds the evaluations that run at once; the rest wait. Zero
	// means one for each processor: more would only share the same processors
	// and spend each other's budgets.
	Concurrent int
	// Stuck is called when an evaluation does not end a second after its
	// budget. The process cannot free itself from it and must exit. Nil means
	// panic.
	Stuck func()
}

// DefaultBudget of one evaluation, in wall time. A decision takes tens of
// microseconds, but it may lose the processor: with 25 ms, on two processors
// three times overloaded, up to one call in three thousand was given up for
// nothing (measured).
const DefaultBudget = 50 * time.Millisecond

// DefaultWait for a turn: what is left of half a second must be enough to answer.
const DefaultWait = 200 * time.Millisecond

// minBudget is the least time left that is worth a start.
const minBudget = 5 * time.Millisecond

// A Policy is one compiled bundle. It never changes; its methods may be called
// concurrently.
type Policy struct {
	engine engine
	rules  *ast.Compiler // compiled
	digest string

	budget time.Duration
	wait   time.Duration
	slots  chan struct{}
	stuck  func()
}

// Errors of Decide. Neither allows anything.
var (
	// ErrTimeout: no answer within the budget or the caller's deadline. The
	// call can be tried again.
	ErrTimeout = errors.New("policy: no answer in time")
	// ErrDefect: the policy failed: an error of a built-in, a conflict, a
	// panic, or a result that is not a decision. Trying again will not help.
	ErrDefect = errors.New("policy: defect")
)

// Load compiles the bundle in dir, which may be a Snapshot. The error names file
// and line. OPA may panic on what it does not expect: that is an error too.
func Load(ctx context.Context, dir fs.FS, cfg Config) (p *Policy, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("policy: the bundle makes the compiler panic: %v", r)
		}
	}()
	bundle, err := Read(dir)
	if err != nil {
		return nil, err
	}
	engine, err := newTopdownEngine(ctx, bundle)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p = &Policy{engine: engine, rules: engine.compiler, digest: bundle.Digest()}
	return p.With(cfg), nil
}

// With returns the same policy under other bounds.
func (p *Policy) With(cfg Config) *Policy {
	if cfg.Budget == 0 {
		cfg.Budget = DefaultBudget
	}
	if cfg.Wait == 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.Concurrent < 1 {
		cfg.Concurrent = runtime.GOMAXPROCS(0)
	}
	if cfg.Stuck == nil {
		cfg.Stuck = func() { panic("policy: an evaluation cannot be stopped") }
	}
	bounded := *p
	bounded.budget, bounded.wait, bounded.stuck = cfg.Budget, cfg.Wait, cfg.Stuck
	bounded.slots = make(chan struct{}, cfg.Concurrent)
	return &bounded
}

// Modules is the number of files of Rego that decide, without tests.
func (p *Policy) Modules() int { return len(p.rules.Modules) }

// Digest names the bundle; see [Snapshot.Digest].
func (p *Policy) Digest() string { return p.digest }

// Decide evaluates the decision on input. An error wraps ErrTimeout or
// ErrDefect; its text is for the log, never for the caller.
func (p *Policy) Decide(ctx context.Context, input Value) (Decision, error) {
	if err := p.takeSlot(ctx); err != nil {
		return Decision{}, err
	}
	defer func() { <-p.slots }()

	budget := p.budget
	if deadline, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(deadline))
	}
	if budget < min(minBudget, p.budget) {
		return Decision{}, fmt.Errorf("%w: %v left after waiting for a turn", ErrTimeout, budget)
	}
	var result Value
	var err error
	onWarmStack(func() { result, err = p.engine.eval(ctx, input, budget, p.stuck) })
	switch {
	case errors.Is(err, errTimeout):
		return Decision{}, fmt.Errorf("%w: %w", ErrTimeout, err)
	case err != nil:
		return Decision{}, fmt.Errorf("%w: %w", ErrDefect, err)
	}
	decision, err := readDecision(result)
	if err != nil {
		return Decision{}, fmt.Errorf("%w: %s: %w", ErrDefect, entrypoint, err)
	}
	return decision, nil
}

// takeSlot waits for a turn.
func (p *Policy) takeSlot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: no turn within %v", ErrTimeout, p.wait)
	case <-ctx.Done():
		return fmt.Errorf("%w: no turn before the caller's deadline", ErrTimeout)
	}
}
