package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/privatefile"
	"github.com/countersign/countersign/sidecar/upstream"
)

func keyCommand() *cobra.Command {
	return group("key", "Make the keys that payment services and receivers of webhooks know", keyNewCommand(), keyJWKSCommand(), keyWebhookCommand())
}

func keyNewCommand() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key for the tokens of one payment service",
		Long: `Make a file with a new key, which only you can read, for the tokens of one payment
service. A file that exists is not touched.

HS256 is a secret that the sidecar and the service share: give the service a copy,
and nobody else. EdDSA is a private key for the sidecar alone: give the service
what countersign key jwks prints.`,
		Example: `  countersign key new payments.key
  countersign key new --algorithm EdDSA payments.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var text []byte
			switch algorithm {
			case "HS256":
				text = upstream.NewSecret()
			case "EdDSA":
				var err error
				if text, err = upstream.NewEd25519(); err != nil {
					return err
				}
			default:
				return fmt.Errorf("--algorithm %q is neither HS256 nor EdDSA", algorithm)
			}
			if err := privatefile.Create(args[0], text); err != nil {
				return err
			}
			key, err := upstream.ReadKey(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], key)
			return nil
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "HS256", "HS256, or EdDSA")
	return cmd
}

func keyJWKSCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "jwks FILE...",
		Short: "Print the public halves of EdDSA keys",
		Long: `Print the public halves of EdDSA keys as a JSON Web Key Set (RFC 7517), which
payment services verify tokens with. Name more than one file while one key is
replaced by another.`,
		Example: "  countersign key jwks payments.pem > payments.jwks",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var keys []upstream.Key
			for _, file := range args {
				key, err := upstream.ReadKey(file)
				if err != nil {
					return err
				}
				keys = append(keys, key)
			}
			text, err := upstream.JWKS(keys...)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return nil
		},
	}
}

// readUpstreamKeys reads the keys of AUDIENCE=FILE.
func readUpstreamKeys(flags []string) (map[string]upstream.Key, error) {
	keys := map[string]upstream.Key{}
	for _, flag := range flags {
		audience, file, ok := strings.Cut(flag, "=")
		if !ok || audience == "" || file == "" {
			return nil, fmt.Errorf("%q is not AUDIENCE=FILE", flag)
		}
		if _, twice := keys[audience]; twice {
			return nil, fmt.Errorf("%s is there twice", audience)
		}
		key, err := upstream.ReadKey(file)
		if err != nil {
			return nil, err
		}
		keys[audience] = key
	}
	return keys, nil
}
