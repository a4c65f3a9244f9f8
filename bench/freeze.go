package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/decide"
)

const (
	freezeCallers = 256
	// freezeInFlight lets all of them wait for the account: one identity has a
	// quarter of it.
	freezeInFlight = 4 * freezeCallers
	freezeAfter    = 500 * time.Millisecond
	freezeGoOn     = 300 * time.Millisecond
)

// A freezeSample is an account that was frozen while its owner paid from it with
// freezeCallers callers.
type freezeSample struct {
	Round              int     `json:"round"`
	AcknowledgedMillis float64 `json:"acknowledged_millis"`
	// Payments of the account, by their records: before that of the freeze and
	// after it.
	AllowedBefore int `json:"allowed_before"`
	DeniedAfter   int `json:"denied_after"`
	AllowedAfter  int `json:"allowed_after"`
	// AllowedLater are allows of calls that began after it was acknowledged.
	AllowedLater int `json:"allowed_later"`
}

// measureFreeze freezes a hot account in a store of its own.
func measureFreeze(ctx context.Context) (_ freezeSample, err error) {
	p, err := openInProcess(ctx, freezeInFlight)
	if err != nil {
		return freezeSample{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var s freezeSample
	var acknowledged atomic.Bool
	var later atomic.Int64
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	end := make(chan struct{})
	hot := newRequest(hotAccount())
	for range freezeCallers {
		wait.Go(func() {
			for !isClosed(end) && ctx.Err() == nil {
				isLater := acknowledged.Load()
				d := p.pay(ctx, hot)
				switch {
				case d.Outcome == decide.Allow && isLater:
					later.Add(1)
				case d.Outcome == decide.Defect:
					cancel(unexpected(d))
				}
			}
		})
	}
	time.Sleep(freezeAfter)
	id := accounts()[accountCount-1].ID
	cause := sidecar.OperatorCause("bench", time.Now())
	began := time.Now()
	err = p.store.Update(kv.Urgent(ctx), cause, []kv.Ref{authzstore.AccountRef(id, kv.Exclusive)}, func(tx *authzstore.Tx) error {
		return tx.FreezeAccount(id)
	})
	s.AcknowledgedMillis = micros(time.Since(began)) / 1000
	acknowledged.Store(true)
	time.Sleep(freezeGoOn)
	close(end)
	wait.Wait()
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return s, err
	}
	s.AllowedLater = int(later.Load())
	return s, p.countAround(ctx, cause.ID, &s)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// countAround reads the records of all decisions, in the order in which they became
// durable, and counts those before and after that of the freeze.
func (p *inProcess) countAround(ctx context.Context, freezeID string, s *freezeSample) error {
	frozen := false
	err := p.store.View(ctx, func(snap authzstore.Snapshot) error {
		return snap.Records(0, func(_ uint64, r authzstore.Record) error {
			if r.ID == freezeID {
				frozen = true
			}
			if len(r.Detail) == 0 {
				return nil // no decision
			}
			var d decide.Record
			if err := json.Unmarshal(r.Detail, &d); err != nil {
				return err
			}
			switch {
			case d.Outcome == decide.Allow && frozen:
				s.AllowedAfter++
			case d.Outcome == decide.Allow:
				s.AllowedBefore++
			case frozen:
				s.DeniedAfter++
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case !frozen:
		return errors.New("the freeze has no record")
	case s.AllowedAfter+s.AllowedLater > 0:
		return fmt.Errorf("a frozen account paid: %+v", *s)
	}
	return nil
}

func (r *fairnessResult) freezeRows() [][]string {
	column := func(value func(freezeSample) float64) (values []float64) {
		for _, s := range r.Freezes {
			values = append(values, value(s))
		}
		return values
	}
	millis := column(func(s freezeSample) float64 { return s.AcknowledgedMillis })
	count := func(value func(freezeSample) int) string {
		return fmt.Sprintf("%.0f", median(column(func(s freezeSample) float64 { return float64(value(s)) })))
	}
	return [][]string{
		{fmt.Sprintf("%d callers on one account", freezeCallers), "freeze acknowledged after ms", "worst ms", "allowed before", "denied after", "allowed after, all rounds"},
		{
			"the account is frozen",
			fmt.Sprintf("%.1f", median(millis)),
			fmt.Sprintf("%.1f", slices.Max(millis)),
			count(func(s freezeSample) int { return s.AllowedBefore }),
			count(func(s freezeSample) int { return s.DeniedAfter }),
			fmt.Sprint(sum(column(func(s freezeSample) float64 { return float64(s.AllowedAfter + s.AllowedLater) }))),
		},
	}
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
