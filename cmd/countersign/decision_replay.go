package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/replay"
)

// replayBudget bounds one evaluation. It is more than any decision had: what came
// in time then comes in time on a busy machine, too.
const replayBudget = 10 * time.Second

// replayConfig ends the process where an evaluation cannot be stopped.
var replayConfig = policy.Config{Budget: replayBudget, Stuck: func() {
	fmt.Fprintln(os.Stderr, "countersign: an evaluation cannot be stopped")
	os.Exit(exitError)
}}

func decisionReplayCommand() *cobra.Command {
	var flags storeFlags
	var filter decisionFilter
	var otherDir string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "replay [ID...]",
		Short: "Decide again, and compare",
		Long: `Decide again what was decided, from the recorded inputs and with the bundles of
that day, and compare the policy's answers: all decisions that are kept, those
that the flags ask for, or those named. Each is equal, different, or cannot be
replayed: where there was no answer (a timeout), or the bundle is gone.
` + besideSidecar + `

With --with another bundle is asked instead, and the decisions are printed that
would be others under it. It must be one that serve would take.

Exit status: 0 when all are equal, 1 when one is different. With --with: 0, or,
if --exit-code asks for it, 1 when one would have another outcome.`,
		Example: `  countersign decision replay
  countersign decision replay --with new-policies --since 24h`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if exitCode && otherDir == "" {
				return errors.New("--exit-code is for --with: without it the exit status tells in any case")
			}
			ctx := cmd.Context()
			run := replayRun{out: cmd.OutOrStdout(), json: flags.output == "json", trying: otherDir != ""}
			ours := replay.New(bundle.NewArchive(archiveDir(flags.dataDir)), replayConfig)
			again := func(d decision) error { return run.report(d, ours.Replay(ctx, d.Record)) }
			if run.trying {
				dir, err := policyFS(otherDir)
				if err != nil {
					return err
				}
				other, err := bundle.Load(ctx, dir, bundle.Config{Policy: replayConfig})
				if err != nil {
					return err
				}
				again = func(d decision) error { return run.report(d, replay.Try(ctx, other, d.Record)) }
			}
			if err := forDecisions(cmd, flags.dataDir, filter, ids, again); err != nil {
				return err
			}
			if err := run.summary(); err != nil {
				return err
			}
			return run.verdict(exitCode)
		},
	}
	flags.register(cmd)
	filter.register(cmd)
	cmd.Flags().StringVar(&otherDir, "with", "", "directory of another bundle to ask instead")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "of --with: exit status 1 when an outcome would be another")
	return cmd
}

func archiveDir(dataDir string) string { return filepath.Join(dataDir, sidecar.PoliciesDir) }

// forDecisions calls fn for the decisions named, or for those that the filter
// wants.
func forDecisions(cmd *cobra.Command, dir string, filter decisionFilter, ids []string, fn func(decision) error) error {
	if len(ids) == 0 {
		reader, err := filter.open(dir)
		if err != nil {
			return err
		}
		return reader.read(cmd.Context(), false, fn)
	}
	if filter != (decisionFilter{}) {
		return errors.New("either IDs or flags say which decisions")
	}
	found, err := findDecisions(cmd.Context(), dir, ids...)
	if err != nil {
		return err
	}
	return each(found, fn)
}

// A replayRun prints replays, and counts them.
type replayRun struct {
	out    io.Writer
	json   bool
	trying bool // another bundle

	Equal     int `json:"equal"`
	Different int `json:"different"`
	Cannot    int `json:"cannot"`
	// OtherOutcome counts those of Different whose outcome is another one.
	OtherOutcome int `json:"other_outcome"`
}

func (r *replayRun) report(d decision, replayed replay.Replay) error {
	otherOutcome := replayed.Replayed != "" && replayed.Replayed != replayed.Recorded
	switch replayed.Result {
	case replay.Equal:
		r.Equal++
		if r.trying {
			return nil // nothing would change
		}
	case replay.Different:
		r.Different++
		if otherOutcome {
			r.OtherOutcome++
		}
	default:
		r.Cannot++
	}
	if r.json {
		return json.NewEncoder(r.out).Encode(replayed)
	}
	line := fmt.Sprintf("%s  %-9s  %s", d.DecisionID, replayed.Result, replayed.Recorded)
	if otherOutcome {
		line += " -> " + string(replayed.Replayed)
	}
	if replayed.Why != "" {
		line += ": " + replayed.Why
	}
	for _, part := range replayed.Diff {
		line += "\n    " + part
	}
	_, err := fmt.Fprintln(r.out, printable(line))
	return err
}

func (r *replayRun) summary() error {
	if r.json {
		return json.NewEncoder(r.out).Encode(r)
	}
	_, err := fmt.Fprintf(r.out, "%d equal, %d different (%d of them with another outcome), %d cannot be replayed\n",
		r.Equal, r.Different, r.OtherOutcome, r.Cannot)
	return err
}

// verdict is the error that makes the exit status 1.
func (r *replayRun) verdict(exitCode bool) error {
	switch {
	case !r.trying && r.Different > 0:
		return fmt.Errorf("%d decisions are decided differently now", r.Different)
	case r.trying && exitCode && r.OtherOutcome > 0:
		return fmt.Errorf("%d decisions would have another outcome", r.OtherOutcome)
	}
	return nil
}
