package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/clock"
)

func serveCommand() *cobra.Command {
	var cfg sidecar.Config
	var policyDir, decisionLog, socketMode string
	var upstreamKeys []string
	var messages messageFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer Envoy's checks",
		Long: `Answer Envoy's checks until the process is told to stop (SIGTERM), then let the
calls in flight end.

Exit status: 0 when told to stop, 1 when it could not start, 3 when it found
itself broken and must be restarted.`,
		Example: `  countersign key new payments.key
  countersign serve --upstream-key payments.example=payments.key
  countersign serve --upstream-key payments.example=payments.key --policies ./policies --decision-log decisions.jsonl
  countersign serve --upstream-key payments.example=/etc/countersign/payments.key --data /var/lib/countersign \
    --listen unix:/run/countersign/authz.sock --terminal-api unix:/run/countersign/api.sock --metrics tcp:127.0.0.1:9464`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
			var err error
			if cfg.Policies, err = policyFS(policyDir); err != nil {
				return err
			}
			mode, err := strconv.ParseUint(socketMode, 8, 32)
			if err != nil || mode == 0 {
				return fmt.Errorf("--socket-mode %q is not an octal mode", socketMode)
			}
			cfg.SocketMode = fs.FileMode(mode)
			switch cfg.Control {
			case "":
				cfg.Control = "unix:" + filepath.Join(cfg.DataDir, sidecar.ControlSocket)
			case "none":
				cfg.Control = ""
			}
			if cfg.TokenKeys, err = readUpstreamKeys(upstreamKeys); err != nil {
				return fmt.Errorf("--upstream-key: %w", err)
			}
			if decisionLog != "" {
				file, err := openPrivate(decisionLog)
				if err != nil {
					return fmt.Errorf("--decision-log: %w", err)
				}
				defer file.Close()
				cfg.DecisionLog = file
			}
			closeLog, err := messages.set(&cfg)
			if err != nil {
				return err
			}
			defer closeLog()
			return sidecar.Run(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Listen, "listen", "unix:countersign.sock", "where Envoy finds us: unix:PATH, or tcp:127.0.0.1:PORT")
	flags.StringVar(&socketMode, "socket-mode", "0600", "mode of the unix socket: 0600, or 0660 for Envoy under another user of the group")
	flags.StringVar(&cfg.Metrics, "metrics", "", "where /metrics and /healthz are: tcp:127.0.0.1:PORT, or unix:PATH (default: nowhere)")
	flags.StringVar(&cfg.Control, "control", "", "where the control API is: unix:PATH, tcp:127.0.0.1:PORT, or none (default: unix:control.sock in --data)")
	flags.StringVar(&cfg.TerminalAPI, "terminal-api", "", "where Envoy finds the API that shows owners and delegates their grants: unix:PATH with --socket-mode, or tcp:127.0.0.1:PORT (default: nowhere)")
	flags.StringVar(&cfg.DataDir, "data", "countersign-data", "directory of the store")
	flags.StringVar(&cfg.KeyFile, "key", "", "file with the store's key, 32 bytes in base64 (default: key in the store's directory, made there; keep it elsewhere, so that a copy of the store is not a copy of the key)")
	flags.DurationVar(&cfg.Retention.MaxAge, "retain", sidecar.DefaultMaxAge, "how long records are kept, at least 24 hours")
	flags.Int64Var(&cfg.Retention.MaxBytes, "retain-bytes", sidecar.DefaultMaxBytes, "how many bytes of records are kept; those of the last 24 hours stay in any case, because messages to terminals lie among them")
	flags.DurationVar(&cfg.Clock.MaxGap, "max-gap", clock.DefaultMaxGap, "how far the clock may have gone on over a reboot before an operator must accept it")
	flags.StringArrayVar(&upstreamKeys, "upstream-key", nil, "AUDIENCE=FILE: sign the tokens for this payment service with the key in the file, which countersign key new makes; once for each service")
	messages.add(cmd)
	policiesFlag(cmd, &policyDir)
	flags.StringVar(&decisionLog, "decision-log", "", "file that gets a line of JSON for each decision; rotate it by moving it and restarting")
	return cmd
}

// openPrivate opens a file to append to, which nobody else may read or write.
func openPrivate(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s has the mode %04o: it holds who pays whom; chmod 600 it", name, info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
