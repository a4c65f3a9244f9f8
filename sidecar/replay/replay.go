// Package replay decides recorded decisions again: with the policy of their day,
// where the answer must be the same, or with another one, to see what it would
// change.
//
// A decision is a function of one document, its input, and of one bundle; both
// are kept, the one in the record, the other in the archive. What replays is the
// policy's answer. What the sidecar made of it in the store is not done again.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
)

// A Result says what came of a replay.
type Result string

// The results. What cannot be replayed is neither equal nor different: there was
// no verdict, or there is none within the budget now, or the bundle is gone.
const (
	Equal     Result = "equal"
	Different Result = "different"
	Cannot    Result = "cannot"
)

// A Replay is what came of one.
type Replay struct {
	DecisionID string         `json:"decision_id"`
	Result     Result         `json:"result"`
	Recorded   decide.Outcome `json:"recorded"`
	// Replayed is the outcome now, where it is another one.
	Replayed decide.Outcome `json:"replayed,omitempty"`
	// Why it cannot be replayed, or is a defect now.
	Why string `json:"why,omitempty"`
	// Diff are the parts of the policy's answer that differ, a line for each: "-"
	// what is recorded, "+" what is answered now.
	Diff []string `json:"diff,omitempty"`
}

// maxPolicies is how many compiled policies are kept: records come in the order of
// time, and so do their bundles.
const maxPolicies = 8

// A Replayer replays records with the bundles that they name. It is not for
// concurrent use.
type Replayer struct {
	archive *bundle.Archive
	cfg     policy.Config
	loaded  map[string]*policy.Policy // by digest
}

// New returns a Replayer.
func New(archive *bundle.Archive, cfg policy.Config) *Replayer {
	return &Replayer{archive, cfg, map[string]*policy.Policy{}}
}

// Replay decides a record again, with the policy that it names.
func (r *Replayer) Replay(ctx context.Context, record decide.Record) Replay {
	if why := unanswered(record); why != "" {
		return cannot(record, why)
	}
	rules, err := r.load(ctx, record.Bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return cannot(record, "its bundle "+record.Bundle+" is not in the archive")
	}
	if err != nil {
		return cannot(record, err.Error())
	}
	// The same bundle: that money moved is what the record says.
	replay, _ := again(ctx, rules, record, func() bool { return record.ReservationID != "" })
	return replay
}

// again asks a policy what a record was asked, and compares. Where the answer is
// another one, wrong is what would keep it from being carried out.
func again(ctx context.Context, rules *policy.Policy, record decide.Record, movesMoney func() bool) (replay Replay, wrong error) {
	now, err := answer(ctx, rules, record.Input)
	if err == nil {
		replay, err = compare(record, now)
	}
	if err != nil {
		return cannot(record, err.Error()), nil
	}
	if replay.Result == Different && now.defect == nil {
		replay.Replayed, wrong = record.Would(now.decision, movesMoney())
	}
	return replay, wrong
}

// load compiles the bundle of a digest. It was judged when it became active.
func (r *Replayer) load(ctx context.Context, digest string) (*policy.Policy, error) {
	if rules := r.loaded[digest]; rules != nil {
		return rules, nil
	}
	snapshot, err := r.archive.Open(digest)
	if err != nil {
		return nil, err
	}
	rules, err := policy.Load(ctx, snapshot, r.cfg)
	if err != nil {
		return nil, err
	}
	if len(r.loaded) == maxPolicies {
		clear(r.loaded)
	}
	r.loaded[digest] = rules
	return rules, nil
}

// Try says what another bundle would have decided. The result is Different where
// its answer is, even where the outcome stays.
func Try(ctx context.Context, other *bundle.Bundle, record decide.Record) Replay {
	if why := unanswered(record); why != "" {
		return cannot(record, why)
	}
	replay, wrong := again(ctx, other.Policy, record, func() bool { return movesMoney(other, record) })
	if wrong != nil {
		replay.Why = wrong.Error()
	}
	return replay
}

// movesMoney tells whether the call would move money by the routes of a bundle.
func movesMoney(b *bundle.Bundle, record decide.Record) bool {
	var input struct {
		Call struct{ System, Operation string }
	}
	if err := json.Unmarshal(record.Input, &input); err != nil {
		return true // then an allow needs a reservation
	}
	for _, r := range b.Routes.Routes() {
		if r.System == input.Call.System && r.Operation == input.Call.Operation && r.MovesMoney {
			return true
		}
	}
	return false
}

// unanswered says why there is nothing to compare with; "" where there is.
func unanswered(record decide.Record) string {
	switch {
	case isNull(record.Input):
		return "the rules were not asked: " + record.Error
	case isNull(record.Decision) && record.Outcome != decide.Defect:
		return "there was no answer: " + record.Error
	}
	return ""
}

func isNull(document json.RawMessage) bool { return len(document) == 0 || string(document) == "null" }

func cannot(record decide.Record, why string) Replay {
	return Replay{DecisionID: record.DecisionID, Result: Cannot, Recorded: record.Outcome, Why: why}
}

// An answered is what a policy answers: a decision, or a defect.
type answered struct {
	decision policy.Decision
	defect   error
}

// answer evaluates an input. It is an error where there is no answer in time.
func answer(ctx context.Context, rules *policy.Policy, input json.RawMessage) (answered, error) {
	value, err := policy.ParseValue(input)
	if err != nil {
		return answered{}, fmt.Errorf("input: %w", err)
	}
	decision, err := rules.Decide(ctx, value)
	if err != nil && !errors.Is(err, policy.ErrDefect) {
		return answered{}, err
	}
	return answered{decision, err}, nil
}

// compare compares the recorded answer with the one now.
func compare(record decide.Record, now answered) (Replay, error) {
	replay := Replay{DecisionID: record.DecisionID, Result: Equal, Recorded: record.Outcome}
	if now.defect != nil {
		if !isNull(record.Decision) {
			replay.Result, replay.Replayed, replay.Why = Different, decide.Defect, now.defect.Error()
		}
		return replay, nil
	}
	document, err := json.Marshal(now.decision.Document)
	if err != nil {
		return Replay{}, err
	}
	if replay.Diff, err = diff(record.Decision, document); err != nil {
		return Replay{}, err
	}
	if len(replay.Diff) > 0 {
		replay.Result = Different
	}
	return replay, nil
}
