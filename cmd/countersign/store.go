package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// storeLog tells whoever runs the command what opening the store found.
func storeLog(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}

// storeFlags are those of every subcommand of store.
type storeFlags struct {
	dataDir string
	output  string // "text" or "json"
}

// register adds the flags.
func (f *storeFlags) register(cmd *cobra.Command) {
	outputFlag(cmd, &f.output)
	cmd.Flags().StringVar(&f.dataDir, "data", "countersign-data", "directory of the store")
}

// outputFlag adds -o; a form of output that does not exist is refused before
// anything is opened.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *output != "text" && *output != "json" {
			return fmt.Errorf("--output %q is neither text nor json", *output)
		}
		return nil
	}
	cmd.Flags().StringVarP(output, "output", "o", "text", "text, or json")
}

// writeJSON prints a document for people and programs.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func storeCommand() *cobra.Command {
	return group("store", "Check and look into a store", storeVerifyCommand(), storeInfoCommand(), storeIDCommand(), storeTailCommand())
}
