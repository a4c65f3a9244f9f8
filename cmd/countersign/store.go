package main

import (
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

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data", "countersign-data", "directory of the store")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text, or json")
}

func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check and look into a store",
		// Without these two a misspelled subcommand would print the help and exit 0.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(storeVerifyCommand(), storeInfoCommand(), storeTailCommand())
	return cmd
}
