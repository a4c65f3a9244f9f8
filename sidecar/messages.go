package sidecar

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/metrics"
	"github.com/countersign/countersign/sidecar/outbox"
)

// newOutbox returns what delivers the messages of a store, with the codes that the
// proofs keep the secrets of.
func newOutbox(cfg Config, store *authzstore.Store, p proofs, now func() (time.Time, error)) (*outbox.Outbox, error) {
	messages, err := outbox.New(outbox.Config{
		Store:      store,
		Renderer:   outbox.Renderer{ChallengeCode: p.challenges.Code, StoredCode: p.stored.Code},
		Now:        now,
		Receivers:  cfg.Webhooks,
		Roots:      cfg.WebhookRoots,
		MessageLog: cfg.MessageLog,
		Log:        cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	return messages, nil
}

// deliver runs an outbox until stop, if messages have any way out of here. Where they
// have none, nobody reads the journal for them.
func deliver(cfg Config, messages *outbox.Outbox) (stop func()) {
	if cfg.TerminalAPI == "" && len(cfg.Webhooks) == 0 && cfg.MessageLog == nil {
		return func() {}
	}
	return start(messages.Run)
}

// messageStats are an outbox's numbers as metrics have them.
func messageStats(messages *outbox.Outbox) func() metrics.Messages {
	return func() metrics.Messages { return metrics.Messages(messages.Stats()) }
}
