package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/extauthz"
	"github.com/countersign/countersign/sidecar/outbox"
	"github.com/countersign/countersign/sidecar/upstream"
)

// Files in the data directory that the control API is reached by.
const (
	ControlSocket  = "control.sock" // where it listens unless told otherwise
	AdminTokenFile = "admin-token"  // the secret of the first token, of the role admin
)

// controlMode is the mode of the control API's socket, if it has one.
const controlMode = 0o600

// apiTimeout is how long calls in flight may take to end before their connections are
// closed.
const apiTimeout = 5 * time.Second

// serveAPIs answers the control API and the terminal API, where cfg has addresses
// for them, until stop. secrets are what the terminal API shows beside the store.
func serveAPIs(ctx context.Context, cfg Config, store *authzstore.Store, keys keyring, secrets api.TerminalConfig, now func() (time.Time, error)) (stop func(), err error) {
	stopControl, err := serveControl(ctx, cfg, store, now)
	if err != nil {
		return nil, err
	}
	stopTerminals, err := serveTerminalAPI(cfg, store, keys, secrets, now)
	if err != nil {
		stopControl()
		return nil, err
	}
	return func() { stopTerminals(); stopControl() }, nil
}

// serveControl answers the control API at cfg.Control, if anywhere, until stop.
func serveControl(ctx context.Context, cfg Config, store *authzstore.Store, now func() (time.Time, error)) (stop func(), err error) {
	if cfg.Control == "" {
		return func() {}, nil
	}
	if err := makeFirstToken(ctx, cfg, store, now); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	control := api.NewControl(api.ControlConfig{Store: store, Now: now, Log: cfg.Log})
	stop, err = serveHTTP(control.Server(), cfg.Control, controlMode, apiTimeout, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	cfg.Log.Info("control API", "listen", cfg.Control)
	return stop, nil
}

// makeFirstToken makes a token where nobody could make one. While the clock is not
// to be trusted no token works, so the next start is soon enough.
func makeFirstToken(ctx context.Context, cfg Config, store *authzstore.Store, now func() (time.Time, error)) error {
	at, err := now()
	if err != nil {
		cfg.Log.Warn("the first token of the control API is not made while the clock is not to be trusted", "error", err)
		return nil
	}
	actor := authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "serve"}
	made, err := api.Bootstrap(ctx, store, actor, at, filepath.Join(cfg.DataDir, AdminTokenFile))
	if made {
		cfg.Log.Info("the first token of the control API is in the file admin-token", "data", cfg.DataDir)
	}
	return err
}

// serveTerminalAPI shows what built-in operations did at cfg.TerminalAPI, if
// anywhere, until stop.
func serveTerminalAPI(cfg Config, store *authzstore.Store, keys keyring, secrets api.TerminalConfig, now func() (time.Time, error)) (stop func(), err error) {
	if cfg.TerminalAPI == "" {
		return func() {}, nil
	}
	key, err := upstream.SharedKey(keys.Tokens)
	if err != nil {
		return nil, err
	}
	verifier, err := upstream.NewVerifier(store.ID(), call.BuiltInAudience, key)
	if err != nil {
		return nil, err
	}
	secrets.Store, secrets.Verifier, secrets.Now, secrets.Log = store, verifier, now, cfg.Log
	stop, err = serveHTTP(api.NewTerminalAPI(secrets).Server(), cfg.TerminalAPI, cfg.SocketMode, apiTimeout, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("terminal API: %w", err)
	}
	cfg.Log.Info("terminal API", "listen", cfg.TerminalAPI)
	return stop, nil
}

// terminalSecrets are what the terminal API tells those whose it is, and nobody else.
func terminalSecrets(codes *evidence.PaymentCodes, p proofs, messages *outbox.Outbox) api.TerminalConfig {
	return api.TerminalConfig{
		ParametersURI: func(c authzstore.Credential) (string, error) {
			p, err := codes.Parameters(c)
			return p.URI(), err
		},
		IntentToken: p.tokens.Token,
		Messages:    messages.Stream,
	}
}

// serveHTTP runs a server on an address of extauthz.Listen until stop.
func serveHTTP(server *http.Server, address string, mode os.FileMode, timeout time.Duration, log *slog.Logger) (stop func(), err error) {
	listener, err := extauthz.Listen(address, mode)
	if err != nil {
		return nil, err
	}
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("an HTTP listener ended", "listen", address, "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // its listener is closed already
		}
		<-ended
	}, nil
}
