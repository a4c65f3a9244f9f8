package main

import (
	"context"
	"time"

	"github.com/countersign/countersign/sidecar/evidence"
)

// A device is a delegate's: it makes payment codes by itself, without a network.
type device struct {
	parameters evidence.Parameters
	last       int64 // the time step of the newest code that it made
}

// minCodeLife is how long a code of the step before must still be good for, so that
// it is not stale when it arrives.
const minCodeLife = 10 * time.Second

// code makes a code that was never made before. Of a time step there is one, and those
// of this step and of the one before are good: a third one has to wait for the
// clock.
func (d *device) code(ctx context.Context) (string, error) {
	now := time.Now().UnixNano()
	current := d.parameters.Step(now)
	step := current - 1
	if time.Duration(d.parameters.StepEndNanos(current)-now) < minCodeLife {
		step = current
	}
	step = max(step, d.last+1)
	// At once for a step that has begun.
	if err := pause(ctx, time.Duration(d.parameters.StepEndNanos(step-1)-now)); err != nil {
		return "", err
	}
	d.last = step
	return d.parameters.Code(step)
}
