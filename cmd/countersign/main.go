// Command countersign is the external-authorisation sidecar for payments, and
// what its operators need.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar"
)

// Exit statuses.
const (
	exitError    = 1
	exitFailStop = 3 // the process found itself broken; a supervisor restarts it
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := command().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "countersign:", err)
	if errors.Is(err, sidecar.ErrFailStop) {
		os.Exit(exitFailStop)
	}
	os.Exit(exitError)
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "countersign",
		Short:         "Decide payment calls behind Envoy",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), configCommand(), keyCommand(),
		accountCommand(), terminalCommand(), merchantCommand(), grantCommand(),
		intentCommand(), challengeCommand(), messageCommand(), reservationCommand(), tokenCommand(), codeCommand(),
		storeCommand(), decisionCommand(), clockCommand(), versionCommand())
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		// Without these two a misspelled subcommand would print the help and exit 0.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}
