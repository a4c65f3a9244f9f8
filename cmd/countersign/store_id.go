package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
)

func storeIDCommand() *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:     "id",
		Short:   "Say which store a sidecar serves",
		Long:    "Print the ID of the store that a running sidecar serves: it is the issuer of the\ntokens for payment services, which their verifiers are told.",
		Example: "  countersign store id --data /var/lib/countersign",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/store"}, func(w io.Writer, s api.Store) error {
				_, err := fmt.Fprintln(w, s.ID)
				return err
			})
		},
	}
	flags.register(cmd)
	return cmd
}
