package clock

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

const (
	lookEvery = time.Second // for an acceptance, and for a jump to tell of
	saveEvery = 10 * time.Second
	// saveStep: a time told that went ahead of the saved one by more than time
	// passed is saved at the next look.
	saveStep = time.Second
)

// Run keeps the clock's file until ctx is done, tells the log of jumps, and takes
// up acceptances. Each is recorded by record before it counts; record may see one
// twice if the process dies in between.
func (c *Clock) Run(ctx context.Context, record func(context.Context, Acceptance, *JumpError) error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		c.look(ctx, record)
		select {
		case <-ctx.Done():
			c.complain("the clock cannot be kept", c.save())
			return
		case <-ticker.C:
		}
	}
}

// look is one turn of Run.
func (c *Clock) look(ctx context.Context, record func(context.Context, Acceptance, *JumpError) error) {
	_, err := c.Now()
	switch {
	case err != nil && !c.jumped:
		c.cfg.Log.Error("no decisions until the clock is set right, or accepted with countersign clock accept", "error", err)
	case err == nil && c.jumped:
		c.cfg.Log.Info("the clock is believed again")
	}
	c.jumped = err != nil
	problem := c.takeUp(ctx, record)
	if c.needsSave() {
		if err := c.save(); err != nil {
			problem = err
		}
	}
	c.complain("the clock cannot be kept", problem)
}

// takeUp takes up an acceptance if there is one. One that is about something else,
// or cannot be read, is removed: it must not wait for a jump that it was not for.
func (c *Clock) takeUp(ctx context.Context, record func(context.Context, Acceptance, *JumpError) error) error {
	a, err := readAcceptance(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var jump *JumpError
	if err == nil {
		jump, err = c.verify(a)
	}
	if err != nil {
		c.cfg.Log.Warn("an acceptance of the clock counts for nothing", "error", err)
		return removeAcceptance(c.dir)
	}
	if err := record(ctx, a, jump); err != nil {
		return err // and try again
	}
	c.believe(a)
	c.jumped = false
	c.cfg.Log.Warn("the clock was accepted", "time", a.Time(), "instead_of", jump.Expected, "by", a.By.User, "uid", a.By.UID, "reason", a.By.Reason)
	return errors.Join(c.save(), removeAcceptance(c.dir))
}

func (c *Clock) verify(a Acceptance) (*JumpError, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.cfg.read()
	_, jump := c.state.next(r, c.cfg.MaxGap)
	return jump, a.check(r, jump)
}

// believe takes what was accepted for the time, not what the clock shows by now:
// if that is something else, it is another jump.
func (c *Clock) believe(a Acceptance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state{a.BootID, a.BootNanos, a.WallNanos, a.WallNanos}
}

func (c *Clock) needsSave() bool {
	passed := c.cfg.Boottime() - c.savedAt
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := time.Duration(c.state.ToldNanos-c.saved.ToldNanos) - time.Duration(c.state.BootNanos-c.saved.BootNanos)
	return passed >= saveEvery || ahead > saveStep || c.state.BootID != c.saved.BootID
}

// complain logs a problem when it is a new one.
func (c *Clock) complain(what string, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != c.problem {
		c.cfg.Log.Error(what, "error", err)
	}
	c.problem = problem
}
