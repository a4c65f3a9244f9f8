package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/privatefile"
)

func tokenCommand() *cobra.Command {
	cmd := group("token", "Keep the tokens of the control API", tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
	cmd.Long = "Keep the tokens of the control API. " + besideAPI + `

What each role may do is in docs/control.md.`
	return cmd
}

func tokenCreateCommand() *cobra.Command {
	var flags controlFlags
	var token api.NewToken
	var role string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "create NAME FILE",
		Short: "Make a token, and write its secret to a file",
		Long: `Make a token of the control API and write its secret to a new file that only this
user can read. Records name the token by its ID and NAME: small letters, digits and
-, such as ledger. The secret is stored nowhere else.`,
		Example: `  countersign token create ledger ledger.token --role settlement --expires 2160h
  countersign reservation list --token-file ledger.token`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			token.Name, token.Role, token.ExpiresInSeconds = args[0], api.Role(role), int64(expires/time.Second)
			client, err := flags.client()
			if err != nil {
				return err
			}
			// The file first: a secret that cannot be kept is not made.
			if err := privatefile.Create(args[1], nil); err != nil {
				return err
			}
			var made api.MadeToken
			_, err = client.call(cmd.Context(), controlCall{method: http.MethodPost, path: "/v1/tokens", body: token}, &made)
			if err == nil {
				err = writeSecret(args[1], made.Secret)
			}
			if err != nil {
				return removeToo(args[1], err)
			}
			if flags.output == "json" {
				return writeJSON(cmd.OutOrStdout(), made.Token)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made.ID)
			return err
		},
	}
	flags.register(cmd)
	choice(cmd, &role, "role", "", "what its holder may do", roleNames()...)
	cmd.Flags().DurationVar(&expires, "expires", 0, "how long it is good, such as 2160h (default: until it is revoked)")
	require(cmd, "role")
	return cmd
}

func writeSecret(name, secret string) error {
	return privatefile.Replace(name, func(f *os.File) error {
		_, err := f.WriteString(secret + "\n")
		return err
	})
}

// removeToo removes a file after an error.
func removeToo(name string, err error) error { return errors.Join(err, os.Remove(name)) }

func roleNames() (names []string) {
	for _, r := range api.Roles {
		names = append(names, string(r))
	}
	return names
}

func tokenListCommand() *cobra.Command {
	var flags listFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens of the control API",
		Example: "  countersign token list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/tokens"},
				row("TOKEN", "NAME", "ROLE", "MADE", "EXPIRES", "REVOKED"), func(t api.Token) string {
					return row(t.ID, t.Name, t.Role, atTime(t.CreatedAtNanos), atTime(t.ExpiresAtNanos), atTime(t.RevokedAtNanos))
				})
		},
	}
	flags.register(cmd)
	return cmd
}

func tokenRevokeCommand() *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:               "revoke ID",
		Short:             "End a token for good",
		Long:              "End a token for good, at once. Where no token of the role admin is left, the next\nstart of the sidecar makes one.",
		Example:           "  countersign token revoke tok_7mmukbybmc52m2ol2ec62vvpfr",
		Args:              oneID("token", "tok"),
		ValidArgsFunction: completeIDs(&flags, "/v1/tokens", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/tokens/" + args[0] + "/revoke"},
				func(w io.Writer, t api.Token) error {
					_, err := fmt.Fprintf(w, "%s, %s, is revoked\n", t.ID, t.Name)
					return err
				})
		},
	}
	flags.register(cmd)
	return cmd
}
