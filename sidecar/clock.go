package sidecar

import (
	"context"
	"encoding/json"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/clock"
)

// keepTime opens the clock of the store's directory and keeps it until stop.
func keepTime(ctx context.Context, store *authzstore.Store, cfg Config) (c *clock.Clock, stop func(), err error) {
	cfg.Clock.Log = cfg.Log
	newestRecord := func() (time.Time, error) {
		nanos, ok, err := store.LastRecordAt(ctx)
		if err != nil || !ok {
			return time.Time{}, err
		}
		return time.Unix(0, nanos).UTC(), nil
	}
	c, err = clock.Open(cfg.DataDir, newestRecord, cfg.Clock)
	if err != nil {
		return nil, nil, err
	}
	return c, start(func(ctx context.Context) {
		c.Run(ctx, func(ctx context.Context, a clock.Acceptance, jump *clock.JumpError) error {
			return recordAcceptance(ctx, store, a, jump)
		})
	}), nil
}

// clockAccepted is the detail of the record of an acceptance.
type clockAccepted struct {
	Time      time.Time `json:"time"`
	InsteadOf time.Time `json:"instead_of"`
	UID       int       `json:"uid"`
	Reason    string    `json:"reason,omitempty"`
}

func recordAcceptance(ctx context.Context, store *authzstore.Store, a clock.Acceptance, jump *clock.JumpError) error {
	detail, err := json.Marshal(map[string]clockAccepted{
		"clock_accepted": {a.Time(), jump.Expected, a.By.UID, a.By.Reason},
	})
	if err != nil {
		return err
	}
	cause := OperatorCause(a.By.User, a.Time())
	return store.Update(ctx, cause, nil, func(tx *authzstore.Tx) error {
		tx.Detail(detail)
		return nil
	})
}

// OperatorCause is a change by a user of this host.
func OperatorCause(user string, at time.Time) authzstore.Cause {
	return authzstore.Cause{
		ID:       authzstore.NewID("chg"),
		Actor:    authzstore.Identity{Kind: "operator", Issuer: "local", Subject: user},
		NowNanos: at.UnixNano(),
	}
}
