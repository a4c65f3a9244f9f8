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
	err := command().ExecuteContext(ctx)
	switch {
	case errors.Is(err, sidecar.ErrFailStop):
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(exitFailStop)
	case err != nil:
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(exitError)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "countersign",
		Short:         "Decide payment calls behind Envoy, with their effects in one transaction",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), accountCommand(), versionCommand())
	return root
}
