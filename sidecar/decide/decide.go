package decide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// Config of a Decider. Bundle and Store are required.
type Config struct {
	// Bundle returns the bundle that decides. Each call asks once, and is decided
	// by that one from its routes to its answer.
	Bundle func() *bundle.Bundle
	Store  *authzstore.Store
	// MaxInFlight bounds the calls that are being decided; more are answered
	// `overloaded` at once. Zero means DefaultMaxInFlight.
	MaxInFlight int
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// NewID makes the ID of a decision. Nil means [authzstore.NewID] of "dec".
	NewID func() string
	// Record receives every decision that the policy was asked for, before it is
	// answered. Nil means that nobody does.
	Record func(Record)
	// Log receives what went wrong inside. Nil means slog.Default.
	Log *slog.Logger
}

// DefaultMaxInFlight is a few hundred times what a processor decides at once:
// enough for a burst, and little memory.
const DefaultMaxInFlight = 512

// At most so many refusals are logged, a second and at once.
const (
	refusalsPerSecond = 10
	refusalsBurst     = 100
)

// minTime is the least time until the caller's deadline that is worth a start.
const minTime = 5 * time.Millisecond

// A Decider decides calls. Its methods may be called concurrently.
type Decider struct {
	cfg      Config
	inFlight chan struct{}
	refusals *rate.Limiter // of lines in the log
}

// A Record is what a decision was made of: enough to repeat it.
type Record struct {
	DecisionID string          `json:"decision_id"`
	Time       time.Time       `json:"time"`
	Outcome    Outcome         `json:"outcome"`
	Status     int             `json:"status,omitempty"`
	Reasons    []policy.Reason `json:"reasons,omitempty"`
	// Input and Decision are the policy's own: `opa eval` on the one gives the
	// other. Decision is null where the policy gave none.
	Input    policy.Value `json:"input"`
	Decision policy.Value `json:"decision"`
}

// New returns a Decider.
func New(cfg Config) *Decider {
	if cfg.MaxInFlight < 1 {
		cfg.MaxInFlight = DefaultMaxInFlight
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = newID
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Decider{
		cfg:      cfg,
		inFlight: make(chan struct{}, cfg.MaxInFlight),
		refusals: rate.NewLimiter(refusalsPerSecond, refusalsBurst),
	}
}

// Decide decides one request. It always answers. What it waits for (a turn, an
// evaluation) ends with ctx; reading facts does not wait for the disk to write.
func (d *Decider) Decide(ctx context.Context, req call.Request) (decision Decision) {
	id := d.cfg.NewID()
	defer func() {
		if p := recover(); p != nil {
			d.cfg.Log.Error("panic while deciding", "decision_id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			decision = defect(InternalError)
		}
		decision.ID = id
	}()
	now := d.cfg.Now()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minTime {
		return tooLate
	}
	select {
	case d.inFlight <- struct{}{}:
		defer func() { <-d.inFlight }()
	default:
		return overloaded
	}
	return d.decide(ctx, id, now, req)
}

func (d *Decider) decide(ctx context.Context, id string, now time.Time, req call.Request) Decision {
	active := d.cfg.Bundle()
	c, err := active.Routes.Decode(req, call.Keys{})
	if err != nil {
		return d.fail(id, err)
	}
	var facts Facts
	err = d.cfg.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
		facts, err = readFacts(s.Reader, c)
		return err
	})
	if err != nil {
		return d.fail(id, fmt.Errorf("%w: %w", errStore, err))
	}
	input := newInput(now, c, facts)
	verdict, err := active.Policy.Decide(ctx, input)
	decision := fromPolicy(verdict)
	if err != nil {
		decision = d.fail(id, err)
	}
	if d.cfg.Record != nil {
		d.cfg.Record(Record{
			DecisionID: id,
			Time:       now.UTC(),
			Outcome:    decision.Outcome,
			Status:     decision.Status,
			Reasons:    decision.Reasons,
			Input:      input,
			Decision:   verdict.Document,
		})
	}
	return decision
}

// readFacts reads what the route says the policy wants to know.
func readFacts(r authzstore.Reader, c call.Call) (Facts, error) {
	var f Facts
	for _, fact := range c.Route.Facts {
		switch fact.Name {
		case "account":
			account, ok, err := r.Account(c.Text("account"))
			if err != nil {
				return Facts{}, err
			}
			if ok {
				f.Account = &account
			}
		default:
			return Facts{}, fmt.Errorf("fact %q is not known", fact.Name)
		}
	}
	return f, nil
}

var errStore = errors.New("store")

var (
	overloaded = unavailable("overloaded", "Too many calls are being decided. Try again.")
	tooLate    = unavailable("decision_timeout", "The call could not be decided in time. Try again.")
)

// logRefusal says what became of a call that no policy was asked for: only so
// many a second, because anybody can send them.
func (d *Decider) logRefusal(id string, r *call.Refusal) {
	if d.refusals.Allow() {
		d.cfg.Log.Info("refused", "decision_id", id, "status", r.Status, "code", r.Code)
	}
}

// fail is the answer to an error, whose detail goes to the log alone.
func (d *Decider) fail(id string, err error) Decision {
	var refusal *call.Refusal
	switch {
	case errors.As(err, &refusal):
		d.logRefusal(id, refusal)
		return refused(refusal)
	case errors.Is(err, policy.ErrTimeout), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		d.cfg.Log.Warn("no decision in time", "decision_id", id, "error", err)
		return tooLate
	case errors.Is(err, policy.ErrDefect):
		d.cfg.Log.Error("policy defect", "decision_id", id, "error", err)
		return defect(policyDefect)
	case errors.Is(err, errStore):
		d.cfg.Log.Error("store", "decision_id", id, "error", err)
		return unavailable("store_unavailable", "The facts about this call cannot be read now. Try again.")
	default:
		d.cfg.Log.Error("internal error", "decision_id", id, "error", err)
		return defect(InternalError)
	}
}
