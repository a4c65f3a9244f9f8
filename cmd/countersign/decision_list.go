package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func decisionListCommand() *cobra.Command {
	var flags storeFlags
	var filter decisionFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the newest decisions",
		Long: `List the newest decisions, one on a line, the newest last. With -o json each line
is all that decision get prints. ` + besideSidecar + `

With --since only the part of the journal from about then on is read.`,
		Example: `  countersign decision list --since 24h --outcome deny
  countersign decision list --subject anna --limit 0 -o json | jq .input.call.amount_minor`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reader, err := filter.open(flags.dataDir)
			if err != nil {
				return err
			}
			printed := 0
			write := func(d decision) error {
				printed++
				return writeDecisionLine(cmd.OutOrStdout(), flags.output, d)
			}
			if limit <= 0 { // all of them need not be remembered
				err = reader.read(cmd.Context(), false, write)
			} else {
				var newest []decision
				if newest, err = reader.newest(cmd.Context(), limit); err == nil {
					err = each(newest, write)
				}
			}
			if err == nil && printed == 0 {
				sayNone(cmd, flags.output, "no such decisions are kept")
			}
			return err
		},
	}
	flags.register(cmd)
	filter.register(cmd)
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most; 0 means all")
	return cmd
}

func decisionTailCommand() *cobra.Command {
	var flags storeFlags
	var filter decisionFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print decisions as they are made",
		Long: `Print the newest decisions, and then each one when it is made, as decision list
does, until told to stop. ` + besideSidecar,
		Example: `  countersign decision tail --outcome defect
  countersign decision tail --since 1h -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reader, err := filter.open(flags.dataDir)
			if err != nil {
				return err
			}
			write := func(d decision) error { return writeDecisionLine(cmd.OutOrStdout(), flags.output, d) }
			newest, err := reader.newest(cmd.Context(), limit)
			if err == nil {
				err = each(newest, write)
			}
			if err == nil {
				err = reader.read(cmd.Context(), true, write)
			}
			if errors.Is(err, context.Canceled) {
				return nil // told to stop
			}
			return err
		},
	}
	flags.register(cmd)
	filter.register(cmd)
	cmd.Flags().IntVar(&limit, "limit", 10, "how many of those that there are; 0 means all")
	return cmd
}

func each(decisions []decision, fn func(decision) error) error {
	for _, d := range decisions {
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

func writeDecisionLine(w io.Writer, format string, d decision) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(d)
	}
	call := d.asked()
	line := fmt.Sprintf("%s  %s  %-11s  %s %s  %s  %s\n", d.Time.Format("2006-01-02T15:04:05.000Z07:00"), d.DecisionID,
		d.Outcome, call.System, call.Operation, d.Identity.Subject, cmp.Or(d.codes(), "-"))
	_, err := io.WriteString(w, printable(line))
	return err
}
