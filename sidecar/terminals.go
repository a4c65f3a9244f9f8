package sidecar

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/upstream"
)

// serveTerminalAPI shows what built-in operations did at cfg.TerminalAPI, if
// anywhere, until stop.
func serveTerminalAPI(cfg Config, store *authzstore.Store, keys keyring, codes *evidence.PaymentCodes, now func() (time.Time, error)) (stop func(), err error) {
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
	terminals := api.NewTerminalAPI(api.TerminalConfig{
		Store: store, Verifier: verifier, Now: now, Log: cfg.Log,
		ParametersURI: func(c authzstore.Credential) (string, error) {
			p, err := codes.Parameters(c)
			return p.URI(), err
		},
	})
	stop, err = serveHTTP(terminals.Server(), cfg.TerminalAPI, cfg.SocketMode, controlTimeout, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("terminal API: %w", err)
	}
	cfg.Log.Info("terminal API", "listen", cfg.TerminalAPI)
	return stop, nil
}
