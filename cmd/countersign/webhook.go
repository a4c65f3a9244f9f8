package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/outbox"
	"github.com/countersign/countersign/sidecar/privatefile"
)

func keyWebhookCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "webhook FILE",
		Short: "Make a secret that webhooks are signed with",
		Long: `Make a file with a new secret (whsec_…), which only you can read, for the webhooks to
one receiver. A file that exists is not touched. Give the receiver a copy, and nobody
else: who knows it can sign.

To replace a secret, put the new one below the old one in the file, restart, tell the
receiver, and take the old one out: webhooks are signed with each, one a line.`,
		Example: "  countersign key webhook hooks.secret",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := privatefile.Create(args[0], outbox.NewSecret()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: a secret for the webhooks to one receiver\n", args[0])
			return nil
		},
	}
}

// messageFlags are the flags of serve that say where messages go.
type messageFlags struct {
	hosts, loopback []string
	ca, log         string
}

func (f *messageFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.hosts, "webhook-host", nil, "HOST[:PORT]=FILE: webhooks may go there, signed with the secret in the file, which countersign key webhook makes; once for each receiver")
	flags.StringArrayVar(&f.loopback, "webhook-loopback", nil, "the same, for a receiver on a loopback address of this machine: for tests and demonstrations")
	flags.StringVar(&f.ca, "webhook-ca", "", "file with the certificates (PEM) that those of receivers are checked against (default: the system's)")
	flags.StringVar(&f.log, "message-log", "", "file that gets a line of JSON for each message, WITH ITS CODE, or - for the standard output: only to try things out")
}

// set fills in what the flags say; close closes what was opened.
func (f *messageFlags) set(cfg *sidecar.Config) (closeLog func(), err error) {
	for _, list := range []struct {
		flag     string
		values   []string
		loopback bool
	}{{"--webhook-host", f.hosts, false}, {"--webhook-loopback", f.loopback, true}} {
		for _, value := range list.values {
			host, file, ok := strings.Cut(value, "=")
			if !ok || host == "" || file == "" {
				return nil, fmt.Errorf("%s: %q is not HOST=FILE", list.flag, value)
			}
			secrets, err := outbox.ReadSecrets(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.flag, err)
			}
			cfg.Webhooks = append(cfg.Webhooks, outbox.Receiver{Host: host, Secrets: secrets, Loopback: list.loopback})
		}
	}
	if cfg.WebhookRoots, err = readRoots(f.ca); err != nil {
		return nil, fmt.Errorf("--webhook-ca: %w", err)
	}
	switch f.log {
	case "":
		return func() {}, nil
	case "-":
		cfg.MessageLog = os.Stdout
		return func() {}, nil
	}
	file, err := openPrivate(f.log)
	if err != nil {
		return nil, fmt.Errorf("--message-log: %w", err)
	}
	cfg.MessageLog = file
	return func() { _ = file.Close() }, nil
}

// maxRoots bounds a file of certificates.
const maxRoots = 1 << 20

// readRoots reads certificates; nil where there is no file.
func readRoots(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxRoots))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return roots, nil
}
