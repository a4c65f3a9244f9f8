package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/upstream"
)

// countersign is the sidecar itself, as `countersign serve` runs it.
type countersign struct{ log bool }

func (c countersign) run(ctx context.Context, p place) (err error) {
	key, err := upstream.SharedKey([]byte(rand.Text() + rand.Text()))
	if err != nil {
		return err
	}
	cfg := sidecar.Config{
		Listen:    "unix:" + p.socket,
		DataDir:   filepath.Join(p.dir, "store"),
		Policies:  os.DirFS(p.policies()),
		TokenKeys: map[string]upstream.Key{"payments.example": key},
		Log:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if err := writeBundle(p.policies()); err != nil {
		return err
	}
	if err := seed(ctx, cfg.DataDir); err != nil {
		return err
	}
	if c.log {
		lines, err := openLog(p.dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lines.Close()) }()
		cfg.DecisionLog = lines
	}
	return sidecar.Run(ctx, cfg)
}

// seed writes the accounts to a new store.
func seed(ctx context.Context, dir string) (err error) {
	store, err := sidecar.OpenStore(ctx, dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	all := accounts()
	var refs []kv.Ref
	for _, a := range all {
		refs = append(refs, authzstore.AccountRef(a.ID, kv.Exclusive))
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: all[0].Owner, NowNanos: time.Now().UnixNano()}
	return store.Update(ctx, cause, refs, func(tx *authzstore.Tx) error {
		for _, a := range all {
			if err := tx.PutAccount(a); err != nil {
				return err
			}
		}
		return nil
	})
}
