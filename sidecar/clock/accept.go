package clock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/sidecar/privatefile"
)

// Errors of Accept.
var (
	ErrNothingToAccept = errors.New("the clock has not jumped: there is nothing to accept")
	ErrBack            = errors.New("the clock is behind, and accepting it would set the time of decisions back")
)

// An Acceptance is an operator's word that the clock is right.
type Acceptance struct {
	Version   int    `json:"version"`
	WallNanos int64  `json:"wall_ns"` // what the clock showed
	BootNanos int64  `json:"boottime_ns"`
	BootID    string `json:"boot_id"`
	Back      bool   `json:"back"` // the time may go back
	By        By     `json:"by"`
}

// By says who accepts, and why.
type By struct {
	UID    int    `json:"uid"`
	User   string `json:"user"`
	Reason string `json:"reason,omitempty"`
}

// maxReason bounds By.Reason, in bytes.
const maxReason = 1024

// Time is the time accepted.
func (a Acceptance) Time() time.Time { return toTime(a.WallNanos) }

// check tells what is wrong with an acceptance of this jump at this reading.
func (a Acceptance) check(r reading, jump *JumpError) error {
	if jump == nil {
		return ErrNothingToAccept
	}
	passed := r.boot - a.BootNanos
	difference := r.wall - (a.WallNanos + passed)
	switch {
	case a.BootID != r.bootID || passed < 0:
		return fmt.Errorf("the acceptance of %s is from another boot", a.Time().Format(time.RFC3339))
	case difference > int64(MaxDifference) || difference < -int64(MaxDifference):
		return fmt.Errorf("the acceptance of %s is about another jump", a.Time().Format(time.RFC3339))
	case jump.Back() != a.Back:
		return fmt.Errorf("the acceptance of %s is about a jump the other way", a.Time().Format(time.RFC3339))
	}
	return nil
}

// A Status is how the clock of a directory stands, as seen from outside.
type Status struct {
	Wall     time.Time
	Expected time.Time   // where the clock should be; after a reboot the newest time told; zero: nobody knows
	Jump     *JumpError  // nil if the clock can be believed
	Accepted *Acceptance // waits for a sidecar, which it does for a second at most if one runs
}

// Look tells how the clock of a directory stands, also while a sidecar owns it.
// fs.ErrNotExist if no sidecar has kept time there.
func Look(dir string, cfg Config) (Status, error) {
	cfg = cfg.withDefaults()
	status, _, err := look(dir, cfg)
	return status, err
}

func look(dir string, cfg Config) (Status, reading, error) {
	f, err := readFile(dir)
	if err != nil {
		return Status{}, reading{}, err
	}
	r := cfg.read()
	s := Status{Wall: toTime(r.wall)}
	if f.ToldNanos != 0 {
		s.Expected = toTime(f.ToldNanos)
	}
	if f.witnessed(r) {
		s.Expected = toTime(f.WallNanos + r.boot - f.BootNanos)
	}
	_, s.Jump = f.next(r, f.MaxGap)
	if a, err := readAcceptance(dir); err == nil { // a sidecar removes what cannot be read
		s.Accepted = &a
	}
	return s, r, nil
}

// Accept leaves word for the sidecar that owns the directory, or the next one that
// does, that what the clock shows is right. back must be set to accept a clock that
// is behind.
func Accept(dir string, by By, back bool, cfg Config) (Status, error) {
	if len(by.Reason) > maxReason {
		return Status{}, fmt.Errorf("the reason has %d bytes, more than %d", len(by.Reason), maxReason)
	}
	cfg = cfg.withDefaults()
	s, r, err := look(dir, cfg)
	switch {
	case err != nil:
		return Status{}, err
	case s.Jump == nil:
		return s, ErrNothingToAccept
	case s.Jump.Back() && !back:
		return s, fmt.Errorf("%w: %w", ErrBack, s.Jump)
	}
	a := Acceptance{fileVersion, r.wall, r.boot, r.bootID, s.Jump.Back(), by}
	s.Accepted = &a
	return s, writeSealed(dir, acceptName, a)
}

func readAcceptance(dir string) (a Acceptance, err error) {
	err = readSealed(filepath.Join(dir, acceptName), &a)
	return a, err
}

func removeAcceptance(dir string) error {
	if err := os.Remove(filepath.Join(dir, acceptName)); err != nil {
		return err
	}
	return privatefile.SyncDir(dir)
}
