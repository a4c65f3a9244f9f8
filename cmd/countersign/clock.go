package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/clock"
)

func clockCommand() *cobra.Command {
	return group("clock", "Look at the clock that decisions are made by, and accept it", clockShowCommand(), clockAcceptCommand())
}

func clockShowCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Say whether the clock can be believed",
		Long: `Say what the clock shows, and what it should show by what the last sidecar on this
store knew. It reads a small file beside the store, also while a sidecar serves it.`,
		Example: "  countersign clock show --data /var/lib/countersign -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := clock.Look(flags.dataDir, clock.Config{})
			if err != nil {
				return explainClock(flags.dataDir, err)
			}
			if flags.output == "json" {
				return writeJSON(cmd.OutOrStdout(), newClockReport(status))
			}
			return writeClock(cmd.OutOrStdout(), status)
		},
	}
	flags.register(cmd)
	return cmd
}

func clockAcceptCommand() *cobra.Command {
	var dataDir, reason string
	var back bool
	cmd := &cobra.Command{
		Use:   "accept",
		Short: "Say that the clock is right, although it has jumped",
		Long: `Say that what the clock shows is right, so that decisions go on from there. Check it
first, against another clock: if it is wrong, set it right instead, and nothing is
to be accepted. A running sidecar goes on within a second, a stopped one when it
starts, if that is before the next reboot. The acceptance is recorded in the store.

With --back, a clock that is behind is accepted: what has ended in the meantime and
was not used may then be good again. What was used stays used.

Exit status: 0 when accepted, 1 when there is nothing to accept or it failed.`,
		Example: `  countersign clock accept --data /var/lib/countersign --reason "off for two weeks, compared with time.example"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			by := clock.By{UID: os.Getuid(), User: operatorName(), Reason: reason}
			status, err := clock.Accept(dataDir, by, back, clock.Config{})
			if errors.Is(err, clock.ErrBack) {
				return fmt.Errorf("%w; if it is right, say --back", err)
			}
			if err != nil {
				return explainClock(dataDir, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted: it is %s, not %s\n",
				status.Accepted.Time().Format(time.RFC3339), status.Expected.Format(time.RFC3339))
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dataDir, "data", "countersign-data", "directory of the store")
	flags.StringVar(&reason, "reason", "", "why, for the record")
	flags.BoolVar(&back, "back", false, "accept a clock that is behind")
	return cmd
}

// explainClock says what the lack of a clock's file means.
func explainClock(dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := exists(dir); err != nil {
		return err
	}
	return fmt.Errorf("no sidecar has kept time in %s yet: start one first (%w)", dir, err)
}

// clockReport is what clock show prints.
type clockReport struct {
	Clock    time.Time            `json:"clock"`
	Expected *time.Time           `json:"expected"` // null: nobody knows
	Believed bool                 `json:"believed"`
	Problem  string               `json:"problem,omitempty"`
	Accepted *clockAcceptedReport `json:"accepted,omitempty"` // by whom, until a sidecar has taken it up
}

type clockAcceptedReport struct {
	Time time.Time `json:"time"`
	clock.By
}

func newClockReport(s clock.Status) clockReport {
	r := clockReport{Clock: s.Wall, Believed: s.Jump == nil}
	if !s.Expected.IsZero() {
		r.Expected = &s.Expected
	}
	if s.Jump != nil {
		r.Problem = s.Jump.Error()
	}
	if s.Accepted != nil {
		r.Accepted = &clockAcceptedReport{s.Accepted.Time(), s.Accepted.By}
	}
	return r
}

func writeClock(w io.Writer, s clock.Status) error {
	r := newClockReport(s)
	expected, believed := "nobody knows", "yes"
	if r.Expected != nil {
		expected = r.Expected.Format(time.RFC3339)
	}
	if !r.Believed {
		believed = "no: " + r.Problem
	}
	_, err := fmt.Fprintf(w, "clock     %s\nexpected  %s\nbelieved  %s\n", r.Clock.Format(time.RFC3339), expected, believed)
	if r.Accepted != nil {
		_, printErr := fmt.Fprintf(w, "accepted  %s by %s, for a sidecar to take up\n", r.Accepted.Time.Format(time.RFC3339), r.Accepted.User)
		err = errors.Join(err, printErr)
	}
	return err
}

// operatorName is whoever runs the command, a user of this host.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}
