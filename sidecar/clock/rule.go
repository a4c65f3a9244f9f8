package clock

import (
	"errors"
	"fmt"
	"time"
)

const (
	// MaxDifference is how far the wall clock may be from where the monotonic
	// clock says that it should be.
	MaxDifference = 5 * time.Minute
	// DefaultMaxGap is how long a machine may be off before an operator must
	// accept its clock: long enough for holidays, shorter than a month.
	DefaultMaxGap = 7 * 24 * time.Hour

	// maxRebootBehind is how far behind the newest time told the wall clock may be
	// after a reboot: NTP steps over so much without a word.
	maxRebootBehind = 2 * time.Second
	// slewDivisor: the two clocks are led together by a thousandth of what passes.
	slewDivisor = 1000
)

// ErrJumped: the clock shows a time that cannot be believed.
var ErrJumped = errors.New("the clock has jumped")

// A JumpError is an [ErrJumped] with both times.
type JumpError struct {
	Wall     time.Time // what the clock shows
	Expected time.Time // what it should show; with Rebooted, the newest time told before
	Rebooted bool
}

// Back tells whether the clock is behind, not ahead.
func (e *JumpError) Back() bool { return e.Wall.Before(e.Expected) }

func (e *JumpError) Error() string {
	known := "by the monotonic clock it is"
	if e.Rebooted {
		known = "the newest time known from before this boot is"
	}
	return fmt.Sprintf("%v: it shows %s, %s %s (%+.0f s)", ErrJumped, e.Wall.Format(time.RFC3339), known,
		e.Expected.Format(time.RFC3339), e.Wall.Sub(e.Expected).Seconds())
}

// Is makes every JumpError an ErrJumped.
func (e *JumpError) Is(target error) bool { return target == ErrJumped }

// A reading is both clocks at one moment, in nanoseconds.
type reading struct {
	wall   int64 // since 1970-01-01 UTC
	boot   int64 // CLOCK_BOOTTIME, since the kernel of this boot started
	bootID string
}

// A state is what is known of the time since a reading that was believed.
type state struct {
	BootID    string `json:"boot_id"`     // of BootNanos; "": of no boot
	BootNanos int64  `json:"boottime_ns"` // CLOCK_BOOTTIME at that reading
	WallNanos int64  `json:"wall_ns"`     // where the wall clock should have been
	ToldNanos int64  `json:"told_ns"`     // the newest time told; 0: none ever
}

// next returns what is known after a reading, which the clock's answer is part of
// (ToldNanos). A reading that cannot be believed changes nothing.
func (s state) next(r reading, maxGap time.Duration) (state, *JumpError) {
	if !s.witnessed(r) {
		return s.nextBoot(r, maxGap)
	}
	passed := r.boot - s.BootNanos
	slew := passed / slewDivisor
	expected := s.WallNanos + passed
	difference := r.wall - expected
	if difference > int64(MaxDifference) || difference < -int64(MaxDifference) {
		return s, &JumpError{Wall: toTime(r.wall), Expected: toTime(expected)}
	}
	return state{
		BootID:    r.bootID,
		BootNanos: r.boot,
		WallNanos: expected + min(max(difference, -slew), slew),
		ToldNanos: max(r.wall, s.ToldNanos+passed-slew),
	}, nil
}

// nextBoot is next where the monotonic clock says nothing.
func (s state) nextBoot(r reading, maxGap time.Duration) (state, *JumpError) {
	gap := r.wall - s.ToldNanos
	if s.ToldNanos != 0 && (gap > int64(maxGap) || gap < -int64(maxRebootBehind)) {
		return s, &JumpError{Wall: toTime(r.wall), Expected: toTime(s.ToldNanos), Rebooted: true}
	}
	return state{r.bootID, r.boot, r.wall, max(r.wall, s.ToldNanos)}, nil
}

// witnessed tells whether the monotonic clock has counted since the state. One
// that counts backwards is another one (a container's, say).
func (s state) witnessed(r reading) bool { return s.BootID == r.bootID && s.BootNanos <= r.boot }

func toTime(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }
