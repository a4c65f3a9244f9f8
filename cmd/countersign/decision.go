package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/decide"
)

func decisionCommand() *cobra.Command {
	return group("decision", "Look at decisions, and decide them again",
		decisionGetCommand(), decisionListCommand(), decisionTailCommand(), decisionReplayCommand(), decisionExportCommand())
}

// besideSidecar is said in the help of every subcommand.
const besideSidecar = `It reads the journal alone, also while a sidecar serves the store.`

// A decision is what the journal holds about one decision, as the commands print
// it.
type decision struct {
	Seq      uint64              `json:"seq"` // of its batch
	Identity authzstore.Identity `json:"identity"`
	decide.Record
	Changes []changeJSON `json:"changes,omitempty"`
}

// asked is what the policy was asked about; empty where it never was.
func (d decision) asked() (call struct{ System, Operation string }) {
	var input struct {
		Call *struct{ System, Operation string }
	}
	input.Call = &call
	_ = json.Unmarshal(d.Input, &input) // what cannot be read is empty
	return call
}

// codes are the reasons, the leading one first.
func (d decision) codes() string {
	var codes []string
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	if len(codes) == 0 {
		for _, r := range d.PublicReasons {
			codes = append(codes, r.Code)
		}
	}
	return strings.Join(codes, " ")
}

func newDecision(seq uint64, stored authzstore.Record) (decision, error) {
	record, err := decide.ReadRecord(stored)
	if err != nil {
		return decision{}, err
	}
	d := decision{Seq: seq, Identity: stored.Actor, Record: record}
	d.Changes, err = readChanges(stored)
	return d, err
}

// decisionFilter says which decisions a command is about.
type decisionFilter struct {
	outcome, system, subject string
	since, until             string
	sinceTime, untilTime     time.Time // zero: no bound
}

func (f *decisionFilter) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.outcome, "outcome", "", "only allow, deny, step_up, defect or unavailable")
	flags.StringVar(&f.system, "system", "", "only calls of this system")
	flags.StringVar(&f.subject, "subject", "", "only calls of the identity with this subject")
	flags.StringVar(&f.since, "since", "", "only from this time on: RFC 3339, or how long ago, such as 24h")
	flags.StringVar(&f.until, "until", "", "only before this time, in the same form")
}

// open returns a reader of the store in dir.
func (f *decisionFilter) open(dir string) (_ *decisionReader, err error) {
	now := time.Now()
	known := []decide.Outcome{"", decide.Allow, decide.Deny, decide.StepUp, decide.Defect, decide.Unavailable}
	if !slices.Contains(known, decide.Outcome(f.outcome)) {
		return nil, fmt.Errorf("--outcome %q is not allow, deny, step_up, defect or unavailable", f.outcome)
	}
	if f.sinceTime, err = parseTime(f.since, now); err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	if f.untilTime, err = parseTime(f.until, now); err != nil {
		return nil, fmt.Errorf("--until: %w", err)
	}
	if err := exists(dir); err != nil {
		return nil, err
	}
	since := f.sinceTime
	if !since.IsZero() {
		since = since.Add(-clockSlack)
	}
	at, err := sidecar.OldestInJournal(dir, since)
	return &decisionReader{dir, *f, at}, err
}

func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time as in RFC 3339, such as 2026-11-24T17:00:00Z, nor how long ago, such as 24h", text)
	}
	return at, nil
}

func (f *decisionFilter) inTime(stored authzstore.Record) bool {
	at := time.Unix(0, stored.AtNanos)
	return (f.sinceTime.IsZero() || !at.Before(f.sinceTime)) && (f.untilTime.IsZero() || at.Before(f.untilTime))
}

func (f *decisionFilter) wants(d decision) bool {
	return (f.outcome == "" || f.outcome == string(d.Outcome)) &&
		(f.subject == "" || f.subject == d.Identity.Subject) &&
		(f.system == "" || f.system == d.asked().System)
}

// clockSlack is how far the time of decisions may be ahead of the clock that
// segments of the journal are dated by; see package clock.
const clockSlack = 10 * time.Minute

// A decisionReader reads decisions out of a journal, the oldest first.
type decisionReader struct {
	dir    string
	filter decisionFilter
	at     kv.Pos // of the last batch that was read
}

// read calls fn for the decisions that the filter wants and that were not read yet;
// with follow it goes on until ctx ends.
func (r *decisionReader) read(ctx context.Context, follow bool, fn func(decision) error) error {
	return sidecar.FollowJournal(ctx, r.dir, r.at, follow, func(b kv.Batch) error {
		r.at = b.Pos
		return eachRecord(b, func(stored authzstore.Record) error {
			if !decide.IsDecision(stored) || !r.filter.inTime(stored) {
				return nil
			}
			d, err := newDecision(b.Seq, stored)
			if err != nil || !r.filter.wants(d) {
				return err
			}
			return fn(d)
		})
	})
}

// newest returns the last ones of those that read finds, at most limit; 0 means
// all of them. It looks at the end of the journal first.
func (r *decisionReader) newest(ctx context.Context, limit int) (last []decision, err error) {
	if limit == 0 || !r.filter.sinceTime.IsZero() {
		return r.last(ctx, limit)
	}
	var begin *kv.Pos
	now := time.Now()
	for _, since := range []time.Time{now.Add(-time.Hour), now.Add(-24 * time.Hour), now.Add(-30 * 24 * time.Hour), {}} {
		at, err := sidecar.OldestInJournal(r.dir, since)
		if err != nil {
			return nil, err
		}
		if begin != nil && *begin == at {
			continue // there is nothing before what was read
		}
		r.at, begin = at, &at
		if last, err = r.last(ctx, limit); err != nil || len(last) == limit {
			return last, err
		}
	}
	return last, nil
}

// last is newest, from where the reader is.
func (r *decisionReader) last(ctx context.Context, limit int) ([]decision, error) {
	var last []decision // the newest ones at its end
	err := r.read(ctx, false, func(d decision) error {
		if last = append(last, d); limit > 0 && len(last) >= 2*limit {
			last = append(last[:0], last[len(last)-limit:]...)
		}
		return nil
	})
	if limit > 0 && len(last) > limit {
		last = last[len(last)-limit:]
	}
	return last, err
}

// eachRecord calls fn for every record of a batch.
func eachRecord(b kv.Batch, fn func(stored authzstore.Record) error) error {
	for _, unit := range b.Units {
		for _, entry := range unit.Entries {
			stored, ok, err := authzstore.ReadRecord(entry)
			if err == nil && ok {
				err = fn(stored)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

var decisionID = regexp.MustCompile(`^dec_[a-z2-7]{26}$`)

// findDecisions returns the decisions with these IDs, in their order.
func findDecisions(ctx context.Context, dir string, ids ...string) ([]decision, error) {
	for _, id := range ids {
		if !decisionID.MatchString(id) {
			return nil, fmt.Errorf("%q is not the ID of a decision: dec_ and 26 characters", id)
		}
	}
	if err := exists(dir); err != nil {
		return nil, err
	}
	from, err := sidecar.OldestInJournal(dir, time.Time{})
	if err != nil {
		return nil, err
	}
	found, missing := map[string]decision{}, map[string]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	foundAll := errors.New("found all")
	err = sidecar.FollowJournal(ctx, dir, from, false, func(b kv.Batch) error {
		return eachRecord(b, func(stored authzstore.Record) (err error) {
			if !missing[stored.ID] {
				return nil
			}
			delete(missing, stored.ID)
			if found[stored.ID], err = newDecision(b.Seq, stored); err == nil && len(missing) == 0 {
				err = foundAll
			}
			return err
		})
	})
	if err != nil && !errors.Is(err, foundAll) {
		return nil, err
	}
	decisions := make([]decision, 0, len(ids))
	for _, id := range ids {
		if missing[id] {
			return nil, noDecision(dir, id, from)
		}
		decisions = append(decisions, found[id])
	}
	return decisions, nil
}

// noDecision says why a decision may not be there.
func noDecision(dir, id string, oldest kv.Pos) error {
	kept := "nothing was ever removed from this store"
	if oldest.Seq > 0 {
		kept = fmt.Sprintf("records before sequence number %d are no longer kept (serve --retain)", oldest.Seq+1)
	}
	return fmt.Errorf("%s has no decision %s: %s. A call that no rule was asked about leaves no record: the sidecar's log tells of it", dir, id, kept)
}
