package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// A Bundle is rules, data, schemas and route tables that were read at one moment.
// It never changes, and may be used concurrently.
type Bundle struct {
	Digest   string // of Snapshot
	Snapshot *policy.Snapshot
	Policy   *policy.Policy
	Routes   *call.Table

	judged bool // now, and not before
}

// checks says for the log when it was judged.
func (b *Bundle) checks() string {
	if b.judged {
		return "now"
	}
	return "before"
}

// Config says how the policy of a bundle evaluates, and how long it may take to
// judge one.
type Config struct {
	Policy policy.Config
	// Vocabulary is what its route tables may name.
	Vocabulary call.Vocabulary
	// Tests bound the bundle's own tests. A zero one means that of DefaultTests.
	Tests policy.TestBounds
	// Limit bounds all of Load. Zero means DefaultLimit.
	Limit time.Duration
}

// DefaultTests is fifty times and more what the tests of the built-in bundle take: a
// machine may be busy, and a bundle that was refused stays so until it changes.
var DefaultTests = policy.TestBounds{All: 5 * time.Minute, Each: time.Minute}

// DefaultLimit is twice the time for the tests.
const DefaultLimit = 10 * time.Minute

// checkBudget bounds one evaluation of a check: a timeout would prove nothing.
const checkBudget = 5 * time.Second

// Load reads the bundle in dir and judges whether it may decide. It may if
//
//   - it compiles, and its route tables are right;
//   - its rules read only what the routes map;
//   - its own tests pass;
//   - each operation has a test that gets an allow, and what is allowed there is
//     not any more with any part of the input removed, or null.
//
// An error says where and what to do about it, a line for each complaint.
func Load(ctx context.Context, dir fs.FS, cfg Config) (*Bundle, error) {
	return loadWithin(ctx, dir, cfg, func() bool { return false })
}

// loadWithin is Load, and does not judge what is known to be good. What is known
// is asked when the bundle is compiled.
func loadWithin(ctx context.Context, dir fs.FS, cfg Config, known func() bool) (*Bundle, error) {
	if cfg.Tests.All == 0 {
		cfg.Tests.All = DefaultTests.All
	}
	if cfg.Tests.Each == 0 {
		cfg.Tests.Each = DefaultTests.Each
	}
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	limited, cancel := context.WithTimeout(ctx, cfg.Limit)
	defer cancel()
	type result struct {
		bundle *Bundle
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() { done <- r }()
		defer func() {
			if p := recover(); p != nil {
				r = result{err: fmt.Errorf("the policy makes its check panic: %v\n%s", p, debug.Stack())}
			}
		}()
		r.bundle, r.err = load(limited, dir, cfg, known)
	}()
	select {
	case r := <-done:
		return r.bundle, r.err
	case <-limited.Done():
		// A single step of OPA can be without end. Then the goroutine is lost, and
		// the bundle is refused.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("the policy could not be judged within %v", cfg.Limit)
	}
}

func load(ctx context.Context, dir fs.FS, cfg Config, known func() bool) (*Bundle, error) {
	snapshot, err := policy.Read(dir)
	if err != nil {
		return nil, err
	}
	routes, routesErr := call.Load(snapshot, cfg.Vocabulary)
	rules, rulesErr := policy.Load(ctx, snapshot, cfg.Policy)
	if err := errors.Join(routesErr, rulesErr); err != nil {
		return nil, err
	}
	b := &Bundle{Digest: snapshot.Digest(), Snapshot: snapshot, Policy: rules, Routes: routes}
	if known() {
		return b, nil
	}
	if err := b.judge(ctx, cfg); err != nil {
		return nil, err
	}
	b.judged = true
	return b, nil
}

func (b *Bundle) judge(ctx context.Context, cfg Config) error {
	if err := checkMapped(b.Policy, b.Routes); err != nil {
		return err
	}
	inputs, err := policy.Test(ctx, b.Snapshot, cfg.Tests)
	if err != nil {
		return err
	}
	// A check that cannot be stopped is given up with all of Load.
	rules := b.Policy
	checked := rules.With(policy.Config{Budget: checkBudget, Wait: cfg.Limit, Stuck: func() {}})
	return checkClosed(ctx, checked, operationsOf(b.Routes), inputs)
}
