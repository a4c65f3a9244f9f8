package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

func decisionGetCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Say all that is known about one decision",
		Long: `Say what was decided about a call and why: all reasons and those that the caller
was told, what the rules were asked and what they answered, and what the decision
changed in the store. ` + besideSidecar,
		Example: "  countersign decision get dec_7m3vbcx5dw2rhk4nq6j0 --data /var/lib/countersign",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := findDecisions(cmd.Context(), flags.dataDir, args[0])
			if err != nil {
				return err
			}
			if flags.output == "json" {
				return writeJSON(cmd.OutOrStdout(), found[0])
			}
			return writeDecision(cmd.OutOrStdout(), found[0])
		},
	}
	flags.register(cmd)
	return cmd
}

// printable is a text for a terminal: what could move the cursor, or turn what
// follows around, is replaced. Callers choose parts of what is printed.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// writeDecision prints a decision for people.
func writeDecision(out io.Writer, d decision) error {
	var text strings.Builder
	if err := describe(&text, d); err != nil {
		return err
	}
	_, err := io.WriteString(out, printable(text.String()))
	return err
}

func describe(w io.Writer, d decision) error {
	call := d.asked()
	answered := string(d.Outcome)
	if d.Status != 0 {
		answered += fmt.Sprintf(", %d for the caller", d.Status)
	}
	id := d.Identity
	who := fmt.Sprintf("%s %s of %s", id.Kind, id.Subject, id.Issuer)
	if id.OnBehalfOf != "" {
		who += ", on behalf of " + id.OnBehalfOf
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, value)
		}
	}
	line("decision", d.DecisionID)
	line("time", d.Time.Format(time.RFC3339Nano))
	line("outcome", answered)
	line("error", d.Error)
	line("call", call.System+" "+call.Operation)
	line("caller", who)
	reasonLines(line, "reason", d.Reasons)
	reasonLines(line, "told", d.PublicReasons)
	for _, e := range d.Evidence {
		line("evidence", shown(e))
	}
	line("reservation", d.ReservationID)
	line("grant", d.Grant)
	line("challenge", d.Challenge)
	line("intent", d.Intent)
	line("bundle", d.Bundle)
	line("seq", fmt.Sprint(d.Seq))
	if err := table.Flush(); err != nil {
		return err
	}
	for _, document := range []struct {
		name string
		text json.RawMessage
	}{{"input", d.Input}, {"decision", d.Decision}} {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, document.text, "", "  "); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s %s\n", document.name, &pretty)
	}
	return writeChanges(w, d.Changes)
}

// shown is what a secret field was found to be, and what it cost. Whether a code that is
// entered into a challenge is right, the challenge alone says.
func shown(e decide.EvidenceRecord) string {
	found := map[bool]string{true: "matched", false: "did not match"}
	if e.Kind == evidence.ChallengeCode {
		found = map[bool]string{true: "was entered", false: "was expected by no challenge"}
	}
	text := e.Field + " (" + e.Kind + ") " + found[e.Matched]
	if len(e.Budgets) > 0 {
		text += ", an attempt of " + strings.Join(e.Budgets, " and of ") + " was burnt"
	}
	return text
}

func reasonLines(line func(name, value string), name string, reasons []policy.Reason) {
	for _, r := range reasons {
		text := r.Code + ": " + r.Message
		if r.Limit != "" {
			text += " Limit " + r.Limit
		}
		if r.RemainingMinor != nil {
			text += fmt.Sprintf(", %d minor units remain", *r.RemainingMinor)
		}
		if r.RemainingCount != nil {
			text += fmt.Sprintf(", %d payments remain", *r.RemainingCount)
		}
		if r.ResetsAtNanos != nil {
			text += ", resets at " + time.Unix(0, *r.ResetsAtNanos).UTC().Format(time.RFC3339)
		}
		line(name, text)
	}
}

func writeChanges(w io.Writer, changes []changeJSON) error {
	for i, c := range changes {
		before, beforeErr := changedValue(c.Before)
		after, afterErr := changedValue(c.After)
		if beforeErr != nil || afterErr != nil {
			return fmt.Errorf("%s: %v %v", c.Key, beforeErr, afterErr)
		}
		if i == 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "%s\n  before  %s\n  after   %s\n", c.Key, before, after); err != nil {
			return err
		}
	}
	return nil
}

func changedValue(noun any) (string, error) {
	if noun == nil {
		return "nothing", nil
	}
	text, err := json.Marshal(noun)
	return string(text), err
}
