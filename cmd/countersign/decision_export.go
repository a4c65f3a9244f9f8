package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/replay"
)

func decisionExportCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "export ID DIR",
		Short: "Write a decision to a directory, for stock OPA to decide again",
		Long: `Write all that a decision depends on to a new directory: input.json, the bundle of
that day as bundle.tar.gz, the policy's answer as decision.json, all that decision
get prints as record.json, and replay.sh, which decides it again with stock OPA
and compares. ` + besideSidecar + `

The files hold who pays whom, and are for you alone (0600).`,
		Example: `  countersign decision export dec_7m3vbcx5dw2rhk4nq6j0 why
  sh why/replay.sh`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := findDecisions(cmd.Context(), flags.dataDir, args[0])
			if err != nil {
				return err
			}
			var described bytes.Buffer
			if err := writeJSON(&described, found[0]); err != nil {
				return err
			}
			archive := bundle.NewArchive(archiveDir(flags.dataDir))
			if err := replay.Export(args[1], archive, found[0].Record, described.Bytes()); err != nil {
				return err
			}
			if flags.output == "json" {
				return writeJSON(cmd.OutOrStdout(), map[string]string{"decision_id": args[0], "dir": args[1]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: sh %s/replay.sh decides it again with opa\n", args[1], args[1])
			return err
		},
	}
	flags.register(cmd)
	return cmd
}
